package clock_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/clock"
)

// teller tells for every line of its input how far its clock is from one that
// only goes on, in seconds since its start.
const teller = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	begin := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		now := time.Now()
		fmt.Println(now.Unix(), now.Sub(begin).Seconds() < 60)
	}
}
`

func TestClock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the standard library anew")
	}
	from, dir := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"go.mod": "module teller\n\ngo 1.26.0\n", "main.go": teller} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	if err := clock.Build(t.Context(), from, dir, false, "."); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(filepath.Join(dir, "teller"))
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer in.Close()
	lines := bufio.NewScanner(out)
	ask := func() (off time.Duration) {
		in.Write([]byte("\n"))
		if !lines.Scan() {
			t.Fatalf("no answer: %v", lines.Err())
		}
		seconds, even, _ := strings.Cut(lines.Text(), " ")
		if even != "true" {
			t.Error("time that passed is measured by the wrong clock")
		}
		at, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Until(time.Unix(at, 0)).Round(time.Minute)
	}
	if off := ask(); off != 0 {
		t.Errorf("off by %v before it was set", off)
	}
	for _, want := range []time.Duration{time.Hour, -time.Hour, 0} {
		if err := clock.Set(dir, want); err != nil {
			t.Fatal(err)
		}
		if off := ask(); off != want {
			t.Errorf("off by %v, want %v", off, want)
		}
	}
}

func TestNothingToBuildWith(t *testing.T) {
	if err := clock.Build(t.Context(), t.TempDir(), t.TempDir(), false, "example.com/nowhere"); !errors.Is(err, clock.ErrUnavailable) {
		t.Errorf("no sources: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := clock.Build(t.Context(), ".", t.TempDir(), false, "."); !errors.Is(err, clock.ErrUnavailable) {
		t.Errorf("no go command: %v", err)
	}
}

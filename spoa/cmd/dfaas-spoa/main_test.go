package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/notify/notifytest"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
)

// asProgram makes this test binary be dfaas-spoa.
const asProgram = "DFAAS_SPOA_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func program(t *testing.T, env []string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	out := new(output)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

// startSPOA runs dfaas-spoa in a directory until it is ready.
func startSPOA(t *testing.T, dir string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	args = append([]string{"--listen", "unix@" + filepath.Join(dir, "spoa.sock"), "--control", filepath.Join(dir, "ctl.sock")}, args...)
	cmd, out := program(t, nil, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(out.String(), `"ready"`) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not ready: %s", out)
		}
	}
	return cmd, out
}

func TestLife(t *testing.T) {
	dir := t.TempDir()
	cmd, out := startSPOA(t, dir, "--socket-mode", "0600", "--metrics", "127.0.0.1:0")
	spop, ctl := filepath.Join(dir, "spoa.sock"), filepath.Join(dir, "ctl.sock")
	for path, want := range map[string]os.FileMode{spop: 0o600, ctl: 0o660} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info, err, want)
		}
	}
	c := control.New(testvalue.Path(ctl))
	defer c.Close()
	if err := c.PutTable(t.Context(), testtable.New(2, 2)); err != nil {
		t.Error(err)
	}
	if h, err := c.Health(t.Context()); err != nil || !h.Fresh {
		t.Errorf("health %+v, %v", h, err)
	}
	conn, err := net.Dial("unix", spop)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, out)
	}
	for _, path := range []string{spop, ctl} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left behind (%v)", path, err)
		}
	}
}

// TestSystemd: systemd hears when the agent serves, that it is alive for as long
// as it answers, and when it ends.
func TestSystemd(t *testing.T) {
	const watchdog = 300 * time.Millisecond
	environ, said := notifytest.Systemd(t, watchdog)
	dir := t.TempDir()
	cmd, out := program(t, environ, "--listen", filepath.Join(dir, "s"), "--control", filepath.Join(dir, "c"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	notifytest.Want(t, said, "READY=1")
	for range 3 {
		notifytest.Want(t, said, "WATCHDOG=1")
	}
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("it has not stopped: %#x, %v", status, err)
	}
	notifytest.Drain(t, environ, said)
	notifytest.Silent(t, said, 2*watchdog)
	signal(syscall.SIGCONT)
	notifytest.Want(t, said, "WATCHDOG=1")
	signal(syscall.SIGTERM)
	notifytest.Want(t, said, "STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, out)
	}
}

func TestMetricsAddress(t *testing.T) {
	_, out := startSPOA(t, t.TempDir(), "--metrics", "127.0.0.1:0")
	var ready struct{ Metrics string }
	if err := json.Unmarshal([]byte(out.String()), &ready); err != nil {
		t.Fatalf("the first line of the log: %v: %s", err, out)
	}
	for path, want := range map[string]int{"/metrics": 200, "/v1/table": 404, "/v1/health": 404} {
		resp, err := http.Get("http://" + ready.Metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d: only metrics are for everybody", path, resp.StatusCode, want)
		}
	}
}

// TestCrash kills the process and starts another one in the same place, and a
// third one while that runs.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	cmd, _ := startSPOA(t, dir)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Stat(filepath.Join(dir, "spoa.sock")); err != nil {
		t.Fatalf("a killed process should leave its socket: %v", err)
	}
	startSPOA(t, dir)
	third, out := program(t, nil, "--listen", filepath.Join(dir, "spoa.sock"), "--control", filepath.Join(dir, "ctl.sock"))
	if err := third.Run(); exitCode(err) != cli.ExitFailure || !strings.Contains(out.String(), "in use by another process") {
		t.Errorf("the third: %v: %s", err, out)
	}
	if _, err := control.New(testvalue.Path(filepath.Join(dir, "ctl.sock"))).Health(context.Background()); err != nil {
		t.Errorf("the second after the third: %v", err)
	}
}

func exitCode(err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	sockets := func(listen, control string, more ...string) []string {
		return append([]string{"--listen", dir + listen, "--control", dir + control}, more...)
	}
	for _, test := range []struct {
		name, env string
		args      []string
		code      int
		text      string
	}{
		{"version", "", []string{"version"}, 0, "dfaas-spoa version unknown (go"},
		{"--version", "", []string{"--version"}, 0, "dfaas-spoa version unknown (go"},
		{"help", "", []string{"--help"}, 0, "DFAAS_SPOA_LOG_LEVEL"},
		{"completion", "", []string{"completion", "bash"}, 0, "bash completion"},
		{"unknown flag", "", []string{"--nope"}, cli.ExitUsage, "unknown flag"},
		{"argument", "", []string{"nope"}, cli.ExitUsage, "nope"},
		{"bad mode", "", []string{"--socket-mode", "rw"}, cli.ExitUsage, "octal"},
		{"mode too large", "", []string{"--socket-mode", "7777"}, cli.ExitUsage, "octal"},
		{"bad level", "", []string{"--log-level", "loud"}, cli.ExitUsage, "debug, info"},
		{"bad format", "", []string{"--log-format", "xml"}, cli.ExitUsage, "json or console"},
		{"by environment", "DFAAS_SPOA_LOG_FORMAT=xml", nil, cli.ExitUsage, `--log-format "xml"`},
		{"flag over environment", "DFAAS_SPOA_LOG_FORMAT=xml", []string{"--log-format", "yaml"}, cli.ExitUsage, `--log-format "yaml"`},
		{"no path", "", []string{"--listen", "unix@"}, cli.ExitUsage, `--listen: "": not set`},
		{"path too long", "", sockets("/s", "/"+strings.Repeat("x", 107)), cli.ExitUsage, "the path of a socket may have 107"},
		{"no directory", "", sockets("/none/s", "/c"), cli.ExitFailure, "there is no directory " + dir + "/none"},
		{"no control", "", sockets("/s", "/none/c"), cli.ExitFailure, "(--control)"},
		{"bad address", "", sockets("/s", "/c", "--metrics", "x"), cli.ExitFailure, "(--metrics)"},
		{"no group", "", sockets("/s", "/c", "--socket-group", "no-such-group"), cli.ExitFailure, "no-such-group"},
	} {
		cmd, out := program(t, []string{test.env}, test.args...)
		if err := cmd.Run(); exitCode(err) != test.code || !strings.Contains(out.String(), test.text) {
			t.Errorf("%s: %v, want exit code %d and %q: %s", test.name, err, test.code, test.text, out)
		}
		if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
			t.Errorf("%s: left behind %v", test.name, left)
		}
	}
}

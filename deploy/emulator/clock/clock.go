// Package clock builds Go programs whose wall clock can be set while they run,
// each apart from the machine's. Nothing in their sources knows of it: they are
// built with another package time (`go build -overlay`), whose Now adds an offset
// that is in a file beside the program.
package clock

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed shift.go.txt
var shift []byte

//go:embed follow.go.txt
var follow []byte

// Where package time reads the clock, and what it does then.
const (
	reads    = "sec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	thenAdds = "sec, nsec, mono := runtimeNow()\n\tsec += shifted()\n\tif mono == 0 {"
)

// ErrUnavailable says that there is nothing to build with.
var ErrUnavailable = errors.New("programs with a clock of their own are built with the go command, in this project's sources")

// Build builds the programs of these main packages, as seen from the module or
// workspace in the directory from, into dir. They go by the machine's clock until
// it is Set. With race, they are built with Go's race detector.
func Build(ctx context.Context, from, dir string, race bool, packages ...string) error {
	run := func(args ...string) (string, error) {
		command := exec.CommandContext(ctx, "go", args...)
		command.Dir = from
		output, err := command.Output()
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(string(failed.Stderr)))
		}
		return strings.TrimSpace(string(output)), err
	}
	root, err := run("env", "GOROOT")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	places, err := run(append([]string{"list", "-f", "{{.Dir}}"}, packages...)...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	overlay, err := writeOverlay(filepath.Join(dir, "overlay"), filepath.Join(root, "src", "time"), strings.Split(places, "\n"))
	if err != nil {
		return fmt.Errorf("another clock for programs: %w", err)
	}
	args := []string{"build", "-trimpath", "-overlay", overlay, "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	_, err = run(append(args, packages...)...)
	return err
}

// writeOverlay writes the files that replace others, or join them, into dir, and
// returns the path of the list.
func writeOverlay(dir, timeDir string, mains []string) (string, error) {
	source, err := os.ReadFile(filepath.Join(timeDir, "time.go"))
	if err != nil {
		return "", err
	}
	if strings.Count(string(source), reads) != 1 {
		return "", errors.New("this version of Go reads the clock in another way")
	}
	replace := make(map[string]string)
	files := map[string][]byte{
		"time.go":   []byte(strings.Replace(string(source), reads, thenAdds, 1)),
		"shift.go":  shift,
		"follow.go": follow,
	}
	replace[filepath.Join(timeDir, "time.go")] = filepath.Join(dir, "time.go")
	replace[filepath.Join(timeDir, "shift.go")] = filepath.Join(dir, "shift.go")
	for _, main := range mains {
		replace[filepath.Join(main, "follow_clock.go")] = filepath.Join(dir, "follow.go")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// Set sets the clock of all programs that were built into dir, at once: from now on
// it is off by offset, in whole seconds, also for those that are started later.
func Set(dir string, offset time.Duration) error {
	file, err := os.OpenFile(filepath.Join(dir, "clock"), os.O_RDWR|os.O_CREATE, 0o600) // as follow.go.txt says
	if err == nil {
		_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(offset/time.Second)), 0)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("setting a clock: %w", err)
	}
	return nil
}

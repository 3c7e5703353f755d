package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Quote makes a word of a path, for commands that are shown to be copied into a
// shell.
func Quote(path string) string {
	if plain.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

var plain = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// Detach starts a supervisor in the background with the given command line and
// returns the federation's state once it has formed. When ctx ends before, the
// supervisor is stopped again.
func Detach(ctx context.Context, dir string, argv []string) (State, error) {
	if Running(dir) {
		return State{}, fmt.Errorf("a federation is up in %s already: `dfaas-emulator down --dir %s` stops it", dir, Quote(dir))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return State{}, fmt.Errorf("the federation's directory: %w", err)
	}
	logPath := filepath.Join(dir, LogFile)
	log, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return State{}, fmt.Errorf("the supervisor's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A session of its own, so that no terminal takes it along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return State{}, fmt.Errorf("starting the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		close(ended) // it may be asked again
	}()
	state, err := awaitReady(ctx, NewClient(dir), ended)
	switch {
	case ctx.Err() != nil:
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		return State{}, context.Cause(ctx)
	case err != nil:
		text, _ := os.ReadFile(logPath)
		return State{}, fmt.Errorf("the federation did not start: %w\n%s", err, bytes.TrimSpace(text))
	}
	return state, nil
}

// awaitReady polls until the federation has formed, or the supervisor ends.
func awaitReady(ctx context.Context, client *Client, ended <-chan error) (State, error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return State{}, ctx.Err()
		case err := <-ended:
			return State{}, fmt.Errorf("its supervisor ended (%v), which had said:", err)
		case <-ticker.C:
			if state, err := client.State(ctx); err == nil && state.Ready {
				return state, nil
			}
		}
	}
}

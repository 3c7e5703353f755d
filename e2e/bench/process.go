package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs during a measurement.
type process struct {
	name string
	pid  int
	log  string // path of what it writes

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// program says how to start a process.
type program struct {
	name string // for messages and the log's name
	argv []string
	env  []string // besides this process's own
	// listeners are handed over, as descriptors 3, 4, ..., and closed here: a
	// port that was found free cannot be lost to somebody else.
	listeners []net.Listener
}

// start starts p, with its output in dir. The process gets no signals from the
// terminal: stop ends it, so that Ctrl-C ends things in their order. It dies
// with this process in any case.
func start(dir string, p program) (*process, error) {
	log, err := os.Create(filepath.Join(dir, p.name+".log"))
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for _, l := range p.listeners {
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			return nil, fmt.Errorf("starting %s: its listener: %w", p.name, err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	started := &process{name: p.name, pid: cmd.Process.Pid, log: log.Name(), cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(started.done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return started, nil
}

// stop asks the process to end and insists after three seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// await calls ready until it succeeds, at most for ten seconds, or until the
// process ends.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended at once: %s", p.name, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log: %s", p.name, errors.Join(err, context.Cause(ctx)), p.lastWords())
		}
	}
}

// lastWords returns the end of the process's log.
func (p *process) lastWords() string {
	const most = 1000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

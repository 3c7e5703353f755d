package federation

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/quota"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// EndTimeout is how long a process may take to end by itself before it is killed.
const EndTimeout = 5 * time.Second

// process is one part of a node: a program that may be started many times, one
// run after the other. Its methods that act are called by one goroutine at a
// time; those that look are safe for concurrent use.
type process struct {
	part    scenario.Part
	node    string
	path    string
	args    []string
	env     []string
	log     string // path
	spawner *spawner
	groups  *quota.Groups        // of the nodes with limits
	current atomic.Pointer[life] // nil before the first start
}

// life is one run of a process.
type life struct {
	pid   int
	ended chan struct{}
	how   error // of the end; to be read after ended is closed
	// wanted is set before the process is ended on purpose.
	wanted    atomic.Bool
	suspended atomic.Bool
}

func (l *life) alive() bool {
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// State of a part.
type State string

// The states of a part.
const (
	Running   State = "running"
	Suspended State = "stopped" // by SIGSTOP
	Dead      State = "dead"    // ended on purpose
	Crashed   State = "crashed" // ended by itself
)

func (p *process) state() (State, int) {
	l := p.current.Load()
	switch {
	case l == nil:
		return Dead, 0
	case l.alive() && l.suspended.Load():
		return Suspended, l.pid
	case l.alive():
		return Running, l.pid
	case l.wanted.Load():
		return Dead, 0
	default:
		return Crashed, 0
	}
}

// start starts the program; it must not be running. The first start begins the
// log anew.
func (p *process) start() error {
	mode := os.O_CREATE | os.O_APPEND | os.O_WRONLY
	if p.current.Load() == nil {
		mode |= os.O_TRUNC
	}
	log, err := os.OpenFile(p.log, mode, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s of %s: %w", p.part, p.node, err)
	}
	defer log.Close()
	// One that is there already may have been opened to others.
	if err := log.Chmod(0o600); err != nil {
		return fmt.Errorf("starting %s of %s: %w", p.part, p.node, err)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = log, log
	if fd, limited := p.groups.FD(p.node); limited {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	}
	if err := p.spawner.start(cmd); err != nil {
		return fmt.Errorf("starting %s of %s: %w", p.part, p.node, err)
	}
	l := &life{pid: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		l.how = cmd.Wait()
		// What the program left behind in its group must not outlive it.
		_ = l.signal(syscall.SIGKILL)
		close(l.ended)
	}()
	p.current.Store(l)
	return nil
}

// signal signals the whole process group.
func (l *life) signal(s syscall.Signal) error { return syscall.Kill(-l.pid, s) }

// running returns the current life, or an error saying that there is none.
func (p *process) running() (*life, error) {
	l := p.current.Load()
	if l == nil || !l.alive() {
		return nil, fmt.Errorf("%s of %s is not running", p.part, p.node)
	}
	return l, nil
}

// kill ends the program at once, and all of its group.
func (p *process) kill() error {
	l, err := p.running()
	if err != nil {
		return err
	}
	l.wanted.Store(true)
	if err := l.signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing %s of %s: %w", p.part, p.node, err)
	}
	<-l.ended
	return nil
}

// terminate asks the program to end; await tells when it has.
func (p *process) terminate() {
	l, err := p.running()
	if err != nil {
		return
	}
	l.wanted.Store(true)
	// To the program only: it knows how to end its own children.
	_ = syscall.Kill(l.pid, syscall.SIGTERM)
	_ = l.signal(syscall.SIGCONT)
}

// await waits for the end of a terminated program, and kills it once the deadline
// is closed.
func (p *process) await(deadline <-chan struct{}) {
	l, err := p.running()
	if err != nil {
		return
	}
	select {
	case <-l.ended:
	case <-deadline:
		_ = p.kill()
	}
}

// suspend and resume make the program hang and go on.
func (p *process) suspend() error { return p.hang(true, syscall.SIGSTOP) }
func (p *process) resume() error  { return p.hang(false, syscall.SIGCONT) }

func (p *process) hang(suspended bool, signal syscall.Signal) error {
	l, err := p.running()
	if err != nil {
		return err
	}
	if err := l.signal(signal); err != nil {
		return fmt.Errorf("signalling %s of %s: %w", p.part, p.node, err)
	}
	l.suspended.Store(suspended)
	return nil
}

// crash tells how the program ended if nobody wanted it to.
func (p *process) crash() error {
	if state, _ := p.state(); state != Crashed {
		return nil
	}
	how := "exit status 0"
	if l := p.current.Load(); l.how != nil {
		how = l.how.Error()
	}
	return fmt.Errorf("%s of %s ended by itself (%s); the end of its log, %s:\n%s", p.part, p.node, how, p.log, tail(p.log))
}

const tailBytes, tailLines = 4096, 12

// tail returns the last lines of a log file.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	buffer := make([]byte, tailBytes)
	offset := int64(0)
	if info, err := file.Stat(); err == nil {
		offset = max(0, info.Size()-tailBytes)
	}
	n, _ := file.ReadAt(buffer, offset)
	lines := strings.Split(strings.TrimRight(string(buffer[:n]), "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "    " + strings.Join(lines, "\n    ")
}

// reload makes an HAProxy master reload.
func (p *process) reload(l *life) error {
	if err := syscall.Kill(l.pid, syscall.SIGUSR2); err != nil {
		return fmt.Errorf("reloading %s of %s: %w", p.part, p.node, err)
	}
	return nil
}

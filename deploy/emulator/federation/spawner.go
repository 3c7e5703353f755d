package federation

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts processes that the kernel kills when this program ends, in
// whatever way. The kernel ties a process's death to the thread that started
// it, so all are started by one thread that lives as long as the spawner.
type spawner struct {
	jobs chan spawnJob
	quit chan struct{}
}

type spawnJob struct {
	cmd  *exec.Cmd
	done chan error
}

// newSpawner returns a spawner whose thread has called enter, which may be nil.
func newSpawner(enter func() error) (*spawner, error) {
	s := &spawner{jobs: make(chan spawnJob), quit: make(chan struct{})}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var err error
		if enter != nil {
			err = enter()
		}
		if entered <- err; err != nil {
			return
		}
		for {
			select {
			case job := <-s.jobs:
				job.done <- job.cmd.Start()
			case <-s.quit:
				return
			}
		}
	}()
	return s, <-entered
}

var errStopped = errors.New("the federation has been stopped")

// start starts cmd in a process group of its own.
func (s *spawner) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	job := spawnJob{cmd, make(chan error, 1)}
	select {
	case s.jobs <- job:
		return <-job.done
	case <-s.quit:
		return errStopped
	}
}

// close ends the thread, and with it every process that still runs.
func (s *spawner) close() { close(s.quit) }

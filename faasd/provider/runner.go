package provider

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// openfaasSecrets is where OpenFaaS puts a function's secrets.
	openfaasSecrets = "/var/openfaas/secrets"
	// threadIdle is how long a runner keeps its thread when nothing runs.
	threadIdle = time.Minute
)

// runner starts the processes of one deployment. They are started by a thread of
// the runner's own, since a process may do what the thread that started it may: so
// a confined process costs no more than any other. It is safe for concurrent use.
type runner struct {
	spec  *spec
	book  *logBook
	mount string // the directory of its secrets
	env   []string
	argv  []string

	confinement *confinement // nil: processes may do what the provider may
	readable    []string     // directories that are hidden from others

	user  uint32 // that its processes run as; 0: the provider's
	users *users // where it is from

	mu      sync.Mutex
	jobs    chan startJob // nil while there is no thread
	running int           // processes that have been started, or are about to be
	closed  bool
}

// startJob asks the thread to start a process.
type startJob struct {
	cmd     *exec.Cmd
	started chan error
}

func newRunner(s *spec, book *logBook, mount string, c *confinement, readable ...string) *runner {
	r := &runner{spec: s, book: book, mount: mount, confinement: c, readable: append(readable, mount)}
	r.env = append(r.env, "secret_mount_path="+mount)
	for _, variable := range s.env {
		name, value, _ := strings.Cut(variable, "=")
		r.env = append(r.env, name+"="+r.relocate(value))
	}
	for i, arg := range s.argv {
		if i > 0 {
			arg = r.relocate(arg)
		}
		r.argv = append(r.argv, arg)
	}
	return r
}

// relocate lets a text that names a file in openfaasSecrets name it where it is.
func (r *runner) relocate(text string) string {
	if text == openfaasSecrets {
		return r.mount
	}
	return strings.ReplaceAll(text, openfaasSecrets+"/", r.mount+"/")
}

// command prepares a process of the function: in a process group of its own,
// which is killed as a whole when ctx ends, and killed by the kernel when the
// provider, or rather the thread that started it, ends.
func (r *runner) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.argv[0], r.argv[1:]...)
	cmd.Env = r.env[:len(r.env):len(r.env)]
	cmd.Dir = "/"
	cmd.Stderr = r.book.writer
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: credential(r.user)}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	return cmd
}

// start starts a process. When it has ended, ended must be called, unless start
// fails.
func (r *runner) start(cmd *exec.Cmd) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		cmd.Err = errStopping
		return cmd.Start() // which does nothing but close its files
	}
	if r.jobs == nil {
		r.jobs = make(chan startJob)
		go r.serve(r.jobs)
	}
	r.running++
	jobs := r.jobs
	r.mu.Unlock()
	job := startJob{cmd: cmd, started: make(chan error, 1)}
	jobs <- job
	err := <-job.started
	if err != nil {
		r.ended()
	}
	return err
}

// ended says that a process has ended.
func (r *runner) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if r.closed && r.running == 0 && r.jobs != nil {
		close(r.jobs)
		r.jobs = nil
	}
}

// close gives the thread up once nothing runs any more. No process can be started
// then.
func (r *runner) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.running == 0 && r.jobs != nil {
		close(r.jobs)
		r.jobs = nil
	}
}

// serve starts processes in a thread of its own.
func (r *runner) serve(jobs chan startJob) {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	if unix.Gettid() != unix.Getpid() {
		r.work(jobs)
		return
	}
	// The main thread stands for the whole program, and must stay what it is.
	taken := make(chan struct{})
	go func() {
		runtime.LockOSThread() // another one: this one is taken
		close(taken)
		r.work(jobs)
	}()
	<-taken
	runtime.UnlockOSThread()
}

func (r *runner) work(jobs chan startJob) {
	err := dropCapabilities()
	if err == nil && r.confinement != nil {
		if err = r.confinement.apply(r.readable...); err != nil {
			err = fmt.Errorf("confine the process: %w", err)
		}
	}
	idle := time.NewTimer(threadIdle)
	for {
		select {
		case job, ok := <-jobs:
			if !ok {
				return
			}
			if err != nil {
				job.cmd.Err = err
			}
			job.started <- job.cmd.Start()
			idle.Reset(threadIdle)
		case <-idle.C:
			if r.idle() {
				return
			}
			idle.Reset(threadIdle)
		}
	}
}

// idle gives the thread up if nothing runs. A process that it started would be
// killed with it.
func (r *runner) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running > 0 {
		return false
	}
	r.jobs = nil
	return true
}

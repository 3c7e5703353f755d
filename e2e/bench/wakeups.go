package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// wakeUps measures what the machine itself takes, with nothing of DFaaS in it, for
// what a question to dfaas-spoa needs at least: one thread wakes another on
// another CPU, which wakes it in turn. It does so n times at the pace of the
// latency's requests, and returns the times in microseconds; none on a machine
// with one CPU.
func wakeUps(ctx context.Context, n int) ([]float64, error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("finding the CPUs: %w", err)
	}
	var cpus []int
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < 2 {
		return nil, nil
	}
	var there, back [2]int
	if err := unix.Pipe2(there[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("opening a pipe: %w", err)
	}
	if err := unix.Pipe2(back[:], unix.O_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a pipe: %w", err), unix.Close(there[0]), unix.Close(there[1]))
	}
	echo := make(chan struct{})
	go func() {
		defer close(echo)
		defer unix.Close(back[1])
		defer unix.Close(there[0])
		unpin, err := pin(cpus[1], &all)
		if err == nil {
			defer unpin()
			for pass(unix.Read, there[0]) && pass(unix.Write, back[1]) {
			}
		}
	}()
	defer func() {
		unix.Close(there[1]) // which ends the other
		<-echo
		unix.Close(back[0])
	}()
	unpin, err := pin(cpus[0], &all)
	if err != nil {
		return nil, fmt.Errorf("binding a thread to a CPU: %w", err)
	}
	defer unpin()
	took := make([]float64, 0, n)
	for start := time.Now(); len(took) < n && ctx.Err() == nil; {
		sleepUntil(start.Add(time.Duration(len(took)) * time.Second / time.Duration(pacedRates[0])))
		asked := time.Now()
		if !pass(unix.Write, there[1]) || !pass(unix.Read, back[0]) {
			return nil, fmt.Errorf("waking a thread on CPU %d: it does not answer", cpus[1])
		}
		took = append(took, float64(time.Since(asked))/float64(time.Microsecond))
	}
	return took, ctx.Err()
}

// pin binds the goroutine to a thread and that to one CPU, until it is unpinned to
// all of them. The thread must not end: processes that it has started would.
func pin(cpu int, all *unix.CPUSet) (unpin func(), err error) {
	runtime.LockOSThread()
	var only unix.CPUSet
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		if unix.SchedSetaffinity(0, all) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}

// pass reads or writes one byte. Go's scheduler is told, which costs a little: a
// thread that it could not stop would wait for ever for one that it has stopped.
func pass(call func(fd int, p []byte) (int, error), fd int) bool {
	var b [1]byte
	for {
		if n, err := call(fd, b[:]); !errors.Is(err, unix.EINTR) {
			return n == 1
		}
	}
}

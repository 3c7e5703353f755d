package main

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// It is for threads that were there before, and for later ones.
func TestSlacken(t *testing.T) {
	measured := make(chan time.Duration)
	// thread measures on a thread of its own, once it is told to.
	thread := func() (measure chan<- struct{}) {
		locked, now := make(chan struct{}), make(chan struct{})
		go func() {
			runtime.LockOSThread() // until the goroutine ends, and the thread with it
			close(locked)
			<-now
			slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
			if err != nil {
				t.Error(err)
			}
			measured <- time.Duration(slack)
		}()
		<-locked
		return now
	}
	close(thread())
	byDefault := <-measured

	earlier := thread()
	if err := slacken(); errors.Is(err, syscall.ENOTSUP) {
		t.Skip("with cgo this cannot be had: CGO_ENABLED=0 go test")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(byDefault), 0)
	})
	for _, measure := range []chan<- struct{}{earlier, thread()} {
		close(measure)
		if slack := <-measured; slack != timerSlack {
			t.Errorf("a timer may be %v late, want %v", slack, timerSlack)
		}
	}
}

package link

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer wakes one goroutine, to some ten microseconds: Go's own timers are late by up to
// a millisecond where nothing else happens.
type timer struct {
	fd   int
	file *os.File
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("a timer of the kernel's: %w", err)
	}
	return &timer{fd, os.NewFile(uintptr(fd), "timer")}, nil
}

// set has the timer expire in that time, whatever it was set to before. It must not be
// closed.
func (t *timer) set(in time.Duration) {
	// The arguments are good, so this cannot fail.
	_ = unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, in.Nanoseconds()))}, nil)
}

// wait returns when the timer has expired, or with an error when it is closed.
func (t *timer) wait() error {
	var count [8]byte
	_, err := t.file.Read(count[:])
	return err
}

func (t *timer) close() error { return t.file.Close() }

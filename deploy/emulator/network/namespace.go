package network

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// namespace is a network namespace without a name: it lives as long as this
// program holds it open or a process runs in it, and not a moment longer.
type namespace struct{ handle netns.NsHandle }

// ErrUnavailable says that this program may not make networks here.
var ErrUnavailable = errors.New("network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN): try sudo; " +
	"without, a scenario can have a topology whose links do nothing, and no partition")

func newNamespace() (namespace, error) {
	s := namespace{netns.None()}
	err := onThread(func() (err error) {
		s.handle, err = netns.New()
		return err
	})
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s, nil
}

// enter moves the calling thread into the namespace.
func (s namespace) enter() error {
	if err := netns.Set(s.handle); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}

// do calls f inside the namespace.
func (s namespace) do(f func() error) error {
	return onThread(func() error {
		if err := s.enter(); err != nil {
			return err
		}
		return f()
	})
}

func (s *namespace) close() error {
	if !s.handle.IsOpen() {
		return nil
	}
	return s.handle.Close()
}

// onThread calls f on a thread that ends with it, so that no other goroutine
// ever runs on one that has moved into a namespace.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		done <- f()
	}()
	return <-done
}

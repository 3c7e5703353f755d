package network_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/network"
)

// three returns a network of the hosts a, b and c.
func three(t *testing.T) (*network.Network, map[string]*network.Host) {
	t.Helper()
	n, err := network.New()
	if errors.Is(err, network.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	hosts := make(map[string]*network.Host)
	for _, name := range []string{"a", "b", "c"} {
		if hosts[name], err = n.Add(name); err != nil {
			t.Fatal(err)
		}
		serve(t, hosts[name])
	}
	return n, hosts
}

// serve tells everybody who connects to port 80 the host's name.
func serve(t *testing.T, h *network.Host) {
	t.Helper()
	var l net.Listener
	at(t, h, func() (err error) {
		l, err = net.Listen("tcp", h.Addr.String()+":80")
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, h.Name)
			conn.Close()
		}
	}()
}

// at calls f at the host.
func at(t *testing.T, h *network.Host, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := h.Enter()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// patience is how long an answer may take on a busy machine.
const patience = 20 * time.Second

// reaches reports whether to answers what from asks it: that it does may take some time,
// since the kernel asks for hardware addresses once a second, and on a busy machine that
// it does not must be seen once.
func reaches(t *testing.T, from, to *network.Host, want bool) bool {
	t.Helper()
	for began := time.Now(); ; {
		if got := reach(t, from, to); got == want || !want || time.Since(began) > patience {
			return got
		}
	}
}

// reach is one attempt.
func reach(t *testing.T, from, to *network.Host) bool {
	t.Helper()
	answer := ""
	at(t, from, func() error {
		conn, err := net.DialTimeout("tcp", to.Addr.String()+":80", 300*time.Millisecond)
		if err != nil {
			return nil
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		text, err := io.ReadAll(conn)
		answer = string(text)
		return err
	})
	return answer == to.Name
}

func TestPartAndHeal(t *testing.T) {
	n, hosts := three(t)
	expect := func(when string, together ...string) {
		t.Helper()
		for _, from := range hosts {
			for _, to := range hosts {
				want := from == to
				for _, group := range together {
					want = want || strings.Contains(group, from.Name) && strings.Contains(group, to.Name)
				}
				if got := reaches(t, from, to, want); got != want {
					t.Errorf("%s: %s reaches %s: %t, want %t", when, from.Name, to.Name, got, want)
				}
			}
		}
	}
	act := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("at first", "abc")
	act(n.Partition("c"))
	expect("c parted", "ab", "c")
	act(n.Heal("c"))
	expect("c healed", "abc")
	act(n.Partition("a", "b"))
	expect("a and b parted from c", "ab", "c")
	act(n.Partition("b"))
	expect("each alone", "a", "b", "c")
	act(n.Heal())
	expect("all healed", "abc")
	if err := n.Partition("d"); err == nil {
		t.Error("a host that is not there was parted")
	}
}

// Users are at their node: no partition cuts them off from it.
func TestDial(t *testing.T) {
	n, hosts := three(t)
	if err := n.Partition("a"); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		conn, err := n.DialContext(t.Context(), "tcp", h.Addr.String()+":80")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err != nil || string(text) != h.Name {
			t.Errorf("%s answered %q, %v", h.Name, text, err)
		}
		conn.Close()
	}
	for _, address := range []string{"10.77.0.9:80", "127.0.0.1:80", "localhost:80", ""} {
		if _, err := n.DialContext(t.Context(), "tcp", address); err == nil {
			t.Errorf("connected to %q", address)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.DialContext(ended, "tcp", hosts["a"].Addr.String()+":80"); err == nil {
		t.Errorf("connected although the context had ended: %v", err)
	}
}

// Nothing of the network is visible from outside, and nothing is left of it.
func TestNothingIsTouched(t *testing.T) {
	before := interfaces(t)
	n, _ := three(t)
	if now := interfaces(t); now != before {
		t.Errorf("interfaces of the machine: %s, before: %s", now, before)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	for range 50 { // no goroutine runs on a thread that was left in a namespace
		at := make(chan string)
		go func() { at <- interfaces(t) }()
		if got := <-at; got != before {
			t.Fatalf("a goroutine sees the interfaces %s", got)
		}
	}
}

func interfaces(t *testing.T) string {
	all, err := net.Interfaces()
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

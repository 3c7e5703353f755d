package port

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// TestKeep: what is kept is nobody else's to keep, nobody answers there, and a server can
// listen, more than once.
func TestKeep(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if _, err := Keep(at); err == nil {
		t.Error("kept although somebody listens")
	}
	l.Close()
	release, err := Keep(at)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Keep(at); err == nil {
			t.Error("kept twice")
		}
		if _, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting gave: %v", err)
		}
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	release()
	if release, err = Keep(at); err != nil {
		t.Fatal(err)
	}
	release()
}

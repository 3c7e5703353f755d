// Package port keeps TCP ports for whoever is to listen at them later.
package port

import (
	"errors"
	"net/netip"
	"syscall"
)

// Keep takes a port of an IPv4 address that nobody has, until the function that it returns
// is called. Meanwhile nobody else can keep it, in this program or another, while a server
// that sets SO_REUSEADDR, as those in Go and HAProxy do, can listen there.
func Keep(at netip.AddrPort) (release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	if err == nil {
		// Only now: with it, binding would succeed beside other such sockets.
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	return func() { _ = syscall.Close(fd) }, nil // it was bound, that is all
}

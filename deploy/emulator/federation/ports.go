package federation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// host is where all nodes live that have no address of their own.
const host = "127.0.0.1"

// ownPorts are those of nodes that have an address of their own.
var ownPorts = Ports{HTTP: 80, TLS: 443, Stats: 8404, Gateway: 8080, Overlay: 4001}

// Free ports are looked for below the range from which the kernel takes the
// ports of outgoing connections, so that none of these gets in between.
const lowestPort, highestPort = 20_000, 31_999

// Ports are the TCP ports of one node.
type Ports struct {
	HTTP  int // HAProxy: users and peers
	TLS   int // HAProxy: peers with TLS; 0 without
	Stats int // HAProxy: statistics page
	// Gateway is the provider's, Overlay the controller's.
	Gateway, Overlay int
}

// allocator hands out free ports, each once. It has for each the descriptor of a
// socket that is bound to it and never listens, or notKept: until close no other
// allocator, of this program or another, takes the port, while a server that sets
// SO_REUSEADDR, as all here do, can have it.
type allocator map[int]int

// notKept stands for a port that its user chose.
const notKept = -1

// node returns free ports for one node; those given in fixed are kept, after a
// look whether they are free.
func (a allocator) node(fixed Ports, tls bool) (Ports, error) {
	ports := fixed
	var errs []error
	for _, port := range []*int{&ports.HTTP, &ports.Stats, &ports.Gateway, &ports.Overlay} {
		errs = append(errs, a.take(port))
	}
	if tls {
		errs = append(errs, a.take(&ports.TLS))
	}
	return ports, errors.Join(errs...)
}

func (a allocator) take(port *int) error {
	if *port != 0 {
		if _, taken := a[*port]; taken || !free(*port) {
			return fmt.Errorf("port %d of %s is in use: stop what listens there (`ss -ltnp` shows it)", *port, host)
		}
		a[*port] = notKept
		return nil
	}
	for range 1000 {
		candidate := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if fd, err := keep(candidate); err == nil {
			a[candidate] = fd
			*port = candidate
			return nil
		}
	}
	return fmt.Errorf("no free port between %d and %d on %s", lowestPort, highestPort, host)
}

// keep binds a socket to a port that nobody has.
func keep(port int) (fd int, err error) {
	if fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(host).As4()})
	if err == nil {
		// Only now: with it, binding would succeed beside other such sockets.
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		return 0, errors.Join(err, syscall.Close(fd))
	}
	return fd, nil
}

// close lets others have the ports.
func (a allocator) close() {
	for _, fd := range a {
		if fd != notKept {
			_ = syscall.Close(fd) // it was bound, that is all
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", address(host, port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

package federation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"

	"github.com/dfaas/dfaas/internal/port"
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

// allocator hands out free ports, each once, and has for each what gives it back: until
// close they are kept. Those that their user chose are not.
type allocator map[int]func()

func notKept() {}

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

func (a allocator) take(number *int) error {
	if *number != 0 {
		if _, taken := a[*number]; taken || !free(*number) {
			return fmt.Errorf("port %d of %s is in use: stop what listens there (`ss -ltnp` shows it)", *number, host)
		}
		a[*number] = notKept
		return nil
	}
	for range 1000 {
		candidate := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if release, err := keep(candidate); err == nil {
			a[candidate] = release
			*number = candidate
			return nil
		}
	}
	return fmt.Errorf("no free port between %d and %d on %s", lowestPort, highestPort, host)
}

// keep keeps a port that nobody has.
func keep(number int) (release func(), err error) {
	return port.Keep(netip.AddrPortFrom(netip.MustParseAddr(host), uint16(number)))
}

// close lets others have the ports.
func (a allocator) close() {
	for _, release := range a {
		release()
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

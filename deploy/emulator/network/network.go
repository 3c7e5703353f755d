// Package network connects hosts, each in a network namespace of its own with an
// address of its own: all by a bridge of the kernel's, or as a topology says, with links
// that take their time, by a switch in this program.
//
//	n, err := network.New()
//	defer n.Close()
//	a, err := n.Add("a")              // 10.77.0.1
//	b, err := n.Add("b")              // 10.77.0.2
//	err = a.Enter()                   // what this thread starts, runs at a
//	conn, err := n.DialContext(ctx, "tcp", "10.77.0.2:80") // as somebody at b does
//	err = n.Partition("b")            // a and b cannot reach each other
//	err = n.Heal()
//
// The bridge lives in a namespace of its own, and none has a name: nothing of the
// machine's own network is touched, and nothing is left when the program and the
// processes that it started have ended, in whatever way.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/dfaas/dfaas/internal/experiment/topology"
)

const (
	prefix   = 16
	maxHosts = topology.MaxNodes
)

var base = netip.AddrFrom4([4]byte{10, 77, 0, 0})

// Network is safe for concurrent use.
type Network struct {
	links *links // nil: a bridge

	hub namespace // of the bridges
	ctl *netlink.Handle

	mu    sync.Mutex
	hosts []*Host
	// sides counts the bridges, or the sides of a switch. The first connects all hosts unless they are
	// parted; those that are, are moved to another one, so that what they send
	// to the rest goes nowhere, as on a line that was cut further away.
	sides int
}

// Host is one end of the network.
type Host struct {
	Name string
	Addr netip.Addr

	space namespace
	port  netlink.Link // at the bridge
	side  netlink.Link // the bridge
}

// New makes a network without hosts, which a bridge will connect.
func New() (_ *Network, err error) {
	n := &Network{}
	if n.hub, err = newNamespace(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if n.ctl, err = netlink.NewHandleAt(n.hub.handle); err != nil {
		return nil, fmt.Errorf("controlling the network: %w", err)
	}
	if _, err = n.newSide(); err != nil {
		return nil, err
	}
	return n, nil
}

// newSide makes another bridge.
func (n *Network) newSide() (netlink.Link, error) {
	side := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	side.Name = fmt.Sprintf("side%d", n.sides)
	if err := n.ctl.LinkAdd(side); err != nil {
		return nil, fmt.Errorf("making a bridge (is the kernel's module bridge there?): %w", err)
	}
	if err := n.ctl.LinkSetUp(side); err != nil {
		return nil, fmt.Errorf("making a bridge: %w", err)
	}
	n.sides++
	return side, nil
}

// Add makes a host and connects it to all that are not parted.
func (n *Network) Add(name string) (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.find(name) != nil {
		return nil, fmt.Errorf("host %s is there already", name)
	}
	if len(n.hosts) == maxHosts {
		return nil, fmt.Errorf("a network has %d hosts at most", maxHosts)
	}
	h := &Host{Name: name}
	var err error
	if h.space, err = newNamespace(); err != nil {
		return nil, err
	}
	number := len(n.hosts) + 1
	ip := base.As4()
	ip[2], ip[3] = byte(number>>8), byte(number)
	h.Addr = netip.AddrFrom4(ip)
	connect := n.connect
	if n.links != nil {
		connect = n.links.connect
	}
	if err := connect(h, number); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting host %s: %w", name, err), h.space.close())
	}
	n.hosts = append(n.hosts, h)
	return h, nil
}

// device is a host's, by which it is connected.
const device = "eth0"

// connect gives the host its address and a port at the first bridge.
func (n *Network) connect(h *Host, number int) error {
	side, err := n.ctl.LinkByName("side0")
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = fmt.Sprintf("port%d", number), side.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: device, PeerNamespace: netlink.NsFd(h.space.handle)}
	if err := n.ctl.LinkAdd(veth); err != nil {
		return err
	}
	h.side = side
	if h.port, err = n.ctl.LinkByName(attrs.Name); err != nil {
		return err
	}
	if err := n.ctl.LinkSetUp(h.port); err != nil {
		return err
	}
	return h.configure()
}

// configure brings up the host's devices.
func (h *Host) configure() error {
	ctl, err := netlink.NewHandleAt(h.space.handle)
	if err != nil {
		return err
	}
	defer ctl.Close()
	for name, addr := range map[string]netip.Prefix{
		"lo": netip.MustParsePrefix("127.0.0.1/8"), device: netip.PrefixFrom(h.Addr, prefix),
	} {
		link, err := ctl.LinkByName(name)
		if err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr(addr.String())
		if err != nil {
			return err
		}
		// The kernel gives lo its address when it comes up.
		if err := ctl.LinkSetUp(link); err != nil {
			return err
		}
		if name == device {
			if err := ctl.AddrAdd(link, parsed); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Network) find(name string) *Host {
	i := n.index(name)
	if i < 0 {
		return nil
	}
	return n.hosts[i]
}

// Enter moves the calling thread, which must be locked to its goroutine for good,
// to the host: what it starts runs there.
func (h *Host) Enter() error { return h.space.enter() }

// Partition cuts the hosts off from all others. They still reach one another.
func (n *Network) Partition(names ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links != nil {
		n.sides++
		return n.onSide(names, n.sides)
	}
	side, err := n.newSide()
	if err != nil {
		return err
	}
	return n.move(names, side)
}

// Heal connects the hosts again to all that are not parted; without names, all
// of them.
func (n *Network) Heal(names ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(names) == 0 {
		for _, h := range n.hosts {
			names = append(names, h.Name)
		}
	}
	if n.links != nil {
		return n.onSide(names, 0)
	}
	side, err := n.ctl.LinkByName("side0")
	if err != nil {
		return fmt.Errorf("healing the network: %w", err)
	}
	return n.move(names, side)
}

// move plugs the hosts' lines into another bridge.
func (n *Network) move(names []string, side netlink.Link) error {
	for _, name := range names {
		h := n.find(name)
		if h == nil {
			return fmt.Errorf("there is no host %q", name)
		}
		if err := n.ctl.LinkSetMaster(h.port, side); err != nil {
			return fmt.Errorf("moving host %s: %w", name, err)
		}
		left := h.side
		h.side = side
		if err := n.tidy(left); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes a bridge at which nobody is left, unless it is the first.
func (n *Network) tidy(side netlink.Link) error {
	index := side.Attrs().Index
	if side.Attrs().Name == "side0" || slices.ContainsFunc(n.hosts, func(h *Host) bool { return h.side.Attrs().Index == index }) {
		return nil
	}
	if err := n.ctl.LinkDel(side); err != nil {
		return fmt.Errorf("removing a bridge: %w", err)
	}
	return nil
}

// DialContext connects to an address of a host as somebody at that host does:
// users are where their node is, and never cut off from it.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", address, err)
	}
	n.mu.Lock()
	hosts := n.hosts // only ever grows
	n.mu.Unlock()
	i := slices.IndexFunc(hosts, func(h *Host) bool { return h.Addr == to.Addr() })
	if i < 0 {
		return nil, fmt.Errorf("dialling %s: no host of this network has that address", address)
	}
	return hosts[i].DialContext(ctx, network, address)
}

// Namespace is the path of the host's network namespace, for nsenter and the like, as
// long as this program runs and the network is not closed.
func (h *Host) Namespace() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.space.handle))
}

// Do calls f at the host.
func (h *Host) Do(f func() error) error { return h.space.do(f) }

// DialContext connects to a literal address, from the host.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		// To look up a name, a Dialer would use goroutines that are elsewhere.
		return nil, fmt.Errorf("dialling %s from %s: %w", address, h.Name, err)
	}
	err = h.space.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Close lets go of the namespaces. Each ends with the last process in it.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctl != nil {
		n.ctl.Close()
	}
	errs := []error{n.hub.close()}
	if n.links != nil {
		errs = append(errs, n.links.Close())
	}
	for _, h := range n.hosts {
		errs = append(errs, h.space.close())
	}
	return errors.Join(errs...)
}

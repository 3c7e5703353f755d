package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/dfaas/dfaas/deploy/emulator/link"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// links connects hosts by a switch.
type links struct {
	*link.Switch
	topology *topology.Topology
}

// NewLinked makes a network without hosts, which will be connected as the topology says:
// the first that is added is its node 0. What its links lose follows from the seed.
func NewLinked(t *topology.Topology, seed uint64) (*Network, error) {
	s, err := link.New(t, seed, nodeAt)
	if err != nil {
		return nil, err
	}
	return &Network{links: &links{s, t}, hub: namespace{netns.None()}}, nil
}

// nodeAt is the node with that address, -1 if it is of another network.
func nodeAt(a netip.Addr) int {
	if !netip.PrefixFrom(base, prefix).Contains(a) {
		return -1
	}
	ip := a.As4()
	return (int(ip[2])<<8 | int(ip[3])) - 1
}

// connect gives the host a device whose other end is at the switch.
func (l *links) connect(h *Host, number int) error {
	var tap *os.File
	err := h.space.do(func() (err error) {
		tap, err = link.OpenTAP(device)
		return err
	})
	if err != nil {
		return err
	}
	if err := l.address(h, number-1); err != nil {
		return errors.Join(err, tap.Close())
	}
	if err := h.configure(); err != nil {
		return errors.Join(err, tap.Close())
	}
	if err := l.Attach(number-1, tap); err != nil {
		return errors.Join(err, tap.Close())
	}
	return nil
}

// txQueue is how many frames of a host may wait for the switch.
const txQueue = 8192

// address gives the host's device the hardware address that the switch goes by.
func (l *links) address(h *Host, node int) error {
	ctl, err := netlink.NewHandleAt(h.space.handle)
	if err != nil {
		return err
	}
	defer ctl.Close()
	tap, err := ctl.LinkByName(device)
	if err != nil {
		return err
	}
	// What a window of some megabytes sends at once must not be lost before the switch.
	if err := ctl.LinkSetTxQLen(tap, txQueue); err != nil {
		return err
	}
	return ctl.LinkSetHardwareAddr(tap, link.MAC(node))
}

// onSide moves hosts to a side of the switch.
func (n *Network) onSide(names []string, side int) error {
	for _, name := range names {
		i := n.index(name)
		if i < 0 {
			return fmt.Errorf("there is no host %q", name)
		}
		n.links.SetSide(i, side)
	}
	return nil
}

func (n *Network) index(name string) int {
	return slices.IndexFunc(n.hosts, func(h *Host) bool { return h.Name == name })
}

// Link is a link as it is now.
type Link struct {
	Between [2]string
	topology.Link
	Down bool
}

// ErrNoLinks says that a network has none that could be changed.
var ErrNoLinks = errors.New("this network has no links: all hosts are connected by one bridge")

// Links lists the links.
func (n *Network) Links() []Link {
	if n.links == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []Link
	for i, e := range n.links.topology.Edges {
		if max(e.A, e.B) >= len(n.hosts) {
			continue
		}
		l, down := n.links.Link(i)
		list = append(list, Link{[2]string{n.hosts[e.A].Name, n.hosts[e.B].Name}, l, down})
	}
	return list
}

// ChangeLink changes the link between two hosts.
func (n *Network) ChangeLink(a, b string, change func(*topology.Link) error) error {
	edge, err := n.edge(a, b)
	if err != nil {
		return err
	}
	l, _ := n.links.Link(edge)
	if err := change(&l); err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return err
	}
	n.links.Set(edge, l)
	return nil
}

// SetDown takes the link between two hosts down, or up again.
func (n *Network) SetDown(a, b string, down bool) error {
	edge, err := n.edge(a, b)
	if err != nil {
		return err
	}
	n.links.SetDown(edge, down)
	return nil
}

func (n *Network) edge(a, b string) (int, error) {
	if n.links == nil {
		return 0, ErrNoLinks
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i, k := n.index(a), n.index(b)
	switch {
	case i < 0:
		return 0, fmt.Errorf("there is no host %q", a)
	case k < 0:
		return 0, fmt.Errorf("there is no host %q", b)
	}
	edge, ok := n.links.topology.Find(i, k)
	if i == k || !ok {
		return 0, fmt.Errorf("%s and %s are not linked", a, b)
	}
	return edge, nil
}

// Counts are what became of what hosts sent each other; all 0 with a bridge.
func (n *Network) Counts() link.Counts {
	if n.links == nil {
		return link.Counts{}
	}
	return n.links.Counts()
}

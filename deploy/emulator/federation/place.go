package federation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"

	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// place is where a node lives.
type place struct {
	host    string // IP address
	ports   Ports
	spawner *spawner
	dial    dialer // from there
	space   string // path of the network namespace; "": that of this program
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func (p place) address(port int) string { return address(p.host, port) }

// gateway is the address of the node's own provider: whoever reaches it could
// deploy functions, so nobody does from elsewhere.
func (p place) gateway() string { return address(host, p.ports.Gateway) }

// places finds one for every node: a port range of the loopback interface, where
// one spawner starts everything, or a host of the network with a spawner there.
func (f *Federation) places(o Options) ([]place, error) {
	places := make([]place, len(o.Nodes))
	if f.network == nil {
		shared, err := f.newSpawner(nil)
		if err != nil {
			return nil, err
		}
		for i, spec := range o.Nodes {
			var fixed Ports
			if i < len(o.Ports) {
				fixed = o.Ports[i]
			}
			ports, err := f.taken.node(fixed, o.TLS)
			if err != nil {
				return nil, fmt.Errorf("ports of %s: %w", spec.Name, err)
			}
			places[i] = place{host, ports, shared, new(net.Dialer).DialContext, ""}
		}
		return places, nil
	}
	for i, spec := range o.Nodes {
		h, err := f.network.Add(spec.Name)
		if err != nil {
			return nil, err
		}
		s, err := f.newSpawner(h.Enter)
		if err != nil {
			return nil, fmt.Errorf("a thread for %s: %w", spec.Name, err)
		}
		ports := ownPorts
		if !o.TLS {
			ports.TLS = 0
		}
		places[i] = place{h.Addr.String(), ports, s, h.DialContext, h.Namespace()}
	}
	return places, nil
}

func (f *Federation) newSpawner(enter func() error) (*spawner, error) {
	s, err := newSpawner(enter)
	if err != nil {
		return nil, err
	}
	f.spawners = append(f.spawners, s)
	return s, nil
}

// Beside starts a program that belongs to no node and ends with the federation, at
// the latest. It returns the IP address that the program has: in a network its own.
func (f *Federation) Beside(name string, command *exec.Cmd) (string, error) {
	where, enter := host, (func() error)(nil)
	if f.network != nil {
		h, err := f.network.Add(name)
		if err != nil {
			return "", err
		}
		where, enter = h.Addr.String(), h.Enter
	}
	s, err := f.newSpawner(enter)
	if err != nil {
		return "", fmt.Errorf("a thread for %s: %w", name, err)
	}
	if err := s.start(command); err != nil {
		return "", fmt.Errorf("starting %s: %w", name, err)
	}
	return where, nil
}

// Dial connects to an address of a node as its users do.
func (f *Federation) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if f.network != nil {
		return f.network.DialContext(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Do does a fault, or what ends one.
func (f *Federation) Do(ctx context.Context, fault scenario.Fault) error {
	switch fault.Do {
	case scenario.Partition:
		return f.Partition(fault.Nodes...)
	case scenario.Heal:
		return f.Heal(fault.Nodes...)
	case scenario.ChangeLink:
		return f.ChangeLink(fault.Between[0], fault.Between[1], func(l *topology.Link) error { *l = fault.Link; return nil })
	case scenario.LinkDown, scenario.LinkUp:
		return f.SetLinkDown(fault.Between[0], fault.Between[1], fault.Do == scenario.LinkDown)
	}
	n := f.Node(fault.Node)
	if n == nil {
		return fmt.Errorf("there is no node %q", fault.Node)
	}
	return n.Do(ctx, fault.Do, fault.Part)
}

var errOneInterface = errors.New("nodes that share the loopback interface cannot be parted: start them from a scenario with network: namespaces (from Go: with Namespaces)")

// Partition cuts the nodes off from all others. They still reach one another,
// and each its own users.
func (f *Federation) Partition(nodes ...string) error {
	if f.network == nil {
		return errOneInterface
	}
	return f.network.Partition(nodes...)
}

// ChangeLink changes the link between two nodes.
func (f *Federation) ChangeLink(a, b string, change func(*topology.Link) error) error {
	if f.network == nil {
		return errNoLinks
	}
	return f.network.ChangeLink(a, b, change)
}

// SetLinkDown takes the link between two nodes down, or up again.
func (f *Federation) SetLinkDown(a, b string, down bool) error {
	if f.network == nil {
		return errNoLinks
	}
	return f.network.SetDown(a, b, down)
}

// Links lists the links between nodes, none where they are connected otherwise.
func (f *Federation) Links() []network.Link {
	if f.network == nil {
		return nil
	}
	return f.network.Links()
}

var errNoLinks = errors.New("nodes that share the loopback interface have no links: start them from a scenario with network: namespaces and a topology (from Go: with Namespaces and a Topology)")

// Heal ends the partition of these nodes, of all nodes if none is named.
func (f *Federation) Heal(nodes ...string) error {
	if f.network == nil {
		return errOneInterface
	}
	return f.network.Heal(nodes...)
}

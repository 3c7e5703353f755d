package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/dfaas/dfaas/deploy/emulator/door"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
)

// ways lead from this machine to a node with a network of its own: to where it serves, to
// its statistics page and to its provider.
type ways [3]*door.Door

func (w ways) url() string     { return "http://" + w[0].Address() }
func (w ways) stats() string   { return "http://" + w[1].Address() }
func (w ways) gateway() string { return "http://" + w[2].Address() }

// open opens the ways to all nodes that need some, at the ports of the loopback interface
// that they would have without networks of their own.
func (s *server) open(f *federation.Federation, ports []federation.Ports) error {
	s.ways = make(map[string]ways)
	for i, n := range f.Nodes() {
		if n.Namespace == "" {
			continue
		}
		var p federation.Ports
		if i < len(ports) {
			p = ports[i]
		}
		var opened ways
		for k, way := range [3]struct {
			port int
			to   string
		}{{p.HTTP, n.URL}, {p.Stats, n.Stats}, {p.Gateway, n.Gateway}} {
			to, err := hostPort(way.to)
			if err == nil {
				opened[k], err = door.Open(fmt.Sprintf("127.0.0.1:%d", way.port), func(ctx context.Context) (net.Conn, error) {
					return n.Dial(ctx, "tcp", to)
				})
			}
			s.ways[n.Name] = opened // close closes those that are open
			if err != nil {
				return fmt.Errorf("the way to %s: %w", n.Name, err)
			}
		}
	}
	return nil
}

func hostPort(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")), nil
}

func (s *server) close() {
	for _, w := range s.ways {
		for _, d := range w {
			if d != nil {
				_ = d.Close() // its listener, that nobody needs any more
			}
		}
	}
}

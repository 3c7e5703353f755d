package overlay

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// carefulTCP is libp2p's TCP, dialling only what the book allows and telling it what
// came of it: every dial of this node goes through here.
type carefulTCP struct {
	*tcp.TcpTransport
	book *book
}

var _ transport.DialUpdater = (*carefulTCP)(nil)

func newTCP(b *book, up transport.Upgrader, limits network.ResourceManager) (*carefulTCP, error) {
	t, err := tcp.NewTCPTransport(up, limits, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(connectTimeout))
	if err != nil {
		return nil, err
	}
	return &carefulTCP{t, b}, nil
}

// Dial implements transport.Transport.
func (t *carefulTCP) Dial(ctx context.Context, addr ma.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	return t.DialWithUpdates(ctx, addr, id, nil)
}

// DialWithUpdates implements transport.DialUpdater.
func (t *carefulTCP) DialWithUpdates(ctx context.Context, addr ma.Multiaddr, id peer.ID, updates chan<- transport.DialUpdate) (
	transport.CapableConn, error,
) {
	done, err := t.book.begin(time.Now(), id, addr)
	if err != nil {
		return nil, err
	}
	conn, err := t.TcpTransport.DialWithUpdates(ctx, addr, id, updates)
	done(time.Now(), err == nil)
	return conn, err
}

// names resolves the names in addresses that the operator gave, and no others: a
// peer's address must not make this node ask name servers.
type names struct{ book *book }

var _ network.MultiaddrDNSResolver = names{}

// ResolveDNSAddr implements network.MultiaddrDNSResolver.
func (n names) ResolveDNSAddr(ctx context.Context, expected peer.ID, addr ma.Multiaddr, recursion, limit int) ([]ma.Multiaddr, error) {
	return n.named(addr, func() ([]ma.Multiaddr, error) {
		return swarm.ResolverFromMaDNS{Resolver: madns.DefaultResolver}.ResolveDNSAddr(ctx, expected, addr, recursion, limit)
	})
}

// ResolveDNSComponent implements network.MultiaddrDNSResolver.
func (n names) ResolveDNSComponent(ctx context.Context, addr ma.Multiaddr, limit int) ([]ma.Multiaddr, error) {
	return n.named(addr, func() ([]ma.Multiaddr, error) {
		return swarm.ResolverFromMaDNS{Resolver: madns.DefaultResolver}.ResolveDNSComponent(ctx, addr, limit)
	})
}

func (n names) named(addr ma.Multiaddr, resolve func() ([]ma.Multiaddr, error)) ([]ma.Multiaddr, error) {
	if !n.book.isNamed(addr) {
		return nil, fmt.Errorf("%s: %w", addr, errUnvouched)
	}
	addrs, err := resolve()
	n.book.name(addrs...)
	return addrs, err
}

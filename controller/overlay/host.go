package overlay

import (
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/sec"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dfaas/dfaas/controller/membership"
)

// Limits of connections. Every member is connected to every other, because only
// a direct connection proves an address.
const (
	connsLow  = membership.DefaultMaxMembers + 32 // down to which idle connections are closed
	connsHigh = membership.DefaultMaxMembers + 96 // when that begins
	connsMax  = membership.DefaultMaxMembers + 256
	// connsPerIP leaves room for many nodes behind one address.
	connsPerIP = 64
	// dialsPerIP is how many connections a second may begin from or to one
	// address, as when each node behind it is retried at the fastest, and
	// dialsAtOnce how many at once, as when all of them come back.
	dialsPerIP  = connsPerIP * int(time.Second/firstRetry)
	dialsAtOnce = 4 * connsPerIP
	// memoryMax bounds, in bytes, what libp2p may reserve for buffers, and peerMemory what
	// it may for one peer's. It reserves streamMemory for each stream as soon as there is
	// one, of which hardly anything is used: a peer has two streams of gossip and two
	// feeds, and some for a moment.
	streamMemory = 256 << 10
	memoryMax    = connsMax * 6 * streamMemory
	peerMemory   = 32 * streamMemory
	// scaledFor is the memory, in bytes, by which libp2p scales its other limits.
	scaledFor  = 64 << 20
	connsGrace = time.Minute
	// connectTimeout leaves TCP two tries, a second apart. What comes later would
	// be too late: TCP waits ever longer, while the keeper dials anew.
	connectTimeout = 2 * time.Second
	agentVersion   = "dfaas"
)

// newHost starts a libp2p host that does only what the overlay needs: TCP, noise
// and yamux; no relays, no NAT traversal, no QUIC. It keeps idle nodes idle. It does
// not listen yet.
//
// It is put together by hand. libp2p.New would link each transport that there is into the
// program, half of it in all, whether it is used or not.
func newHost(s settings, gate *gate, traffic *traffic) (host.Host, error) {
	limits, err := newLimits()
	if err != nil {
		return nil, fmt.Errorf("setting libp2p's limits: %w", err)
	}
	conns, err := connmgr.NewConnManager(connsLow, connsHigh, connmgr.WithGracePeriod(connsGrace))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("setting libp2p's connection limits: %w", err), limits.Close())
	}
	for _, info := range s.bootstrap {
		gate.book.name(info.Addrs...)
		conns.Protect(info.ID, "bootstrap")
	}
	bus := eventbus.NewBus()
	connections, err := newNetwork(s, gate, limits, bus, traffic)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting libp2p: %w", err), conns.Close(), limits.Close())
	}
	h, err := basichost.NewHost(connections, &basichost.HostOpts{
		EventBus: bus, ConnManager: conns, EnablePing: true, UserAgent: agentVersion, ProtocolVersion: agentVersion + "/1",
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting libp2p: %w", err), connections.Close(), connections.Peerstore().Close(), conns.Close(), limits.Close())
	}
	h.Start()
	return h, nil
}

// newNetwork returns the host's connections, of which there are none yet.
func newNetwork(s settings, gate *gate, limits network.ResourceManager, bus event.Bus, traffic *traffic) (*swarm.Swarm, error) {
	key := s.Identity.Key()
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	security, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	upgrades, err := upgrader.New([]sec.SecureTransport{security}, muxers, s.PSK, limits, gate)
	if err != nil {
		return nil, err
	}
	tcp, err := newTCP(gate.book, upgrades, limits)
	if err != nil {
		return nil, err
	}
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	self := s.Identity.ID()
	if err := errors.Join(store.AddPrivKey(self, key), store.AddPubKey(self, key.GetPublic())); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	n, err := swarm.NewSwarm(self, store, bus,
		swarm.WithConnectionGater(gate), swarm.WithResourceManager(limits), swarm.WithMultiaddrResolver(names{gate.book}),
		swarm.WithMetrics(traffic))
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if err := n.AddTransport(tcp); err != nil {
		return nil, errors.Join(err, n.Close(), store.Close())
	}
	return n, nil
}

// listen opens the host to others, on every one of the addresses. It comes after all
// protocols are set up: a peer that connects before may never learn of them.
func listen(h host.Host, addrs []ma.Multiaddr) error {
	for _, addr := range addrs {
		if err := h.Network().Listen(addr); err != nil {
			return fmt.Errorf("listening on %s: %w", addr, err)
		}
	}
	return nil
}

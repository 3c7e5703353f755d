package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/x/rate"
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
	memoryMax   = 64 << 20 // bytes that libp2p may reserve for its buffers
	connsGrace  = time.Minute
	// connectTimeout leaves TCP two tries, a second apart. What comes later would
	// be too late: TCP waits ever longer, while the keeper dials anew.
	connectTimeout = 2 * time.Second
	agentVersion   = "dfaas"
)

// newHost starts a libp2p host that does only what the overlay needs: TCP, noise
// and yamux; no relays, no NAT traversal, no QUIC. It keeps idle nodes idle. It does
// not listen yet.
func newHost(s settings, gate *gate) (host.Host, error) {
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
	options := []libp2p.Option{
		libp2p.Identity(s.Identity.Key()),
		libp2p.NoListenAddrs,
		libp2p.Transport(newTCP(gate.book)),
		libp2p.MultiaddrResolver(names{gate.book}),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ConnectionGater(gate),
		libp2p.ConnectionManager(conns),
		libp2p.ResourceManager(limits),
		libp2p.UserAgent(agentVersion),
		libp2p.ProtocolVersion(agentVersion + "/1"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ForceReachabilityPublic(), // do not ask peers whether we can be reached
	}
	if s.PSK != nil {
		options = append(options, libp2p.PrivateNetwork(s.PSK))
	}
	h, err := libp2p.New(options...)
	if err != nil {
		return nil, fmt.Errorf("starting libp2p: %w", err)
	}
	return h, nil
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

// newLimits bounds what peers, friendly or not, may make this node hold.
func newLimits() (network.ResourceManager, error) {
	defaults := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&defaults)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: connsMax, ConnsInbound: connsMax, ConnsOutbound: connsMax, FD: connsMax,
			Memory: memoryMax,
		},
		Transient: rcmgr.ResourceLimits{Conns: 128, ConnsInbound: 96, ConnsOutbound: 96, FD: 128},
	}.Build(defaults.Scale(memoryMax, connsMax))
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithConnRateLimiters(newDialLimiter()),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 128, ConnCount: connsPerIP}},
		))
}

// newDialLimiter bounds how fast connections may begin, in and out. libp2p's own
// limit, of one in five seconds from an address, is for strangers.
func newDialLimiter() *rate.Limiter {
	address := rate.Limit{RPS: float64(dialsPerIP), Burst: dialsAtOnce}
	return &rate.Limiter{
		// Nobody from outside comes from there.
		NetworkPrefixLimits: []rate.PrefixLimit{
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
			{Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: address}},
			// Who has an IPv6 address has its whole /64. So may a whole federation.
			IPv6SubnetLimits: []rate.SubnetLimit{
				{PrefixLength: 128, Limit: address},
				{PrefixLength: 64, Limit: rate.Limit{RPS: float64(2 * dialsPerIP), Burst: 4 * connsMax}},
			},
			GracePeriod: time.Minute,
		},
	}
}

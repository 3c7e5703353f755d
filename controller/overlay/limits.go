package overlay

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/x/rate"
)

// newLimits bounds what peers, friendly or not, may make this node hold.
func newLimits() (network.ResourceManager, error) {
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limitsOf(addServiceLimits)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithConnRateLimiters(newDialLimiter()),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 128, ConnCount: connsPerIP}},
		))
}

// limitsOf returns this host's limits together with those that are added.
func limitsOf(add func(*rcmgr.ScalingLimitConfig)) rcmgr.ConcreteLimitConfig {
	defaults := rcmgr.DefaultLimits // a copy whose maps are nil
	add(&defaults)
	return rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: connsMax, ConnsInbound: connsMax, ConnsOutbound: connsMax, FD: connsMax,
			Memory: memoryMax,
		},
		PeerDefault: rcmgr.ResourceLimits{Memory: peerMemory},
		Transient:   rcmgr.ResourceLimits{Conns: 128, ConnsInbound: 96, ConnsOutbound: 96, FD: 128},
	}.Build(defaults.Scale(scaledFor, connsMax))
}

// addServiceLimits bounds what two protocols of libp2p's own may take, of which peers
// make use as they like. The bounds are libp2p's.
func addServiceLimits(limits *rcmgr.ScalingLimitConfig) {
	const perPeer = 32 * (256<<20 + 16<<10) // bytes: no bound but the others
	all := rcmgr.BaseLimit{StreamsInbound: 64, StreamsOutbound: 64, Streams: 128, Memory: 4 << 20}
	each := rcmgr.BaseLimit{StreamsInbound: 16, StreamsOutbound: 16, Streams: 32, Memory: perPeer}
	for _, id := range [...]protocol.ID{identify.ID, identify.IDPush} {
		limits.AddProtocolLimit(id, all, rcmgr.BaseLimitIncrease{})
		limits.AddProtocolPeerLimit(id, each, rcmgr.BaseLimitIncrease{})
	}
	limits.AddServiceLimit(identify.ServiceName, all, rcmgr.BaseLimitIncrease{})
	each.Memory = 1 << 20
	limits.AddServicePeerLimit(identify.ServiceName, each, rcmgr.BaseLimitIncrease{})

	all = rcmgr.BaseLimit{StreamsInbound: 64, StreamsOutbound: 64, Streams: 64, Memory: 4 << 20}
	each = rcmgr.BaseLimit{StreamsInbound: 2, StreamsOutbound: 3, Streams: 4, Memory: perPeer}
	limits.AddProtocolLimit(ping.ID, all, rcmgr.BaseLimitIncrease{})
	limits.AddProtocolPeerLimit(ping.ID, each, rcmgr.BaseLimitIncrease{})
	limits.AddServiceLimit(ping.ServiceName, all, rcmgr.BaseLimitIncrease{})
	limits.AddServicePeerLimit(ping.ServiceName, each, rcmgr.BaseLimitIncrease{})
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

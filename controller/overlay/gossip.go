package overlay

import (
	"net/netip"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/wire"
)

const (
	// maxRPC is how long a gossip frame may be. It leaves room for a message
	// somewhat too long to be read, refused and counted; anything longer
	// makes gossipsub reset the stream.
	maxRPC = 2 * wire.MaxAnnouncement
	// seenTTL is how long a message's id is remembered to drop duplicates.
	// Nothing lives that long in the mesh.
	seenTTL         = time.Minute
	validationQueue = 256
)

// startGossip subscribes to the federation's topic.
func (o *Overlay) startGossip(s settings) error {
	name := "/dfaas/" + s.Federation + "/1"
	ps, err := pubsub.NewGossipSub(o.ctx, o.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithGossipSubParams(gossipParams()),
		pubsub.WithMaxMessageSize(maxRPC),
		pubsub.WithSeenMessagesTTL(seenTTL),
		pubsub.WithValidateQueueSize(validationQueue),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(name), 8)),
		pubsub.WithPeerScore(scoreParams(name), scoreThresholds()),
		pubsub.WithRawTracer(tracer{o.metrics, o.duplicates}),
		pubsub.WithRPCLogger(rpcLogger(o.metrics, o.refused)),
	)
	if err != nil {
		return err
	}
	// Inline, since decoding costs less than handing over to a goroutine.
	if err := ps.RegisterTopicValidator(name, o.validator.validate, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	if o.topic, err = ps.Join(name); err != nil {
		return err
	}
	o.sub, err = o.topic.Subscribe(pubsub.WithBufferSize(validationQueue))
	return err
}

// receive hands the others' announcements over until the overlay ends.
func (o *Overlay) receive() {
	defer close(o.messages)
	for {
		msg, err := o.sub.Next(o.ctx)
		if err != nil {
			return
		}
		announcement, ok := msg.ValidatorData.(wire.Announcement)
		if !ok {
			continue // our own
		}
		o.metrics.received.Inc()
		from := msg.GetFrom()
		m := Message{From: from.String(), Announcement: announcement, RemoteIPs: o.remoteIPs(from), Direct: msg.ReceivedFrom == from}
		if len(m.RemoteIPs) == 0 {
			o.keeper.wantHearsay(from)
		}
		select {
		case o.messages <- m:
		default:
			o.metrics.refused.WithLabelValues(reasonOverload).Inc()
		}
	}
}

// remoteIPs returns the far ends of the direct connections to the peer.
func (o *Overlay) remoteIPs(id peer.ID) []netip.Addr {
	var ips []netip.Addr
	for _, c := range o.host.Network().ConnsToPeer(id) {
		if ip, ok := ipOf(c.RemoteMultiaddr()); ok {
			ips = append(ips, ip)
		}
	}
	return ips
}

// gossipParams makes the mesh thinner than gossipsub's own. Nearly every member is
// connected to every other and sends its announcements to all of them directly
// (flood publishing), so the mesh only helps those without a direct connection,
// and every duplicate it makes costs all nodes processor time.
func gossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout, p.Dlazy = 4, 3, 6, 2, 1, 3
	return p
}

// scoreParams punishes nothing but invalid messages: four within a minute and
// the peer's gossip is not listened to until most of them are forgotten.
func scoreParams(topic string) *pubsub.PeerScoreParams {
	return &pubsub.PeerScoreParams{
		SkipAtomicValidation: true,
		DecayInterval:        time.Second,
		DecayToZero:          0.1,
		RetainScore:          10 * time.Minute,
		Topics: map[string]*pubsub.TopicScoreParams{topic: {
			SkipAtomicValidation:           true,
			TopicWeight:                    1,
			TimeInMeshQuantum:              time.Second, // unused, but gossipsub divides by it
			InvalidMessageDeliveriesWeight: -10,         // times the square of the count
			InvalidMessageDeliveriesDecay:  0.97,
		}},
		AppSpecificScore: func(peer.ID) float64 { return 0 },
	}
}

func scoreThresholds() *pubsub.PeerScoreThresholds {
	return &pubsub.PeerScoreThresholds{
		SkipAtomicValidation: true,
		GossipThreshold:      -20,
		PublishThreshold:     -50,
		GraylistThreshold:    -100,
	}
}

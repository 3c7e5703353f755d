package overlay

import (
	"fmt"
	"net/netip"
	"sync"
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
	// outboundQueue is how many messages may wait for a peer: some of the longest
	// announcements, each of which comes in parts.
	outboundQueue = 8 * wire.MaxParts
)

// startGossip subscribes to the federation's topics.
func (o *Overlay) startGossip(s settings) error {
	names := topics(s.Federation, s.firstOnly)
	ps, err := pubsub.NewGossipSub(o.ctx, o.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithGossipSubParams(gossipParams()),
		pubsub.WithMaxMessageSize(maxRPC),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithSeenMessagesTTL(seenTTL),
		pubsub.WithValidateQueueSize(validationQueue),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(names...), 8)),
		pubsub.WithPeerScore(scoreParams(names), scoreThresholds()),
		pubsub.WithRawTracer(tracer{o.metrics, o.duplicates}),
		pubsub.WithRPCLogger(rpcLogger(o.metrics, o.refused)),
	)
	if err != nil {
		return err
	}
	for i, into := range []**channel{&o.first, &o.second}[:len(names)] {
		c, err := openChannel(ps, names[i], o.newValidator())
		if err != nil {
			return fmt.Errorf("topic %s: %w", names[i], err)
		}
		*into = &c
	}
	return nil
}

func (o *Overlay) newValidator() *validator {
	return &validator{
		self: o.host.ID(), gate: o.gate, refused: o.refused, metrics: o.metrics, offended: o.offended, witness: o.witness.hear, authors: make(map[peer.ID]*author),
	}
}

// receive hands the others' announcements over until the overlay ends.
func (o *Overlay) receive() {
	defer close(o.messages)
	var both sync.WaitGroup
	for _, c := range []*channel{o.first, o.second} {
		if c != nil {
			both.Go(func() { o.receiveFrom(c) })
		}
	}
	both.Wait()
	if o.feeds != nil {
		o.feeds.close()
	}
}

func (o *Overlay) receiveFrom(c *channel) {
	parts := halves{byAuthor: make(map[peer.ID]*half)}
	for {
		msg, err := c.sub.Next(o.ctx)
		if err != nil {
			return
		}
		said, ok := msg.ValidatorData.(valid)
		if !ok {
			continue // our own
		}
		now, from := time.Now(), msg.GetFrom()
		if !o.spoken.hear(now, from, said.announcement) {
			continue
		}
		m := Message{From: said.author, Announcement: said.announcement, RemoteIPs: o.remoteIPs(from), Direct: msg.ReceivedFrom == from}
		m, complete, err := parts.add(now, from, m)
		if err != nil {
			o.metrics.refused.WithLabelValues(reasonMalformed).Inc()
			o.refused.add(from.String(), err.Error())
		}
		if complete {
			o.deliver(from, m)
		}
	}
}

// deliver hands an announcement over, unless that was done.
func (o *Overlay) deliver(from peer.ID, m Message) {
	if !o.spoken.deliver(from, m, o.send) {
		return
	}
	o.metrics.received.Inc()
	if m.Announcement.Unknown > 0 {
		o.metrics.newer.Inc()
	}
	if len(m.RemoteIPs) == 0 {
		o.keeper.wantHearsay(from)
	}
}

// send reports whether there was room for the message.
func (o *Overlay) send(m Message) bool {
	select {
	case o.messages <- m:
		return true
	default:
		o.metrics.refused.WithLabelValues(reasonOverload).Inc()
		return false
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

// gossipParams makes the mesh thinner than gossipsub's own. Feeds reach nearly everybody
// directly, so the mesh only helps those whom they do not, and every duplicate it makes
// costs all nodes processor time. So does each list of what was heard lately, which by
// gossipsub's own parameters goes to a quarter of all peers three times, and is longer
// than what it lists.
func gossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = 4, 3, 6, 2, 1
	p.Dlazy, p.GossipFactor, p.HistoryGossip = 2, 0, 2
	return p
}

// scoreParams punishes nothing but invalid messages: four within a minute and
// the peer's gossip is not listened to until most of them are forgotten.
func scoreParams(topics []string) *pubsub.PeerScoreParams {
	p := &pubsub.PeerScoreParams{
		SkipAtomicValidation: true,
		DecayInterval:        time.Second,
		DecayToZero:          0.1,
		RetainScore:          10 * time.Minute,
		Topics:               make(map[string]*pubsub.TopicScoreParams),
		AppSpecificScore:     func(peer.ID) float64 { return 0 },
	}
	for _, topic := range topics {
		p.Topics[topic] = &pubsub.TopicScoreParams{
			SkipAtomicValidation:           true,
			TopicWeight:                    1,
			TimeInMeshQuantum:              time.Second, // unused, but gossipsub divides by it
			InvalidMessageDeliveriesWeight: -10,         // times the square of the count
			InvalidMessageDeliveriesDecay:  0.97,
		}
	}
	return p
}

func scoreThresholds() *pubsub.PeerScoreThresholds {
	return &pubsub.PeerScoreThresholds{
		SkipAtomicValidation: true,
		GossipThreshold:      -20,
		PublishThreshold:     -50,
		GraylistThreshold:    -100,
	}
}

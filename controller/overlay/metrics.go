package overlay

import (
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the overlay does. Safe for concurrent use.
type metrics struct {
	sent     prometheus.Counter
	received prometheus.Counter
	newer    prometheus.Counter
	refused  *prometheus.CounterVec // by reason
}

// newMetrics registers the overlay's metrics with reg unless it is nil. peers
// tells how many peers are connected, unfed how many members feeds do not reach.
func newMetrics(reg prometheus.Registerer, peers, unfed func() int) *metrics {
	m := &metrics{
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_gossip_sent_total", Help: "Announcements published by this node.",
		}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_gossip_received_total", Help: "Valid announcements received, each counted once.",
		}),
		newer: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_gossip_newer_total",
			Help: "Valid announcements with something that this version does not know, which was ignored.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dfaas_gossip_refused_total", Help: "Gossip messages dropped, by reason.",
		}, []string{"reason"}),
	}
	connected := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dfaas_overlay_peers", Help: "Peers connected to the overlay.",
	}, func() float64 { return float64(peers()) })
	gossipOnly := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dfaas_overlay_unfed", Help: "Members that only gossip reaches: of an earlier release, or not connected.",
	}, func() float64 { return float64(unfed()) })
	if reg != nil {
		reg.MustRegister(m.sent, m.received, m.newer, m.refused, connected, gossipOnly)
	}
	return m
}

// tracer counts what gossipsub drops before it asks the validator.
type tracer struct {
	m *metrics
	t *duplicates
}

var _ pubsub.RawTracer = tracer{}

// RejectMessage counts the reasons that are not the validator's own.
func (t tracer) RejectMessage(msg *pubsub.Message, reason string) {
	switch reason {
	case pubsub.RejectSelfOrigin:
		t.m.refused.WithLabelValues(reasonSelf).Inc()
		t.t.watch(msg)
	case pubsub.RejectValidationFailed, pubsub.RejectValidationIgnored: // the validator has counted it
	case pubsub.RejectInvalidSignature, pubsub.RejectMissingSignature:
		t.m.refused.WithLabelValues(reasonSignature).Inc()
	case pubsub.RejectValidationQueueFull, pubsub.RejectValidationThrottled:
		t.m.refused.WithLabelValues(reasonOverload).Inc()
	default:
		t.m.refused.WithLabelValues(reasonProtocol).Inc()
	}
}

// UndeliverableMessage counts messages that came faster than they were read.
func (t tracer) UndeliverableMessage(*pubsub.Message) {
	t.m.refused.WithLabelValues(reasonOverload).Inc()
}

// The other events of pubsub.RawTracer are not counted.

func (tracer) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (tracer) OnClosedOutboundStream(peer.ID)           {}
func (tracer) Join(string)                              {}
func (tracer) Leave(string)                             {}
func (tracer) Graft(peer.ID, string)                    {}
func (tracer) Prune(peer.ID, string)                    {}
func (tracer) ValidateMessage(*pubsub.Message)          {}
func (tracer) DeliverMessage(*pubsub.Message)           {}
func (tracer) DuplicateMessage(*pubsub.Message)         {}
func (tracer) ThrottlePeer(peer.ID)                     {}
func (tracer) RecvRPC(*pubsub.RPC)                      {}
func (tracer) SendRPC(*pubsub.RPC, peer.ID)             {}
func (tracer) DropRPC(*pubsub.RPC, peer.ID)             {}

package overlay

import (
	"strings"
	"sync/atomic"
	"time"

	bandwidth "github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/prometheus/client_golang/prometheus"
)

// traffic counts the bytes that libp2p's streams carry, without what encryption and TCP
// add, by what they are for. Safe for concurrent use.
type traffic struct {
	sent, received [len(uses)]atomic.Int64
}

// uses are what streams are for. "other" are identification, pings, refusals and the
// DHT.
var uses = [...]string{useGossip: "gossip", useFeed: "feed", useOther: "other"}

const (
	useGossip = iota
	useFeed
	useOther
)

func useOf(id protocol.ID) int {
	switch {
	case strings.HasPrefix(string(id), "/meshsub/"):
		return useGossip
	case strings.HasSuffix(string(id), feedSuffix):
		return useFeed
	}
	return useOther
}

// register shows the counters.
func (t *traffic) register(reg prometheus.Registerer) {
	show := func(name, help string, counters *[len(uses)]atomic.Int64) {
		reg.MustRegister(&trafficCollector{prometheus.NewDesc(name, help, []string{"use"}, nil), counters})
	}
	show("dfaas_overlay_sent_bytes_total", "Bytes sent to other controllers, by what they are for.", &t.sent)
	show("dfaas_overlay_received_bytes_total", "Bytes received from other controllers, by what they are for.", &t.received)
}

// trafficCollector shows the counters of one direction.
type trafficCollector struct {
	desc     *prometheus.Desc
	counters *[len(uses)]atomic.Int64
}

func (c *trafficCollector) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

func (c *trafficCollector) Collect(metrics chan<- prometheus.Metric) {
	for use, label := range uses {
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.counters[use].Load()), label)
	}
}

var _ bandwidth.Reporter = (*traffic)(nil)

// LogSentMessageStream counts what was written to a stream.
func (t *traffic) LogSentMessageStream(n int64, id protocol.ID, _ peer.ID) { t.sent[useOf(id)].Add(n) }

// LogRecvMessageStream counts what was read from a stream.
func (t *traffic) LogRecvMessageStream(n int64, id protocol.ID, _ peer.ID) {
	t.received[useOf(id)].Add(n)
}

// The rest of bandwidth.Reporter repeats these, or is for whoever asks libp2p. Nobody does.

func (*traffic) LogSentMessage(int64)                                    {}
func (*traffic) LogRecvMessage(int64)                                    {}
func (*traffic) GetBandwidthForPeer(peer.ID) bandwidth.Stats             { return bandwidth.Stats{} }
func (*traffic) GetBandwidthForProtocol(protocol.ID) bandwidth.Stats     { return bandwidth.Stats{} }
func (*traffic) GetBandwidthTotals() bandwidth.Stats                     { return bandwidth.Stats{} }
func (*traffic) GetBandwidthByPeer() map[peer.ID]bandwidth.Stats         { return nil }
func (*traffic) GetBandwidthByProtocol() map[protocol.ID]bandwidth.Stats { return nil }
func (*traffic) Reset()                                                  {}
func (*traffic) TrimIdle(time.Time)                                      {}

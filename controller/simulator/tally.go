package simulator

import (
	"math"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/histogram"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// Counts is what became of calls.
type Counts struct {
	Sent      uint64 `json:"sent"`
	Served    uint64 `json:"served"`
	Oracle    uint64 `json:"oracle"`    // of the same arrivals, served by the oracle
	Refused   uint64 `json:"refused"`   // answered with a refusal, wherever that was made
	Avoidable uint64 `json:"avoidable"` // of those refused, the ones that the oracle served
	InVain    uint64 `json:"in_vain"`   // forwarded and refused there
	Forwarded uint64 `json:"forwarded"`
}

// Result is what one run showed.
type Result struct {
	Strategy string  `json:"strategy"`
	Load     float64 `json:"load"`
	Seed     uint64  `json:"seed"`
	Nodes    int     `json:"nodes"`
	Counts
	// P50Millis and P99Millis are of calls that were served: ms from the user's
	// request to the end of its answer.
	P50Millis float64 `json:"p50_ms"`
	P99Millis float64 `json:"p99_ms"`
	// GossipBytes is what a node receives of announcements, bytes/s, each counted
	// once as it is on the wire.
	GossipBytes float64 `json:"gossip_bytes_per_node_s"`
	// Seconds is the course of the run.
	Seconds []Second `json:"seconds,omitempty"`
	// Loads are those of a scenario.
	Loads []summary.Load `json:"loads,omitempty"`
	// Events is how many events were simulated, in all.
	Events uint64 `json:"events"`
}

// Second is what became of the calls of one second.
type Second struct {
	Sent   uint32 `json:"sent"`
	Served uint32 `json:"served"`
	Oracle uint32 `json:"oracle"`
}

// tally counts what happens after the warm-up.
type tally struct {
	Counts
	from    time.Duration
	latency histogram.Histogram
	gossip  uint64 // bytes received by all nodes
	seconds []Second
	events  uint64
}

func newTally(from, lasting time.Duration) *tally {
	return &tally{from: from, seconds: make([]Second, int(math.Ceil(seconds(lasting))))}
}

// second is the row that counts calls that arrived then, nil before the
// measurement.
func (t *tally) second(arrived time.Duration) *Second {
	i := int((arrived - t.from) / time.Second)
	if arrived < t.from || i >= len(t.seconds) {
		return nil
	}
	return &t.seconds[i]
}

func (t *tally) result(w *world) Result {
	c := w.config
	return Result{
		Strategy: c.Strategy, Load: c.Load, Seed: c.Seed, Nodes: len(c.Instance.Nodes), Counts: t.Counts,
		P50Millis: t.latency.Quantile(0.5), P99Millis: t.latency.Quantile(0.99),
		GossipBytes: float64(t.gossip) / float64(len(c.Instance.Nodes)) / seconds(c.Duration), Seconds: t.seconds, Events: t.events,
	}
}

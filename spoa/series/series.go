// Package series shows Prometheus what there is to say of each function and of each
// peer. The agent and the controller show the same, each under a prefix of its own.
//
// Functions and peers are not this node's to choose: the number of series is bounded,
// and what is left out is counted.
package series

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// How many functions and peers have series.
const (
	MaxFunctions = 200
	MaxPeers     = 256
)

// Series describes what is shown under one prefix. It is never changed.
type Series struct {
	decisions, capacity, lent, borrowed *prometheus.Desc // by function
	forwarded, admitted, refused        *prometheus.Desc // by peer
	functionsLeft, peersLeft            *prometheus.Desc
}

// New returns the series whose names begin with that prefix.
func New(prefix string) *Series {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	return &Series{
		decisions: describe("function_decisions_total",
			"Calls of a function, by who called and what was decided. All of source user together are the demand, limited is 429, full 503; "+
				"source returned are those of them that came back from where they were sent, and what was decided then.",
			"function", "source", "outcome"),
		capacity: describe("function_capacity_requests_per_second", "What this node can serve of a function that it has.", "function"),
		lent: describe("function_lent_requests_per_second",
			"Room that is kept for peers: the sum of what the table admits from each.", "function"),
		borrowed: describe("function_borrowed_requests_per_second",
			"Room that peers keep for this node: the sum of what the table sends to each.", "function"),
		forwarded: describe("peer_forwarded_total", "Calls of this node's users sent to a peer; one that a peer has refused may be sent to another.", "peer"),
		admitted:  describe("peer_admitted_total", "Calls that came from a peer and were served here.", "peer"),
		refused:   describe("peer_refused_total", "Calls that came from a peer and were refused here, over what it is admitted (429).", "peer"),
		functionsLeft: describe("function_series_omitted",
			"Functions without series of their own: only the 200 that were called most have them."),
		peersLeft: describe("peer_series_omitted", "Peers without series of their own: only the 256 with the most calls have them."),
	}
}

// Describe sends all descriptions.
func (s *Series) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.decisions, s.capacity, s.lent, s.borrowed, s.forwarded, s.admitted, s.refused, s.functionsLeft, s.peersLeft} {
		ch <- d
	}
}

// Shown is what has series.
type Shown struct{ Functions, Peers map[string]bool }

// Collect sends what was counted and what the table says, which may be nil. It
// changes neither, and returns what it has shown.
func (s *Series) Collect(ch chan<- prometheus.Metric, counted []meter.Function, t *table.Table) Shown {
	if t == nil {
		t = new(table.Table)
	}
	functions, left := busiest(functionRows(counted, t), MaxFunctions)
	gauge(ch, s.functionsLeft, float64(left))
	shown := Shown{Functions: make(map[string]bool, len(functions)), Peers: make(map[string]bool)}
	for _, f := range functions {
		shown.Functions[f.name] = true
		s.collectFunction(ch, f)
	}
	peers, left := busiest(peerRows(counted, t), MaxPeers)
	gauge(ch, s.peersLeft, float64(left))
	for _, p := range peers {
		shown.Peers[p.name] = true
		counter(ch, s.forwarded, p.forwarded, p.name)
		counter(ch, s.admitted, p.in.Local, p.name)
		counter(ch, s.refused, p.in.Limited, p.name)
	}
	return shown
}

func (s *Series) collectFunction(ch chan<- prometheus.Metric, f *row) {
	decided := func(source, outcome string, n uint64) { counter(ch, s.decisions, n, f.name, source, outcome) }
	decided("user", "local", f.user.Local)
	decided("user", "forwarded", f.user.Forwarded)
	decided("user", "limited", f.user.Limited)
	decided("user", "full", f.user.Full)
	decided("returned", "local", f.returned.Local)
	decided("returned", "forwarded", f.returned.Forwarded)
	decided("returned", "limited", f.returned.Limited)
	decided("returned", "full", f.returned.Full)
	decided("peer", "local", f.in.Local)
	decided("peer", "limited", f.in.Limited)
	if f.here {
		gauge(ch, s.capacity, f.capacity, f.name)
		gauge(ch, s.lent, f.lent, f.name)
	}
	if f.current {
		gauge(ch, s.borrowed, f.borrowed, f.name)
	}
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// rate is a rate of the table as Prometheus has it.
func rate(b limit.Bound) float64 {
	if b.IsUnlimited() {
		return math.Inf(1)
	}
	return b.PerSecond()
}

package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/series"
)

// collector makes the series of functions and peers from what is published, when
// somebody asks for them.
type collector struct {
	node   *Node
	series *series.Series
	// Of those that have series there, what only the controller knows.
	demand, backup            *prometheus.Desc
	info, rtt, trust, answers *prometheus.Desc
}

var _ prometheus.Collector = (*collector)(nil)

func newCollector(n *Node) *collector {
	return &collector{
		node: n, series: series.New("dfaas_"),
		demand: prometheus.NewDesc("dfaas_function_demand_requests_per_second",
			"What this node's users ask for, whatever becomes of it, smoothed: what plans go by.", []string{"function"}, nil),
		info: prometheus.NewDesc("dfaas_peer_info",
			"Always 1; the labels say what a peer calls itself, which nothing proves, and where it is.", []string{"peer", "peer_name", "http"}, nil),
		backup: prometheus.NewDesc("dfaas_function_backup",
			"1 while peers that have the function come first, by reason: idle, no replica is ready; failing, calls fail here; trial, it is tried again.",
			[]string{"function", "reason"}, nil),
		rtt: prometheus.NewDesc("dfaas_peer_rtt_seconds", "Round trip to a peer's controller, smoothed.", []string{"peer"}, nil),
		trust: prometheus.NewDesc("dfaas_peer_trust_ratio",
			"How far the room that a peer announces is believed, of the function of which it is least: 1 wholly, less if it leaves unserved what it is sent.",
			[]string{"peer"}, nil),
		answers: prometheus.NewDesc("dfaas_peer_answers_total",
			"What became of calls sent to a peer, as HAProxy counts them: served; lost, which is refused, broken off or not answered in time; or left by "+
				"callers who had waited for a second or more.",
			[]string{"peer", "outcome"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	c.series.Describe(ch)
	for _, d := range []*prometheus.Desc{c.demand, c.backup, c.info, c.rtt, c.trust, c.answers} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.node.snapshot.Load()
	var counted []meter.Function
	if s.Report != nil {
		counted = s.Report.Functions
	}
	shown := c.series.Collect(ch, counted, s.Table)
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	for name := range shown.Functions {
		gauge(c.demand, s.Demand[name], name)
		if reason := s.Standings[name]; reason != "" {
			ch <- prometheus.MustNewConstMetric(c.backup, prometheus.GaugeValue, 1, name, string(reason))
		}
	}
	for i := range s.Alive {
		if m := &s.Alive[i]; shown.Peers[m.ID.String()] {
			ch <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, m.ID.String(), m.Name, m.HTTP.String())
		}
	}
	for _, p := range c.node.options.Overlay.Peers() {
		if shown.Peers[p.ID] && p.RTT > 0 {
			gauge(c.rtt, p.RTT.Seconds(), p.ID)
		}
	}
	for i := range s.Peers {
		if p := &s.Peers[i]; shown.Peers[p.ID] {
			distrust := p.Distrust
			for _, part := range p.Unserved {
				distrust = max(distrust, part)
			}
			gauge(c.trust, 1-distrust, p.ID)
		}
	}
	for id := range s.Servers {
		if shown.Peers[id] {
			answers := s.View.Answers[id]
			for outcome, n := range map[string]int64{"served": answers.Served, "lost": answers.Lost, "left": answers.Left} {
				ch <- prometheus.MustNewConstMetric(c.answers, prometheus.CounterValue, float64(n), id, outcome)
			}
		}
	}
}

package control

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dfaas/dfaas/spoa/meter"
)

// Metrics serves /metrics. The number of series is bounded, whatever functions and
// peers there are, see package series.
func (s *Server) Metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.Register(reg)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Register registers the agent's own metrics.
func (s *Server) Register(reg prometheus.Registerer) {
	reg.MustRegister((*collector)(s), s.agent.DecisionTime())
}

// prefix is what the names of all metrics begin with.
const prefix = "dfaas_spoa_"

var (
	descDecisions = describe("decisions_total", "Function calls decided, by who called and what became of it.", "source", "outcome")
	descUnasked   = describe("unasked_total", "Users' calls that HAProxy has served without asking, which are among those of source user, outcome local.")
	descAsync     = describe("async_decisions_total", "Asynchronous calls decided, which are not among the others: of users, given to this node's gateway (local) or to a peer (forwarded); of peers (peer); refused.", "outcome")
	descDenied    = describe("denied_total", "Refused claims to be a peer (403), by reason.", "reason")
	descVersion   = describe("table_version", "Version of the current table, 0 for none.")
	descFresh     = describe("table_fresh", "1 while there is a table within its time to live.")
	descExpires   = describe("table_expires_seconds", "Time until the table expires; below 0 since it has.")
	descTables    = describe("tables_total", "Tables taken from the controller: sent whole, or as a patch of the one before.", "form")
	descStale     = describe("patches_stale_total", "Patches of another table than the current one, as after a restart: whole tables follow. Growing: two controllers use this dfaas-spoa.")
	descBad       = describe("tables_refused_total", "Tables, and patches of them, that were not accepted.")
	descNewer     = describe("tables_newer_total", "Tables with fields that this dfaas-spoa does not know and ignored.")
	descConns     = describe("connections", "Open SPOP connections.")
	descRefused   = describe("connections_refused_total", "SPOP connections over the bound, closed at once.")
	descFrames    = describe("frames_refused_total", "SPOP frames that no HAProxy sends, each the end of one connection.")
	descPanics    = describe("panics_total", "Panics recovered from, each the end of one decision: the call was served here.")
	descInfo      = describe("info", "The running program.", "version")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// collector reads the counters that there are anyway.
type collector Server

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDecisions, descUnasked, descAsync, descDenied, descVersion, descFresh, descExpires, descTables, descStale, descBad, descNewer,
		descConns, descRefused, descFrames, descPanics, descInfo} {
		ch <- d
	}
	c.series.Describe(ch)
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	c.collectDecisions(counter, c.router.Totals())
	counter(descUnasked, c.router.UnaskedCalls())
	now := time.Now()
	st := c.router.Status(now)
	c.series.Collect(ch, c.router.Report(now).Functions, st.Table)
	version, fresh := 0.0, 0.0
	if st.Table != nil {
		version = float64(st.Table.Version)
	}
	if st.Fresh {
		fresh = 1
	}
	gauge(descVersion, version)
	gauge(descFresh, fresh)
	gauge(descExpires, st.Expires.Seconds())
	counter(descTables, c.whole.Load(), "whole")
	counter(descTables, c.patched.Load(), "patch")
	counter(descStale, c.stale.Load())
	counter(descBad, c.refused.Load())
	counter(descNewer, c.newer.Load())
	gauge(descConns, float64(c.agent.Connections()))
	counter(descRefused, c.agent.ConnectionsRefused())
	counter(descFrames, c.agent.FramesRefused())
	counter(descPanics, c.agent.Panics())
	gauge(descInfo, 1, c.version)
}

func (c *collector) collectDecisions(counter func(*prometheus.Desc, uint64, ...string), t meter.Totals) {
	counter(descDecisions, t.User.Local, "user", "local")
	counter(descDecisions, t.User.Forwarded, "user", "forwarded")
	counter(descDecisions, t.User.Limited, "user", "limited")
	counter(descDecisions, t.User.Full, "user", "full")
	counter(descDecisions, t.Returned.Local, "returned", "local")
	counter(descDecisions, t.Returned.Forwarded, "returned", "forwarded")
	counter(descDecisions, t.Returned.Limited, "returned", "limited")
	counter(descDecisions, t.Returned.Full, "returned", "full")
	counter(descDecisions, t.Peer.Local, "peer", "local")
	counter(descDecisions, t.Peer.Limited, "peer", "limited")
	counter(descAsync, t.Async.Local, "local")
	counter(descAsync, t.Async.Forwarded, "forwarded")
	counter(descAsync, t.Async.Peers, "peer")
	counter(descAsync, t.Async.Refused, "refused")
	counter(descDecisions, t.NotFound, "any", "not_found")
	counter(descDecisions, t.Open, "any", "open")
	for reason, n := range t.Denied {
		counter(descDenied, n, reason.String())
	}
}

package node

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
)

// metrics are the loop's own, and those of the members; gossip counts for itself.
type metrics struct {
	functions     prometheus.Gauge
	planSeconds   prometheus.Histogram
	unannounced   prometheus.Gauge
	tableVersion  prometheus.Gauge
	routes        [3]prometheus.Gauge // used, omitted, limit
	putsFailed    prometheus.Counter
	announcements prometheus.Counter
	componentUp   *prometheus.GaugeVec
	members       members
}

// members collects what membership counted, which the loop alone may ask.
type members struct {
	alive, limit, refused *prometheus.Desc
	counts                *atomic.Pointer[membership.Counts]
}

var _ prometheus.Collector = members{}

func newMembers() members {
	return members{
		alive:   prometheus.NewDesc("dfaas_members_alive", "Peers whose announcements are current.", nil, nil),
		limit:   prometheus.NewDesc("dfaas_members_limit", "Peers that this node keeps at most.", nil, nil),
		refused: prometheus.NewDesc("dfaas_announcements_refused_total", "Well-formed announcements not accepted, by reason.", []string{"reason"}, nil),
		counts:  new(atomic.Pointer[membership.Counts]),
	}
}

// Describe implements prometheus.Collector.
func (m members) Describe(out chan<- *prometheus.Desc) {
	out <- m.alive
	out <- m.limit
	out <- m.refused
}

// Collect implements prometheus.Collector.
func (m members) Collect(out chan<- prometheus.Metric) {
	counts := m.counts.Load()
	if counts == nil {
		counts = &membership.Counts{}
	}
	out <- prometheus.MustNewConstMetric(m.alive, prometheus.GaugeValue, float64(counts.Alive))
	out <- prometheus.MustNewConstMetric(m.limit, prometheus.GaugeValue, float64(counts.Max))
	for reason, n := range counts.Refused {
		out <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(n), reason)
	}
}

// newMetrics registers the metrics with reg unless it is nil.
func newMetrics(reg prometheus.Registerer, o Options) *metrics {
	m := &metrics{
		functions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dfaas_functions", Help: "Functions deployed on this node.",
		}),
		unannounced: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dfaas_functions_unannounced", Help: "Functions of this node that not all members are told of, for want of room or of a form.",
		}),
		planSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dfaas_plan_seconds", Help: "Time to compute a plan and the table from it.",
			Buckets: []float64{.00001, .0001, .001, .01, .1, 1},
		}),
		tableVersion: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dfaas_table_version", Help: "Version of the last table that the SPOA accepted.",
		}),
		routes: [...]prometheus.Gauge{
			prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "dfaas_table_routes", Help: "Entries of the last table: where calls of functions may be sent, and from whom they are admitted.",
			}),
			prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "dfaas_table_routes_omitted", Help: "Entries that were left out of the last table, which was full.",
			}),
			prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "dfaas_table_routes_limit", Help: "Entries that a table has at most.",
			}),
		},
		putsFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_table_puts_failed_total", Help: "Tables that the SPOA did not take.",
		}),
		announcements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_announcements_total", Help: "Announcements made by this node.",
		}),
		componentUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dfaas_component_up", Help: "Whether a part that this node depends on works: 1 or 0.",
		}, []string{"component"}),
		members: newMembers(),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dfaas_node_info", Help: "Always 1; the labels say which node this is.",
		ConstLabels: prometheus.Labels{
			"node_id": o.Self.String(), "node_name": o.Name, "version": o.Version, "federation": o.Federation, "strategy": o.Strategy.Name(),
		},
	})
	info.Set(1)
	if reg != nil {
		reg.MustRegister(info, m.functions, m.unannounced, m.planSeconds, m.tableVersion, m.putsFailed, m.announcements, m.componentUp, m.members)
		for _, r := range m.routes {
			reg.MustRegister(r)
		}
	}
	return m
}

func (m *metrics) planned(d time.Duration) { m.planSeconds.Observe(d.Seconds()) }

// observe takes in what is visible of the core.
func (m *metrics) observe(v *core.View) {
	m.members.counts.Store(&v.Members)
	m.tableVersion.Set(float64(v.TableVersion))
	for i, n := range []int{v.Routes.Used, v.Routes.Omitted, v.Routes.Max} {
		m.routes[i].Set(float64(n))
	}
	functions := 0
	if v.GatewayUp {
		functions = len(v.Functions)
	}
	m.functions.Set(float64(functions))
	m.unannounced.Set(float64(len(v.Unannounced)))
	for _, c := range v.Components {
		up := 0.0
		if c.Err == nil {
			up = 1
		}
		m.componentUp.WithLabelValues(c.Name).Set(up)
	}
}

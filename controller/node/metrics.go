package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the loop's own; members and gossip count for themselves.
type metrics struct {
	functions     prometheus.Gauge
	planSeconds   prometheus.Histogram
	tableVersion  prometheus.Gauge
	putsFailed    prometheus.Counter
	announcements prometheus.Counter
	componentUp   *prometheus.GaugeVec
}

// newMetrics registers the metrics with reg unless it is nil.
func newMetrics(reg prometheus.Registerer, o Options) *metrics {
	m := &metrics{
		functions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dfaas_functions", Help: "Functions deployed on this node.",
		}),
		planSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dfaas_plan_seconds", Help: "Time to compute a plan and the table from it.",
			Buckets: []float64{.00001, .0001, .001, .01, .1, 1},
		}),
		tableVersion: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dfaas_table_version", Help: "Version of the last table that the SPOA accepted.",
		}),
		putsFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_table_puts_failed_total", Help: "Tables that the SPOA did not take.",
		}),
		announcements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dfaas_announcements_total", Help: "Announcements made by this node.",
		}),
		componentUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dfaas_component_up", Help: "Whether a part that this node depends on works: 1 or 0.",
		}, []string{"component"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dfaas_node_info", Help: "Always 1; the labels say which node this is.",
		ConstLabels: prometheus.Labels{
			"node_id": o.Self, "version": o.Version, "federation": o.Federation, "strategy": o.Strategy.Name(),
		},
	})
	info.Set(1)
	if reg != nil {
		reg.MustRegister(info, m.functions, m.planSeconds, m.tableVersion, m.putsFailed, m.announcements, m.componentUp)
	}
	return m
}

func (m *metrics) planned(d time.Duration) { m.planSeconds.Observe(d.Seconds()) }

func (m *metrics) component(c *component) {
	up := 0.0
	if c.ok() {
		up = 1
	}
	m.componentUp.WithLabelValues(c.name).Set(up)
}

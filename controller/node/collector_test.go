package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// sample returns a metric with these labels, in any order, and whether there is one.
func sample(families []*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var values []string
			for _, l := range m.Label {
				values = append(values, l.GetValue())
			}
			if strings.Join(values, " ") == strings.Join(labels, " ") {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// What functions and peers have, and what is believed of them, can be graphed; the
// counters are those of the SPOA and survive a plan, a peer that goes and one that
// comes back.
func TestFunctionsAndPeersHaveSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		net := newFakeNet()
		a := startNode(t, net, 1, func(o *Options, _ *testNode) { o.Registerer = reg })
		b := startNode(t, net, 2, func(o *Options, _ *testNode) { o.Name = "edge-2" })
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "20"))
		a.spoa.load("cat", 6)
		a.spoa.ask(b.id, 2)
		within(t, 3*formed, "series of a function and a peer", func() bool {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			demand, _ := sample(families, "dfaas_function_demand_requests_per_second", "cat")
			capacity, _ := sample(families, "dfaas_function_capacity_requests_per_second", "cat")
			lent, _ := sample(families, "dfaas_function_lent_requests_per_second", "cat")
			borrowed, _ := sample(families, "dfaas_function_borrowed_requests_per_second", "cat")
			rtt, _ := sample(families, "dfaas_peer_rtt_seconds", b.id)
			trust, _ := sample(families, "dfaas_peer_trust_ratio", b.id)
			_, info := sample(families, "dfaas_peer_info", "127.0.0.1:8002", b.id, "edge-2")
			_, answers := sample(families, "dfaas_peer_answers_total", "lost", b.id)
			return demand > 5.5 && demand < 6.5 && capacity == 10 && lent > 0 && borrowed > 0 && rtt == 0.001 && trust == 1 && info && answers
		})
		count := func() (here, admitted float64) {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			here, _ = sample(families, "dfaas_function_decisions_total", "cat", "local", "user")
			admitted, _ = sample(families, "dfaas_peer_admitted_total", b.id)
			return here, admitted
		}
		here, admitted := count()
		b.stop()
		pass(30 * time.Second)
		later, after := count()
		if later < here+6*29 || later > here+6*31 || after < admitted+2*29 || after > admitted+2*31 {
			t.Errorf("in 30 s: %v to %v calls served here, %v to %v of the peer, want 180 and 60 more", here, later, admitted, after)
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("promtool would say: %v, %v", problems, err)
		}
	})
}

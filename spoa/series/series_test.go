package series_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/series"
	"github.com/dfaas/dfaas/spoa/table"
)

// state is a collector of what was counted, beside a table.
type state struct {
	*series.Series
	counted []meter.Function
	table   *table.Table
	shown   series.Shown
}

func (s *state) Collect(ch chan<- prometheus.Metric) {
	s.shown = s.Series.Collect(ch, s.counted, s.table)
}

// collect registers a state and returns how many samples each metric has.
func collect(t *testing.T, s *state) map[string]int {
	t.Helper()
	s.Series = series.New("x_")
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, f := range families {
		got[f.GetName()] = len(f.Metric)
	}
	return got
}

func TestSeries(t *testing.T) {
	p1, p2 := testtable.ID(1), testtable.ID(2)
	tab := testtable.New(1, 2)
	tab.Functions = append(tab.Functions,
		table.Function{Name: testvalue.Name("away"), Forward: []table.Forward{{Peer: p1, Rate: testvalue.Bound(3)}, {Peer: p2, Rate: limit.Unlimited()}}},
		table.Function{Name: testvalue.Name("free"), Local: &table.Local{Rate: limit.Unlimited(), Share: 1}})
	s := &state{Series: series.New("x_"), table: tab, counted: []meter.Function{
		{Name: "f0", User: meter.User{Local: 1, Forwarded: 2, Limited: 3, Full: 4}, Returned: &meter.User{Forwarded: 1}, Out: map[string]uint64{p1.String(): 2},
			In: map[string]meter.Peer{p1.String(): {Local: 5, Limited: 6}, p2.String(): {Local: 7}}},
		{Name: "gone", User: meter.User{Local: 8}, In: map[string]meter.Peer{p2.String(): {Limited: 9}}},
	}}
	want := `
x_function_borrowed_requests_per_second{function="away"} +Inf
x_function_borrowed_requests_per_second{function="f0"} 20
x_function_borrowed_requests_per_second{function="free"} 0
x_function_capacity_requests_per_second{function="f0"} 10
x_function_capacity_requests_per_second{function="free"} +Inf
x_function_decisions_total{function="f0",outcome="forwarded",source="returned"} 1
x_function_decisions_total{function="f0",outcome="forwarded",source="user"} 2
x_function_decisions_total{function="f0",outcome="full",source="user"} 4
x_function_decisions_total{function="f0",outcome="limited",source="peer"} 6
x_function_decisions_total{function="f0",outcome="limited",source="user"} 3
x_function_decisions_total{function="f0",outcome="local",source="peer"} 12
x_function_decisions_total{function="f0",outcome="local",source="user"} 1
x_function_decisions_total{function="gone",outcome="limited",source="peer"} 9
x_function_decisions_total{function="gone",outcome="local",source="user"} 8
x_function_lent_requests_per_second{function="f0"} 20
x_function_lent_requests_per_second{function="free"} 0
x_function_series_omitted 0
x_peer_admitted_total{peer="` + p1.String() + `"} 5
x_peer_admitted_total{peer="` + p2.String() + `"} 7
x_peer_forwarded_total{peer="` + p1.String() + `"} 2
x_peer_forwarded_total{peer="` + p2.String() + `"} 0
x_peer_refused_total{peer="` + p1.String() + `"} 6
x_peer_refused_total{peer="` + p2.String() + `"} 9
x_peer_series_omitted 0
`
	text := exposition(t, s)
	for line := range strings.Lines(strings.TrimPrefix(want, "\n")) {
		if !strings.Contains(text, line) {
			t.Errorf("no %s", line)
		}
	}
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Errorf("promtool would say: %v, %v", problems, err)
	}
}

// Of more functions and peers than have series those with the most calls do, after
// the table's, whatever they are named; the others are counted.
func TestBounded(t *testing.T) {
	tab := testtable.New(0, 300)
	counted := make([]meter.Function, 0, 4000)
	for i := range 4000 {
		f := meter.Function{Name: fmt.Sprintf("f%04d", i), User: meter.User{Local: uint64(i)}, In: map[string]meter.Peer{}}
		f.In[tab.Peers[i%300].ID.String()] = meter.Peer{Local: uint64(i % 300)}
		counted = append(counted, f)
	}
	for i := range 1000 { // an announcer makes them up; nobody calls them
		tab.Functions = append(tab.Functions, table.Function{Name: testvalue.Name(fmt.Sprintf("a%04d", i)), Forward: []table.Forward{{Peer: tab.Peers[0].ID, Rate: testvalue.Bound(1)}}})
	}
	for _, name := range []string{"f3998", "f3999", "idle"} {
		tab.Functions = append(tab.Functions, table.Function{Name: testvalue.Name(name), Local: &table.Local{Rate: testvalue.Bound(1), Share: 1}})
	}
	s := &state{counted: counted, table: tab}
	got := collect(t, s)
	want := map[string]int{
		"x_function_decisions_total": 10 * series.MaxFunctions, "x_function_capacity_requests_per_second": 3,
		"x_function_lent_requests_per_second": 3, "x_function_borrowed_requests_per_second": series.MaxFunctions,
		"x_peer_forwarded_total": series.MaxPeers, "x_peer_admitted_total": series.MaxPeers, "x_peer_refused_total": series.MaxPeers,
		"x_function_series_omitted": 1, "x_peer_series_omitted": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	for _, name := range []string{"f3998", "f3999", "idle"} {
		if !s.shown.Functions[name] {
			t.Errorf("%s has no series", name)
		}
	}
	if s.shown.Peers[tab.Peers[0].ID.String()] || !s.shown.Peers[tab.Peers[299].ID.String()] {
		t.Error("not the peers with the most calls have series")
	}
	text := exposition(t, s)
	for _, want := range []string{"x_function_series_omitted 4801", "x_peer_series_omitted 44"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// Before the first table there is what was counted, and nothing else.
func TestWithoutTable(t *testing.T) {
	s := &state{counted: []meter.Function{{Name: "f", User: meter.User{Local: 1}}}}
	want := map[string]int{"x_function_decisions_total": 10, "x_function_series_omitted": 1, "x_peer_series_omitted": 1}
	if diff := cmp.Diff(want, collect(t, s)); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

func exposition(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

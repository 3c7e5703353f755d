package summary

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

func at(seconds float64, status int, node string, latency time.Duration) Sample {
	return Sample{At: time.Duration(seconds * float64(time.Second)), Latency: latency, Status: status, Node: node}
}

// The names and the shape of the JSON are a contract.
func TestSummaryJSON(t *testing.T) {
	load := scenario.Load{Target: "node-1", Function: "funca", Start: time.Second}
	s := Summary{
		Scenario: "x", Strategy: "recalc",
		Loads: []Load{OfLoad(load, []Sample{
			at(1.2, 200, "node-1", 2*time.Millisecond),
			at(1.0, 200, "node-2", time.Millisecond),
			at(3.9, 429, "node-1", 1500*time.Microsecond),
			at(3.1, 0, "", 10*time.Second),
			at(1.3, 200, "", time.Millisecond),
		})},
		Nodes: []Node{{Name: "node-1", PeerID: "12D3", HAProxyReloads: 0, Restarts: 2}},
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"scenario":"x","strategy":"recalc","seed":0,"version":"","loads":[{"target":"node-1","function":"funca","sent":5,` +
		`"status":{"0":1,"200":3,"429":1},"by_node":{"node-1":1,"node-2":1,"unknown":1},` +
		`"latency_ms":{"p50":1.5,"p90":10000,"p99":10000,"max":10000},"seconds":[` +
		`{"t":1,"status":{"200":3},"by_node":{"node-1":1,"node-2":1,"unknown":1}},` +
		`{"t":2,"status":{},"by_node":{}},` +
		`{"t":3,"status":{"0":1,"429":1},"by_node":{}}]}],` +
		`"nodes":[{"name":"node-1","peer_id":"12D3","haproxy_reloads":0,"restarts":2}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestSummaryOfNothing(t *testing.T) {
	got := OfLoad(scenario.Load{Start: 2 * time.Second}, nil)
	if got.Sent != 0 || len(got.Seconds) != 1 || got.Seconds[0].T != 2 || got.Latency != (Latency{}) {
		t.Errorf("got %+v", got)
	}
}

// Whatever the results are: every request is counted once in the totals and
// once in the seconds, the 200s once by node, and the quantiles are ordered.
func TestSumsMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		load := scenario.Load{Start: time.Duration(rng.IntN(5000)) * time.Millisecond}
		samples := make([]Sample, rng.IntN(500))
		for i := range samples {
			samples[i] = Sample{
				At:      load.Start + time.Duration(rng.Int64N(int64(20*time.Second))),
				Latency: time.Duration(rng.Int64N(int64(10 * time.Second))),
				Status:  []int{0, 200, 200, 403, 429, 503}[rng.IntN(6)],
				Node:    []string{"", "node-1", "node-2"}[rng.IntN(3)],
			}
		}
		sum := OfLoad(load, samples)
		perSecond, perSecondByNode := 0, 0
		for i, s := range sum.Seconds {
			if s.T != sum.Seconds[0].T+i {
				t.Fatalf("second %d follows %d", s.T, sum.Seconds[0].T+i-1)
			}
			if total(s.ByNode) != s.Status["200"] {
				t.Fatalf("second %d: %v", s.T, s)
			}
			perSecond += total(s.Status)
			perSecondByNode += total(s.ByNode)
		}
		if sum.Sent != len(samples) || total(sum.Status) != sum.Sent || perSecond != sum.Sent {
			t.Fatalf("%d sent, %d by status, %d by second", len(samples), total(sum.Status), perSecond)
		}
		if total(sum.ByNode) != sum.Status["200"] || perSecondByNode != sum.Status["200"] {
			t.Fatalf("%d are 200, %d by node, %d by second", sum.Status["200"], total(sum.ByNode), perSecondByNode)
		}
		l := sum.Latency
		if l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max {
			t.Fatalf("latencies %+v", l)
		}
	}
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// tenSeconds has two loads of ten seconds: 5 of 6 requests/s served by node-1,
// one refused; and 2 requests/s served by node-2, of which the first second's
// were lost.
func tenSeconds() Summary {
	s := Summary{Nodes: []Node{{Name: "node-1"}, {Name: "node-2"}}}
	var first, second []Sample
	for t := range 10 {
		for range 5 {
			first = append(first, at(float64(t), 200, "node-1", 0))
		}
		first = append(first, at(float64(t), 429, "node-1", 0))
		status := 200
		if t == 0 {
			status = 503
		}
		second = append(second, at(float64(t), status, "node-2", 0), at(float64(t), status, "node-2", 0))
	}
	s.Loads = []Load{OfLoad(scenario.Load{}, first), OfLoad(scenario.Load{}, second)}
	return s
}

func TestCheck(t *testing.T) {
	exactly := func(v float64) scenario.Range { return scenario.Range{Min: v, Max: v} }
	atLeast := func(v float64) scenario.Range { return scenario.Range{Min: v, Max: math.Inf(1)} }
	type ranges = map[string]scenario.Range
	tests := []struct {
		name   string
		expect scenario.Expectation
		want   string // the violation; empty: none
	}{
		{"served", scenario.Expectation{Load: 1, Status: ranges{"200": exactly(5)}}, ""},
		{"served too little", scenario.Expectation{Load: 1, Status: ranges{"200": exactly(6)}},
			"load 1, seconds 0 to 10: status 200: 5/s, expected 6"},
		{"other", scenario.Expectation{Load: 1, Status: ranges{"200": exactly(5), "other": exactly(1)}}, ""},
		{"other there though not expected", scenario.Expectation{Load: 1, Status: ranges{"200": exactly(5), "other": exactly(0)}},
			"load 1, seconds 0 to 10: status other: 1/s, expected 0"},
		{"named statuses are not other",
			scenario.Expectation{Load: 1, Status: ranges{"200": exactly(5), "429": exactly(1), "other": exactly(0)}}, ""},
		{"a status that never came", scenario.Expectation{Load: 1, Status: ranges{"503": atLeast(1)}},
			"load 1, seconds 0 to 10: status 503: 0/s, expected 1.."},
		{"by node", scenario.Expectation{Load: 1, ByNode: ranges{"node-1": exactly(5), "node-2": exactly(0)}}, ""},
		{"by another node", scenario.Expectation{Load: 1, ByNode: ranges{"node-2": atLeast(1)}},
			"load 1, seconds 0 to 10: served by node-2: 0/s, expected 1.."},
		{"all loads", scenario.Expectation{Status: ranges{"200": {Min: 6.7, Max: 6.9}}}, ""},
		{"the whole", scenario.Expectation{Load: 2, Status: ranges{"200": exactly(2)}},
			"load 2, seconds 0 to 10: status 200: 1.8/s, expected 2"},
		{"all but the first second", scenario.Expectation{Load: 2, From: time.Second, Status: ranges{"200": exactly(2)}}, ""},
		{"the first second", scenario.Expectation{Load: 2, To: time.Second, Status: ranges{"503": exactly(2)}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.expect.Line = 7
			if test.expect.To == 0 {
				test.expect.To = 10 * time.Second
			}
			violations := Check([]scenario.Expectation{test.expect}, tenSeconds())
			var got []string
			for _, v := range violations {
				if v.Line != 7 {
					t.Errorf("line %d", v.Line)
				}
				got = append(got, v.Reason)
			}
			if strings.Join(got, "\n") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestReloadsAreViolations(t *testing.T) {
	s := tenSeconds()
	if got := Check(nil, s); len(got) != 0 {
		t.Fatalf("got %v", got)
	}
	s.Nodes[1].HAProxyReloads = 1
	want := []Violation{{0, "node-2: HAProxy was reloaded 1 times, expected 0"}}
	if diff := cmp.Diff(want, Check(nil, s)); diff != "" {
		t.Error(diff)
	}
}

package simulator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// line is a line of four nodes that serve 10 requests/s each; the first gets 30.
func line(t *testing.T, strategy, text string) (Result, []Note) {
	t.Helper()
	file := "name: x\nstrategy: " + strategy + "\nnodes:\n"
	for n := range 4 {
		file += fmt.Sprintf("  - {name: node-%d, functions: [{name: f, process: cat, maxrate: 10}]}\n", n+1)
	}
	s, err := scenario.Parse("x.yaml", []byte(file+"load: [{target: node-1, function: f, rate: 30, duration: 20s}]\n"+text), scenario.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.Links.Delay = 0
	c, notes := FromScenario(s, c)
	return runScenario(t, c), notes
}

// served is how many requests/s each node serves from second 2 on.
func served(r Result, from, to int) map[string]float64 {
	rates := make(map[string]float64)
	for _, second := range r.Loads[0].Seconds[from:to] {
		for node, n := range second.ByNode {
			rates[node] += float64(n) / float64(to-from)
		}
	}
	return rates
}

// TestNeighbours: nodes forward to those only whom they are linked to, with any strategy.
func TestNeighbours(t *testing.T) {
	for _, name := range []string{"headroom", "quotas", "recalc", "static", "two-choices", "hot-cold", "omniscient", "empirical", "node-margin"} {
		if _, err := parseSpec(name, time.Second); err != nil {
			t.Fatal(err)
		}
		c := func(scope string) map[string]float64 {
			s, err := scenario.Parse("x.yaml", []byte(lineOf(scope)), scenario.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			c, _ := FromScenario(s, Defaults())
			c.Strategy = name
			return served(runScenario(t, c), 5, 20)
		}
		near, all := c("neighbours"), c("all")
		if near["node-2"] < 1 || near["node-3"] > 0 || near["node-4"] > 0 {
			t.Errorf("%s, only neighbours: %v", name, near)
		}
		if all["node-3"] == 0 || all["node-4"] == 0 {
			t.Errorf("%s, all: %v", name, all)
		}
	}
}

func lineOf(scope string) string {
	file := "name: x\ntopology: {kind: line}\nscope: " + scope + "\nnodes:\n"
	for n := range 4 {
		file += fmt.Sprintf("  - {name: node-%d, functions: [{name: f, process: cat, maxrate: 10}]}\n", n+1)
	}
	return file + "load: [{target: node-1, function: f, rate: 30, duration: 20s}]\n"
}

// TestDelays: what is forwarded takes the way there and back longer, by the links.
func TestDelays(t *testing.T) {
	near, notes := line(t, "headroom", "topology: {kind: line, delay: 100ms, jitter: 10ms, rate: 1mbit}")
	if len(notes) != 1 || !strings.HasPrefix(notes[0].Text, "rate: ") {
		t.Errorf("notes %+v", notes)
	}
	if near.P99Millis < 200 || near.P99Millis > 500 {
		t.Errorf("p99 is %.0f ms, one link of 100 ms away", near.P99Millis)
	}
	far, _ := line(t, "headroom", "topology: {kind: line, delay: 100ms}\nscope: all")
	if far.P99Millis < 400 || far.P99Millis > 900 {
		t.Errorf("p99 is %.0f ms, two or three links of 100 ms away", far.P99Millis)
	}
	lossy, _ := line(t, "headroom", "topology: {kind: line, delay: 100ms}\nlinks: [{between: [node-1, node-2], loss: 20%}]")
	if lossy.P99Millis < near.P99Millis+150 {
		t.Errorf("p99 is %.0f ms with loss and %.0f ms without", lossy.P99Millis, near.P99Millis)
	}
}

// TestLinkFaults: while the only link is down, nothing goes over it; while there is
// another way, the longer one is taken.
func TestLinkFaults(t *testing.T) {
	r, _ := line(t, "headroom", "topology: {kind: line, delay: 5ms}\nfaults: [{at: 5s, do: link-down, between: [node-1, node-2], duration: 7s}]")
	for _, span := range []struct {
		from, to    int
		least, most float64
	}{{2, 5, 9, 11}, {8, 12, 0, 0.5}, {16, 20, 9, 11}} {
		if got := served(r, span.from, span.to)["node-2"]; got < span.least || got > span.most {
			t.Errorf("line, seconds %d to %d: node-2 serves %.1f/s, want %v to %v", span.from, span.to, got, span.least, span.most)
		}
	}
	ring, _ := line(t, "headroom", "topology: {kind: ring, delay: 20ms}\nfaults: [{at: 5s, do: link-down, between: [node-1, node-2], duration: 7s}]")
	if got := served(ring, 8, 12)["node-2"]; got < 9 {
		t.Errorf("ring: node-2 serves %.1f/s by the other way", got)
	}
	if got := ring.Loads[0].Latency.Max; got < 3*40 {
		t.Errorf("ring: the other way takes %.0f ms at most", got)
	}
	slow, _ := line(t, "headroom", "topology: {kind: line, delay: 5ms}\nfaults: [{at: 5s, do: link, between: [node-1, node-2], delay: 200ms}]")
	if slow.P99Millis < 400 {
		t.Errorf("p99 is %.0f ms over a link that has become slow", slow.P99Millis)
	}
}

// TestTopologyIsTheRuns: a fault that changes a link leaves other runs of the same
// configuration alone.
func TestTopologyIsTheRuns(t *testing.T) {
	s, err := scenario.Parse("x.yaml", []byte(lineOf("all")+"faults: [{at: 1s, do: link, between: [node-1, node-2], delay: 500ms}]"), scenario.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := FromScenario(s, Defaults())
	a, b := runScenario(t, c), runScenario(t, c)
	if a.P99Millis != b.P99Millis || c.Topology.Edges[0].Delay != 0 {
		t.Errorf("p99 %v, then %v", a.P99Millis, b.P99Millis)
	}
}

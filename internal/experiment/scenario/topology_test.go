package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// four is a scenario of four nodes.
const four = `name: x
nodes:
  - {name: node-1, functions: [{name: f, process: cat}]}
  - {name: node-2}
  - {name: node-3}
  - {name: node-4}
load: [{target: node-1, function: f, rate: 1, duration: 60s}]
`

func links(s *Scenario) string {
	var words []string
	for _, e := range s.Topology.Edges {
		words = append(words, fmt.Sprintf("%d-%d(%s)", e.A+1, e.B+1, e.Link))
	}
	return strings.Join(words, " ")
}

func TestTopologies(t *testing.T) {
	for _, test := range []struct {
		text                   string
		links                  string
		neighbours, namespaces bool
	}{
		{"topology: {kind: ring}", "1-2() 1-4() 2-3() 3-4()", true, false},
		{"topology: {kind: ring}\nscope: all", "1-2() 1-4() 2-3() 3-4()", false, false},
		{"topology: {kind: star, delay: 20ms, jitter: 1ms}", "1-2(delay=20ms jitter=1ms) 1-3(delay=20ms jitter=1ms) 1-4(delay=20ms jitter=1ms)", true, true},
		{"topology: {kind: line}\nlinks: [{between: [node-3, node-2], rate: 10mbit, loss: 1%}]", "1-2() 2-3(rate=10mbit loss=1%) 3-4()", true, true},
		{"topology: {kind: line, delay: 5ms}\nlinks: [{between: [node-3, node-2], loss: 0.01}]", "1-2(delay=5ms) 2-3(delay=5ms loss=1%) 3-4(delay=5ms)", true, true},
		{"links: [{between: [node-1, node-2], delay: 1ms}]", "1-2(delay=1ms) 1-3() 1-4() 2-3() 2-4() 3-4()", false, true},
		{"topology: {edges: square.csv, delay: 1ms}", "1-2(delay=5ms) 1-4(delay=1ms) 2-3(delay=1ms) 3-4(delay=1ms)", true, true},
		{"topology: {kind: tree}\nnetwork: namespaces", "1-2() 1-3() 2-4()", true, true},
		{"faults: [{at: 1s, do: link-down, between: [node-1, node-2]}]", "1-2() 1-3() 1-4() 2-3() 2-4() 3-4()", false, true},
	} {
		s, err := parse("testdata/x.yaml", []byte(four+test.text))
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if links(s) != test.links || s.Neighbours != test.neighbours || s.Namespaces != test.namespaces {
			t.Errorf("%s: links %s, neighbours %t, namespaces %t", test.text, links(s), s.Neighbours, s.Namespaces)
		}
	}
	s, err := parse("x.yaml", []byte(four+"topology: {kind: random, prob: 0.5, seed: 3}"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := topology.Shape{Kind: topology.Random, Prob: 0.5, Seed: 3}.Topology(4)
	if err != nil || !cmp.Equal(want, s.Topology) {
		t.Errorf("random: %s, %v", links(s), err)
	}
	s, err = parse("x.yaml", []byte(four+"topology: {kind: star}"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"node-1"}, s.NeighboursOf(2)); diff != "" {
		t.Error(diff)
	}
	s.Neighbours = false
	if s.NeighboursOf(2) != nil {
		t.Error("all are neighbours, and yet a list")
	}
	if s, err := parse("x.yaml", []byte(four)); err != nil || s.Topology != nil || s.Neighbours {
		t.Errorf("without a word: %+v, %v", s, err)
	}
	if s, err := parse("x.yaml", []byte(four+"mdns: true")); err != nil || !s.MDNS || !s.Namespaces {
		t.Errorf("mdns: %+v, %v", s, err)
	}
}

// TestLinkFaults: a fault says what a link is like from then on, and what undoes it what
// it was like.
func TestLinkFaults(t *testing.T) {
	s, err := parse("x.yaml", []byte(four+`topology: {kind: ring, delay: 10ms, rate: 1mbit}
faults:
  - {at: 1s, do: link, between: [node-2, node-1], delay: 50ms, loss: 2%, duration: 5s}
  - {at: 10s, do: link-down, between: [node-1, node-4], duration: 5s}
  - {at: 20s, do: link-up, between: [node-1, node-4]}
`))
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		At   time.Duration
		Do   Action
		Link string
	}
	var got []step
	for _, f := range s.Timeline() {
		got = append(got, step{f.At, f.Do, f.Link.String()})
	}
	const before = "delay=10ms rate=1mbit"
	want := []step{
		{time.Second, ChangeLink, "delay=50ms rate=1mbit loss=2%"}, {6 * time.Second, ChangeLink, before},
		{10 * time.Second, LinkDown, before}, {15 * time.Second, LinkUp, before}, {20 * time.Second, LinkUp, before},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}

func TestNodeLimits(t *testing.T) {
	text := func(limits string) []byte { return []byte("name: x\nnodes: [{name: a, " + limits + "}]") }
	s, err := parse("x.yaml", text("cpus: 0.5, memory: 256MiB"))
	if err != nil || s.Nodes[0].CPUs != 0.5 || s.Nodes[0].Memory != 256<<20 {
		t.Errorf("%+v, %v", s, err)
	}
	for limits, want := range map[string]string{
		"cpus: 0": "x.yaml:2: cpus: 0 is outside", "memory: 256": "x.yaml:2: memory: an amount like 256MB", "memory: 1MB": `x.yaml:2: memory: "1MB" is outside`,
		"memory: NaNGB": "x.yaml:2: memory: ", "memory: 9999999GB": "x.yaml:2: memory: ", "cpus: many": "x.yaml:2: cpus: a number",
	} {
		if _, err := parse("x.yaml", text(limits)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", limits, err)
		}
	}
}

func TestTopologyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"topology: ring":                               "x.yaml:8: the topology: a mapping",
		"topology: {}":                                 "x.yaml:8: the topology has neither a kind nor a file",
		"topology: {kind: torus}":                      `x.yaml:8: kind: unknown kind of topology "torus": use one of star, line,`,
		"topology: {kind: ring, edges: x.csv}":         "x.yaml:8: the topology has a kind and a file",
		"topology: {kind: ring, prob: 0.5}":            "x.yaml:8: prob and seed are those of a random topology",
		"topology: {kind: random}":                     "x.yaml:8: a random topology needs prob",
		"topology: {kind: random, prob: 0}":            "x.yaml:8: prob: with 0",
		"topology: {kind: random, prob: 2}":            "x.yaml:8: prob: 2 is outside",
		"topology: {kind: ring, delay: 20}":            `x.yaml:8: delay: a duration like 20ms is expected, not "20"`,
		"topology: {kind: ring, delay: 1m}":            "x.yaml:8: delay: 1m0s is outside",
		"topology: {kind: ring, jitter: 1ms}":          "x.yaml:8: jitter: 1ms is more than the delay",
		"topology: {kind: ring, rate: 5}":              `x.yaml:8: rate: a rate like 100mbit`,
		"topology: {kind: ring, loss: 200%}":           "x.yaml:8: loss: 200% is outside",
		"topology: {kind: ring, mtu: 5}":               `x.yaml:8: unknown key "mtu" in the topology: known are delay, edges,`,
		"topology:\n  edges: ../x.csv":                 `x.yaml:9: edges "../x.csv": the name of a file beside`,
		"topology:\n  edges: missing.csv":              "x.yaml:9: topology: reading the links: open missing.csv",
		"topology:\n  edges: testdata":                 `x.yaml:9: edges "testdata"`,
		"scope: neighbours":                            "x.yaml:8: scope: without a topology",
		"scope: some":                                  `x.yaml:8: scope: neighbours or all is expected, not "some"`,
		"links: [{delay: 5ms}]":                        "x.yaml:8: a link has no between",
		"links: [{between: [node-1]}]":                 "x.yaml:8: between: two nodes are expected",
		"links: [{between: [node-1, node-9]}]":         `x.yaml:8: between: there is no node "node-9"`,
		"links: [{between: [node-1, node-1]}]":         "x.yaml:8: between: node-1 and node-1 are not linked",
		"links: [{between: [node-1, node-2, node-3]}]": "x.yaml:8: between: 3 are too many",
		"links:\n  - {between: [node-1, node-2]}\n  - {between: [node-2, node-1]}":             "x.yaml:10: between: the link of node-2 and node-1 is described in line 9",
		"topology: {kind: line}\nlinks: [{between: [node-1, node-3]}]":                         "x.yaml:9: between: node-1 and node-3 are not linked in this topology",
		"links: [{between: [node-1, node-2], jitter: 5ms}]":                                    "x.yaml:8: jitter: 5ms is more",
		"network: loopback\ntopology: {kind: ring, delay: 1ms}":                                "network: nodes on the loopback interface have no links",
		"network: loopback\nmdns: true":                                                        "network: nodes on the loopback interface cannot find each other by mDNS",
		"faults: [{at: 1s, do: link, between: [node-1, node-2]}]":                              "x.yaml:8: link changes nothing",
		"faults: [{at: 1s, do: link, delay: 5ms}]":                                             "x.yaml:8: link needs between",
		"faults: [{at: 1s, do: link, node: node-1, delay: 5ms}]":                               "x.yaml:8: link is done to the link between two nodes",
		"faults: [{at: 1s, do: link-down, between: [node-1, node-9]}]":                         `x.yaml:8: between: there is no node "node-9"`,
		"faults: [{at: 1s, do: link-down, between: [node-1, node-2], delay: 5ms}]":             "x.yaml:8: link-down takes no delay",
		"faults: [{at: 1s, do: link-up, between: [node-1, node-2], duration: 5s}]":             "x.yaml:8: duration: link-up does not last",
		"faults: [{at: 1s, do: link, between: [node-1, node-2], jitter: 5ms}]":                 "x.yaml:8: jitter: 5ms is more",
		"faults: [{at: 1s, do: kill, node: node-1, part: spoa, delay: 5ms}]":                   "x.yaml:8: kill is not done to a link",
		"topology: {kind: ring}\nfaults: [{at: 1s, do: link-down, between: [node-1, node-3]}]": "x.yaml:9: between: node-1 and node-3 are not linked",
	} {
		if _, err := parse("x.yaml", []byte(four+text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
	_, err := parse("testdata/x.yaml", []byte(strings.Replace(four, "node-4", "node-5", 1)+"topology: {edges: square.csv}"))
	if err == nil || !strings.Contains(err.Error(), `testdata/square.csv:4: there is no node "node-4"`) {
		t.Errorf("a bad line of the file of links: %v", err)
	}
	_, err = parse("x.yaml", []byte("name: x\nnodes: [{name: a}]\ntopology: {kind: ring}"))
	if err == nil || !strings.Contains(err.Error(), "x.yaml:3: topology: a topology of 1 nodes") {
		t.Errorf("one node: %v", err)
	}
}

package scenario

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/internal/experiment/topology"
)

const example = `name: cloudnet-50
strategy: recalc
period: 2s
warmup: 3s
nodes:
  - {name: node-1, functions: [{name: funca, process: cat, maxrate: 10}]}
  - name: node-2
    strategy: alllocal
    functions:
      - {name: funca, process: cat, timeout_ms: 500, env: {A: b}, labels: {x.y: z}}
      - {name: figlet, image: figlet, mode: streaming}
  - {name: node-3, gateway: "http://10.0.0.7:8080", functions: [{name: funca}]}
load:
  - {target: node-1, function: funca, rate: 50, duration: 60s, body: hello, headers: {A: b}}
  - {target: node-2, function: figlet, rate: 0.5, start: 1500ms, duration: 30s, path: /x, query: a=b}
faults:
  - {at: 20s, do: kill, node: node-2, part: spoa, duration: 5s}
  - {at: 10s, do: reload, node: node-1, part: haproxy}
expect:
  - {load: 1, from: 1s, status: {200: 49..51, other: 0}, by_node: {node-1: 10.., node-2: ..20}}
  - {load: 2, status: {0: 0}}
`

func TestParseReadsEveryKey(t *testing.T) {
	ten := 10.0
	want := &Scenario{
		Name: "cloudnet-50", Strategy: "recalc", Period: 2 * time.Second, Warmup: 3 * time.Second, Seed: DefaultSeed, DefaultMaxrate: DefaultMaxrate,
		Nodes: []Node{
			{Name: "node-1", Line: 6, Functions: []Function{{Name: "funca", Process: "cat", Maxrate: &ten, Line: 6}}},
			{Name: "node-2", Strategy: "alllocal", Line: 7, Functions: []Function{
				{
					Name: "funca", Process: "cat", TimeoutMillis: 500, Line: 10,
					Env: map[string]string{"A": "b"}, Labels: map[string]string{"x.y": "z"},
				},
				{Name: "figlet", Image: "figlet", Mode: "streaming", Line: 11},
			}},
			{Name: "node-3", Gateway: "http://10.0.0.7:8080", Line: 12, Functions: []Function{{Name: "funca", Line: 12}}},
		},
		Loads: []Load{
			{
				Target: "node-1", Function: "funca", Rate: 50, Duration: time.Minute, Method: "POST", Body: "hello",
				Headers: map[string]string{"A": "b"}, Line: 14,
			},
			{
				Target: "node-2", Function: "figlet", Rate: 0.5, Start: 1500 * time.Millisecond, Duration: 30 * time.Second,
				Method: "GET", Path: "/x", Query: "a=b", Line: 15,
			},
		},
		Faults: []Fault{
			{At: 20 * time.Second, Do: Kill, Node: "node-2", Part: SPOA, Duration: 5 * time.Second, Line: 17},
			{At: 10 * time.Second, Do: Reload, Node: "node-1", Part: HAProxy, Line: 18},
		},
		Expect: []Expectation{
			{
				Load: 1, From: time.Second, To: time.Minute, Line: 20,
				Status: map[string]Range{"200": {49, 51}, "other": {0, 0}},
				ByNode: map[string]Range{"node-1": {10, math.Inf(1)}, "node-2": {0, 20}},
			},
			{
				Load: 2, From: 2 * time.Second, To: 31 * time.Second, Line: 21,
				Status: map[string]Range{"0": {0, 0}},
			},
		},
	}
	got, err := parse("x.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Fault{})); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	var at []time.Duration
	for _, f := range got.Timeline() {
		at = append(at, f.At)
	}
	if diff := cmp.Diff([]time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second}, at); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	if undo := got.Timeline()[2]; undo.Do != Restart || undo.Part != SPOA {
		t.Errorf("the kill is undone by %+v", undo)
	}
}

func TestFastPath(t *testing.T) {
	for functions, want := range map[string]string{
		"[{name: f, process: cat, maxrate: 31.9}, {name: g, process: cat, maxrate: 32}]": "",
		"[{name: f, process: cat}]":                "", // by default more
		"[{name: f, process: cat, maxrate: 31.9}]": "x.yaml:4: fast_path: every call of a function of less than 32 requests/s is asked about, and no node has another",
	} {
		text := "name: x\nnodes: [{name: a, functions: " + functions + "}]\nload: [{target: a, function: f, rate: 1, duration: 60s}]\nfast_path: "
		s, err := parse("x.yaml", []byte(text+"true"))
		if want == "" && (err != nil || !s.FastPath) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %q", functions, err, want)
		}
		if s, err := parse("x.yaml", []byte(text+"false")); err != nil || s.FastPath {
			t.Errorf("%s, without: %v", functions, err)
		}
	}
	gateway := "name: x\nfast_path: true\nnodes: [{name: a, gateway: \"http://10.0.0.7:8080\", functions: [{name: f}]}]\nload: [{target: a, function: f, rate: 1, duration: 60s}]"
	if _, err := parse("x.yaml", []byte(gateway)); err != nil {
		t.Errorf("a gateway that runs already: %v", err)
	}
}

func TestPartition(t *testing.T) {
	const start = `
name: x
nodes: [{name: a, functions: [{name: f, process: cat}]}, {name: b}, {name: c}]
load: [{target: a, function: f, rate: 1, duration: 60s}]
`
	s, err := parse("x.yaml", []byte(start+`
faults:
  - {at: 5s, do: partition, nodes: [a, b], duration: 10s}
  - {at: 20s, do: partition, node: c}
  - {at: 30s, do: heal}
`))
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		at    time.Duration
		do    Action
		nodes []string
	}
	var got []step
	for _, f := range s.Timeline() {
		got = append(got, step{f.At, f.Do, f.Nodes})
	}
	want := []step{
		{5 * time.Second, Partition, []string{"a", "b"}}, {15 * time.Second, Heal, []string{"a", "b"}},
		{20 * time.Second, Partition, []string{"c"}}, {30 * time.Second, Heal, nil},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" || !s.Namespaces {
		t.Errorf("namespaces %t, timeline (-want +got):\n%s", s.Namespaces, diff)
	}
	for text, namespaces := range map[string]bool{"": false, "network: loopback": false, "network: namespaces": true} {
		if s, err := parse("x.yaml", []byte(start+text)); err != nil || s.Namespaces != namespaces {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
	_, err = parse("x.yaml", []byte(start+"network: loopback\nfaults: [{at: 1s, do: heal}]"))
	if err == nil || !strings.Contains(err.Error(), "nodes on the loopback interface cannot be parted") {
		t.Errorf("partition on the loopback interface: %v", err)
	}
}

// Every refusal names the file, the line and the reason.
func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // what is replaced in the example
		want     string
	}{
		{"unknown key", "period: 2s", "perod: 2s", `x.yaml:3: unknown key "perod" in the scenario: known are default_maxrate,`},
		{"unknown key of a node", "gateway:", "gatway:", `x.yaml:12: unknown key "gatway" in a node`},
		{"key twice", "warmup: 3s", "period: 3s", `x.yaml:4: the scenario: key "period" is there twice`},
		{"no name", "name: cloudnet-50", "", `x.yaml:2: the scenario has no name`},
		{"bad name", "cloudnet-50", "../x", `x.yaml:1: name "../x"`},
		{"bad strategy", "strategy: recalc", "strategy: fastest", `x.yaml:2: unknown strategy "fastest": use one of`},
		{"bad strategy of a node", "strategy: alllocal", "strategy: 5", `x.yaml:8: unknown strategy "5"`},
		{"duration without unit", "period: 2s", "period: 2", `x.yaml:3: period: a duration like`},
		{"period too short", "period: 2s", "period: 1ms", `x.yaml:3: period: 1ms is outside of 100ms to 10m0s`},
		{"negative warmup", "warmup: 3s", "warmup: -3s", `x.yaml:4: warmup: -3s is outside`},
		{"nodes are no list", "nodes:", "nodes: 5 #", "x.yaml:5: "},
		{"node twice", "name: node-2", "name: node-1", `x.yaml:7: node node-1 is there twice`},
		{"bad node name", "name: node-2", "name: Node_2", `x.yaml:7: node name "Node_2"`},
		{"function twice", "name: figlet, image", "name: funca, image", `x.yaml:11: function funca is there twice on node node-2`},
		{"nothing to run", "process: cat, maxrate", "maxrate", `x.yaml:6: function funca has neither image nor process`},
		{"both to run", "image: figlet,", "image: figlet, process: cat,", `x.yaml:11: function figlet has an image and a process`},
		{"deployment to a foreign gateway", "functions: [{name: funca}]", "functions: [{name: funca, process: cat}]",
			`x.yaml:12: function funca: node node-3 has its own gateway`},
		{"gateway with a password", "http://10", "http://u:p@10", `x.yaml:12: gateway: a URL like`},
		{"maxrate a text", "maxrate: 10", `maxrate: "10"`, `x.yaml:6: maxrate: a number is expected`},
		{"maxrate not a number", "maxrate: 10", `maxrate: .nan`, `x.yaml:6: maxrate: a number is expected`},
		{"maxrate negative", "maxrate: 10", `maxrate: -1`, `x.yaml:6: maxrate: -1 is outside of 0 to 1000000`},
		{"broken milliseconds", "timeout_ms: 500", "timeout_ms: 0.5", `x.yaml:10: timeout_ms: 0.5 is outside`},
		{"fraction of a millisecond", "timeout_ms: 500", "timeout_ms: 1.5", `x.yaml:10: timeout_ms: a whole number is expected`},
		{"unknown target", "target: node-1", "target: node-9", `x.yaml:14: target: there is no node "node-9"`},
		{"unknown function", "function: figlet", "function: figle", `x.yaml:15: function: no node has "figle"`},
		{"rate 0", "rate: 50", "rate: 0", `x.yaml:14: rate: 0 is outside`},
		{"no request at all", "rate: 0.5, start: 1500ms, duration: 30s", "rate: 0.01, duration: 30s", `x.yaml:15: rate: at 0.01`},
		{"no rate", "rate: 50, ", "", `x.yaml:14: a load has no rate`},
		{"no target", "target: node-1, ", "", `x.yaml:14: a load has no target`},
		{"unknown arrivals", "rate: 50", "arrivals: bursts, rate: 50", `x.yaml:14: arrivals: unknown arrivals "bursts": use constant or poisson`},
		{"unknown shape", "rate: 50", "shape: {wave: 5}, rate: 50", `x.yaml:14: unknown key "wave" in a shape`},
		{"no shape", "rate: 50", "shape: {}, rate: 50", `x.yaml:14: a shape is one of steps, trace,`},
		{"two shapes", "rate: 50", "shape: {ramp: 5, moving: 5s}, rate: 50", `x.yaml:14: a shape is one of steps, trace, ramp, moving and onoff, not ramp and moving`},
		{"a rate and steps", "rate: 50", "shape: {steps: [{at: 0s, rate: 5}]}, rate: 50", `x.yaml:14: rate: the steps say`},
		{"steps out of order", "rate: 50", "shape: {steps: [{at: 5s, rate: 5}, {at: 1s, rate: 6}]}", `x.yaml:14: steps: the rate at 1s comes after that at 5s`},
		{"no steps", "rate: 50", "shape: {steps: []}", `x.yaml:14: steps: there are none`},
		{"moving with one target", "rate: 50", "shape: {moving: 5s}, rate: 50", `x.yaml:14: a load that moves has targets`},
		{"targets of a load that stays", "target: node-1", "targets: [node-1, node-2]", `x.yaml:14: targets: only a load whose shape is moving`},
		{"moving too fast", "rate: 50", "shape: {moving: 1ms}, rate: 50", `x.yaml:14: moving: 1ms is less than 100ms`},
		{"skew of a ramp", "rate: 50", "shape: {ramp: 5, skew: 2}, rate: 50", `x.yaml:14: skew: only a moving shape`},
		{"half of on and off", "rate: 50", "shape: {onoff: {on: 1s}}, rate: 50", `x.yaml:14: onoff has no off`},
		{"a trace elsewhere", "rate: 50", "shape: {trace: ../x.csv}", `x.yaml:14: trace "../x.csv": the name of a file beside`},
		{"a trace that is not there", "rate: 50", "shape: {trace: missing.csv}", `x.yaml:14: trace: reading the trace: open missing.csv`},
		{"a trace of something else", "rate: 50", "shape: {trace: parse_test.go}", `x.yaml:14: trace: parse_test.go:1: two numbers`},
		{"path without slash", "path: /x", "path: x", `x.yaml:15: path "x"`},
		{"header with a line break", "headers: {A: b}", `headers: {A: "b\r\nC: d"}`, `x.yaml:14: header A`},
		{"header name", "headers: {A: b}", `headers: {"A B": b}`, `x.yaml:14: headers: "A B" is not allowed`},
		{"partition of a part", "do: kill", "do: partition", `x.yaml:17: part: partition is done to whole nodes`},
		{"heal of a part", "do: kill", "do: heal", `x.yaml:17: part: heal is done to whole nodes`},
		{"partition of nobody", "do: kill, node: node-2, part: spoa", "do: partition", `x.yaml:17: partition needs a node, or nodes`},
		{"partition of everybody", "do: kill, node: node-2, part: spoa", "do: partition, nodes: [node-1, node-2, node-3]", `x.yaml:17: nodes: all nodes`},
		{"partition of an unknown node", "do: kill, node: node-2, part: spoa", "do: partition, node: node-9", `x.yaml:17: nodes: there is no node "node-9"`},
		{"partition with a gateway", "do: kill, node: node-2, part: spoa", "do: partition, node: node-2", `x.yaml:12: gateway: from a network namespace`},
		{"node and nodes", "do: kill, node: node-2, part: spoa", "do: partition, node: node-2, nodes: [node-1]", `x.yaml:17: partition has node and nodes`},
		{"nodes for a part", "node: node-2, part", "nodes: [node-2], part", `x.yaml:17: kill needs a node and a part`},
		{"unknown network", "name: ", "network: bridge\nname: ", `network: loopback or namespaces is expected, not "bridge"`},
		{"unknown action", "do: kill", "do: explode", `x.yaml:17: do: unknown action "explode": use one of kill,`},
		{"unknown part", "part: spoa", "part: brain", `x.yaml:17: part: unknown part "brain": use one of provider,`},
		{"no part", ", part: spoa", "", `x.yaml:17: kill needs a node and a part`},
		{"reload of another part", "part: haproxy", "part: spoa", `x.yaml:18: only haproxy can be reloaded`},
		{"fault on an unknown node", "node: node-2, part", "node: node-9, part", `x.yaml:17: node: there is no node "node-9"`},
		{"fault beyond the end", "at: 20s", "at: 60s", `x.yaml:17: at: the load ends at 1m0s, a fault at 1m0s`},
		{"fault that outlives the load", "duration: 5s}", "duration: 50s}", `x.yaml:17: duration: the load ends at 1m0s`},
		{"a reload that lasts", "part: haproxy}", "part: haproxy, duration: 1s}", `x.yaml:18: duration: only kill, stop and partition last`},
		{"fault on a foreign provider", "node: node-1, part: haproxy", "node: node-3, part: provider", `x.yaml:18: `},
		{"expectation of an unknown node", "node-2: ..20", "node-9: ..20", `x.yaml:20: by_node: there is no node "node-9"`},
		{"expectation of an unknown load", "load: 2, status", "load: 3, status", `x.yaml:21: load: there is no load 3, only 2`},
		{"expectation of nothing", "{load: 2, status: {0: 0}}", "{load: 2}", `x.yaml:21: an expectation needs status or by_node`},
		{"expectation of half a second", "from: 1s", "from: 1500ms", `x.yaml:20: from 1.5s to 1m0s: whole seconds`},
		{"expectation before the load", "load: 2, status", "load: 2, from: 1s, status", `x.yaml:21: from 1s to 31s`},
		{"range upside down", "49..51", "51..49", `x.yaml:20: status 200: requests per second as 5, 5..7`},
		{"range of nothing", "49..51", "..", `x.yaml:20: status 200: requests per second as`},
		{"range of words", "49..51", "many", `x.yaml:20: status 200: requests per second as`},
		{"unknown status", "200: 49", "600: 49", `x.yaml:20: status: "600" is not allowed here`},
		{"not YAML", "nodes:", "nodes: [", `x.yaml:`},
		{"second document", "load:", "---\nload:", `more than one document`},
		{"a merge key", "{name: node-3,", "{<<: *x, name: node-3,", `x.yaml:`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := strings.Replace(example, test.old, test.new, 1)
			if file == example {
				t.Fatalf("the example has no %q", test.old)
			}
			_, err := parse("x.yaml", []byte(file))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, not problems", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got\n%v\nwant %q", err, test.want)
			}
		})
	}
}

func TestParseNamesAllProblemsInTheOrderOfLines(t *testing.T) {
	_, err := parse("x.yaml", []byte("name: x\nperiod: 1\nnodes:\n- {nam: y}\nwarmup: z\n"))
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if diff := cmp.Diff([]int{2, 4, 4, 5}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s\n%v", diff, err)
	}
}

// TestShapes: each load has the shape that its file says, and one that moves is a
// load for each of its targets.
func TestShapes(t *testing.T) {
	s, err := parse("testdata/shapes.yaml", []byte(`name: x
seed: 9
nodes:
  - {name: a, functions: [{name: f, process: cat}]}
  - {name: b}
load:
  - {target: a, function: f, rate: 5, duration: 10s, arrivals: poisson}
  - {target: a, function: f, duration: 10s, shape: {steps: [{at: 0s, rate: 10}, {at: 5s, rate: 20}]}}
  - {target: a, function: f, rate: 10, duration: 10s, shape: {ramp: 30}}
  - {targets: [a, b], function: f, rate: 100, duration: 10s, shape: {moving: 2s}}
  - {target: b, function: f, rate: 10, duration: 10s, shape: {onoff: {on: 2s, off: 2s}}}
  - {target: b, function: f, duration: 10s, shape: {trace: rates.csv}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, l := range s.Loads {
		got = append(got, l.Requests())
	}
	if diff := cmp.Diff([]int{50, 150, 200, 500, 500, 50, 70}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if peak := s.PeakRate(); peak != 5+20+30+50+50+10+9 {
		t.Errorf("peak rate %v", peak)
	}
	count := func(l Load) int {
		n := 0
		for times := l.Times(); ; n++ {
			if _, more := times.Next(); !more {
				return n
			}
		}
	}
	moving := s.Loads[3:5]
	if moving[0].Target != "a" || moving[1].Target != "b" || count(moving[0])+count(moving[1]) != 1000 || count(moving[0]) == count(moving[1]) {
		t.Errorf("moving: %d on %s, %d on %s", count(moving[0]), moving[0].Target, count(moving[1]), moving[1].Target)
	}
	before := s.Loads[0].Times()
	s.Reseed(10)
	a, _ := before.Next()
	if b, _ := s.Loads[0].Times().Next(); a == b {
		t.Error("another seed, the same times")
	}
}

// TestTraces: each target of a trace gets its series, and bad ones are refused with the
// line of the scenario and the place in the trace.
func TestTraces(t *testing.T) {
	load := func(load string) (*Scenario, error) {
		return parse("testdata/traces.yaml", []byte("name: x\nnodes: [{name: a, functions: [{name: f, process: cat}]}, {name: b}]\nload:\n  - "+load+"\n"))
	}
	s, err := load("{targets: [a, b], function: f, duration: 10s, shape: {trace: {file: trace.csv, speed: 60, scale: 2}}}")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Loads) != 2 || s.Loads[0].Target != "a" || s.Loads[0].Requests() != 60 || s.Loads[1].Target != "b" || s.Loads[1].Requests() != 20 {
		t.Errorf("%+v", s.Loads)
	}
	if s, err := load("{target: a, function: f, duration: 10s, shape: {trace: {file: trace.csv, speed: 60, first: 2}}}"); err != nil || s.Loads[0].Requests() != 10 {
		t.Errorf("%+v, %v", s, err)
	}
	for bad, want := range map[string]string{
		"{targets: [a, b], function: f, duration: 9s, shape: {trace: {file: trace.csv, first: 2}}}":  "x.yaml:4: trace: the trace has 2 series, which are too few",
		"{function: f, duration: 9s, shape: {trace: {file: trace.csv}}}":                             ":4: a load of a trace has a target",
		"{target: a, targets: [a, b], function: f, duration: 9s, shape: {trace: {file: trace.csv}}}": ":4: a load of a trace has a target",
		"{target: a, function: f, duration: 9s, shape: {trace: {file: ../x.csv}}}":                   `:4: file "../x.csv": the name of a file beside`,
		"{target: a, function: f, duration: 9s, shape: {trace: {file: rates.csv, columns: time}}}":   ":4: columns: columns: KEY=COLUMN",
		"{target: a, function: f, duration: 9s, shape: {trace: {file: square.csv}}}":                 ":4: trace: testdata/square.csv:1: the first line is that of no known form",
		"{target: a, function: f, duration: 9s, rate: 5, shape: {trace: {file: trace.csv}}}":         ":4: rate: the steps say",
	} {
		if _, err := load(bad); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "x.yaml")) {
			t.Errorf("%s: %v, want %q", bad, err, want)
		}
	}
}

func TestParseFollowsAliases(t *testing.T) {
	s, err := parse("x.yaml", []byte(`name: x
nodes:
  - {name: a, functions: &f [{name: funca, process: cat}]}
  - {name: b, functions: *f}
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Nodes[0].Functions, s.Nodes[1].Functions); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefusesHugeFiles(t *testing.T) {
	_, err := parse("x.yaml", []byte(example+strings.Repeat("#", MaxFile)))
	if err == nil || !strings.Contains(err.Error(), "x.yaml:1: the file is larger") {
		t.Errorf("got %v", err)
	}
}

// The scenarios that come with the emulator are valid.
func TestShippedScenarios(t *testing.T) {
	const dir = "../../../deploy/emulator/scenarios"
	var files []string
	for _, pattern := range []string{"/*.yaml", "/original/*.yaml", "/paper/*.yaml", "/traces/*.yaml"} {
		some, err := filepath.Glob(dir + pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("no scenarios in %s: %v", pattern, err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		text, err := ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if filepath.Dir(file) != dir { // those are for comparisons, and named by what they are compared with
			continue
		}
		if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); s.Name != want {
			t.Errorf("%s is named %q", file, s.Name)
		}
		if len(s.Expect) == 0 {
			t.Errorf("%s expects nothing", file)
		}
	}
}

// parse is Parse within the default limits.
func parse(file string, data []byte) (*Scenario, error) { return Parse(file, data, Limits{}) }

func TestLimits(t *testing.T) {
	text := "name: x\nnodes:\n"
	for i := range topology.MaxNodes + 1 {
		text += fmt.Sprintf("  - {name: node-%d}\n", i)
	}
	if _, err := parse("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Errorf("1001 nodes by default: %v", err)
	}
	if s, err := Parse("x.yaml", []byte(text), Limits{Nodes: 1001}); err != nil || len(s.Nodes) != 1001 {
		t.Errorf("1001 nodes of 1001: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("name: x\nnodes: [{name: a}]\n"))
	f.Add([]byte("name: &a [*a]\nnodes: *a\n"))
	f.Add([]byte("---\n---\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte(four + "topology: {kind: ring, delay: 5ms}\nscope: all\nlinks: [{between: [node-1, node-2], loss: 1%}]"))
	f.Add([]byte(four + "topology: {kind: random, prob: 0.5}\nfaults: [{at: 1s, do: link-down, between: [node-1, node-2]}]"))
	if files, err := filepath.Glob("../../../deploy/emulator/scenarios/*.yaml"); err == nil {
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse("x.yaml", data)
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 || problems[0].Line < 1 {
				t.Fatalf("refused with %#v", err)
			}
			for _, p := range problems {
				if p.Reason == "" || strings.ContainsAny(p.Reason, "\n\r\x00\x1b") {
					t.Fatalf("refused with %q", p.Reason)
				}
			}
			return
		}
		if len(s.Nodes) == 0 || len(s.Nodes) > topology.MaxNodes || s.Period <= 0 {
			t.Fatalf("accepted %+v", s)
		}
		for _, fault := range s.Timeline() {
			if fault.At >= s.End() {
				t.Fatalf("accepted a fault beyond the end: %+v", fault)
			}
		}
		for _, l := range s.Loads {
			if l.Requests() < 1 || l.Method == "" {
				t.Fatalf("accepted %+v", l)
			}
		}
	})
}

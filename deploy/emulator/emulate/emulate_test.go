package emulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/link"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/testprogram"
)

const small = `name: small
period: 200ms
warmup: 100ms
nodes:
  - {name: node-1, functions: [{name: funca, process: cat, maxrate: 40}]}
  - {name: node-2, functions: [{name: funca, process: cat, maxrate: 40}]}
load:
  - {target: node-1, function: funca, rate: 20, duration: 3s, body: hello}
  - {target: node-2, function: funca, rate: 10, start: 1s, duration: 1s, headers: {DFaaS-Node-ID: malicious-id}}
faults:
  - {at: 1s, do: kill, node: node-2, part: controller, duration: 500ms}
  - {at: 2s, do: reload, node: node-1, part: haproxy}
`

// world returns a world, a scenario for it and a directory for the results.
func world(t *testing.T, text string) (*World, *scenario.Scenario, string) {
	t.Helper()
	s, err := scenario.Parse("small.yaml", []byte(text), scenario.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := experiment.PrepareOut(out, []byte(text)); err != nil {
		t.Fatal(err)
	}
	binaries, err := federation.FindBinaries(testprogram.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	return &World{Binaries: binaries, Log: zerolog.Nop()}, s, out
}

// A scenario gives a summary, a plot, vegeta's results and logs, and they agree.
func TestRun(t *testing.T) {
	w, s, out := world(t, small)
	observed := make([]int, 2)
	w.Observe = func(load int, _ summary.Sample) { observed[load]++ }
	began := false
	w.Began = func(time.Time) { began = true }
	readied := ""
	w.Ready = func(_ context.Context, f *federation.Federation) error {
		readied = f.Nodes()[0].Name
		return nil
	}
	sum, err := experiment.Run(t.Context(), w, s, out)
	if err != nil {
		t.Fatal(err)
	}
	if !began || readied != "node-1" || observed[0] != 60 || observed[1] != 10 {
		t.Errorf("began %t, readied %q, observed %v", began, readied, observed)
	}
	users, forger := sum.Loads[0], sum.Loads[1]
	if users.Sent != 60 || users.Status["200"] != 60 || users.ByNode["node-1"] == 0 {
		t.Errorf("users: %+v", users)
	}
	if forger.Sent != 10 || forger.Status["403"] != 10 {
		t.Errorf("forger: %+v", forger)
	}
	if n := sum.Nodes[0]; n.HAProxyReloads != 0 || n.Restarts != 0 || !strings.HasPrefix(n.PeerID, "12D3KooW") {
		t.Errorf("node-1: %+v", n)
	}
	if n := sum.Nodes[1]; n.HAProxyReloads != 0 || n.Restarts != 1 {
		t.Errorf("node-2: %+v", n)
	}
	checkFiles(t, out, sum)
}

func checkFiles(t *testing.T, out string, sum summary.Summary) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, experiment.SummaryFile))
	if err != nil {
		t.Fatal(err)
	}
	var written summary.Summary
	if err := json.Unmarshal(text, &written); err != nil || len(written.Loads) != 2 || written.Loads[0].Sent != sum.Loads[0].Sent {
		t.Errorf("the summary that was written: %v, %s", err, text)
	}
	for file, lines := range map[string]int{"load-1.json": 60, "load-2.json": 10} {
		results, err := os.ReadFile(filepath.Join(out, file))
		if err != nil || bytes.Count(results, []byte("\n")) != lines {
			t.Errorf("%s has %d lines, %v", file, bytes.Count(results, []byte("\n")), err)
		}
	}
	for _, file := range []string{experiment.PlotFile, "scenario.yaml", "logs/node-1/haproxy.log", "logs/node-2/controller.log"} {
		if info, err := os.Stat(filepath.Join(out, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w, s, out := world(t, strings.Replace(small, "duration: 3s", "duration: 1h", 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Observe = func(int, summary.Sample) { cancel() }
	_, err := experiment.Run(ctx, w, s, out)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, experiment.SummaryFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half an experiment has a summary: %v", err)
	}
}

// Only neighbours exchange calls, though all are members.
func TestNeighbours(t *testing.T) {
	w, s, out := world(t, `name: line
period: 200ms
warmup: 500ms
topology: {kind: line}
nodes:
  - {name: node-1, functions: &f [{name: funca, process: cat, maxrate: 10}]}
  - {name: node-2, functions: *f}
  - {name: node-3, functions: *f}
load:
  - {target: node-1, function: funca, rate: 40, duration: 4s}
  - {target: node-3, function: funca, rate: 5, duration: 4s}
`)
	w.Ready = func(ctx context.Context, f *federation.Federation) error {
		for node, apart := range map[string]string{"node-1": "node-3", "node-2": "", "node-3": "node-1"} {
			peers, err := f.Node(node).Admin().Peers(ctx)
			if err != nil {
				return err
			}
			for _, p := range peers {
				is, server := p.Name == apart, "up"
				if is {
					server = "none"
				}
				if p.State != "alive" || p.Apart != is || p.Server != server {
					t.Errorf("%s knows %+v", node, p)
				}
			}
		}
		return nil
	}
	sum, err := experiment.Run(t.Context(), w, s, out)
	if err != nil {
		t.Fatal(err)
	}
	if l := sum.Loads[0]; l.ByNode["node-2"] < 20 || l.ByNode["node-3"] != 0 || l.Status["429"] < 20 {
		t.Errorf("of node-1's users: %v, %v", l.ByNode, l.Status)
	}
	if l := sum.Loads[1]; l.ByNode["node-3"] != 20 {
		t.Errorf("of node-3's users: %v, %v", l.ByNode, l.Status)
	}
}

// needNetworks skips a test where this program may not make networks.
func needNetworks(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, network.ErrUnavailable) || errors.Is(err, link.ErrNoTUN) {
		t.Skip(err)
	}
}

// Calls over a link take as long as it does, nodes find each other by mDNS, and a link
// that goes down is not used.
func TestLinks(t *testing.T) {
	w, s, out := world(t, `name: star
period: 200ms
warmup: 500ms
mdns: true
topology: {kind: star, delay: 20ms, rate: 100mbit}
nodes:
  - {name: node-1, functions: &f [{name: funca, process: cat, maxrate: 10}]}
  - {name: node-2, functions: *f}
  - {name: node-3, functions: *f}
load: [{target: node-1, function: funca, rate: 25, duration: 12s}]
faults: [{at: 4s, do: link-down, between: [node-1, node-3], duration: 4s}]
`)
	w.Ready = func(_ context.Context, f *federation.Federation) error {
		if url := f.Node("node-2").URL; !strings.HasSuffix(url, ":80") {
			t.Errorf("node-2 serves at %s", url)
		}
		return nil
	}
	sum, err := experiment.Run(t.Context(), w, s, out)
	needNetworks(t, err)
	if err != nil {
		t.Fatal(err)
	}
	l := sum.Loads[0]
	if l.Latency.P99 < 40 {
		t.Errorf("calls over 20 ms, there and back, take %v ms", l.Latency.P99)
	}
	far := func(from, to int) (n int) {
		for _, second := range l.Seconds[from:to] {
			n += second.ByNode["node-3"]
		}
		return n
	}
	if far(1, 4) < 5 || far(7, 8) > 0 || far(10, 12) < 4 {
		t.Errorf("node-3 serves %d before its link goes down, %d then, and %d after: %v", far(1, 4), far(7, 8), far(10, 12), l.Seconds)
	}
}

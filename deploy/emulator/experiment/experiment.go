// Package experiment runs a scenario from its start to its summary.
package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/load"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/deploy/emulator/plot"
	"github.com/dfaas/dfaas/deploy/emulator/scenario"
	"github.com/dfaas/dfaas/deploy/emulator/summary"
	"github.com/dfaas/dfaas/haproxy"
)

// Files in the directory of an experiment, besides load-N.json.
const (
	SummaryFile = "summary.json"
	PlotFile    = "plot.svg"
	LogsDir     = "logs"
)

// Options say how to run an experiment.
type Options struct {
	Scenario *scenario.Scenario
	Out      string // directory from PrepareOut
	Binaries federation.Binaries
	Log      zerolog.Logger
	// Began, if given, is called at t = 0 with that time. It must not block.
	Began func(zero time.Time)
	// Observe, if given, is called with every result and the index of its load;
	// it must not block.
	Observe func(load int, s summary.Sample)
	// Ready, if given, is called with the federation before the warm-up.
	Ready func(context.Context, *federation.Federation) error
}

// Run starts the federation, applies load and faults, stops everything and
// writes the results to Out. A part that ended by itself is an error, also then
// the results are written. When ctx ends there are none.
func Run(ctx context.Context, o Options) (summary.Summary, error) {
	s := o.Scenario
	started := time.Now()
	f, err := federation.Start(ctx, federation.Options{
		Binaries: o.Binaries, Nodes: s.Nodes, Strategy: s.Strategy, Period: s.Period, DefaultMaxrate: s.DefaultMaxrate, TLS: s.TLS,
		Logs: filepath.Join(o.Out, LogsDir), Namespaces: s.Namespaces, Log: o.Log,
	})
	if err != nil {
		return summary.Summary{}, fmt.Errorf("starting the federation: %w", err)
	}
	defer f.Stop()
	o.Log.Info().Int("nodes", len(s.Nodes)).Dur("ms", time.Since(started)).Msg("the federation has formed")
	if o.Ready != nil {
		if err := o.Ready(ctx, f); err != nil {
			return summary.Summary{}, err
		}
	}
	loads, err := apply(ctx, o, f)
	if err != nil {
		return summary.Summary{}, err
	}
	crashed := f.Crashed()
	nodes, err := describe(ctx, f)
	if err != nil {
		return summary.Summary{}, err
	}
	f.Stop()
	sum := summary.Summary{Scenario: s.Name, Strategy: s.Strategy, Loads: loads, Nodes: nodes}
	return sum, errors.Join(crashed, write(o.Out, sum))
}

// apply warms up, then sends the loads and does the faults.
func apply(ctx context.Context, o Options, f *federation.Federation) ([]summary.Load, error) {
	if err := pause.For(ctx, o.Scenario.Warmup); err != nil {
		return nil, err
	}
	zero := time.Now().Add(100 * time.Millisecond) // for all loads to be at the start
	if o.Began != nil {
		o.Began(zero)
	}
	loads := make([]summary.Load, len(o.Scenario.Loads))
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range o.Scenario.Loads {
		group.Go(func() (err error) {
			loads[i], err = send(ctx, o, f, zero, i, l)
			return err
		})
	}
	group.Go(func() error { return afflict(ctx, o, f, zero) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return loads, nil
}

// send applies one load and keeps its results.
func send(ctx context.Context, o Options, f *federation.Federation, zero time.Time, i int, l scenario.Load) (_ summary.Load, err error) {
	path := filepath.Join(o.Out, fmt.Sprintf("load-%d.json", i+1))
	results, err := os.Create(path)
	if err != nil {
		return summary.Load{}, fmt.Errorf("results of load %d: %w", i+1, err)
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	observe := func(s summary.Sample) {
		if o.Observe != nil {
			o.Observe(i, s)
		}
	}
	sent, err := load.Send(ctx, load.Attack{
		Load: l, URL: f.Node(l.Target).URL, Zero: zero, Dial: f.Dial, Results: results, Observe: observe,
		Node: func(h http.Header) string { return f.NameOf(h.Get(haproxy.HeaderNodeID)) },
	})
	if err != nil {
		return summary.Load{}, fmt.Errorf("load %d: %w", i+1, err)
	}
	if ctx.Err() != nil {
		return summary.Load{}, context.Cause(ctx)
	}
	if sent.Delay > load.Late {
		o.Log.Warn().Int("load", i+1).Dur("late_ms", sent.Delay).
			Msg("requests were sent late: this machine was too busy for the experiment, do not trust its results")
	}
	return summary.OfLoad(l, sent.Samples), nil
}

// afflict does the faults, each at its time.
func afflict(ctx context.Context, o Options, f *federation.Federation, zero time.Time) error {
	for _, fault := range o.Scenario.Timeline() {
		if err := pause.For(ctx, time.Until(zero.Add(fault.At))); err != nil {
			return err
		}
		o.Log.Info().Dur("at_ms", fault.At).Str("node", fault.Node).Strs("nodes", fault.Nodes).Str("part", string(fault.Part)).
			Msg(string(fault.Do))
		if err := f.Do(ctx, fault); err != nil {
			return fmt.Errorf("fault at %s (line %d): %w", fault.At, fault.Line, err)
		}
	}
	return nil
}

func describe(ctx context.Context, f *federation.Federation) ([]summary.Node, error) {
	var nodes []summary.Node
	for _, n := range f.Nodes() {
		reloads, err := n.HAProxyReloads(ctx)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, summary.Node{Name: n.Name, PeerID: n.PeerID, HAProxyReloads: reloads, Restarts: n.Restarts()})
	}
	return nodes, nil
}

func write(out string, sum summary.Summary) error {
	text, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the summary: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, SummaryFile), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return plot.Save(filepath.Join(out, PlotFile), sum)
}

// marker in a directory says that it holds an experiment of ours.
const marker = "scenario.yaml"

// PrepareOut makes the directory for an experiment and keeps the text of the
// scenario there. What an earlier experiment left is removed; a directory that
// holds anything else is refused.
func PrepareOut(out string, text []byte) error {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("directory for the results: %w", err)
	}
	if _, err := os.Stat(filepath.Join(out, marker)); err != nil && len(entries) > 0 {
		return fmt.Errorf("directory for the results: %s holds other things than an experiment: give another one", out)
	}
	for _, entry := range entries {
		if !ours(entry.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(out, entry.Name())); err != nil {
			return fmt.Errorf("removing earlier results: %w", err)
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("directory for the results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, marker), text, 0o644); err != nil {
		return fmt.Errorf("directory for the results: %w", err)
	}
	return nil
}

func ours(name string) bool {
	switch name {
	case marker, SummaryFile, PlotFile, LogsDir:
		return true
	}
	return strings.HasPrefix(name, "load-") && strings.HasSuffix(name, ".json")
}

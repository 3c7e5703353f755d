// Package emulate is the world of real processes: every node of a scenario has
// its own HAProxy, SPOA, controller and provider on this machine.
package emulate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/load"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// World runs scenarios with the programs that would run on a node.
type World struct {
	Binaries federation.Binaries
	Log      zerolog.Logger
	// IgnoreLimits starts nodes with all that the machine has, whatever the scenario says.
	IgnoreLimits bool
	Version      string // of the program, for the summary
	// Began, if given, is called at t = 0 with that time. It must not block.
	Began func(zero time.Time)
	// Observe, if given, is called with every result and the index of its load;
	// it must not block.
	Observe func(load int, s summary.Sample)
	// Ready, if given, is called with the federation before the warm-up.
	Ready func(context.Context, *federation.Federation) error
}

var _ experiment.World = (*World)(nil)

// Run starts the federation, applies load and faults, and stops everything. A
// part that ended by itself is an error that comes with the results.
func (w *World) Run(ctx context.Context, s *scenario.Scenario, out string) (summary.Summary, error) {
	started := time.Now()
	o := federation.Of(s)
	o.Binaries, o.Logs, o.Log, o.IgnoreLimits = w.Binaries, filepath.Join(out, experiment.LogsDir), w.Log, w.IgnoreLimits
	f, err := federation.Start(ctx, o)
	if err != nil {
		return summary.Summary{}, fmt.Errorf("starting the federation: %w", err)
	}
	defer f.Stop()
	w.Log.Info().Int("nodes", len(s.Nodes)).Dur("ms", time.Since(started)).Msg("the federation has formed")
	if w.Ready != nil {
		if err := w.Ready(ctx, f); err != nil {
			return summary.Summary{}, err
		}
	}
	loads, err := w.apply(ctx, s, out, f)
	if err != nil {
		return summary.Summary{}, err
	}
	crashed := f.Crashed()
	nodes, err := describe(ctx, f)
	if err != nil {
		return summary.Summary{}, err
	}
	return summary.Summary{Scenario: s.Name, Strategy: s.Strategy, Seed: s.Seed, Version: w.Version, Loads: loads, Nodes: nodes}, crashed
}

// apply warms up, then sends the loads and does the faults.
func (w *World) apply(ctx context.Context, s *scenario.Scenario, out string, f *federation.Federation) ([]summary.Load, error) {
	if err := pause.For(ctx, s.Warmup); err != nil {
		return nil, err
	}
	zero := time.Now().Add(100 * time.Millisecond) // for all loads to be at the start
	if w.Began != nil {
		w.Began(zero)
	}
	loads := make([]summary.Load, len(s.Loads))
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range s.Loads {
		group.Go(func() (err error) {
			loads[i], err = w.send(ctx, out, f, zero, i, l)
			return err
		})
	}
	group.Go(func() error { return w.afflict(ctx, s, f, zero) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return loads, nil
}

// send applies one load and keeps its results.
func (w *World) send(
	ctx context.Context, out string, f *federation.Federation, zero time.Time, i int, l scenario.Load,
) (_ summary.Load, err error) {
	results, err := os.OpenFile(filepath.Join(out, experiment.LoadFile(i)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return summary.Load{}, fmt.Errorf("results of load %d: %w", i+1, err)
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	observe := func(s summary.Sample) {
		if w.Observe != nil {
			w.Observe(i, s)
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
		w.Log.Warn().Int("load", i+1).Dur("late_ms", sent.Delay).
			Msg("requests were sent late: this machine was too busy for the experiment, do not trust its results")
	}
	return summary.OfLoad(l, sent.Samples), nil
}

// afflict does the faults, each at its time.
func (w *World) afflict(ctx context.Context, s *scenario.Scenario, f *federation.Federation, zero time.Time) error {
	for _, fault := range s.Timeline() {
		if err := pause.For(ctx, time.Until(zero.Add(fault.At))); err != nil {
			return err
		}
		w.Log.Info().Dur("at_ms", fault.At).Str("node", fault.Node).Strs("nodes", fault.Nodes).Strs("between", between(fault)).Str("part", string(fault.Part)).
			Msg(string(fault.Do))
		if err := f.Do(ctx, fault); err != nil {
			return fmt.Errorf("fault at %s (line %d): %w", fault.At, fault.Line, err)
		}
	}
	return nil
}

// between are the ends of a fault's link, none if it has none.
func between(f scenario.Fault) []string {
	if !f.Do.OnLink() {
		return nil
	}
	return f.Between[:]
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

// Package faults runs the fault matrix: one fault after the other is done to a
// node of a federation under load, and what users saw is measured.
//
// The federation has three nodes. The users of the faulty one and those of a
// healthy one ask for more than their node can serve, so that each sends
// requests to the other and to the third, the bystander, whose own users need
// nobody else. Where links fail there is a fourth, with room for everybody.
package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/load"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

const (
	settle = 2 * time.Second // under load, before anything is measured
	before = 4 * time.Second // measured before the fault
	after  = 5 * time.Second // watched after the fault, at least
	// patience is how long a federation may take to become normal again.
	patience = 12 * time.Second
	// steady is how long it has to be normal to be believed.
	steady = time.Second
	// maxFault bounds a fault, and so the load.
	maxFault = 90 * time.Second
	// A test case that missed a target while the machine was busy with something else
	// is run so often, as long as so much time has not passed.
	maxTries = 4
	tryUntil = 11 * time.Minute
)

// Run runs the cases, one after the other, and returns what came of them. A test case
// that cannot be run is no error. When ctx ends, what was started is stopped and
// the results so far are returned with ctx's error.
func Run(ctx context.Context, cases []Case, o Options) (results []Result, err error) {
	var b *testbed
	var has kind
	drop := func() {
		if b != nil {
			b.close()
			b = nil
		}
	}
	defer func() { drop() }()
	begun := time.Now()
	for i, c := range cases {
		say := func(text string) {
			if o.Progress != nil {
				o.Progress(fmt.Sprintf("[%d/%d] %s: %s", i+1, len(cases), c.Name, text))
			}
		}
		say(c.About)
		if b != nil && (has != c.kind || until(ctx, patience, func(ctx context.Context) error { return b.normal(ctx, "") }) != nil) {
			drop()
		}
		if b == nil {
			b, err = newTestbed(ctx, c.kind, o)
			var missing notPossible
			if errors.As(err, &missing) {
				results = append(results, Result{Case: c.Name, About: c.About, NotRun: missing.Error()})
				continue
			}
			if err != nil {
				return results, err
			}
			has = c.kind
		}
		r, err := b.run(ctx, c, o)
		for tries := 1; err == nil && !r.Met() && r.disturbed() && tries < maxTries && time.Since(begun) < tryUntil; tries++ {
			say("the machine was busy with something else, again; " + oneLine(r))
			if err = until(ctx, patience, func(ctx context.Context) error { return b.normal(ctx, "") }); err == nil {
				r, err = b.run(ctx, c, o)
			}
		}
		if err != nil {
			return results, fmt.Errorf("%s: %w", c.Name, err)
		}
		results = append(results, r)
		say(oneLine(r))
	}
	return results, nil
}

// loads are the three groups of users.
var loads = [...]scenario.Load{
	{Target: faulty, Function: here, Rate: userRate},
	{Target: healthy, Function: others, Rate: userRate},
	{Target: bystander, Function: here, Rate: quietRate},
}

// run runs one test case.
func (b *testbed) run(ctx context.Context, c Case, o Options) (Result, error) {
	r := Result{Case: c.Name, About: c.About}
	zero := time.Now().Add(100 * time.Millisecond)
	loading, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	var samples [len(loads)][]summary.Sample
	var group errgroup.Group
	for i, l := range loads {
		group.Go(func() (err error) {
			samples[i], err = b.send(loading, o, c, zero, l)
			return err
		})
	}
	var w window
	looks, err := b.afflict(ctx, c, zero, &w, &r)
	stopLoad()
	if err = errors.Join(err, group.Wait()); err != nil {
		return r, err
	}
	// The bystander's users are the last.
	for i, impact := range []*Impact{&r.Here, &r.Others, &r.Bystander} {
		*impact = measure(settled(samples[i]), settled(samples[len(loads)-1]), w)
	}
	r.FaultSeconds = (w.ended - w.began).Seconds()
	r.PlansAfter, r.PeersAfter = -1, -1
	if since, ok := heldSince(looks.plans); ok {
		r.PlansAfter = max(0, since-w.ended).Seconds()
	}
	if since, ok := heldSince(looks.peers); ok {
		r.PeersAfter = max(0, since-w.began).Seconds()
	}
	r.Normal = -1
	if r.PlansAfter >= 0 {
		r.Normal = max(r.PlansAfter, r.Here.Calm, r.Others.Calm)
	}
	r.Complain = lastError(looks.plans)
	for _, n := range b.f.Nodes() {
		reloads, err := n.HAProxyReloads(ctx)
		if err != nil {
			return r, err
		}
		r.Reloads += reloads
	}
	for _, check := range c.targets {
		r.Checks = append(r.Checks, check(r))
	}
	return r, nil
}

// settled leaves out what was sent while the federation got used to the load.
func settled(samples []summary.Sample) []summary.Sample {
	var kept []summary.Sample
	for _, s := range samples {
		if s.At >= settle {
			kept = append(kept, s)
		}
	}
	return kept
}

// looked is what was seen of the nodes from the fault's begin on.
type looked struct{ plans, peers []look }

// afflict does the fault and watches until everything is normal again.
func (b *testbed) afflict(ctx context.Context, c Case, zero time.Time, w *window, r *Result) (looked, error) {
	var seen looked
	err := pause.For(ctx, time.Until(zero.Add(settle)))
	if err == nil {
		r.UnaskedBefore, err = b.unasked(ctx, time.Until(zero.Add(settle+before)))
	}
	if err != nil {
		return seen, err
	}
	want, err := b.routes(ctx)
	if err != nil {
		return seen, err
	}
	watching, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	var group errgroup.Group
	group.Go(func() error {
		seen.plans = watch(watching, zero, 200*time.Millisecond, func(ctx context.Context) error { return b.normal(ctx, want) })
		return nil
	})
	group.Go(func() error {
		seen.peers = watch(watching, zero, 50*time.Millisecond, b.peersUp)
		return nil
	})
	w.began = time.Since(zero)
	fault, cancel := context.WithTimeout(ctx, maxFault)
	defer cancel()
	if r.Notes, err = c.inflict(fault, b); err != nil {
		stopWatch()
		return seen, errors.Join(err, group.Wait())
	}
	w.ended = time.Since(zero)
	if err = pause.For(ctx, after-steady); err == nil {
		// That it never becomes normal is a result, not an error.
		_ = until(ctx, patience-after, func(ctx context.Context) error { return b.normal(ctx, want) })
		r.UnaskedAfter, err = b.unasked(ctx, steady)
	}
	// Nobody asks an agent for grants for five seconds after it did not answer.
	for err == nil && c.kind == fast && !mostUnasked(r.UnaskedAfter) && time.Since(zero)-w.ended < patience-steady {
		r.UnaskedAfter, err = b.unasked(ctx, steady)
	}
	stopWatch()
	return seen, errors.Join(err, group.Wait())
}

// send sends one group's requests until ctx ends.
func (b *testbed) send(ctx context.Context, o Options, c Case, zero time.Time, l scenario.Load) ([]summary.Sample, error) {
	l.Duration, l.Method, l.Body = settle+before+maxFault+patience, http.MethodPost, "hello"
	results := io.Discard
	if o.Keep != "" {
		dir := filepath.Join(o.Keep, c.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("keeping the responses: %w", err)
		}
		file, err := os.OpenFile(filepath.Join(dir, l.Target+".json"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("keeping the responses: %w", err)
		}
		defer file.Close()
		results = file
	}
	sent, err := load.Send(ctx, load.Attack{
		Load: l, URL: b.node(l.Target).URL, Zero: zero, Dial: b.f.Dial, Results: results, Observe: func(summary.Sample) {},
		Node: func(h http.Header) string { return b.f.NameOf(h.Get(haproxy.HeaderNodeID)) },
	})
	return sent.Samples, err
}

// oneLine is a result for the terminal.
func oneLine(r Result) string {
	text := fmt.Sprintf("errors here: %s, others: %s; added max %.0f/%.0f ms (machine: %.0f); normal after %s",
		countsText(r.Here.Errors), countsText(r.Others.Errors), r.Here.Delay, r.Others.Delay, r.Bystander.AddedMax(),
		secondsText(r.Normal))
	for _, v := range r.Checks {
		if !v.Met {
			text += fmt.Sprintf("\n      NOT MET: %s: %s", v.Target, v.Measured)
		}
	}
	return text
}

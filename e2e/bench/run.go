// Package bench measures what DFaaS costs: the decision by itself, the data path
// through a real HAProxy against the same HAProxy without DFaaS, the parts at
// rest, and how long a change takes to be obeyed.
//
// Absolute numbers say more about the machine than about DFaaS. What counts are
// ratios and differences, and those are taken between measurements that were
// made right after one another, round by round.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/machine"
)

// Options say what to measure.
type Options struct {
	Root     string // the checkout, whose Go benchmarks are run
	Binaries string // directory of the programs, as `make build` leaves it
	Out      string // file to write; "-": Stdout
	Stdout   io.Writer
	Progress io.Writer // what is being done, line by line
	Quick    bool      // much shorter, much noisier: to see that it works
}

// effort is how much is measured.
type effort struct {
	goCount            int // repetitions
	goEach             time.Duration
	rounds, fewRounds  int // of the installed HAProxy, and of each other
	wrkEach, pacedEach time.Duration
	rest               time.Duration
	tables, largeTable int // repetitions, of changes as of small tables
	labels             int
	wakeUps            int
}

func (o Options) effort() effort {
	if o.Quick {
		return effort{
			goCount: 1, goEach: 100 * time.Millisecond, rounds: 2, fewRounds: 1, wrkEach: time.Second, pacedEach: time.Second,
			rest: 5 * time.Second, tables: 10, largeTable: 2, labels: 2, wakeUps: 500,
		}
	}
	return effort{
		goCount: 5, goEach: 500 * time.Millisecond, rounds: 12, fewRounds: 6, wrkEach: 2 * time.Second, pacedEach: 2 * time.Second,
		rest: 20 * time.Second, tables: 50, largeTable: 6, labels: 10, wakeUps: 4000,
	}
}

// period is the planning period of the federation that is measured: the default.
const period = time.Second

// Run measures everything and writes the report. When ctx ends it stops what it
// has started and leaves the report as it was.
func Run(ctx context.Context, o Options) error {
	progress := func(format string, args ...any) { fmt.Fprintf(o.Progress, format+"\n", args...) }
	binaries, err := federation.FindBinaries(o.Binaries)
	if err != nil {
		return err
	}
	started := time.Now()
	m := measurements{quick: o.Quick, setting: look(ctx, o.Root)}
	if m.groups, err = findGroups(ctx, binaries[scenario.HAProxy], progress); err != nil {
		return err
	}
	e := o.effort()
	if err := m.goBenchmarks(ctx, o.Root, e, progress); err != nil {
		return err
	}
	if err := m.dataPath(ctx, binaries, e, progress); err != nil {
		return err
	}
	if err := m.federation(ctx, binaries, e, progress); err != nil {
		return err
	}
	progress("done in %s", time.Since(started).Round(time.Second))
	return write(o, m.report())
}

// goBenchmarks runs those of the decision and of the agent.
func (m *measurements) goBenchmarks(ctx context.Context, root string, e effort, progress func(string, ...any)) error {
	for _, b := range []struct {
		pkg  string
		into *[]goBenchmark
	}{{"./spoa/route", &m.route}, {"./spoa/agent", &m.agent}} {
		progress("Go benchmarks of %s", b.pkg)
		found, err := runGoBenchmarks(ctx, root, b.pkg, e.goCount, e.goEach)
		if err != nil {
			return err
		}
		for _, f := range found {
			progress("  %-40s %8.1f ns/op %6.0f B/op %4.0f allocs/op", f.name, f.nanos, f.bytes, f.allocs)
		}
		*b.into = found
	}
	return nil
}

// dataPath measures on the testbed: how long a table takes to be obeyed, then, with
// the large table in place, throughput and latency.
func (m *measurements) dataPath(ctx context.Context, binaries federation.Binaries, e effort, progress func(string, ...any)) error {
	b, err := newTestbed(ctx, binaries, m.groups)
	if err != nil {
		return err
	}
	defer b.close()

	progress("a new table, until a request obeys it")
	small, err := newTable(5, 2)
	if err != nil {
		return err
	}
	if m.smallTable, err = b.tableReaction(ctx, small, true, e.tables); err != nil {
		return err
	}
	large, err := newTable(manyFunctions, manyPeers)
	if err != nil {
		return err
	}
	if m.largeTable, err = b.tableReaction(ctx, large, true, e.largeTable); err != nil {
		return err
	}
	if m.change, err = b.tableReaction(ctx, large, false, e.tables); err != nil {
		return err
	}
	progress("questions while tables come")
	if m.longest, err = b.longestQuestions(ctx, large, e.largeTable); err != nil {
		return err
	}
	if err := b.control.PutTable(ctx, variant(large, 1_000_000, false)); err != nil {
		return err
	}
	before, err := wakeUps(ctx, e.wakeUps)
	if err != nil {
		return err
	}
	for i, g := range m.groups {
		found, err := b.measure(ctx, g, i == 0, e, progress)
		if err != nil {
			return err
		}
		m.found = append(m.found, found)
	}
	if m.spoaMemory, err = machine.ResidentMemory(b.spoa.pid); err != nil {
		return err
	}
	after, err := wakeUps(ctx, e.wakeUps)
	m.wakeUps = slices.Concat(before, after)
	return err
}

// measure measures the sides of one group.
func (b *testbed) measure(ctx context.Context, g group, installed bool, e effort, progress func(string, ...any)) (found, error) {
	n, rates := e.fewRounds, pacedRates[:1]
	if installed {
		n, rates = e.rounds, pacedRates[:]
	}
	var f found
	var err error
	progress("HAProxy %s, throughput: wrk, %d connections, %d rounds of %s", g.version, wrkConnections, n, e.wrkEach)
	if f.flood, err = b.flood(ctx, g, n, e.wrkEach, progress); err != nil {
		return f, err
	}
	for i, rate := range rates {
		progress("HAProxy %s, latency: %d req/s, %d rounds of %s", g.version, rate, n, e.pacedEach)
		if f.latency[i], err = b.latency(ctx, g, rate, n, e.pacedEach, progress); err != nil {
			return f, err
		}
	}
	return f, nil
}

// federation measures on a federation of three nodes.
func (m *measurements) federation(ctx context.Context, binaries federation.Binaries, e effort, progress func(string, ...any)) error {
	progress("starting a federation of three nodes")
	f, err := startFederation(ctx, binaries, period)
	if err != nil {
		return err
	}
	defer f.Stop()
	progress("at rest, for %s", e.rest)
	if m.rest, err = atRest(ctx, f, e.rest); err != nil {
		return err
	}
	progress("a label changes at one node, until a request at another obeys it")
	if m.label, err = labelReaction(ctx, f, period, e.labels, progress); err != nil {
		return err
	}
	return f.Crashed()
}

// write writes the report whole or not at all.
func write(o Options, text string) error {
	if o.Out == "-" {
		_, err := io.WriteString(o.Stdout, text)
		return err
	}
	return report.WriteFile(o.Out, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

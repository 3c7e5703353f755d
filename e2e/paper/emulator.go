package paper

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/dfaas/dfaas/deploy/emulator/emulate"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// aimApart is how far the emulator and the simulator may be apart, in the fraction
// served.
const aimApart = 0.02

// Compare runs cells of the grid, scenarios below scenarios/paper, with real processes
// and in virtual time, one after the other, and writes both side by side into the page.
func Compare(ctx context.Context, o Options, binaries federation.Binaries) error {
	paths, err := filepath.Glob(filepath.Join(o.Scenarios, "paper", "*.yaml"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no scenarios in %s/paper: %w", o.Scenarios, err)
	}
	var b strings.Builder
	header(&b, "cell", "calls", "emulator served, %", "simulator served, %", "apart, points", "emulator p99, ms", "simulator p99, ms")
	missed := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		fmt.Fprintf(o.Progress, "%s\n", name)
		s, text, err := readScenario(path)
		if err != nil {
			return err
		}
		out := filepath.Join(o.Out, "emulator", name)
		if err := experiment.PrepareOut(out, text); err != nil {
			return err
		}
		world := &emulate.World{Binaries: binaries, Log: cli.NewLogger(o.Progress, "warn", "console")}
		real, err := experiment.Run(ctx, world, s, out)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		virtual, err := simulateScenario(ctx, s, s.Strategy)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		calls, emulated := servedOf(real.Loads)
		simulated := float64(virtual.Served) / max(1, float64(virtual.Sent))
		apart := emulated - simulated
		if math.Abs(apart) > aimApart {
			missed++
		}
		row(&b, name, fmt.Sprint(calls), fmt.Sprintf("%.2f", 100*emulated), fmt.Sprintf("%.2f", 100*simulated), fmt.Sprintf("%+.2f", 100*apart),
			fmt.Sprintf("%.0f", worst(real.Loads)), fmt.Sprintf("%.0f", virtual.P99Millis))
	}
	fmt.Fprintf(&b, "\nIn %d of %d cells, both are within %g points.\n", len(paths)-missed, len(paths), 100*aimApart)
	if _, err := io.WriteString(o.Stdout, b.String()); err != nil {
		return err
	}
	return writeBlocks(filepath.Join(o.Docs, pageFile), map[string]string{"emulator": b.String()})
}

// servedOf is how many calls loads have made, and the fraction of them that was served.
func servedOf(loads []summary.Load) (calls int, fraction float64) {
	ok := 0
	for _, l := range loads {
		calls += l.Sent
		ok += l.Status["200"]
	}
	return calls, float64(ok) / max(1, float64(calls))
}

// worst is the highest p99 of the loads, ms.
func worst(loads []summary.Load) float64 {
	p99 := 0.0
	for _, l := range loads {
		p99 = max(p99, l.Latency.P99)
	}
	return p99
}

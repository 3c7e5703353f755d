package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/emulate"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/machine"
)

// scenarioDir has the scenarios that come with the emulator.
const scenarioDir = "../deploy/emulator/scenarios"

// scenariosAtOnce is how many scenarios share the machine. Each of them sends
// its requests at fixed times and is held to rates per second, so what they need
// together must leave some of two processors idle.
const scenariosAtOnce = 4

// TestScenarios runs every scenario as `dfaas-emulator run` does and holds it to
// what it expects.
func TestScenarios(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(scenarioDir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios in %s: %v", scenarioDir, err)
	}
	var all []*experimentRun
	for _, path := range paths {
		text, err := scenario.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(path, text, scenario.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &experimentRun{path, text, s})
	}
	// The longest first, so that nobody waits for it in the end.
	slices.SortStableFunc(all, func(a, b *experimentRun) int { return cmp.Compare(b.scenario.End(), a.scenario.End()) })
	var tests []subtest
	var s sharing
	for _, r := range all {
		tests = append(tests, subtest{
			strings.TrimSuffix(filepath.Base(r.path), ".yaml"), func(t *testing.T) { r.run(t, &s) },
		})
	}
	sideBySide(t, scenariosAtOnce, tests)
}

// experimentRun is a scenario to be run.
type experimentRun struct {
	path     string
	text     []byte
	scenario *scenario.Scenario
}

// A scenario is about rates, so it is judged by a run that had the processors it
// needed. The first run shares the machine with other scenarios. One that misses
// what it expects is run again alone, and counts if no other program took more
// than othersShare of the processors meanwhile.
const (
	othersShare = 0.15
	aloneTries  = 3
)

// sharing is held for reading by a run that shares the machine, and for writing
// by one that does not.
type sharing = sync.RWMutex

func (r *experimentRun) run(t *testing.T, s *sharing) {
	if len(r.scenario.Expect) == 0 {
		t.Fatalf("%s expects nothing", r.path)
	}
	switch {
	case r.scenario.Namespaces && r.scenario.Topology != nil:
		needLinks(t)
	case r.scenario.Namespaces:
		needNamespaces(t)
	}
	missed := r.shared(t, s)
	for try := 1; len(missed) > 0; try++ {
		t.Logf("%s, sharing the machine or not alone on it: %s; again, alone", r.scenario.Name, strings.Join(missed, "; "))
		var others float64
		missed, others = r.alone(t, s)
		switch {
		case len(missed) == 0:
		case others <= othersShare:
			t.Fatalf("with other programs at %.0f %% of the processors:\n%s", 100*others, strings.Join(missed, "\n"))
		case try == aloneTries:
			t.Skipf("inconclusive: other programs took %.0f %% of the processors in the last of %d runs, which missed:\n%s",
				100*others, try+1, strings.Join(missed, "\n"))
		}
	}
}

func (r *experimentRun) shared(t *testing.T, s *sharing) (missed []string) {
	s.RLock()
	defer s.RUnlock()
	return r.once(t, false)
}

// alone also tells which part of the processors others took meanwhile.
func (r *experimentRun) alone(t *testing.T, s *sharing) (missed []string, others float64) {
	s.Lock()
	defer s.Unlock()
	measured := othersMeter(t)
	missed = r.once(t, true)
	return missed, measured()
}

// othersMeter begins to measure; what it returns tells which part of all
// processors' time since then went to other programs than the tests'.
func othersMeter(t *testing.T) func() float64 {
	t.Helper()
	read := func() (machine.CPU, time.Duration) {
		cpu, err := machine.ReadCPU()
		own, ownErr := ownCPU()
		if err := errors.Join(err, ownErr); err != nil {
			t.Fatal(err)
		}
		return cpu, own
	}
	before, ownBefore := read()
	return func() float64 {
		now, own := read()
		others := now.Programs - before.Programs - (own - ownBefore)
		return max(0, others.Seconds()/max(1e-9, (now.Total-before.Total).Seconds()))
	}
}

// ownCPU is the CPU time of this program and of all processes that it has started
// and seen the end of, with what these have started in turn.
func ownCPU() (time.Duration, error) {
	var own time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, fmt.Errorf("getrusage: %w", err)
		}
		own += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return own, nil
}

// once runs the experiment and returns what it missed.
func (r *experimentRun) once(t *testing.T, alone bool) (missed []string) {
	out := t.TempDir()
	if err := experiment.PrepareOut(out, r.text); err != nil {
		t.Fatal(err)
	}
	if alone {
		showLogs(t, filepath.Join(out, experiment.LogsDir))
	}
	world := &emulate.World{Binaries: built.binaries, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)}
	sum, err := experiment.Run(t.Context(), world, r.scenario, out)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range summary.Check(r.scenario.Expect, sum) {
		missed = append(missed, fmt.Sprintf("%s:%d: %s", r.path, v.Line, v.Reason))
	}
	if len(missed) > 0 {
		t.Logf("what happened:\n%s", seconds(sum))
	}
	return missed
}

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
// than othersShare of the processors meanwhile, and nothing else, such as a limit,
// kept the tests from what others had left: for more than lateShare of the time a
// timer was late although there was some of the processors left.
const (
	othersShare = 0.15
	lateShare   = 0.05
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
		var had shares
		missed, had = r.alone(t, s)
		switch {
		case len(missed) == 0:
		case had.enough():
			t.Fatalf("%v:\n%s", had, strings.Join(missed, "\n"))
		case try == aloneTries:
			t.Skipf("inconclusive: in the last of %d runs %v, and it missed:\n%s", try+1, had, strings.Join(missed, "\n"))
		}
	}
}

func (r *experimentRun) shared(t *testing.T, s *sharing) (missed []string) {
	s.RLock()
	defer s.RUnlock()
	return r.once(t, false)
}

// alone also tells what became of the processors meanwhile.
func (r *experimentRun) alone(t *testing.T, s *sharing) (missed []string, had shares) {
	s.Lock()
	defer s.Unlock()
	measured := meterShares(t)
	missed = r.once(t, true)
	return missed, measured()
}

// shares are the parts of all processors' time that the tests and others took, and of
// the time in which a timer of the tests was late.
type shares struct{ own, others, late float64 }

// enough reports whether the tests had the processors that they needed. If it was they who
// took all, that is a fault of theirs.
func (s shares) enough() bool {
	return s.others <= othersShare && (s.late <= lateShare || s.own > 1-othersShare)
}

func (s shares) String() string {
	return fmt.Sprintf("the tests took %.0f %% of the processors, other programs %.0f %%, and a timer was late for %.0f %% of the time",
		100*s.own, 100*s.others, 100*s.late)
}

// meterShares begins to measure; what it returns ends that.
func meterShares(t *testing.T) func() shares {
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
	late := meterLate()
	return func() shares {
		now, own := read()
		own -= ownBefore
		total := max(1e-9, (now.Total - before.Total).Seconds())
		return shares{own.Seconds() / total, max(0, (now.Programs-before.Programs-own).Seconds()/total), late()}
	}
}

// meterLate begins to measure for which part of the time a timer is late; what it returns
// ends that.
func meterLate() func() float64 {
	const every, inTime = 10 * time.Millisecond, 20 * time.Millisecond
	end, late := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		began, sum := time.Now(), time.Duration(0)
		for last := began; ; {
			select {
			case <-tick.C:
			case <-end:
				late <- sum.Seconds() / max(1e-9, time.Since(began).Seconds())
				return
			}
			now := time.Now()
			if by := now.Sub(last) - every; by > inTime {
				sum += by
			}
			last = now
		}
	}()
	return func() float64 {
		close(end)
		return <-late
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
	if err != nil { // such as a federation that was not ready in time
		return []string{err.Error()}
	}
	for _, v := range summary.Check(r.scenario.Expect, sum) {
		missed = append(missed, fmt.Sprintf("%s:%d: %s", r.path, v.Line, v.Reason))
	}
	if len(missed) > 0 {
		t.Logf("what happened:\n%s", seconds(sum))
	}
	return missed
}

package e2e

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/experiment"
	"github.com/dfaas/dfaas/deploy/emulator/scenario"
	"github.com/dfaas/dfaas/deploy/emulator/summary"
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
		s, err := scenario.Parse(path, text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &experimentRun{path, text, s})
	}
	// The longest first, so that nobody waits for it in the end.
	slices.SortStableFunc(all, func(a, b *experimentRun) int { return cmp.Compare(b.scenario.End(), a.scenario.End()) })
	var tests []subtest
	for _, r := range all {
		tests = append(tests, subtest{strings.TrimSuffix(filepath.Base(r.path), ".yaml"), r.run})
	}
	sideBySide(t, scenariosAtOnce, tests)
}

// experimentRun is a scenario to be run.
type experimentRun struct {
	path     string
	text     []byte
	scenario *scenario.Scenario
}

func (r *experimentRun) run(t *testing.T) {
	if len(r.scenario.Expect) == 0 {
		t.Fatalf("%s expects nothing", r.path)
	}
	out := t.TempDir()
	if err := experiment.PrepareOut(out, r.text); err != nil {
		t.Fatal(err)
	}
	showLogs(t, filepath.Join(out, experiment.LogsDir))
	sum, err := experiment.Run(t.Context(), experiment.Options{
		Scenario: r.scenario, Out: out, Binaries: built.binaries,
		Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range summary.Check(r.scenario.Expect, sum) {
		t.Errorf("%s:%d: %s", r.path, v.Line, v.Reason)
	}
	if t.Failed() {
		t.Logf("what happened:\n%s", seconds(sum))
	}
}

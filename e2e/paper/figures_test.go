package paper

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/compare"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// TestReplicas: the scenarios of what was published are there, and small enough for one
// machine when they are scaled; the page has the block for their numbers.
func TestReplicas(t *testing.T) {
	all := replicas()
	if len(all) != 7 {
		t.Fatalf("%d experiments", len(all))
	}
	for _, r := range all {
		s, _, err := readScenario(filepath.Join("../../deploy/emulator/scenarios", r.path))
		if err != nil {
			t.Fatal(err)
		}
		before, most := s.PeakRate(), *s.Nodes[0].Functions[0].Maxrate
		scaled(s, r.rate, r.pace)
		if peak := s.PeakRate(); peak > 160 || peak/before-r.rate > 1e-9 || s.End() > time.Minute {
			t.Errorf("%s: %v requests/s of %v, for %s", r.name, peak, before, s.End())
		}
		if got := *s.Nodes[0].Functions[0].Maxrate; got != most*r.rate {
			t.Errorf("%s: a node serves %v, before %v", r.name, got, most)
		}
		again, _, err := readScenario(filepath.Join("../../deploy/emulator/scenarios", r.path))
		if err != nil || again.PeakRate() != before {
			t.Errorf("%s: scaled, it is not what it was: %v", r.name, err)
		}
	}
	page, err := os.ReadFile("../../docs/" + researchFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceBlock(string(page), "published", ""); err != nil {
		t.Error(err)
	}
}

// TestSettled: the begin does not count, nor the last second, which may not be whole.
func TestSettled(t *testing.T) {
	load := summary.Load{Target: "node-1", Sent: 100, Status: map[string]int{"200": 50}}
	for second := range 10 {
		s := summary.Second{T: second, Status: map[string]int{"429": 50}, ByNode: map[string]int{}}
		if second >= 6 {
			s = summary.Second{T: second, Status: map[string]int{"200": 35, "429": 15}, ByNode: map[string]int{"node-1": 10, "node-2": 25}}
		}
		if second == 9 {
			s.ByNode = map[string]int{"node-3": 1000}
		}
		load.Seconds = append(load.Seconds, s)
	}
	c := compare.Comparison{Runs: []compare.Run{{Name: "a, emulator", Repeat: 1, Summary: summary.Summary{Loads: []summary.Load{load, load}}}}}
	if got, want := settled(c, "a, emulator"), "node 1: 10 + 25, 15 refused; node 1: 10 + 25, 15 refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := percents(c, "a"); got != "50.00" {
		t.Errorf("%s %% served", got)
	}
}

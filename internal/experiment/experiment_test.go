package experiment

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// world gives the same answer to everything.
type world struct {
	sum summary.Summary
	err error
}

func (w world) Run(context.Context, *scenario.Scenario, string) (summary.Summary, error) {
	return w.sum, w.err
}

// TestRun: results are kept, also those that come with an error; where there are
// none, nothing is written.
func TestRun(t *testing.T) {
	broken := errors.New("a part ended by itself")
	second := summary.Second{Status: map[string]int{"200": 1}, ByNode: map[string]int{"node-1": 1}}
	whole := summary.Summary{Scenario: "s", Loads: []summary.Load{{Target: "node-1", Sent: 1, Seconds: []summary.Second{second}}}}
	for name, tc := range map[string]struct {
		world world
		kept  bool
	}{
		"as it should be": {world{whole, nil}, true},
		"with an error":   {world{whole, broken}, true},
		"without results": {world{summary.Summary{}, broken}, false},
	} {
		out := t.TempDir()
		sum, err := Run(t.Context(), tc.world, new(scenario.Scenario), out)
		if !errors.Is(err, tc.world.err) || len(sum.Loads) != len(tc.world.sum.Loads) {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
		for _, file := range []string{SummaryFile, PlotFile} {
			if _, err := os.Stat(filepath.Join(out, file)); (err == nil) != tc.kept {
				t.Errorf("%s: %s: %v", name, file, err)
			}
		}
	}
}

// TestLinks: whoever runs scenarios in virtual time links no network, no HAProxy
// and no libp2p.
func TestLinks(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list -deps: %v", err)
	}
	if !strings.Contains(string(out), "gonum.org/v1/plot") {
		t.Fatal("go list does not list what this package links")
	}
	for dep := range strings.Lines(string(out)) {
		for _, foreign := range []string{"netlink", "netns", "haproxy", "libp2p", "dfaas/deploy/", "dfaas/controller/overlay"} {
			if strings.Contains(dep, foreign) {
				t.Errorf("an experiment links %s", strings.TrimSpace(dep))
			}
		}
	}
}

func TestPrepareOut(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a", "b")
	if err := PrepareOut(out, []byte("first")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{SummaryFile, "load-1.json", "mine.txt", "load-me.txt"} {
		if err := os.WriteFile(filepath.Join(out, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(out, LogsDir, "node-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := PrepareOut(out, []byte("second")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if got := strings.Join(names, " "); got != "load-me.txt mine.txt scenario.yaml" {
		t.Errorf("left are %s", got)
	}

	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, SummaryFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := PrepareOut(foreign, nil); err == nil || !strings.Contains(err.Error(), "holds other things") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(foreign, SummaryFile)); err != nil {
		t.Errorf("a foreign file is gone: %v", err)
	}
}

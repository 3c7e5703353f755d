package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/controller/simulator"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// Every scenario of this repository is simulated whole, and keeps what it expects: it
// is written for real processes.
func TestEveryScenario(t *testing.T) {
	var files []string
	for _, where := range []string{"../../../deploy", "../../../e2e"} {
		err := filepath.WalkDir(where, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			text, err := scenario.ReadFile(path)
			if err == nil && strings.Contains("\n"+string(text), "\nload:") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 38 {
		t.Fatalf("only %d scenarios", len(files))
	}
	expected := 0
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var out, log strings.Builder
			root := newCommand(System{System: cli.System{Out: &out, Err: &log}})
			root.SetArgs([]string{"simulate", path, "-o", "table"})
			if err := root.ExecuteContext(t.Context()); err != nil {
				t.Errorf("%v\n%s", err, log.String())
			}
			text, err := scenario.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := scenario.Parse(path, text, simulator.ScenarioLimits())
			if err != nil {
				t.Fatal(err)
			}
			expected += len(s.Expect)
			if !strings.Contains(out.String(), s.Strategy) {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
	if expected < 50 {
		t.Errorf("all scenarios together expect only %d things", expected)
	}
}

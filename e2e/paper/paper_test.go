package paper

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/simulator"
)

func TestGrid(t *testing.T) {
	cells := Full().Cells()
	if len(cells) != 432 {
		t.Errorf("%d cells", len(cells))
	}
	seen := make(map[Cell]bool)
	for i, c := range cells {
		if seen[c] {
			t.Errorf("%s is there twice", c)
		}
		seen[c] = true
		if shown := i < 24; c.shown() != shown {
			t.Errorf("cell %d: %s", i, c)
		}
	}
	for _, r := range Full().runs() {
		c, err := r.config()
		if err == nil {
			err = c.Check()
		}
		if err != nil {
			t.Fatalf("%s, %s: %v", r.Strategy, r.Cell, err)
		}
	}
}

func TestReplaceBlock(t *testing.T) {
	page := "a\n<!-- paper:one -->\nold\n<!-- paper:end -->\nb\n<!-- paper:two -->\n<!-- paper:end -->\n"
	got, err := replaceBlock(page, "one", "new\nlines\n")
	if want := strings.Replace(page, "old", "new\nlines", 1); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if again, err := replaceBlock(got, "one", "old"); err != nil || again != page {
		t.Errorf("%q, %v", again, err)
	}
	if _, err := replaceBlock(page, "three", ""); err == nil {
		t.Error("a block that is not there was replaced")
	}
}

// TestPage: the page has all blocks that are made here.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/" + pageFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range []string{"worth", "aims", "originals", "emulator"} {
		if _, err := replaceBlock(string(page), block, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestJudge(t *testing.T) {
	near := Cell{3, steady, 1, 50 * time.Millisecond, 0}
	far, over := near, near
	far.Delay, over.Load = 200*time.Millisecond, 1.2
	of := func(c Cell, strategy string, served, inVain uint64) result {
		return result{run: run{Cell: c, Strategy: strategy, Repeat: 1}, Counts: simulator.Counts{Sent: 1000, Oracle: 1000, Served: served, InVain: inVain}}
	}
	verdicts := judge([]Cell{near, far, over, {Nodes: 7}}, tabulate([]result{
		of(near, Judged, 980, 21), of(near, "x", 970, 0), of(near, "y", 984, 0), of(near, lateNews, 995, 21),
		of(far, Judged, 980, 19), of(far, "x", 982, 0),
		of(over, Judged, 980, 39), of(over, Judged, 1000, 39), of(over, "x", 992, 500), of(over, "x", 992, 500),
	}), lateNews)
	want := [][aims]bool{{true, true, true}, {}, {}}
	for i, v := range verdicts {
		if v.missed != want[i] {
			t.Errorf("%s: missed %v, want %v", v, v.missed, want[i])
		}
	}
	if !verdicts[0].beyond || verdicts[1].beyond {
		t.Errorf("beyond what is possible: %v, want the first only", verdicts)
	}
	if len(verdicts) != 3 || verdicts[0].best.Strategy != "y" || count(verdicts, served) != 2 {
		t.Errorf("%d verdicts: %v", len(verdicts), verdicts)
	}
}

// TestResume: what was done is not done again, unless the program is another one, and
// a page is made of it.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	g := Quick()
	g.Nodes, g.Loads, g.Lasting, g.Others, g.Small, g.Shown, g.Bounds = []int{3}, []float64{0.5}, time.Second, []string{"two-choices"}, nil, nil, nil
	runs := g.runs()
	if len(runs) != 8 {
		t.Fatalf("%d runs", len(runs))
	}
	ctx, cancel := context.WithCancel(t.Context())
	some, err := simulateAll(ctx, dir, "v1", runs, func(done, _ int, _ run) {
		if done == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(some) < 3 || len(some) == len(runs) {
		t.Fatalf("%d results, %v", len(some), err)
	}
	file, err := os.OpenFile(filepath.Join(dir, runsFile), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(file, `{"nodes": 3, "cut o`)
	_ = file.Close()
	if kept, err := done(dir, "v1", g.runs()); err != nil || len(kept) != len(some) {
		t.Errorf("%d runs are done, %v", len(kept), err)
	}
	if _, err := done(dir, "v3", g.runs()); err == nil {
		t.Error("results of another version are taken")
	}
	for version, fresh := range map[string]int{"v1": len(runs) - len(some), "v2": len(runs)} {
		done := 0
		all, err := simulateAll(t.Context(), dir, version, runs, func(int, int, run) { done++ })
		if err != nil || len(all) != len(runs) || done != fresh {
			t.Errorf("%s: %d results of which %d are fresh, want %d: %v", version, len(all), done, fresh, err)
		}
	}
}

package paper

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/simulator"
	"github.com/dfaas/dfaas/controller/simulator/report"
	sheet "github.com/dfaas/dfaas/internal/experiment/report"
)

// Options is how a paper is made.
type Options struct {
	Grid      Grid
	Out       string // directory for the results of runs, which a paper is resumed from
	Docs      string // directory with the page and its figures
	Scenarios string // directory of the emulator's scenarios
	AsIs      bool   // make the page of the results that are there
	Version   string // of the program: results of another one are not used
	Commit    string // what figures say of what made them
	Stdout    io.Writer
	Progress  io.Writer
}

const (
	pageFile = "strategies.md"
	figures  = "figures"
)

// Run makes the page's tables and figures, and prints the verdict on the default
// strategy. Interrupted, it prints that on the cells so far, writes nothing to the page
// and goes on where it was the next time.
func Run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return fmt.Errorf("directory for the results: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(o.Docs, figures), 0o755); err != nil {
		return fmt.Errorf("directory for the figures: %w", err)
	}
	runs := o.Grid.runs()
	if o.AsIs {
		var err error
		if runs, err = done(o.Out, o.Version, runs); err != nil {
			return err
		}
	}
	bar := newBar(o.Progress)
	results, err := simulateAll(ctx, o.Out, o.Version, runs, bar.show)
	bar.end()
	t := tabulate(results)
	verdicts := judge(o.Grid.Cells(), t, o.Grid.Bounds...)
	printVerdicts(o.Stdout, verdicts)
	if err != nil {
		fmt.Fprintf(o.Progress, "%d of %d runs are done and kept in %s\n", len(results), len(runs), o.Out)
		return fmt.Errorf("simulating the grid: %w", err)
	}
	tests, err := originalsBlock(ctx, o.Scenarios)
	if err != nil {
		return err
	}
	fmt.Fprint(o.Stdout, "\n"+tests)
	if err := sheet.WriteFile(filepath.Join(o.Docs, figures, "grid.csv"), func(w io.Writer) error { return writeCSV(w, verdicts) }); err != nil {
		return err
	}
	if err := drawAll(filepath.Join(o.Docs, figures), results); err != nil {
		return err
	}
	return writeBlocks(filepath.Join(o.Docs, pageFile), map[string]string{
		"worth": o.Grid.worth(t), "aims": o.Grid.aimsBlock(t, verdicts), "originals": tests,
	})
}

// printVerdicts writes which aims are met, and where they are missed.
func printVerdicts(w io.Writer, verdicts []verdict) {
	for a := range aims {
		met := count(verdicts, a)
		word := "met"
		if met < len(verdicts) {
			word = "missed"
		}
		fmt.Fprintf(w, "%-7s %4d of %d cells  %s\n", word, met, len(verdicts), a)
		for _, v := range verdicts {
			if v.missed[a] {
				fmt.Fprintf(w, "          %s\n", v)
			}
		}
	}
}

// drawn are the strategies of figures, of which a reader can tell so many apart.
func drawn() []string {
	return []string{Judged, "hot-cold", "quotas", "random", "recalc", "static", "two-choices"}
}

// drawAll draws goodput against load for each pattern, in the cells that the page shows.
func drawAll(dir string, results []result) error {
	for _, p := range patterns() {
		var d report.Document
		for _, name := range drawn() {
			for _, r := range results {
				if r.Cell.shown() && r.Pattern == p && r.Strategy == name {
					d.Rows = append(d.Rows, simulator.Row{Repeat: r.Repeat, Result: simulator.Result{
						Strategy: r.Strategy, Load: r.Load, Nodes: r.Nodes, Counts: r.Counts,
					}})
				}
			}
		}
		if err := report.Goodput(d).SaveSVG(filepath.Join(dir, figureOf(p)+".svg")); err != nil {
			return err
		}
	}
	return nil
}

// bar says how far the runs have come: on a terminal as a bar, else as a line now and
// then.
type bar struct {
	out      io.Writer
	terminal bool
	begun    time.Time
	shown    time.Time
	first    int // runs that were there already
}

func newBar(out io.Writer) *bar {
	b := &bar{out: out, begun: time.Now(), first: -1}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

func (b *bar) show(done, total int, last run) {
	if b.first < 0 {
		b.first = done - 1
	}
	every := 30 * time.Second
	if b.terminal {
		every = 100 * time.Millisecond
	}
	if time.Since(b.shown) < every && done < total {
		return
	}
	b.shown = time.Now()
	spent := time.Since(b.begun)
	left := time.Duration(float64(spent) / float64(done-b.first) * float64(total-done)).Truncate(time.Second)
	line := fmt.Sprintf("%d of %d runs, %s spent, %s left: %s, %s", done, total, spent.Truncate(time.Second), left, last.Strategy, last.Cell)
	if !b.terminal {
		fmt.Fprintln(b.out, line)
		return
	}
	const wide = 30
	full := done * wide / total
	fmt.Fprintf(b.out, "\r\033[K[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", wide-full), line)
}

func (b *bar) end() {
	if b.terminal {
		fmt.Fprint(b.out, "\r\033[K")
	}
}

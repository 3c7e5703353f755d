package paper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/emulate"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/compare"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// researchFile is the page with what was published and what is measured here.
const researchFile = "research.md"

// replica is an experiment that was published of the original DFaaS.
type replica struct {
	name     string // of its figures
	path     string // of the scenario, below the scenarios
	reported string
	// rate and pace are parts of the published rates and times that one machine can
	// show, in both worlds; 1 is all.
	rate, pace float64
	strategies []string // of both worlds
	full       []string // of the simulator, in full size
	lasting    time.Duration
	shown      bool // in the page
}

// replicas are the experiments in the order in which they were published.
func replicas() []replica {
	var all []replica
	for _, test := range []struct{ name, reported string }{
		{"50-0-0", "10 + 10 + 15, 15 refused"},
		{"50-10-0", "node 1: 10 + 5 + 15, 20 refused; node 2: 10"},
		{"50-30-0", "node 1: 10 + 15, 25 refused; node 2: 20 + 10"},
		{"50-50-50", "10 + 20 + 30, 90 refused"},
	} {
		all = append(all, replica{
			name: "cloudnet-" + test.name, path: "recalc-" + test.name + ".yaml", reported: test.reported, rate: 1, pace: 1,
			strategies: []string{"recalc", Judged}, full: []string{"recalc@60s", Judged}, lasting: 5 * time.Minute, shown: true,
		})
	}
	for test := range 3 {
		var reported []string
		for _, strategy := range []string{"node-margin@60s", "static"} {
			if p := published[strategy][test]; p != "" {
				reported = append(reported, fmt.Sprintf("%s %s %%", strings.TrimSuffix(strategy, "@60s"), p))
			}
		}
		all = append(all, replica{
			name: fmt.Sprintf("test-%d", test+1), path: fmt.Sprintf("original/test-%d.yaml", test+1), reported: strings.Join(reported, ", "),
			rate: 0.1, pace: 1.0 / 20, strategies: []string{"static", "recalc@3s", Judged}, full: []string{"node-margin@60s", "static", "recalc@60s", Judged},
			shown: test == 2,
		})
	}
	return all
}

// scaled makes a scenario smaller: its rates and what nodes serve, and its times.
func scaled(s *scenario.Scenario, rate, pace float64) {
	shorten := func(d *time.Duration) { *d = time.Duration(float64(*d) * pace) }
	for i := range s.Nodes {
		for k := range s.Nodes[i].Functions {
			if most := s.Nodes[i].Functions[k].Maxrate; most != nil {
				less := *most * rate
				s.Nodes[i].Functions[k].Maxrate = &less
			}
		}
	}
	for i := range s.Loads {
		l := &s.Loads[i]
		l.Rate *= rate
		shorten(&l.Start)
		shorten(&l.Duration)
		l.Shape.Steps = slices.Clone(l.Shape.Steps)
		for k := range l.Shape.Steps {
			l.Shape.Steps[k].Rate *= rate
			shorten(&l.Shape.Steps[k].At)
		}
	}
}

// Figures runs what was published of the original DFaaS with real processes and in virtual
// time, with its strategies and the default, and writes figures with their data to Out and
// the smaller ones to Docs, and the numbers into the page.
func Figures(ctx context.Context, o Options, binaries federation.Binaries) error {
	dir := filepath.Join(o.Docs, figures, "published")
	for _, path := range []string{o.Out, dir} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("directory for the figures: %w", err)
		}
	}
	f := figuring{Options: o, binaries: binaries, repeats: max(1, o.Grid.Repeats), late: new(warnings)}
	var cloudnet, tests, full strings.Builder
	header(&cloudnet, "load on nodes 1, 2, 3", "published: recalc", "recalc, emulator", "recalc, simulator", Judged+", emulator", Judged+", simulator")
	header(&tests, "test", "static, emulator", "static, simulator", "recalc@3s, emulator", "recalc@3s, simulator", Judged+", emulator", Judged+", simulator")
	header(&full, "in full size, simulated; served, %", "published", "node-margin@60s", "static", "recalc@60s", Judged)
	for _, r := range replicas() {
		fmt.Fprintf(o.Progress, "%s\n", r.name)
		both, err := f.both(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		whole, err := f.full(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		for path, c := range map[string]compare.Comparison{r.name: both, r.name + "-full": whole} {
			if err := c.SaveAs(filepath.Join(o.Out, path)); err != nil {
				return err
			}
		}
		ends := []string{".csv", "-seconds.csv"}
		if r.shown {
			ends = append(ends, ".svg")
		}
		for _, end := range ends {
			data, err := os.ReadFile(filepath.Join(o.Out, r.name+end))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, r.name+end), data, 0o644)
			}
			if err != nil {
				return fmt.Errorf("writing the figures: %w", err)
			}
		}
		served := []string{r.reported}
		for _, name := range r.full {
			served = append(served, percents(whole, name))
		}
		if name, ok := strings.CutPrefix(r.name, "cloudnet-"); ok {
			cells := []string{strings.ReplaceAll(name, "-", "/"), r.reported}
			for _, name := range names(both) {
				cells = append(cells, settled(both, name))
			}
			row(&cloudnet, cells...)
			row(&full, strings.ReplaceAll(name, "-", "/"), "", "", "", served[1], served[2])
			continue
		}
		cells := []string{r.name}
		for _, name := range names(both) {
			cells = append(cells, percents(both, name))
		}
		row(&tests, cells...)
		row(&full, append([]string{r.name}, served...)...)
	}
	made := fmt.Sprintf("Version %s, each run %s, seeds from 1 on, %s.", o.Commit, times(f.repeats), time.Now().UTC().Format("2006-01-02"))
	if n := f.late.n.Load(); n > 0 {
		made += fmt.Sprintf(" The emulator's machine was not quiet: requests of %d of its loads were sent late at times.", n)
	}
	text := fmt.Sprintf("%s\n\nServed a second by each node in the last third, and what was refused:\n\n%s\nServed, %%, at a tenth of the rates and in a twentieth of the time:\n\n%s\n%s",
		made, cloudnet.String(), tests.String(), full.String())
	fmt.Fprint(o.Stdout, text)
	return writeBlocks(filepath.Join(o.Docs, researchFile), map[string]string{"published": text})
}

// figuring is what runs of figures have in common.
type figuring struct {
	Options
	binaries federation.Binaries
	repeats  int
	late     *warnings
}

// warnings counts what a world warns of: that requests were sent late, since the machine
// was too busy.
type warnings struct{ n atomic.Int64 }

// Run implements zerolog.Hook.
func (w *warnings) Run(_ *zerolog.Event, level zerolog.Level, _ string) {
	if level == zerolog.WarnLevel {
		w.n.Add(1)
	}
}

// both runs an experiment in both worlds, as large as one machine can have it.
func (f figuring) both(ctx context.Context, r replica) (compare.Comparison, error) {
	c := compare.Comparison{Title: r.name, Made: f.made(r)}
	path := filepath.Join(f.Scenarios, r.path)
	for repeat := 1; repeat <= f.repeats; repeat++ {
		for _, text := range r.strategies {
			s, source, err := readScenario(path)
			if err != nil {
				return c, err
			}
			scaled(s, r.rate, r.pace)
			s.Reseed(s.Seed + uint64(repeat-1))
			name, period := text, s.Period
			if before, behind, ok := strings.Cut(text, "@"); ok {
				name = before
				if period, err = time.ParseDuration(behind); err != nil {
					return c, err
				}
			}
			s.Strategy, s.Period = name, period
			out := filepath.Join(f.Out, experiment.RunsDir, fmt.Sprintf("%s-%s-%d", r.name, text, repeat))
			if err := experiment.PrepareOut(out, source); err != nil {
				return c, err
			}
			world := &emulate.World{
				Binaries: f.binaries, Version: f.Commit, Log: cli.NewLogger(f.Progress, "warn", "console").Hook(f.late),
			}
			real, err := experiment.Run(ctx, world, s, out)
			if err != nil {
				return c, err
			}
			virtual, err := f.simulate(ctx, s, name)
			if err != nil {
				return c, err
			}
			c.Runs = append(c.Runs, compare.Run{Name: text + ", emulator", Repeat: repeat, Summary: real},
				compare.Run{Name: text + ", simulator", Repeat: repeat, Summary: virtual})
		}
	}
	return c, nil
}

// full simulates an experiment as it was published.
func (f figuring) full(ctx context.Context, r replica) (compare.Comparison, error) {
	c := compare.Comparison{Title: r.name + " in full size", Made: f.made(r)}
	for repeat := 1; repeat <= f.repeats; repeat++ {
		for _, strategy := range r.full {
			s, _, err := readScenario(filepath.Join(f.Scenarios, r.path))
			if err != nil {
				return c, err
			}
			if r.lasting > 0 {
				scaled(s, 1, r.lasting.Seconds()/s.End().Seconds())
			}
			s.Period = scenario.DefaultPeriod
			s.Reseed(s.Seed + uint64(repeat-1))
			virtual, err := f.simulate(ctx, s, strategy)
			if err != nil {
				return c, err
			}
			c.Runs = append(c.Runs, compare.Run{Name: strategy + ", simulator", Repeat: repeat, Summary: virtual})
		}
	}
	return c, nil
}

func (f figuring) simulate(ctx context.Context, s *scenario.Scenario, strategy string) (summary.Summary, error) {
	result, err := simulateScenario(ctx, s, strategy)
	return summary.Summary{Scenario: s.Name, Strategy: strategy, Seed: s.Seed, Version: f.Commit, Loads: result.Loads}, err
}

func (f figuring) made(r replica) string {
	return fmt.Sprintf("dfaas-paper --figures, version %s, scenario %s, seeds from 1 on, %d of each", f.Commit, r.path, f.repeats)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// names lists what is compared.
func names(c compare.Comparison) []string {
	var all []string
	for _, r := range c.Runs {
		if !slices.Contains(all, r.Name) {
			all = append(all, r.Name)
		}
	}
	return all
}

// percents is what was served, on average.
func percents(c compare.Comparison, strategy string) string {
	sum, n := 0.0, 0.0
	for _, r := range c.Runs {
		if r.Name == strategy || strings.HasPrefix(r.Name, strategy+", ") {
			_, fraction := servedOf(r.Summary.Loads)
			sum += 100 * fraction
			n++
		}
	}
	return fmt.Sprintf("%.2f", sum/max(1, n))
}

// settled is what each node served of each load in the last third of it, a second, and
// what was refused, on average over the repeats.
func settled(c compare.Comparison, name string) string {
	var loads []string
	for load := 0; ; load++ {
		by, refused, seconds := make(map[string]float64), 0.0, 0.0
		target := ""
		for _, r := range c.Runs {
			if r.Name != name || load >= len(r.Summary.Loads) {
				continue
			}
			l := r.Summary.Loads[load]
			target = l.Target
			for _, s := range l.Seconds[len(l.Seconds)*2/3 : len(l.Seconds)-1] {
				seconds++
				for node, n := range s.ByNode {
					by[node] += float64(n)
				}
				for status, n := range s.Status {
					if status != "200" {
						refused += float64(n)
					}
				}
			}
		}
		if seconds == 0 {
			return strings.Join(loads, "; ")
		}
		var parts []string
		for _, node := range []string{"node-1", "node-2", "node-3"} {
			if rate := by[node] / seconds; rate >= 0.5 {
				parts = append(parts, fmt.Sprintf("%.0f", rate))
			}
		}
		text := fmt.Sprintf("%s: %s", strings.Replace(target, "-", " ", 1), strings.Join(parts, " + "))
		if refused/seconds >= 0.5 {
			text += fmt.Sprintf(", %.0f refused", refused/seconds)
		}
		loads = append(loads, text)
	}
}

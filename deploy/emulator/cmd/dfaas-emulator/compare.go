package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/compare"
	"github.com/dfaas/dfaas/internal/experiment/plot"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// contender is a strategy that a scenario is run with.
type contender struct {
	text, name string        // as given, and without its period
	period     time.Duration // of planning
	own        bool          // it is what the scenario says
	seed       uint64        // of the first run
}

// maxRepeat bounds --repeat.
const maxRepeat = 1000

// contenders are the strategies that the flags name.
func (r *running) contenders(s *scenario.Scenario) ([]contender, error) {
	if r.repeat < 1 || r.repeat > maxRepeat {
		return nil, fmt.Errorf("--repeat %d: it may be 1 to %d", r.repeat, maxRepeat)
	}
	if len(r.strategies) == 0 {
		return []contender{{s.Strategy, s.Strategy, s.Period, true, s.Seed}}, nil
	}
	if len(r.strategies) > plot.MaxCourses {
		return nil, fmt.Errorf("--strategy: %d are too many to compare, at most %d", len(r.strategies), plot.MaxCourses)
	}
	var all []contender
	seen := make(map[string]bool)
	for _, text := range r.strategies {
		name, behind, has := strings.Cut(text, "@")
		c := contender{text, name, s.Period, text == s.Strategy, s.Seed}
		if _, err := strategy.New(name); err != nil {
			return nil, fmt.Errorf("--strategy: %w", err)
		}
		if has {
			var err error
			if c.period, err = time.ParseDuration(behind); err != nil || c.period < scenario.MinPeriod || c.period > scenario.MaxPeriod {
				return nil, fmt.Errorf("--strategy %s: behind the @, a period of %s to %s is expected", text, scenario.MinPeriod, scenario.MaxPeriod)
			}
		}
		if seen[text] {
			return nil, fmt.Errorf("--strategy: %s is there twice", text)
		}
		seen[text] = true
		all = append(all, c)
	}
	return all, nil
}

// apply makes the scenario that of a repeat, counted from 1.
func (c contender) apply(s *scenario.Scenario, repeat int) {
	s.Strategy, s.Period = c.name, c.period
	s.Reseed(c.seed + uint64(repeat-1))
}

// compare runs a scenario with all strategies, once each, then once more: what changes
// on this machine in the meantime changes for all of them. What there is, is written
// after each run.
func (a *app) compare(ctx context.Context, r running, s *scenario.Scenario, text []byte, binaries federation.Binaries, contenders []contender) error {
	made := fmt.Sprintf("dfaas-emulator %s: %s", cli.Version(version), strings.Join(os.Args[1:], " "))
	c := compare.Comparison{Title: s.Name, Made: made}
	var errs []error
	for repeat := 1; repeat <= r.repeat; repeat++ {
		for _, contender := range contenders {
			contender.apply(s, repeat)
			out := filepath.Join(r.out, experiment.RunsDir, fmt.Sprintf("%s-%d", contender.text, repeat))
			if err := experiment.PrepareOut(out, text); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "run %d of %d, %s: ", len(c.Runs)+1, r.repeat*len(contenders), contender.text)
			sum, err := a.runOnce(ctx, s, binaries, out, r.draw)
			if ctx.Err() != nil || len(sum.Loads) == 0 {
				return errors.Join(append(errs, err)...)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s, repeat %d: %w", contender.text, repeat, err))
			}
			if contender.own {
				if err := report.Unmet(r.path, summary.Check(s.Expect, sum)); err != nil {
					errs = append(errs, fmt.Errorf("%s, repeat %d: %w", contender.text, repeat, err))
				}
			}
			c.Runs = append(c.Runs, compare.Run{Name: contender.text, Repeat: repeat, Summary: sum})
			if err := c.Save(r.out); err != nil {
				return err
			}
		}
	}
	fmt.Fprintln(a.out)
	if err := c.Text(a.out); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nresults: %s\n", filepath.Join(r.out, "comparison.{txt,csv,svg,png}"))
	return errors.Join(errs...)
}

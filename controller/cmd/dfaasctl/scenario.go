package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/controller/simulator"
	"github.com/dfaas/dfaas/controller/simulator/report"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/compare"
	experiment "github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// notWithScenario are the flags that say what a scenario says.
var notWithScenario = []string{
	"instance", "profiles", "nodes", "functions", "edge-prob", "capacity", "load", "pattern", "arrivals", "trace", "columns", "trace-speed", "trace-from", "move", "skew", "on", "off",
	"duration", "warmup",
}

// readScenario takes what is to be simulated from a scenario of the emulator's; other
// flags that were given come first.
func (s *simulation) readScenario(f *pflag.FlagSet, path string) error {
	for _, name := range notWithScenario {
		if f.Changed(name) {
			return cli.Usage(fmt.Errorf("--%s: the scenario says what is simulated: leave it out", name))
		}
	}
	text, err := scenario.ReadFile(path)
	if err != nil {
		return cli.Usage(err)
	}
	if s.scenario, err = scenario.Parse(path, text, simulator.ScenarioLimits()); err != nil {
		return cli.Usage(err)
	}
	if len(s.scenario.Loads) == 0 {
		return cli.Usage(fmt.Errorf("%s has no load to simulate", path))
	}
	given := s.base
	s.path = path
	s.base, s.notes = simulator.FromScenario(s.scenario, s.base)
	if f.Changed("seed") {
		s.base.Seed = given.Seed
	}
	if f.Changed("period") {
		s.base.Period = given.Period
	}
	if !f.Changed("delay") {
		s.base.Links.Delay = simulator.LocalDelay
	}
	if !f.Changed("strategy") {
		s.strategies = []string{s.base.Strategy}
	}
	s.loads = []float64{s.base.Load}
	return nil
}

// comparison is of the strategies under the scenario's loads, as dfaas-emulator writes it.
func (s *simulation) comparison(d report.Document) compare.Comparison {
	c := compare.Comparison{Title: s.scenario.Name, Made: fmt.Sprintf("dfaasctl %s: %s", d.Version, d.Command)}
	for _, r := range d.Rows {
		c.Runs = append(c.Runs, compare.Run{Name: r.Strategy, Repeat: r.Repeat, Summary: summary.Summary{
			Scenario: s.scenario.Name, Strategy: r.Strategy, Seed: r.Seed, Version: d.Version, Loads: r.Loads,
		}})
	}
	return c
}

// expect holds the scenario's own strategy against what the scenario expects.
func (s *simulation) expect(rows []simulator.Row) error {
	if s.scenario == nil {
		return nil
	}
	var errs []error
	for _, r := range rows {
		if r.Strategy == s.scenario.Strategy && r.Repeat == 1 {
			errs = append(errs, experiment.Unmet(s.path, summary.Check(s.scenario.Expect, summary.Summary{Loads: r.Loads})))
		}
	}
	return errors.Join(errs...)
}

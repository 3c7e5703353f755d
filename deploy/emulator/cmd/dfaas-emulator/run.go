package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/deploy/emulator/demo"
	"github.com/dfaas/dfaas/deploy/emulator/emulate"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/live"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

func (a *app) runCommand() *cobra.Command {
	var r running
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "run the experiment that a scenario describes",
		Long: `run starts the federation that FILE describes, applies its load and faults and stops everything. The directory
of the results then holds summary.json, plot.svg, the results of each load in vegeta's JSON encoding (load-N.json:
try "vegeta report" and "vegeta plot" on them) and a log file for every part of every node.

With --strategy or --repeat it is run with each of the strategies, as often as that, with the seeds that follow the
scenario's. Each run has a directory of its own below runs/, and beside them are one table (comparison.txt, .csv) and
one picture (comparison.svg, .png) of all. Nodes that name a strategy themselves keep it.

It fails (exit code 1) when something that the scenario expects of its own strategy did not hold, when a part ended by itself, or when an
HAProxy was reloaded without a fault asking for it. A scenario that is not valid is refused (exit code 2).`,
		Example: `  dfaas-emulator run deploy/emulator/scenarios/headroom-50-0-0.yaml -o out/headroom --live
  dfaas-emulator run deploy/emulator/scenarios/recalc-50-0-0.yaml --strategy headroom,recalc,static --repeat 3`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: scenarioFiles,
		RunE: func(c *cobra.Command, args []string) error {
			r.path = args[0]
			return a.run(c.Context(), r)
		},
	}
	c.Flags().StringSliceVar(&r.strategies, "strategy", nil, "run it with each of these strategies; NAME@PERIOD plans at a period of its own (default: the scenario's)")
	c.Flags().IntVar(&r.repeat, "repeat", 1, "how often it is run with each strategy")
	_ = c.RegisterFlagCompletionFunc("strategy", cobra.FixedCompletions(strategy.Names(), cobra.ShellCompDirectiveNoFileComp))
	c.Flags().StringVarP(&r.out, "out", "o", "", "directory for the results (default out/NAME); an earlier experiment there is replaced")
	c.Flags().BoolVar(&r.draw, "live", false, "draw, second by second, who serves how much")
	_ = c.MarkFlagDirname("out") // the flag exists
	a.limitsFlag(c)
	return c
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "check FILE...",
		Short:             "report whether scenarios are valid, without running them",
		Example:           "  dfaas-emulator check deploy/emulator/scenarios/*.yaml",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: scenarioFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			var problems scenario.Problems
			for _, path := range args {
				_, _, err := readScenario(path)
				var found scenario.Problems
				if errors.As(err, &found) {
					problems = append(problems, found...)
				} else if err != nil {
					return err
				} else {
					fmt.Fprintf(a.out, "%s: ok\n", path)
				}
			}
			if len(problems) > 0 {
				return cli.Usage(fmt.Errorf("not valid:\n%w", problems))
			}
			return nil
		},
	}
}

func (a *app) demoCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "demo",
		Short: "show DFaaS at work: three nodes, one overloaded, a forged peer",
		Long: `demo starts three nodes with the functions figlet, shasum and ocr, calls each once, sends one node more figlets than
it can serve, and draws who serves them. Meanwhile a caller with a forged node id is refused. It takes about a minute
and fails (exit code 1) when anything did not hold.`,
		Example: "  dfaas-emulator demo -o out/demo",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			binaries, err := findBinaries()
			if err != nil {
				return err
			}
			dir, err := binDir()
			if err != nil {
				return err
			}
			dfaasctl, err := federation.FindProgram(dir, "dfaasctl")
			if err != nil {
				return err
			}
			return demo.Run(c.Context(), demo.Options{
				Out: out, Binaries: binaries, Dfaasctl: dfaasctl, Screen: a.out, Color: cli.IsColor(a.out), Log: a.logger(),
			})
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "out/demo", "directory for the results; an earlier experiment there is replaced")
	_ = c.MarkFlagDirname("out")
	return c
}

func readScenario(path string) (*scenario.Scenario, []byte, error) {
	text, err := scenario.ReadFile(path)
	if err != nil {
		return nil, nil, cli.Usage(err)
	}
	s, err := scenario.Parse(path, text, scenario.Limits{})
	return s, text, cli.Usage(err)
}

// running is what the flags of run say.
type running struct {
	path, out  string
	draw       bool
	strategies []string
	repeat     int
}

// run runs the experiment of a file. Everything that can be refused is, before
// anything starts.
func (a *app) run(ctx context.Context, r running) error {
	s, text, err := readScenario(r.path)
	if err != nil {
		return err
	}
	if len(s.Loads) == 0 {
		return cli.Usage(fmt.Errorf("%s has no load to apply: `dfaas-emulator up %s` starts its nodes only", r.path, r.path))
	}
	if r.out == "" {
		r.out = filepath.Join("out", s.Name)
	}
	contenders, err := r.contenders(s)
	if err != nil {
		return cli.Usage(err)
	}
	binaries, err := findBinaries()
	if err != nil {
		return err
	}
	if err := experiment.PrepareOut(r.out, text); err != nil {
		return cli.Usage(err)
	}
	if len(contenders) > 1 || r.repeat > 1 {
		return a.compare(ctx, r, s, text, binaries, contenders)
	}
	contenders[0].apply(s, 1)
	sum, err := a.runOnce(ctx, s, binaries, r.out, r.draw)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "results: %s, plot: %s\n", filepath.Join(r.out, experiment.SummaryFile), filepath.Join(r.out, experiment.PlotFile))
	if !contenders[0].own {
		return nil
	}
	return report.Unmet(r.path, summary.Check(s.Expect, sum))
}

// runOnce runs one experiment and prints what came of it.
func (a *app) runOnce(ctx context.Context, s *scenario.Scenario, binaries federation.Binaries, out string, draw bool) (summary.Summary, error) {
	fmt.Fprintf(a.out, "%s: %d nodes, strategy %s, %s\n", s.Name, len(s.Nodes), s.Strategy, s.End())
	world := &emulate.World{Binaries: binaries, Log: a.logger(), Version: cli.Version(version), IgnoreLimits: a.ignoreLimits}
	drawn := func() {}
	if draw {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		drawn = a.draw(ctx, s, world)
	}
	sum, err := experiment.Run(ctx, world, s, out)
	if err != nil {
		return sum, err
	}
	drawn()
	return sum, report.Table(a.out, sum)
}

// draw adds a live drawing to the experiment; what it returns waits for it.
func (a *app) draw(ctx context.Context, s *scenario.Scenario, world *emulate.World) (wait func()) {
	style := live.Style{Color: cli.IsColor(a.out)}
	for _, n := range s.Nodes {
		style.Nodes = append(style.Nodes, n.Name)
	}
	style.Full = s.PeakRate()
	board := live.NewBoard(a.out, style)
	done := make(chan struct{})
	world.Began = func(zero time.Time) {
		go func() {
			board.Run(ctx, zero, s.End())
			close(done)
		}()
	}
	world.Observe = func(_ int, sample summary.Sample) { board.Observe(sample) }
	return func() { <-done }
}

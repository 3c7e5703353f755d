package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/controller/simulator"
	"github.com/dfaas/dfaas/controller/simulator/report"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/load/trace"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// simulation is what the flags of simulate say.
type simulation struct {
	base       simulator.Config
	generate   simulator.Generate
	instance   string
	profiles   string
	trace      string
	columns    string // of the trace
	traced     trace.Options
	faults     []string
	scenario   *scenario.Scenario // nil: none was given
	path       string             // of its file
	notes      []simulator.Note
	left       int // series of the trace without a place
	strategies []string
	loads      []float64
	repeat     int
	capacity   []float64
	pattern    string
	arrivals   string
	machine    string
	output     string // as given
	out        string // directory, if it is one
	quiet      bool
}

func (a *app) simulateCommand() *cobra.Command {
	s := simulation{base: simulator.Defaults()}
	c := &cobra.Command{
		Use:   "simulate [SCENARIO.yaml]",
		Short: "Compare strategies in virtual time",
		Long: `Compare strategies in virtual time.

The controller's own code plans, and the agent's own code decides on each call.
Users, links and machines are simulated. The same flags give the same numbers.
The directory given with -o gets results.csv (a row for each run), results.json,
summary.txt and figures. docs/simulator.md describes the model and the columns.

With a scenario, nodes, loads, faults, strategy, period and seed are those of the
file that dfaas-emulator runs; what is otherwise here is said. Flags that
are given come before what the file says.`,
		Example: `  dfaasctl simulate --nodes 10 --strategy all -o out/
  dfaasctl simulate --nodes 10 --seed 1 --repeat 5 --strategy headroom,random --load 0.6,0.95,1.5 --move 5s -o out/
  dfaasctl simulate --nodes 50 --edge-prob 0.3 --seed 701 --strategy headroom --delay 50ms -o out/
  dfaasctl simulate --instance federation.json --strategy all -o out/
  dfaasctl simulate --strategy headroom,static,recalc@60s deploy/emulator/scenarios/original/test-2.yaml
  dfaasctl simulate --nodes 5 --trace invocations_per_function_md.anon.d01.csv --trace-speed 60 --trace-from 8h --load 0.9
  dfaasctl simulate --nodes 2 --trace t.csv --columns time=step,step=5m,node-1=agent_0,node-2=agent_1 --trace-speed 300
  dfaasctl simulate --churn 60s --churn-down 10s --fault 'partition node-1,node-2 at 20s for 10s'`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(c *cobra.Command, args []string) error { return a.simulate(c, &s, args) },
	}
	s.addFlags(c.Flags())
	completeWith(c, "strategy", append(simulator.Strategies(), "all")...)
	completeWith(c, "pattern", "steady", "moving", "onoff", "step", "trace")
	completeWith(c, "arrivals", "poisson", "constant")
	completeWith(c, "machine", "token", "servers", "shared")
	return c
}

func (s *simulation) addFlags(f *pflag.FlagSet) {
	b := &s.base
	f.StringVar(&s.instance, "instance", "", "read the federation from this JSON file instead of making one up")
	f.IntVar(&s.generate.Nodes, "nodes", 10, "nodes to make up")
	f.IntVar(&s.generate.Functions, "functions", 1, "functions on each node")
	f.Float64Var(&s.generate.EdgeProb, "edge-prob", 1, "probability that two nodes reach each other")
	f.Float64SliceVar(&s.capacity, "capacity", []float64{10, 50}, "least and greatest capacity of a function at a node, requests/s")
	f.StringVar(&s.profiles, "profiles", "", "draw nodes and their functions from the measured profiles below this directory")
	f.StringSliceVar(&s.strategies, "strategy", []string{"headroom"}, "strategies, or all; NAME@PERIOD plans at a period of its own")
	f.Float64SliceVar(&s.loads, "load", []float64{0.6, 0.8, 0.95, 1.2, 1.5}, "what users ask for, as fractions of the federation's capacity")
	f.IntVar(&s.repeat, "repeat", 1, "runs of each, with the seeds that follow --seed")
	f.Uint64Var(&b.Seed, "seed", b.Seed, "of all random numbers")
	f.StringVar(&s.pattern, "pattern", "", "steady, moving, onoff, step or trace (default steady; moving if --move is given, trace if --trace is)")
	f.StringVar(&s.trace, "trace", "", "measured load, scaled to --load: CSV of second and rate, or of nodes and functions as Azure (2019, 2021), Huawei (2023)\nand the DFaaS group have published it, or with --columns")
	f.StringVar(&s.columns, "columns", "", "what the trace's columns are: time=COLUMN,node=COLUMN,function=COLUMN,rate=COLUMN (or count=), or time=COLUMN,NODE=COLUMN,...\nand step=DURATION, where=COLUMN:VALUE")
	f.Float64Var(&s.traced.Speed, "trace-speed", 1, "seconds of the trace that pass in one")
	f.DurationVar(&s.traced.From, "trace-from", 0, "time in the trace at which it begins")
	f.StringVar(&s.arrivals, "arrivals", string(b.Arrivals), "poisson or constant")
	f.StringVar(&s.machine, "machine", string(b.Machine.Kind), "token, servers or shared")
	f.DurationVar(&b.Demand.Move, "move", b.Demand.Move, "time between two moves of the demand; when the step comes")
	f.Float64Var(&b.Demand.Skew, "skew", b.Demand.Skew, "how unevenly demand is spread; 0: in proportion to capacity")
	f.DurationVar(&b.Demand.On, "on", b.Demand.On, "mean time that users stay, with onoff")
	f.DurationVar(&b.Demand.Off, "off", b.Demand.Off, "mean time that users stay away, with onoff")
	f.DurationVar(&b.Links.Delay, "delay", b.Links.Delay, "of calls and announcements between nodes, one way")
	f.Float64Var(&b.Links.Loss, "loss", b.Links.Loss, "fraction of announcements that get lost")
	f.Float64Var(&b.Links.CallLoss, "call-loss", 0, "fraction of messages of calls between nodes that get lost and are sent again")
	f.StringArrayVar(&s.faults, "fault", nil, "'kill NODE PART at 20s for 10s', 'partition NODE,NODE at 20s for 10s', stop, continue, restart, reload or heal; may be repeated")
	f.DurationVar(&b.Churn.Up, "churn", 0, "mean time until a node fails; 0: none does")
	f.DurationVar(&b.Churn.Down, "churn-down", 10*time.Second, "mean time until it is back")
	f.DurationVar(&b.Period, "period", b.Period, "planning period")
	f.DurationVar(&b.Duration, "duration", b.Duration, "virtual time that is measured")
	f.DurationVar(&b.Warmup, "warmup", b.Warmup, "virtual time before that")
	f.StringVarP(&s.output, "output", "o", "", "directory for the results, made if it is not there; or json or table, to print only that")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "show no progress")
}

func (a *app) simulate(c *cobra.Command, s *simulation, args []string) error {
	// Here -o is mostly a directory; json and table mean what they mean elsewhere.
	switch format(s.output) {
	case formatJSON, formatTable:
		a.format = format(s.output)
	default:
		s.out = s.output
	}
	if len(args) == 1 {
		if err := s.readScenario(c.Flags(), args[0]); err != nil {
			return err
		}
	}
	if err := s.unheard(c.Flags()); err != nil {
		return cli.Usage(err)
	}
	sweep, err := s.sweep(c.Flags().Changed("move"))
	if err != nil {
		return cli.Usage(err)
	}
	if s.left > 0 {
		fmt.Fprintf(a.Err, "%s: %d series, called less than the others, are left out: there are no more nodes and functions\n", s.trace, s.left)
	}
	for _, n := range s.notes {
		fmt.Fprintf(a.Err, "%s:%d: %s\n", s.path, n.Line, n.Text)
	}
	if s.out != "" {
		if err := os.MkdirAll(s.out, 0o755); err != nil {
			return fmt.Errorf("making the directory for the results: %w", err)
		}
	}
	if os.Getenv("GOGC") == "" { // a simulation is worth some memory
		defer debug.SetGCPercent(debug.SetGCPercent(400))
	}
	bar := newBar(a.Err, !s.quiet)
	rows, err := sweep.Run(c.Context(), bar.show)
	bar.end()
	if err != nil {
		return err
	}
	d := report.Document{
		Version: a.Version, Command: "dfaasctl " + strings.Join(a.Args, " "), Pattern: string(sweep.Base.Demand.Pattern),
		Arrivals: string(sweep.Base.Arrivals), DelayMs: sweep.Base.Links.Delay.Seconds() * 1000, Loss: sweep.Base.Links.Loss,
		PeriodMs: sweep.Base.Period.Seconds() * 1000, Duration: sweep.Base.Duration.Seconds(), Rows: rows,
	}
	if s.out != "" {
		if err := s.write(d, sweep); err != nil {
			return err
		}
	}
	if a.format == formatJSON {
		err = report.JSON(a.Out, d)
	} else {
		err = report.Text(a.Out, d)
	}
	return errors.Join(err, s.expect(rows))
}

// unheard refuses flags that would change nothing beside others.
func (s *simulation) unheard(f *pflag.FlagSet) error {
	refuse := func(why string, names ...string) error {
		for _, name := range names {
			if f.Changed(name) {
				return fmt.Errorf("--%s: %s: leave it out", name, why)
			}
		}
		return nil
	}
	var errs []error
	if s.instance != "" {
		errs = append(errs, refuse("--instance has the nodes and their functions", "profiles", "nodes", "functions", "edge-prob", "capacity"))
	}
	if s.profiles != "" {
		errs = append(errs, refuse("--profiles has the functions and what they serve", "functions", "capacity"))
	}
	if s.trace == "" {
		errs = append(errs, refuse("there is no --trace for it", "columns", "trace-speed", "trace-from"))
	} else if s.pattern != "" && s.pattern != string(simulator.Traced) {
		errs = append(errs, refuse("--trace says what users ask for", "pattern"))
	} else if !(s.traced.Speed > 0) {
		errs = append(errs, fmt.Errorf("--trace-speed %v: it must be above 0", s.traced.Speed))
	}
	return errors.Join(errs...)
}

// sweep makes of the flags what is to be run.
func (s *simulation) sweep(moves bool) (simulator.Sweep, error) {
	if slices.Contains(s.strategies, "all") {
		s.strategies = append(simulator.Strategies(), "recalc@60s")
	}
	for _, name := range s.strategies {
		if err := simulator.CheckStrategy(name); err != nil {
			return simulator.Sweep{}, fmt.Errorf("--strategy: %w", err)
		}
	}
	if len(s.capacity) != 2 {
		return simulator.Sweep{}, errors.New("--capacity: give the least and the greatest, such as 10,50")
	}
	switch {
	case s.pattern != "":
		s.base.Demand.Pattern = simulator.Pattern(s.pattern)
	case s.trace != "":
		s.base.Demand.Pattern = simulator.Traced
	case moves:
		s.base.Demand.Pattern = simulator.Moving
	}
	measured, err := s.readTrace()
	if err != nil {
		return simulator.Sweep{}, err
	}
	s.base.Arrivals, s.base.Machine.Kind = simulator.Arrivals(s.arrivals), simulator.MachineKind(s.machine)
	sweep := simulator.Sweep{Base: s.base, Strategies: s.strategies, Loads: s.loads, Repeats: s.repeat}
	if err := sweep.Check(); err != nil {
		return sweep, fmt.Errorf("--strategy, --load, --repeat: %w", err)
	}
	switch {
	case s.scenario != nil:
		instance := s.base.Instance
		sweep.Instance = func(uint64) (*simulator.Instance, error) { return instance, nil }
	case s.instance != "":
		instance, err := simulator.ReadInstance(s.instance)
		if err != nil {
			return sweep, err
		}
		sweep.Instance = func(uint64) (*simulator.Instance, error) { return instance, nil }
	default:
		generate := s.generate
		if s.profiles != "" {
			var err error
			if generate.Profiles, err = simulator.ReadProfiles(s.profiles); err != nil {
				return sweep, err
			}
		}
		generate.Capacity = [2]float64(s.capacity)
		sweep.Instance = func(seed uint64) (*simulator.Instance, error) {
			generate.Seed = seed
			return generate.Instance()
		}
	}
	// Everything is checked before anything runs.
	first := sweep.Base
	if first.Instance, err = sweep.Instance(first.Seed); err != nil {
		return sweep, err
	}
	if measured != nil {
		series, left := first.Instance.AssignSeries(measured)
		sweep.Base.Demand.Series, first.Demand.Series = series, series
		if s.left = left; left > 0 && left == len(measured.Series) {
			return sweep, fmt.Errorf("--trace: none of its %d series has a place", left)
		}
	}
	for _, text := range s.faults {
		faults, err := first.Instance.ParseFault(text)
		if err != nil {
			return sweep, fmt.Errorf("--fault: %w", err)
		}
		sweep.Base.Faults = append(sweep.Base.Faults, faults...)
	}
	first.Faults = sweep.Base.Faults
	for _, first.Load = range s.loads {
		if err := first.Check(); err != nil {
			return sweep, err
		}
	}
	return sweep, nil
}

// readTrace reads the demand: that of all together, or of each function at each node.
func (s *simulation) readTrace() (*trace.Trace, error) {
	if s.trace == "" {
		return nil, nil
	}
	var err error
	if s.traced.Columns, err = trace.ParseColumns(s.columns); err != nil {
		return nil, fmt.Errorf("--columns: %w", err)
	}
	var simple error
	if s.columns == "" && s.traced.Speed == 1 && s.traced.From == 0 {
		if s.base.Demand.Trace, simple = shape.ReadTrace(s.trace); simple == nil {
			return nil, nil
		}
	}
	t, err := trace.ReadFile(s.trace, s.traced)
	switch {
	case errors.Is(err, trace.ErrUnknown) && simple != nil:
		return nil, fmt.Errorf("%w; as second,rate: %w", err, simple)
	case err != nil:
		return nil, err
	case len(t.Series) == 1 && t.Series[0].Node+t.Series[0].Function == "":
		s.base.Demand.Trace = t.Series[0].Steps
		return nil, nil
	}
	return t, nil
}

// write puts all results below the directory.
func (s *simulation) write(d report.Document, sweep simulator.Sweep) error {
	if err := s.forget(); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer, report.Document) error{
		"results.csv": report.CSV, "results.json": report.JSON, "summary.txt": report.Text,
	} {
		if err := writeTo(filepath.Join(s.out, name), func(w io.Writer) error { return write(w, d) }); err != nil {
			return err
		}
	}
	if s.scenario != nil {
		if err := s.comparison(d).Save(s.out); err != nil {
			return err
		}
	}
	figures := []report.Figure{report.Goodput(d)}
	for _, load := range s.loads {
		figures = append(figures, report.Course(d, load))
	}
	instance, err := sweep.Instance(sweep.Base.Seed)
	if err != nil {
		return err
	}
	for _, f := range append(figures, report.Topology(d, instance)) {
		if err := f.Save(s.out); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the figures of an earlier run, so that none stays beside the results of
// this one: of which loads there were pictures, and whether there was a comparison, differs.
func (s *simulation) forget() error {
	if _, err := os.Stat(filepath.Join(s.out, "results.json")); err != nil {
		return nil // nothing here is a run's
	}
	entries, err := os.ReadDir(s.out)
	if err != nil {
		return fmt.Errorf("directory for the results: %w", err)
	}
	for _, entry := range entries {
		if !earlier.MatchString(entry.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(s.out, entry.Name())); err != nil {
			return fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	return nil
}

// earlier are the files that not each run writes.
var earlier = regexp.MustCompile(`^(course-[0-9.e+-]+\.(svg|png)|comparison(-seconds)?\.(csv|txt|svg|png))$`)

func writeTo(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// bar is a line of progress on a terminal.
type bar struct {
	out   io.Writer
	begun time.Time
	shown time.Time
}

// newBar returns a bar that shows itself only where somebody may see it.
func newBar(out io.Writer, wanted bool) *bar {
	b := &bar{begun: time.Now()}
	if file, ok := out.(*os.File); ok && wanted {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			b.out = out
		}
	}
	return b
}

const barEvery = 100 * time.Millisecond

func (b *bar) show(what string, done float64) {
	if b.out == nil || time.Since(b.shown) < barEvery {
		return
	}
	b.shown = time.Now()
	left := "?"
	if done > 0.01 {
		left = (time.Duration(float64(time.Since(b.begun))*(1-done)/done) + time.Second/2).Truncate(time.Second).String()
	}
	const wide = 30
	full := int(done * wide)
	fmt.Fprintf(b.out, "\r\033[K[%s%s] %3.0f %%  %s left  %s", strings.Repeat("#", full), strings.Repeat(".", wide-full), 100*done, left, what)
}

func (b *bar) end() {
	if b.out != nil {
		fmt.Fprint(b.out, "\r\033[K")
	}
}

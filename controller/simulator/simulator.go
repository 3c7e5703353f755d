// Package simulator runs a federation in virtual time: the controller's core,
// its strategies and the SPOA's decision as they run on nodes, in a world of
// users, links and machines that is made up.
//
// Only the world is simulated. It is deterministic: the same configuration gives
// the same result to the last digit, and all strategies see the same arrivals.
package simulator

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// Config is one run: one strategy in one world. The zero value is not valid; see
// Defaults.
type Config struct {
	Strategy string
	Instance *Instance
	// Load is what all users together ask for, as a fraction of the federation's
	// capacity, function by function. > 0. It is ignored where the instance
	// brings its own demand.
	Load float64
	// Loads, unless nil, are those of a scenario, at nodes by their names, and
	// instead of Load, Arrivals and Demand.
	Loads    []scenario.Load
	Arrivals Arrivals
	Demand   Demand
	Links    Links
	// Topology, unless nil, is how nodes are linked, by their indexes. What it says of
	// links comes on top of Links. Announcements come to all, wherever links lead; calls
	// go where the instance's edges say.
	Topology *topology.Topology
	PeerTLS  bool // calls between nodes need certificates
	Machine  Machine
	Faults   []Fault
	Churn    Churn
	Period   time.Duration // of planning
	Duration time.Duration // measured, after Warmup
	Warmup   time.Duration // run, but not counted
	Seed     uint64
}

// Arrivals is how calls follow each other at a given rate.
type Arrivals string

// The kinds of arrivals.
const (
	Poisson  Arrivals = "poisson"  // independent of each other
	Constant Arrivals = "constant" // evenly spaced
)

// Links is what lies between nodes.
type Links struct {
	Delay time.Duration // one way, of calls and of announcements
	Loss  float64       // fraction of announcements that do not arrive, 0 to 1
	// CallLoss is the fraction of messages of calls that get lost and are sent again,
	// 0 to 1.
	CallLoss float64
}

// Defaults returns a run of 60 s at a load of 0.8 that only lacks an instance.
func Defaults() Config {
	return Config{
		Strategy: "headroom", Load: 0.8, Arrivals: Poisson, Demand: DefaultDemand(), Machine: Machine{Kind: TokenMachine},
		Links: Links{Delay: 20 * time.Millisecond}, Period: time.Second, Duration: time.Minute, Warmup: 5 * time.Second, Seed: 1,
	}
}

// Bounds of a configuration.
const (
	maxNodes    = 10_000
	maxLoad     = 100
	maxDuration = 24 * time.Hour
	maxDelay    = 10 * time.Second
	maxChanges  = 10_000_000 // of rates, which are drawn before the run begins: some 800 MB
	minPeriod   = 50 * time.Millisecond
	maxPeriod   = 10 * time.Minute
)

// Check reports what makes no sense, naming the value and what it may be.
func (c *Config) Check() error {
	switch {
	case c.Instance == nil:
		return fmt.Errorf("no instance: there are no nodes to simulate")
	case !(c.Load > 0 && c.Load <= maxLoad):
		return fmt.Errorf("load %v: it is a fraction of the capacity, above 0 and at most %d", c.Load, maxLoad)
	case c.Arrivals != Poisson && c.Arrivals != Constant:
		return fmt.Errorf("arrivals %q: use %s or %s", c.Arrivals, Poisson, Constant)
	case c.Links.Delay < 0 || c.Links.Delay > maxDelay:
		return fmt.Errorf("delay %v: it may be 0 to %v", c.Links.Delay, maxDelay)
	case !(c.Links.Loss >= 0 && c.Links.Loss < 1):
		return fmt.Errorf("loss %v: it is a fraction, from 0 to below 1", c.Links.Loss)
	case !(c.Links.CallLoss >= 0 && c.Links.CallLoss < 1):
		return fmt.Errorf("loss of calls %v: it is a fraction, from 0 to below 1", c.Links.CallLoss)
	case c.Period < minPeriod || c.Period > maxPeriod:
		return fmt.Errorf("period %v: it may be %v to %v", c.Period, minPeriod, maxPeriod)
	case c.Duration < time.Second || c.Duration > maxDuration:
		return fmt.Errorf("duration %v: it may be 1s to %v", c.Duration, maxDuration)
	case c.Warmup < 0 || c.Warmup > maxDuration:
		return fmt.Errorf("warm-up %v: it may be 0 to %v", c.Warmup, maxDuration)
	}
	if err := checkSize(len(c.Instance.Nodes), c.Instance.ways(), len(c.Instance.functions())); err != nil {
		return err
	}
	if c.Loads == nil {
		if err := c.Demand.check(); err != nil {
			return err
		}
		if err := c.Demand.checkCourse(len(c.Instance.Nodes)*len(c.Instance.functions()), c.Duration, c.Warmup+c.Duration); err != nil {
			return err
		}
	}
	if err := c.Churn.check(); err != nil {
		return err
	}
	if _, err := parseSpec(c.Strategy, c.Period); err != nil {
		return err
	}
	for _, f := range c.Faults {
		if err := f.check(len(c.Instance.Nodes), c.Topology); err != nil {
			return err
		}
	}
	if t := c.Topology; t != nil && t.Nodes != len(c.Instance.Nodes) {
		return fmt.Errorf("a topology of %d nodes for an instance of %d", t.Nodes, len(c.Instance.Nodes))
	}
	return c.Machine.check()
}

// What a run keeps in memory grows with who hears whom, and with the functions that they
// tell each other of: about this much for each way from a node to another and function.
const (
	wayBytes = 620
	maxWays  = 16_000_000 // some 10 GB
)

// checkSize refuses federations that no machine has the memory for, before it is asked
// for. Without neighbours, and without functions, a node is something, too.
func checkSize(nodes, ways, functions int) error {
	if all := (float64(ways) + 8*float64(nodes)) * float64(functions+4); all > maxWays {
		return fmt.Errorf("%d nodes with %d ways between them and %d functions would take about %.0f GB, 10 are the most: make less of one of them, of ways by fewer edges",
			nodes, ways, functions, all*wayBytes/1e9)
	}
	return nil
}

// Run simulates one configuration. progress, unless nil, is told now and then
// which fraction of the virtual time has passed. It ends early only with the
// context, and then with its error.
func Run(ctx context.Context, c Config, progress func(float64)) (Result, error) {
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	w, err := newWorld(c)
	if err != nil {
		return Result{}, err
	}
	if err := w.run(ctx, progress); err != nil {
		return Result{}, err
	}
	result := w.tally.result(w)
	result.Loads = w.summaries()
	return result, nil
}

// seconds is d in s.
func seconds(d time.Duration) float64 { return d.Seconds() }

// duration is s in ns, bounded so that sums of times stay far from overflow.
func duration(s float64) time.Duration {
	const most = float64(1000 * time.Hour)
	return time.Duration(math.Min(s*float64(time.Second), most))
}

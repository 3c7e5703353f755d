package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/load/trace"
)

// Pattern is how the demand of a federation's users moves over time.
type Pattern string

// The patterns.
const (
	// Steady demand is spread once, unevenly, over the nodes.
	Steady Pattern = "steady"
	// Moving demand is spread anew every Demand.Move.
	Moving Pattern = "moving"
	// OnOff users of each node come and go together: Demand.On on average they ask
	// for twice the node's part, Demand.Off for nothing.
	OnOff Pattern = "onoff"
	// Step demand is even, but that from Demand.Move on one node, the one with the
	// least capacity, has all of it.
	Step Pattern = "step"
	// Traced demand is spread once, as Steady is, and in all is that of Demand.Trace,
	// scaled so that its mean is what the load says.
	Traced Pattern = "trace"
)

// Demand is what users ask for.
type Demand struct {
	Pattern Pattern
	Move    time.Duration
	// Skew is how unevenly demand is spread: each node's weight is an exponential
	// number to this power. 0: in proportion to capacity.
	Skew    float64
	On, Off time.Duration
	Trace   []shape.Step // with Traced; from the end of the warm-up on
	// Series, instead of Trace, are those of single functions at single nodes.
	Series []Series
}

// Series is the demand for one function at one node.
type Series struct {
	Node, Function int
	Steps          []shape.Step
}

// AssignSeries gives the series of a trace to the instance's nodes: to those that they
// name, if the nodes and functions are the instance's, else to the nodes in turn, function
// after function. It returns how many had no place.
func (i *Instance) AssignSeries(t *trace.Trace) (series []Series, left int) {
	functions := i.functions()
	node := func(name string) int { return slices.IndexFunc(i.Nodes, func(n Node) bool { return n.Name == name }) }
	named := !slices.ContainsFunc(t.Series, func(s trace.Series) bool {
		return node(s.Node) < 0 || s.Function != "" && !slices.Contains(functions, s.Function)
	})
	for k, s := range t.Series {
		n, f := k%len(i.Nodes), k/len(i.Nodes)
		if named {
			n, f = node(s.Node), max(0, slices.Index(functions, s.Function))
		}
		if f >= len(functions) {
			return series, len(t.Series) - k
		}
		series = append(series, Series{n, f, s.Steps})
	}
	return series, 0
}

// DefaultDemand is steady and very uneven.
func DefaultDemand() Demand {
	return Demand{Pattern: Steady, Move: 5 * time.Second, Skew: 3, On: 2 * time.Second, Off: 2 * time.Second}
}

func (d Demand) check() error {
	switch d.Pattern {
	case Steady, Moving, OnOff, Step:
	case Traced:
		if len(d.Trace) == 0 && len(d.Series) == 0 {
			return errors.New("demand: there is no trace")
		}
	default:
		return fmt.Errorf("demand %q: use %s, %s, %s, %s or %s", d.Pattern, Steady, Moving, OnOff, Step, Traced)
	}
	switch {
	case d.Move < 100*time.Millisecond || d.Move > maxDuration:
		return fmt.Errorf("move %v: it may be 100ms to %v", d.Move, maxDuration)
	case !(d.Skew >= 0 && d.Skew <= 10):
		return fmt.Errorf("skew %v: it may be 0 to 10", d.Skew)
	case d.On < 10*time.Millisecond || d.Off < 10*time.Millisecond:
		return fmt.Errorf("on %v, off %v: each must be at least 10ms", d.On, d.Off)
	}
	return nil
}

// checkCourse reports what makes no sense together with how long a run counts and goes on,
// and with its users: of each function at each node.
func (d Demand) checkCourse(users int, counts, lasts time.Duration) error {
	mean := func(steps []shape.Step) float64 { return shape.Shape{Kind: shape.Steps, Steps: steps}.Mean(counts) }
	changes := float64(users)
	switch d.Pattern {
	case Moving:
		changes *= math.Ceil(seconds(lasts) / seconds(d.Move))
	case OnOff:
		changes *= 1 + 2*seconds(lasts)/seconds(d.On+d.Off)
	case Traced:
		asked := mean(d.Trace)
		changes *= float64(len(d.Trace))
		for _, s := range d.Series {
			asked += mean(s.Steps)
			changes += float64(len(s.Steps))
		}
		if asked == 0 {
			return fmt.Errorf("demand: the trace asks for nothing in its first %v", counts)
		}
	}
	if changes > maxChanges {
		return fmt.Errorf("demand: it would change about %.3g times, which may be %d: let it change less often, or make the run shorter", changes, maxChanges)
	}
	return nil
}

// change is a new rate, requests/s, of one function's users at one node.
type change struct {
	at       time.Duration
	node, fn int
	rate     float64
}

// schedule returns all changes of rate up to end, in the order of time; the
// first are at 0. capacity is requests/s by node and function.
func (d Demand) schedule(capacity [][]float64, load float64, seed uint64, warmup, end time.Duration) []change {
	r := rand.New(rand.NewPCG(seed, streamDemand))
	var out []change
	for f := range capacity[0] {
		sum := 0.0
		for n := range capacity {
			sum += capacity[n][f]
		}
		switch d.Pattern {
		case OnOff:
			out = append(out, d.onOff(r, capacity, f, load, end)...)
		case Moving:
			for at := time.Duration(0); at < end; at += d.Move {
				out = append(out, d.spread(r, capacity, f, load*sum, at)...)
			}
		case Traced:
			if d.Series != nil {
				out = append(out, d.measured(f, load*sum, warmup, end)...)
			} else {
				out = append(out, d.traced(r, capacity, f, load*sum, warmup, end)...)
			}
		case Step:
			out = append(out, d.step(capacity, f, load, sum)...)
		default:
			out = append(out, d.spread(r, capacity, f, load*sum, 0)...)
		}
	}
	slices.SortStableFunc(out, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	return out
}

// spread divides a total rate over the nodes.
func (d Demand) spread(r *rand.Rand, capacity [][]float64, f int, total float64, at time.Duration) []change {
	out := make([]change, len(capacity))
	sum := 0.0
	for n := range out {
		weight := capacity[n][f]
		if d.Skew > 0 {
			weight = math.Pow(r.ExpFloat64(), d.Skew)
		}
		out[n] = change{at: at, node: n, fn: f, rate: weight}
		sum += weight
	}
	for n := range out {
		out[n].rate *= total / max(sum, math.SmallestNonzeroFloat64)
	}
	return out
}

// traced goes through the trace; before it begins, the demand is its first.
func (d Demand) traced(r *rand.Rand, capacity [][]float64, f int, total float64, warmup, end time.Duration) []change {
	trace := shape.Shape{Kind: shape.Steps, Steps: d.Trace}
	scale := 1 / max(trace.Mean(end-warmup), 1e-9)
	parts := d.spread(r, capacity, f, total, 0)
	var out []change
	for i, piece := range trace.Course(end - warmup) {
		for _, c := range parts {
			c.rate *= piece.Rate * scale
			if i > 0 {
				c.at = warmup + piece.At
			}
			out = append(out, c)
		}
	}
	return out
}

// measured goes through the series of a function, scaled so that the mean of all is the
// total; before they begin, the demand is their first.
func (d Demand) measured(f int, total float64, warmup, end time.Duration) []change {
	mean := 0.0
	course := func(s Series) shape.Shape { return shape.Shape{Kind: shape.Steps, Steps: s.Steps} }
	for _, s := range d.Series {
		if s.Function == f {
			mean += course(s).Mean(end - warmup)
		}
	}
	var out []change
	for _, s := range d.Series {
		if s.Function != f {
			continue
		}
		for i, piece := range course(s).Course(end - warmup) {
			c := change{node: s.Node, fn: f, rate: piece.Rate * total / max(mean, 1e-9)}
			if i > 0 {
				c.at = warmup + piece.At
			}
			out = append(out, c)
		}
	}
	return out
}

func (d Demand) onOff(r *rand.Rand, capacity [][]float64, f int, load float64, end time.Duration) []change {
	var out []change
	scale := load * (seconds(d.On) + seconds(d.Off)) / seconds(d.On)
	for n := range capacity {
		on := r.Float64() < seconds(d.On)/(seconds(d.On)+seconds(d.Off))
		for at := time.Duration(0); at < end; on = !on {
			c, lasting := change{at: at, node: n, fn: f}, d.Off
			if on {
				c.rate, lasting = scale*capacity[n][f], d.On
			}
			out = append(out, c)
			at += max(time.Millisecond, duration(r.ExpFloat64()*seconds(lasting)))
		}
	}
	return out
}

func (d Demand) step(capacity [][]float64, f int, load, sum float64) []change {
	var out []change
	least := 0
	for n := range capacity {
		if capacity[n][f] < capacity[least][f] {
			least = n
		}
	}
	for n := range capacity {
		c := change{node: n, fn: f, rate: load / 2 * capacity[n][f]}
		out = append(out, c)
		if n == least {
			c.at, c.rate = d.Move, load*sum-load/2*(sum-capacity[n][f])
			out = append(out, c)
		}
	}
	return out
}

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
}

// DefaultDemand is steady and very uneven.
func DefaultDemand() Demand {
	return Demand{Pattern: Steady, Move: 5 * time.Second, Skew: 3, On: 2 * time.Second, Off: 2 * time.Second}
}

func (d Demand) check() error {
	switch d.Pattern {
	case Steady, Moving, OnOff, Step:
	case Traced:
		if len(d.Trace) == 0 {
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
			out = append(out, d.traced(r, capacity, f, load*sum, warmup, end)...)
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

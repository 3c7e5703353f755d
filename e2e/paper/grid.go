// Package paper makes the tables and figures of docs/strategies.md: it simulates the
// grid of federations in which strategies are compared, holds the default strategy
// against its aims cell by cell, and writes what came of it.
package paper

import (
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/simulator"
)

// Cell is one federation under one demand.
type Cell struct {
	Nodes   int           `json:"nodes"`
	Pattern Pattern       `json:"pattern"`
	Load    float64       `json:"load"`
	Delay   time.Duration `json:"delay"` // one way
	Loss    float64       `json:"loss"`  // of announcements, and of messages of calls, which are sent again
}

func (c Cell) String() string {
	return fmt.Sprintf("%d nodes, %s, load %g, delay %s, loss %g", c.Nodes, c.Pattern, c.Load, c.Delay, c.Loss)
}

// Pattern is how demand moves.
type Pattern string

// The patterns, as they are written in tables.
const (
	steady  Pattern = "steady"
	moving5 Pattern = "moving every 5 s"
	moving2 Pattern = "moving every 2 s"
	onOff   Pattern = "on and off, 2 s each"
)

func patterns() []Pattern { return []Pattern{steady, moving5, moving2, onOff} }

func (p Pattern) demand() simulator.Demand {
	d := simulator.DefaultDemand()
	switch p {
	case moving5:
		d.Pattern, d.Move = simulator.Moving, 5*time.Second
	case moving2:
		d.Pattern, d.Move = simulator.Moving, 2*time.Second
	case onOff:
		d.Pattern = simulator.OnOff
	}
	return d
}

// Judged is the strategy whose aims are judged.
const Judged = "headroom"

// Grid is what is simulated.
type Grid struct {
	Nodes   []int
	Loads   []float64
	Delays  []time.Duration
	Losses  []float64
	Repeats int
	// Lasting is the virtual time of a run that is measured, after the warm-up; of many
	// nodes, which make more calls in less time, two thirds of it.
	Lasting time.Duration
	// Bounds are simulated in each cell, but not compared: they cannot be built.
	Bounds []string
	// Others are compared with the judged strategy in each cell; Shown besides them in
	// the cells of the page's tables, see shown. Small are in cells of few nodes, too:
	// they announce every second, whoever needs it, and take long to simulate.
	Others, Small, Shown []string
}

// Full is the grid by which the default strategy is judged.
func Full() Grid {
	return Grid{
		Nodes: []int{3, 10, 50}, Loads: []float64{0.6, 0.8, 0.95, 1, 1.2, 1.5},
		Delays: []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}, Losses: []float64{0, 0.05},
		Repeats: 5, Lasting: 30 * time.Second,
		Bounds: []string{"omniscient", "late-news"}, Others: []string{"two-choices", "hot-cold"}, Small: []string{"random", "static"},
		Shown: []string{"random", "static", "quotas", "recalc", "node-margin", "empirical"},
	}
}

// Quick is a part of it that takes minutes, with numbers of little worth.
func Quick() Grid {
	g := Full()
	g.Nodes, g.Loads, g.Delays, g.Losses = []int{3, 10}, []float64{0.8, 1, 1.2}, []time.Duration{50 * time.Millisecond}, []float64{0}
	g.Repeats, g.Lasting = 1, 10*time.Second
	return g
}

const (
	warmup   = 5 * time.Second
	fewNodes = 10
	// The cells of the tables: the others are summed up.
	shownNodes, shownDelay = 10, 50 * time.Millisecond
)

// shown reports whether the page has a row of its own for the cell.
func (c Cell) shown() bool { return c.Nodes == shownNodes && c.Delay == shownDelay && c.Loss == 0 }

// Cells lists all cells, those that the page shows first.
func (g Grid) Cells() []Cell {
	var first, rest []Cell
	for _, nodes := range g.Nodes {
		for _, delay := range g.Delays {
			for _, loss := range g.Losses {
				for _, pattern := range patterns() {
					for _, load := range g.Loads {
						c := Cell{nodes, pattern, load, delay, loss}
						if c.shown() {
							first = append(first, c)
						} else {
							rest = append(rest, c)
						}
					}
				}
			}
		}
	}
	return append(first, rest...)
}

// strategies are those that are simulated in a cell, the judged one first.
func (g Grid) strategies(c Cell) []string {
	all := slices.Concat([]string{Judged}, g.Bounds, g.Others)
	if c.Nodes <= fewNodes {
		all = append(all, g.Small...)
	}
	if c.shown() {
		for _, s := range g.Shown {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

func (g Grid) lasting(c Cell) time.Duration {
	if c.Nodes > fewNodes {
		return g.Lasting * 2 / 3
	}
	return g.Lasting
}

// run is one simulation.
type run struct {
	Cell
	Strategy string `json:"strategy"`
	Repeat   int    `json:"repeat"` // from 1, and the seed
	Seconds  int    `json:"seconds"`
}

// runs lists all simulations: of all cells once, then once more, so that those that
// have been done when somebody looks are of the whole grid.
func (g Grid) runs() []run {
	var out []run
	for repeat := range g.Repeats {
		for _, c := range g.Cells() {
			for _, s := range g.strategies(c) {
				out = append(out, run{c, s, repeat + 1, int(g.lasting(c) / time.Second)})
			}
		}
	}
	return out
}

func (r run) config() (simulator.Config, error) {
	c := simulator.Defaults()
	c.Strategy, c.Load, c.Demand, c.Seed = r.Strategy, r.Load, r.Pattern.demand(), uint64(r.Repeat)
	c.Links = simulator.Links{Delay: r.Delay, Loss: r.Loss, CallLoss: r.Loss}
	c.Duration, c.Warmup = time.Duration(r.Seconds)*time.Second, warmup
	var err error
	c.Instance, err = simulator.Generate{
		Nodes: r.Nodes, Functions: 1, EdgeProb: 1, Capacity: [2]float64{10, 50}, Seed: c.Seed,
	}.Instance()
	return c, err
}

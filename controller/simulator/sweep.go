package simulator

import (
	"context"
	"fmt"
)

// Sweep is a set of runs: each strategy at each load, several times with other
// random numbers.
type Sweep struct {
	Base       Config // Strategy, Load, Instance and Seed are filled in
	Strategies []string
	Loads      []float64
	Repeats    int
	// Instance makes the instance of a repeat.
	Instance func(seed uint64) (*Instance, error)
}

// Row is the result of one run of a sweep.
type Row struct {
	Repeat int `json:"repeat"` // from 1
	Result
}

const maxRuns = 100_000

// Run runs the sweep, one run after the other, in an order that does not depend
// on anything but the sweep. progress is told which run is under way and how far
// all have come, 0 to 1. With the context it ends early, with the rows so far.
func (s Sweep) Run(ctx context.Context, progress func(what string, done float64)) ([]Row, error) {
	total := len(s.Strategies) * len(s.Loads) * s.Repeats
	if total == 0 || total > maxRuns {
		return nil, fmt.Errorf("%d runs: name a strategy and a load, and at most %d runs in all", total, maxRuns)
	}
	var rows []Row
	for repeat := range s.Repeats {
		seed := s.Base.Seed + uint64(repeat)
		instance, err := s.Instance(seed)
		if err != nil {
			return rows, err
		}
		for _, load := range s.Loads {
			for _, strategy := range s.Strategies {
				c := s.Base
				c.Strategy, c.Load, c.Instance, c.Seed = strategy, load, instance, seed
				done := float64(len(rows))
				result, err := Run(ctx, c, func(part float64) {
					progress(fmt.Sprintf("%s, load %v, repeat %d", strategy, load, repeat+1), (done+part)/float64(total))
				})
				if err != nil {
					return rows, err
				}
				rows = append(rows, Row{repeat + 1, result})
			}
		}
	}
	return rows, nil
}

package simulator

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Sweep is a set of runs: each strategy at each load, several times with other
// random numbers.
type Sweep struct {
	Base       Config // Strategy, Load, Instance and Seed are filled in
	Strategies []string
	Loads      []float64
	Repeats    int
	// Instance makes the instance of a repeat. It is not called by two goroutines at
	// a time.
	Instance func(seed uint64) (*Instance, error)
}

// Row is the result of one run of a sweep.
type Row struct {
	Repeat int `json:"repeat"` // from 1
	Result
}

const maxRuns = 100_000

// Check reports whether the sweep has no runs, too many, or the same one twice. What is
// simulated in each is the configuration's to check.
func (s Sweep) Check() error {
	each := len(s.Strategies) * len(s.Loads)
	if each == 0 || s.Repeats < 1 || s.Repeats > maxRuns/each {
		return fmt.Errorf("%d strategies at %d loads, %d times: there must be 1 to %d runs", len(s.Strategies), len(s.Loads), s.Repeats, maxRuns)
	}
	for i, name := range s.Strategies {
		if slices.Contains(s.Strategies[:i], name) {
			return fmt.Errorf("strategy %s is named twice", name)
		}
	}
	for i, load := range s.Loads {
		if slices.Contains(s.Loads[:i], load) {
			return fmt.Errorf("load %v is named twice", load)
		}
	}
	return nil
}

// Run runs the sweep, as many runs at a time as there are processors for
// (GOMAXPROCS). Neither the rows nor their order depend on how many that are.
// progress is told which run is under way and how far all have come, 0 to 1, by one
// goroutine at a time. It ends early with the context or an error, and then with the
// rows of all runs before the first that failed.
func (s Sweep) Run(ctx context.Context, progress func(what string, done float64)) ([]Row, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	total := len(s.Strategies) * len(s.Loads) * s.Repeats
	r := sweeping{Sweep: s, progress: progress, rows: make([]Row, total), total: total, failed: total}
	var workers sync.WaitGroup
	for range min(total, runtime.GOMAXPROCS(0)) {
		workers.Go(func() { r.work(ctx) })
	}
	workers.Wait()
	return r.rows[:r.failed], r.err
}

// sweeping is a sweep under way.
type sweeping struct {
	Sweep
	progress func(what string, done float64)
	rows     []Row
	total    int

	mu       sync.Mutex
	next     int // run to begin
	instance *Instance
	done     float64 // runs and parts of them
	failed   int     // first run that failed; total: none
	err      error   // of that one
}

// work does runs until there are no more. They are begun in order, and none after
// one has failed: so all before that one are done in the end.
func (s *sweeping) work(ctx context.Context) {
	for {
		i, c, ok := s.begin(ctx)
		if !ok {
			return
		}
		repeat := s.repeatOf(i)
		what, before := fmt.Sprintf("%s, load %v, repeat %d", c.Strategy, c.Load, repeat+1), 0.0
		result, err := Run(ctx, c, func(part float64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.done += part - before
			before = part
			s.progress(what, s.done/float64(s.total))
		})
		s.rows[i] = Row{repeat + 1, result}
		s.end(i, 1-before, err)
	}
}

func (s *sweeping) repeatOf(i int) int { return i / (len(s.Strategies) * len(s.Loads)) }

// begin returns the next run and its number, or false when there is none.
func (s *sweeping) begin(ctx context.Context) (i int, c Config, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i = s.next
	if i >= s.failed {
		return 0, c, false
	}
	// A run may be too short to look at the context itself.
	if err := ctx.Err(); err != nil {
		s.failed, s.err = i, fmt.Errorf("simulating: %w", err)
		return 0, c, false
	}
	s.next++
	each := len(s.Strategies) * len(s.Loads)
	seed := s.Base.Seed + uint64(s.repeatOf(i))
	if i%each == 0 {
		instance, err := s.Instance(seed)
		if err != nil {
			s.failed, s.err = i, err
			return 0, c, false
		}
		s.instance = instance
	}
	c = s.Base
	c.Strategy, c.Load = s.Strategies[i%len(s.Strategies)], s.Loads[i%each/len(s.Strategies)]
	c.Instance, c.Seed = s.instance, seed
	return i, c, true
}

// end takes in what became of a run.
func (s *sweeping) end(i int, left float64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += left
	if err != nil && i < s.failed {
		s.failed, s.err = i, err
	}
}

package paper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/dfaas/dfaas/controller/simulator"
)

// result is what a run showed, and a line of the file that a paper is resumed from.
type result struct {
	run
	Version string `json:"version"` // of the program
	simulator.Counts
	P99Millis   float64 `json:"p99_ms"`
	GossipBytes float64 `json:"gossip_bytes_per_node_s"`
	Took        float64 `json:"took_s"`
}

// runsFile keeps the results of runs as they come.
const runsFile = "runs.jsonl"

// simulateAll does all runs that the directory does not have yet, as many at a time as
// there are processors, and returns the results of all. It ends early with the context,
// and then with what there is.
func simulateAll(ctx context.Context, dir, version string, runs []run, progress func(done, total int, last run)) ([]result, error) {
	have, err := readRuns(filepath.Join(dir, runsFile), version)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, runsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("keeping results: %w", err)
	}
	defer file.Close()
	if _, err := file.WriteString("\n"); err != nil { // a line may have been cut off
		return nil, fmt.Errorf("keeping results: %w", err)
	}
	var todo []run
	results := make([]result, 0, len(runs))
	for _, r := range runs {
		if done, ok := have[r]; ok {
			results = append(results, done)
		} else {
			todo = append(todo, r)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := make(chan run)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for r := range next {
				done, err := simulateOne(ctx, r)
				done.Version = version
				mu.Lock()
				if err == nil {
					err = json.NewEncoder(file).Encode(done)
				}
				if err != nil {
					cancel(err)
				} else {
					results = append(results, done)
					progress(len(results), len(runs), r)
				}
				mu.Unlock()
			}
		})
	}
feed:
	for _, r := range todo {
		select {
		case next <- r:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		return results, context.Cause(ctx)
	}
	return results, nil
}

// done are those of the runs that the directory has; it is an error if there are none.
func done(dir, version string, runs []run) ([]run, error) {
	have, err := readRuns(filepath.Join(dir, runsFile), version)
	if err != nil {
		return nil, err
	}
	runs = slices.DeleteFunc(runs, func(r run) bool {
		_, is := have[r]
		return !is
	})
	if len(runs) == 0 {
		return nil, fmt.Errorf("%s has no results of this version of the program, %s", dir, version)
	}
	return runs, nil
}

func simulateOne(ctx context.Context, r run) (result, error) {
	c, err := r.config()
	if err != nil {
		return result{}, err
	}
	begun := time.Now()
	got, err := simulator.Run(ctx, c, nil)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", r.Cell, err)
	}
	return result{run: r, Counts: got.Counts, P99Millis: got.P99Millis, GossipBytes: got.GossipBytes, Took: time.Since(begun).Seconds()}, nil
}

// readRuns returns the runs that were done by this version of the program. A last line
// that was cut off is as if it were not there.
func readRuns(path, version string) (map[run]result, error) {
	have := make(map[run]result)
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return have, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading earlier results: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r result
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Version == version {
			have[r.run] = r
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading earlier results: %w", err)
	}
	return have, nil
}

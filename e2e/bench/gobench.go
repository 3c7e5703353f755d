package bench

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// goBenchmark is the outcome of one Go benchmark.
type goBenchmark struct {
	name   string // without "Benchmark" and "-PROCS"
	nanos  float64
	bytes  float64
	allocs float64
}

// runGoBenchmarks runs all benchmarks of a package of the checkout at root.
func runGoBenchmarks(ctx context.Context, root, pkg string, count int, each time.Duration) ([]goBenchmark, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem",
		"-count", strconv.Itoa(count), "-benchtime", each.String(), pkg)
	cmd.Dir = root
	// Interrupted, all of it ends: what go test has started is not ended by it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	output, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench . %s: %w\n%s", pkg, err, output)
	}
	found, err := parseGoBenchmarks(string(output))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s has no benchmarks", pkg)
	}
	return found, err
}

// parseGoBenchmarks reads what `go test -bench -benchmem` prints, and reduces
// the repetitions of each benchmark to the fastest, since everything that
// disturbs only slows down. The benchmarks are in the order of their names.
func parseGoBenchmarks(output string) ([]goBenchmark, error) {
	type figures struct{ nanos, bytes, allocs []float64 }
	all := make(map[string]*figures)
	lines := bufio.NewScanner(strings.NewReader(output))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := benchmarkName(fields[0])
		f := all[name]
		if f == nil {
			f = new(figures)
			all[name] = f
		}
		for i := 2; i+1 < len(fields); i += 2 { // after name and iterations: value, unit
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark %s: %w", name, err)
			}
			switch fields[i+1] {
			case "ns/op":
				f.nanos = append(f.nanos, value)
			case "B/op":
				f.bytes = append(f.bytes, value)
			case "allocs/op":
				f.allocs = append(f.allocs, value)
			}
		}
	}
	var benchmarks []goBenchmark
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		benchmarks = append(benchmarks, goBenchmark{
			name:  name,
			nanos: quantile(f.nanos, 0), bytes: quantile(f.bytes, 0.5), allocs: quantile(f.allocs, 0.5),
		})
	}
	return benchmarks, lines.Err()
}

// benchmarkName turns BenchmarkDecide/local-2 into Decide/local.
func benchmarkName(field string) string {
	name := strings.TrimPrefix(field, "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		if _, err := strconv.Atoi(name[i+1:]); err == nil {
			return name[:i]
		}
	}
	return name
}

package bench

import (
	"math"
	"slices"
)

// spread sums up repeated measurements of one thing: half of them lie between
// low and high.
type spread struct {
	median, low, high float64
}

// spreadOf returns the quartiles of xs; NaN for none.
func spreadOf(xs []float64) spread {
	return spread{median: quantile(xs, 0.5), low: quantile(xs, 0.25), high: quantile(xs, 0.75)}
}

// quantile returns the q-th quantile of xs, 0 <= q <= 1, interpolated between
// the two nearest; NaN for an empty xs. It leaves xs as it is.
func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(xs))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// pairwise compares the measurements of one round with each other, round by
// round: what is slow for a whole round, on a machine that does other things
// too, is then slow on both sides. The longer side's rest is ignored.
func pairwise(with, without []float64, compare func(with, without float64) float64) []float64 {
	n := min(len(with), len(without))
	out := make([]float64, n)
	for i := range n {
		out[i] = compare(with[i], without[i])
	}
	return out
}

func ratio(with, without float64) float64      { return with / without }
func sum(a, b float64) float64                 { return a + b }
func difference(with, without float64) float64 { return with - without }

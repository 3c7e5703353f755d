package estimate

import (
	"math"
	"math/rand/v2"
	"testing"
)

const tick = 0.1 // s

// drawPoisson draws a Poisson number by counting exponential gaps.
func drawPoisson(r *rand.Rand, mean float64) (n uint64) {
	for t := r.ExpFloat64(); t < mean; t += r.ExpFloat64() {
		n++
	}
	return n
}

func TestWindowKnowsASteadyRateWell(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, rate := range []float64{1, 10, 100, 1000} {
		var w Window
		cuts, errors, n := 0, 0.0, 2000
		for i := range n {
			got, changed := w.Add(drawPoisson(r, rate*tick), tick)
			if changed {
				cuts++
			}
			if i > 30 {
				errors += (got - rate) * (got - rate)
			}
		}
		// With 3 s of counts the standard deviation is sqrt(rate/3).
		if deviation := math.Sqrt(errors / float64(n)); deviation > 1.6*math.Sqrt(rate/3)+0.5 {
			t.Errorf("at %v requests/s: off by %.2f on average", rate, deviation)
		}
		if cuts > n/20 {
			t.Errorf("at %v requests/s: %d changes seen in %d intervals where there was none", rate, cuts, n)
		}
	}
}

// A change is followed within the time that the text promises.
func TestWindowFollowsChanges(t *testing.T) {
	for _, test := range []struct {
		name     string
		from, to float64
		within   int // intervals
	}{
		{"a jump", 10, 100, 1},
		{"the first requests", 0, 50, 1},
		{"a silence", 30, 0, 5},
		{"half", 100, 50, 6},
		{"double", 50, 100, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w Window
			for range 40 {
				w.Add(uint64(math.Round(test.from*tick)), tick)
			}
			for i := 1; i <= test.within; i++ {
				w.Add(uint64(math.Round(test.to*tick)), tick)
			}
			if got := w.Rate(); math.Abs(got-test.to) > 0.1*max(test.from, test.to) {
				t.Errorf("%v requests/s after %d intervals, want %v", got, test.within, test.to)
			}
		})
	}
}

func TestWindowIsBounded(t *testing.T) {
	var w Window
	for range 10_000 {
		w.Add(5, 0.02)
	}
	if len(w.counts) > 160 || math.Abs(w.Rate()-250) > 1 {
		t.Errorf("%d intervals, %v requests/s", len(w.counts), w.Rate())
	}
	w.Add(1<<40, 1e-3)
	w.Add(0, 3600)
	if got := w.Rate(); math.IsNaN(got) || math.IsInf(got, 0) || got < 0 {
		t.Errorf("rate %v", got)
	}
}

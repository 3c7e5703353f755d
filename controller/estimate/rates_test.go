package estimate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const halfSecond = 0.5

// feed follows a sequence of counts, one each half second, with the constant of
// a period of 1 s.
func feed(estimate float64, samples ...uint64) float64 {
	for _, n := range samples {
		estimate, _ = follow(estimate, n, halfSecond, smoothing)
	}
	return estimate
}

func TestFollow(t *testing.T) {
	for _, tc := range []struct {
		name     string
		estimate float64
		n        uint64
		rise     bool
		min, max float64
	}{
		{"silence stays silence", 0, 0, false, 0, 0},
		{"first request is noise", 0, 1, false, 0.1, 1},
		{"sudden load is followed at once", 0, 25, true, 50, 50},
		{"doubling is followed at once", 100, 100, true, 200, 200},
		{"a fifth more of much is followed at once", 10000, 6100, true, 12200, 12200},
		{"Poisson noise is smoothed", 50, 32, false, 50, 55},
		{"end of load is smoothed", 50, 0, false, 30, 40},
		{"negligible becomes nothing", 0.012, 0, false, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, rise := follow(tc.estimate, tc.n, halfSecond, smoothing)
			if rise != tc.rise || got < tc.min || got > tc.max {
				t.Errorf("estimate %v, rise %v; want %v to %v, %v", got, rise, tc.min, tc.max, tc.rise)
			}
		})
	}
	if got := feed(50, 0, 0, 0, 0, 0, 0); got > 10 {
		t.Errorf("3 s after the load ended the estimate is still %v", got)
	}
}

// TestRiseWithinASample: the load began when half of the first sample was over.
func TestRiseWithinASample(t *testing.T) {
	r := NewRates(time.Second, false)
	for i, want := range []float64{15, 25, 25} {
		n := uint64(want * halfSecond)
		rise := r.Add(Sample{Seconds: halfSecond, Functions: map[string]Counts{"cat": {User: n}}})
		if got := r.smooth["cat"]; got != float64(n)/halfSecond || rise != (i < 2) {
			t.Errorf("sample %d: estimate %v, rise %v", i, got, rise)
		}
	}
}

// TestFollowProperties checks for random histories that the estimate stays
// between the extremes seen, and settles on a constant rate.
func TestFollowProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		estimate, most := 0.0, 0.0
		for range 40 {
			n, seconds := r.Uint64N(1000), 0.02+r.Float64()
			most = max(most, float64(n)/seconds)
			estimate, _ = follow(estimate, n, seconds, 0.1+3*r.Float64())
			if math.IsNaN(estimate) || estimate < 0 || estimate > most+1e-9 {
				t.Fatalf("estimate %v after at most %v requests/s", estimate, most)
			}
		}
		n := r.Uint64N(1000)
		for range 100 {
			estimate, _ = follow(estimate, n, halfSecond, smoothing)
		}
		if rate := float64(n) / halfSecond; math.Abs(estimate-rate) > 0.02 {
			t.Fatalf("estimate %v of a constant %v requests/s", estimate, rate)
		}
	}
}

// TestFollowNoise bounds the error of the estimate for Poisson arrivals.
func TestFollowNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rate, rounds = 50.0, 4000
	estimate, squares := rate, 0.0
	for range rounds {
		estimate, _ = follow(estimate, poisson(r, rate*halfSecond), halfSecond, smoothing)
		squares += (estimate - rate) * (estimate - rate)
	}
	sample := math.Sqrt(rate / halfSecond)
	if deviation := math.Sqrt(squares / rounds); deviation > 0.6*sample {
		t.Errorf("standard deviation %.2f, that of a single sample is %.2f", deviation, sample)
	}
}

func poisson(r *rand.Rand, mean float64) uint64 {
	n := uint64(0)
	for p := r.Float64(); p > math.Exp(-mean); p *= r.Float64() {
		n++
	}
	return n
}

func TestRatesOverPeriod(t *testing.T) {
	r := NewRates(2*time.Second, false)
	add := func(seconds float64, user, refused, in, out uint64) {
		r.Add(Sample{seconds, map[string]Counts{"f": {
			User: user, Refused: refused, In: map[string]uint64{"a": in}, Out: map[string]uint64{"b": out},
		}}})
	}
	add(0.5, 10, 1, 2, 3)
	add(1.5, 30, 1, 4, 7)
	if len(r.Last()) != 0 {
		t.Error("the period under way shows already")
	}
	r.EndPeriod()
	got := r.Last()["f"]
	if got.User != 20 || got.Refused != 1 || got.Served() != 3 || got.Sent() != 5 {
		t.Errorf("means %+v, want 20 user, 1 refused, 3 in, 5 out", got)
	}
	r.EndPeriod()
	if r.Last()["f"].User != 20 {
		t.Error("a period without any sample forgot the rates")
	}
	r.Add(Sample{2, map[string]Counts{}})
	r.EndPeriod()
	if len(r.Last()) != 0 {
		t.Errorf("after an idle period: %+v", r.Last())
	}
}

// TestRatesForget checks that functions that nobody calls any more are no
// longer held in memory.
func TestRatesForget(t *testing.T) {
	r := NewRates(time.Second, false)
	r.Add(Sample{0.5, map[string]Counts{"f": {User: 100}}})
	for range 60 {
		r.Add(Sample{0.5, map[string]Counts{}})
	}
	if len(r.smooth) != 0 {
		t.Errorf("30 s after the last request: %v", r.smooth)
	}
}

// TestWindowsChange: with windows, a first request and a change are reported, and a
// function that nobody asks for is not, however often it is counted.
func TestWindowsChange(t *testing.T) {
	r := NewRates(time.Second, true)
	add := func(n uint64) bool {
		return r.Add(Sample{Seconds: 0.1, Functions: map[string]Counts{"cat": {User: n}, "idle": {}}})
	}
	if add(0) || add(0) {
		t.Error("silence is a change")
	}
	if !add(5) {
		t.Error("the first requests are none")
	}
	for range 30 {
		if add(5) {
			t.Error("a steady rate is one")
		}
	}
	if math.Abs(r.Smooth()["cat"]-50) > 0.01 || math.Abs(r.Total()-50) > 0.01 {
		t.Errorf("rates %v", r.Smooth())
	}
	changed := false
	for range 4 {
		changed = add(20) || changed
	}
	if !changed || r.Smooth()["cat"] < 150 {
		t.Errorf("after a jump to 200 requests/s: changed %v, %v", changed, r.Smooth())
	}
}

package histogram

import (
	"math"
	"testing"
	"time"
)

// TestQuantile: whatever the order, a quantile is off by 2 % at most, and what was
// counted in two parts is as if it had been counted in one.
func TestQuantile(t *testing.T) {
	var whole, low, high Histogram
	for ms := 1000; ms > 0; ms-- {
		d := time.Duration(ms) * time.Millisecond
		whole.Add(d)
		if ms <= 500 {
			low.Add(d)
		} else {
			high.Add(d)
		}
	}
	low.Merge(&high)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 1} {
		got := whole.Quantile(q)
		if want := 1000 * q; math.Abs(got-want) > 0.02*want {
			t.Errorf("quantile %v: %v ms, want %v", q, got, want)
		}
		if merged := low.Quantile(q); merged != got {
			t.Errorf("quantile %v: %v ms in one, %v in two parts", q, got, merged)
		}
	}
	if low.Count() != 1000 || high.Count() != 500 {
		t.Errorf("%d and %d were counted", low.Count(), high.Count())
	}
}

func TestOddities(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("of nothing there is a median")
	}
	h.Add(0)
	h.Add(-time.Second)
	h.Add(math.MaxInt64)
	if h.Count() != 3 || h.Quantile(0.5) > 0.011 || h.Quantile(1) < 9e12 {
		t.Errorf("%d counted, median %v, most %v", h.Count(), h.Quantile(0.5), h.Quantile(1))
	}
}

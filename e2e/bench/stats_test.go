package bench

import (
	"math"
	"slices"
	"testing"
)

func TestQuantile(t *testing.T) {
	tests := []struct {
		name string
		xs   []float64
		q    float64
		want float64
	}{
		{"one", []float64{7}, 0.5, 7},
		{"odd, unsorted", []float64{9, 1, 5}, 0.5, 5},
		{"even", []float64{1, 3, 2, 4}, 0.5, 2.5},
		{"low end", []float64{1, 2, 3}, 0, 1},
		{"high end", []float64{1, 2, 3}, 1, 3},
		{"quarter", []float64{10, 20, 30, 40, 50}, 0.25, 20},
		{"between", []float64{0, 100}, 0.99, 99},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.xs)
			if got := quantile(test.xs, test.q); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if !slices.Equal(test.xs, before) {
				t.Errorf("the measurements were changed to %v", test.xs)
			}
		})
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: got %v, want NaN", got)
	}
}

// A machine that is twice as slow in one round must not change the ratio.
func TestPairwise(t *testing.T) {
	without := []float64{100, 50, 200}
	with := []float64{70, 35, 140, 999}
	if got, want := pairwise(with, without, ratio), []float64{0.7, 0.7, 0.7}; !slices.Equal(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
	if got, want := pairwise(with, without, difference), []float64{-30, -15, -60}; !slices.Equal(got, want) {
		t.Errorf("differences %v, want %v", got, want)
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{50, 10, 40, 20, 30}), (spread{30, 20, 40}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

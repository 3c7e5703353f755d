// Package histogram counts durations in buckets that are 2 % wide: as many as it
// may be, in memory that is bounded.
package histogram

import (
	"math"
	"time"
)

// Histogram is empty at first.
type Histogram struct {
	counts []uint64
	n      uint64
}

const (
	growth = 1.02
	first  = float64(10 * time.Microsecond) // what is shorter is not told apart
)

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	i := 0
	if x := float64(d) / first; x > 1 {
		i = 1 + int(math.Log(x)/math.Log(growth))
	}
	h.grow(i + 1)
	h.counts[i]++
	h.n++
}

// Merge counts all that another one has counted.
func (h *Histogram) Merge(other *Histogram) {
	h.grow(len(other.counts))
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
}

func (h *Histogram) grow(buckets int) {
	for len(h.counts) < buckets {
		h.counts = append(h.counts, 0)
	}
}

// Count is how many there are.
func (h *Histogram) Count() uint64 { return h.n }

// Quantile is in ms, 0 without any durations.
func (h *Histogram) Quantile(q float64) float64 {
	rank, seen := uint64(math.Ceil(q*float64(h.n))), uint64(0)
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			upper := first * math.Pow(growth, float64(i))
			return upper / float64(time.Millisecond)
		}
	}
	return 0
}

package route

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// tokens is a token bucket as everybody would write it.
type tokens struct {
	rate, depth, left float64
	at                int64
}

func newTokens(rate float64) *tokens {
	depth := max(1, 0.5*rate)
	return &tokens{rate: rate, depth: depth, left: depth}
}

// has refills and reports whether there is a token; rounding decides for "yes".
func (b *tokens) has(now int64) bool {
	if b.rate == -1 {
		return true
	}
	b.left = min(b.depth, b.left+b.rate*float64(now-b.at)/1e9)
	b.at = now
	return b.rate > 0 && b.left > 1-1e-6
}

func (b *tokens) take() { b.left-- }

// debit takes what may not be there.
func (b *tokens) debit(now int64) {
	b.has(now)
	b.left = max(-b.depth, b.left-1)
}

func randomArrivals(r *rand.Rand, rate float64, n int) []int64 {
	var at []int64
	now := int64(r.IntN(1e9))
	for range n {
		switch r.IntN(10) {
		case 0: // a pause
			now += int64(r.ExpFloat64() * 3e9)
		case 1, 2, 3: // a burst
		default:
			now += int64(r.ExpFloat64() * 1e9 / max(rate, 0.1) / 2)
		}
		at = append(at, now)
	}
	return at
}

func TestBucketAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		rate := []float64{0.01, 0.3, 1, 1.7, 2, 3, 10, 99.5, 1000, 12345, limit.MaxRate}[r.IntN(11)]
		b, oracle := newBucket(testvalue.Bound(rate), new(atomic.Int64)), newTokens(rate)
		var admitted []int64
		wanted := 0
		for _, now := range randomArrivals(r, rate, 2000) {
			if b.take(now) {
				admitted = append(admitted, now)
			}
			if oracle.has(now) {
				oracle.take()
				wanted++
			}
		}
		// The interval is rounded up to whole ns: of a million requests, that is many at the greatest rates.
		if n := len(admitted); n > wanted+1 || float64(n) < float64(wanted)*0.999-1 {
			t.Errorf("rate %v: %d admitted, the oracle admits %d", rate, n, wanted)
		}
		checkWindows(t, admitted, rate, oracle.depth)
	}
}

// checkWindows checks rate*t + depth over every window.
func checkWindows(t *testing.T, admitted []int64, rate, depth float64) {
	t.Helper()
	for from := range admitted {
		for to := from; to < len(admitted); to++ {
			n, span := float64(to-from+1), float64(admitted[to]-admitted[from])/1e9
			if n > rate*span+depth+1e-6 {
				t.Fatalf("rate %v: %v admitted within %v s, at most %v are allowed", rate, n, span, rate*span+depth)
			}
		}
	}
}

func TestBucketExtremes(t *testing.T) {
	never := newBucket(testvalue.Bound(0), new(atomic.Int64))
	always := newBucket(limit.Unlimited(), new(atomic.Int64))
	slow := newBucket(testvalue.Bound(1e-12), new(atomic.Int64))
	if !slow.take(0) {
		t.Error("a bucket of a tiny rate does not hold its one request")
	}
	for now := range int64(1000) {
		if never.take(now) {
			t.Fatal("rate 0 admitted something")
		}
		if !always.take(now) {
			t.Fatal("unlimited refused something")
		}
		always.debit(now)
		if slow.take(now * 1e9) {
			t.Fatal("a tiny rate admitted twice in 1000 s")
		}
	}
	if always.opensAt() > 0 || never.opensAt() < 1<<62 {
		t.Error("opensAt of buckets without state")
	}
}

// TestBucketRateChanges lets a bucket's rate change all the time: what it admits
// stays within the bound of the highest rate, and a low rate of the past does not
// block a high one.
func TestBucketRateChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		state := new(atomic.Int64)
		highest := 0.0
		var admitted []int64
		var before *bucket
		now := int64(0)
		for range 100 {
			rate := []float64{0, 0.001, 1, 5, 20}[r.IntN(5)]
			highest = max(highest, rate)
			b := newBucket(testvalue.Bound(rate), state)
			b.settle(before, now, b.depth())
			before = &b
			for range r.IntN(30) {
				now += int64(r.IntN(1e8))
				if b.take(now) {
					admitted = append(admitted, now)
				}
			}
		}
		checkWindows(t, admitted, highest, max(1, 0.5*highest))
	}
	state := new(atomic.Int64)
	slow, fast := newBucket(testvalue.Bound(0.001), state), newBucket(testvalue.Bound(100), state)
	slow.take(0)
	fast.settle(&slow, 0, fast.depth())
	if fast.take(0) || !fast.take(int64(100*time.Millisecond)) {
		t.Error("after a rate of 0.001/s, one of 100/s must be exhausted at first and open soon")
	}
}

func TestBucketDebtIsBounded(t *testing.T) {
	b := newBucket(testvalue.Bound(10), new(atomic.Int64)) // depth 5
	for range 1000 {
		b.debit(0)
	}
	// In debt by 5, it takes 0.6 s until there is one.
	if b.take(599e6) || !b.take(600e6) {
		t.Errorf("opens at %d ns, want 600 ms", b.opensAt())
	}
}

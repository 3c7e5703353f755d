package route

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/internal/limit"
)

// depthTime is how much of a bucket's rate it holds: half a second's worth of
// requests, but at least one.
const depthTime = 500 * time.Millisecond

// bucket is a token bucket in the form of the generic cell rate algorithm
// (GCRA): its whole state is one time, up to which the rate has been used up by
// what was admitted. So it needs no lock and no refilling. All times are in ns
// since the epoch of the snapshot.
//
// Over any time t it admits at most rate*t + depth requests, where depth is
// max(1, 0.5 s * rate).
type bucket struct {
	usedUntil *atomic.Int64 // shared with the buckets of later snapshots; nil: never or always
	interval  int64         // between two requests at the rate; 0: unlimited
	burst     int64         // how far usedUntil may lie ahead with one more request admitted
}

// newBucket returns a bucket of a table's rate which continues from state.
func newBucket(bound limit.Bound, state *atomic.Int64) bucket {
	if bound.IsUnlimited() {
		return bucket{}
	}
	return bucketAt(bound.PerSecond(), state)
}

// bucketAt returns a bucket of so many requests/s which continues from state.
func bucketAt(rate float64, state *atomic.Int64) bucket {
	if rate == 0 {
		return bucket{interval: math.MaxInt64}
	}
	const longest = float64(1000 * time.Hour) // keeps sums of times far from overflow
	interval := math.Ceil(min(float64(time.Second)/rate, longest))
	depth := max(1, depthTime.Seconds()*rate)
	return bucket{usedUntil: state, interval: int64(interval), burst: int64(interval * (depth - 1))}
}

// slow makes the bucket fill at that part of its rate only, and hold as many requests
// as before.
func (b *bucket) slow(part float64) {
	if b.usedUntil == nil {
		return
	}
	depth := float64(b.depth()) / float64(b.interval)
	b.interval = int64(math.Ceil(float64(b.interval) / part))
	b.burst = int64(float64(b.interval) * (depth - 1))
}

func (b *bucket) unlimited() bool { return b.interval == 0 }

// quicker reports whether the bucket fills at a greater rate than the other.
func (b *bucket) quicker(other *bucket) bool { return b.interval < other.interval }

func (b *bucket) never() bool { return b.usedUntil == nil && b.interval != 0 }

// take admits a request and reports true, or reports false.
func (b *bucket) take(now int64) bool { return b.takeInto(now, 0) }

// takeInto is take with a debt of so many ns allowed.
func (b *bucket) takeInto(now, debt int64) bool {
	if b.usedUntil == nil {
		return b.unlimited()
	}
	for {
		old := b.usedUntil.Load()
		from := max(old, now)
		if from-now > b.burst+debt {
			return false
		}
		if b.usedUntil.CompareAndSwap(old, from+b.interval) {
			return true
		}
	}
}

// debit counts a request that is served whether the rate allows it or not. The
// debt is bounded by what the bucket holds.
func (b *bucket) debit(now int64) {
	if b.usedUntil != nil {
		b.owe(now, b.interval)
	}
}

// debitMany is debit of so many requests.
func (b *bucket) debitMany(now int64, n uint32) {
	if b.usedUntil == nil {
		return
	}
	cost := b.mostDebt() // of more than it can owe
	if int64(n) <= cost/b.interval {
		cost = int64(n) * b.interval
	}
	b.owe(now, cost)
}

// owe uses up so many ns, as far as the bound goes.
func (b *bucket) owe(now, cost int64) {
	for {
		old := b.usedUntil.Load()
		if b.usedUntil.CompareAndSwap(old, min(max(old, now)+cost, max(old, now+b.mostDebt()))) {
			return
		}
	}
}

// opensAt is the first time at which take admits the next request.
func (b *bucket) opensAt() int64 {
	switch {
	case b.usedUntil != nil:
		return b.usedUntil.Load() - b.burst
	case b.unlimited():
		return math.MinInt64
	}
	return math.MaxInt64
}

func (b *bucket) depth() int64    { return b.burst + b.interval }
func (b *bucket) mostDebt() int64 { return 2 * b.depth() }

// settle bounds what an earlier bucket of the same state has used up in advance,
// if that can be more than this one would: at a higher rate it would take too
// long to open. before is nil if there was none. now is when the table came, a
// while ago if that is large, so nothing is bounded without need: what was
// admitted since then would be given once more.
func (b *bucket) settle(before *bucket, now, most int64) {
	if b.usedUntil == nil || before != nil && before.usedUntil != nil && before.depth() <= b.depth() {
		return
	}
	for {
		old := b.usedUntil.Load()
		if old <= now+most || b.usedUntil.CompareAndSwap(old, now+most) {
			return
		}
	}
}

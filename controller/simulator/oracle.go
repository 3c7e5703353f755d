package simulator

import "time"

// bucket is a token bucket in virtual time, half a second deep as the SPOA's
// are: what a node can serve of one function at most.
type bucket struct {
	usedUntil, interval, depth time.Duration
}

const bucketDepth = 500 * time.Millisecond

func newBucket(rate float64) bucket {
	interval := duration(1 / rate)
	return bucket{interval: interval, depth: max(bucketDepth, interval)}
}

// left is what is left of the depth.
func (b *bucket) left(now time.Duration) time.Duration { return b.depth - max(0, b.usedUntil-now) }

// tokens is how many calls the bucket would take at once.
func (b *bucket) tokens(now time.Duration) float64 {
	if b.interval == 0 {
		return 0
	}
	return float64(b.left(now)) / float64(b.interval)
}

func (b *bucket) take(now time.Duration) bool { return b.takeInto(now, 0) }

// takeInto is take with a debt of so much allowed.
func (b *bucket) takeInto(now, debt time.Duration) bool {
	if b.interval == 0 || b.left(now)+debt < b.interval {
		return false
	}
	b.usedUntil = max(b.usedUntil, now) + b.interval
	return true
}

// debit counts a call that is served in any case.
func (b *bucket) debit(now time.Duration) {
	b.usedUntil = min(max(b.usedUntil, now)+b.interval, now+2*b.depth)
}

// oracle serves the same arrivals as the federation, knowing the state of all
// nodes at every moment and sending calls in no time: each goes to the node
// within reach that has the most calls left. It bounds what a strategy without
// foresight can reach.
type oracle struct {
	buckets [][]bucket // by function and node
	reach   [][]int    // by node: whom it reaches, itself included; nil: all
	// barred reports whether a call at one node cannot be served at another just now;
	// nil: it always can.
	barred func(from, n int) bool
}

func newOracle(capacity [][]float64, reach [][]int) *oracle {
	o := &oracle{reach: reach, buckets: make([][]bucket, len(capacity[0]))}
	for f := range o.buckets {
		o.buckets[f] = make([]bucket, len(capacity))
		for n := range capacity {
			if c := capacity[n][f]; c > 0 {
				o.buckets[f][n] = newBucket(c)
			}
		}
	}
	return o
}

// serve reports whether the oracle serves a call that arrives at the node now.
func (o *oracle) serve(now time.Duration, node, fn int) bool {
	row, best, most := o.buckets[fn], -1, 0.0
	look := func(n int) {
		if tokens := row[n].tokens(now); tokens > most && (o.barred == nil || !o.barred(node, n)) {
			best, most = n, tokens
		}
	}
	if o.reach == nil {
		for n := range row {
			look(n)
		}
	} else {
		for _, n := range o.reach[node] {
			look(n)
		}
	}
	return best >= 0 && row[best].take(now)
}

package route

import (
	"sync/atomic"
	"time"
)

// A plan is right as long as demand is what it was when it was made. Where users come and
// go, part of what is sent by it is refused; and with many peers there is more to send at
// once than all of them give in half a second, for each of them gives one call at least.
// So the more of it was in vain lately, the less a node sends by plan: a call costs the
// more of what all rates are together. As long as nothing is in vain, it costs nothing.
const (
	// wastedCost is how much a call costs if all is in vain, mostCost what it does at
	// most, times what a call at the rate would: with a fifteenth in vain, the rates of
	// all peers together are what is sent, with a tenth, two thirds of them.
	wastedCost, mostCost = 15, 1.5
	// wastedOver is over how many calls about what is in vain is reckoned.
	wastedOver = 32
	wholly     = 1_000_000 // all is in vain
)

// thrift is how a function's calls by plan turned out.
type thrift struct {
	used   atomic.Int64 // state of function.planned
	wasted atomic.Int64 // part that was in vain lately, in millionths
}

// note takes in whether a call by plan was in vain. Of two at a time one may get lost.
func (t *thrift) note(inVain bool) {
	part, now := int64(0), t.wasted.Load()
	if inVain {
		part = wholly
	}
	t.wasted.Store(now + (part-now)/wastedOver)
}

// spend has a call by plan paid for.
func (t *thrift) spend(at int64, planned *bucket) {
	if planned.usedUntil == nil {
		return
	}
	part := float64(t.wasted.Load()) / wholly
	planned.owe(at, int64(float64(planned.interval)*min(mostCost, wastedCost*part)))
}

// plannedBucket is what may be sent by plan to all peers together.
func plannedBucket(drawn []forward, state *atomic.Int64) bucket {
	sum := 0.0
	for i := range drawn {
		if drawn[i].unlimited() {
			return bucket{}
		}
		sum += drawn[i].rate * plannedPart * float64(time.Second)
	}
	return bucketAt(sum, state)
}

package simulator

import (
	"slices"
	"time"

	"github.com/dfaas/dfaas/spoa/route"
)

// omniscient knows all but the future: the room of every node, the calls on their
// way to it, and what its users ask for. So it knows what room a call will find,
// on average. It differs from the oracle in that its calls take time, during which
// users come as they please.
type omniscient struct {
	passive
	going [][]time.Duration // by function, when calls on their way here arrive, sorted
}

func newOmniscient(w *world, self int) *omniscient {
	return &omniscient{passive: newPassive(w, self), going: make([][]time.Duration, len(w.names))}
}

func (o *omniscient) user(now time.Duration, fn int) decision {
	if o.limiter.user(now, fn) {
		return decision{verdict: serve}
	}
	var best *omniscient
	most := 1.0 // what is expected to be refused is not sent
	for _, n := range o.having(fn) {
		if peer, ok := o.world.nodes[n].(*omniscient); ok && o.world.healthy(o.self, n) {
			if room := peer.expected(now, o.world.delay(o.self, n), fn); room >= most {
				best, most = peer, room
			}
		}
	}
	if best == nil {
		return decision{}
	}
	best.expect(now+o.world.delay(o.self, best.self), fn)
	return decision{verdict: forward, peer: best.self}
}

// expected is how many calls this node will have room for, on average, when one that
// is sent now and takes so long comes here: what there is, less what is on its way, plus
// what the bucket gains that its users do not take.
func (o *omniscient) expected(now, way time.Duration, fn int) float64 {
	arrived, _ := slices.BinarySearch(o.going[fn], now+1)
	o.going[fn] = o.going[fn][arrived:]
	capacity := o.world.capacity[o.self][fn]
	gained := (capacity - o.world.userRate(o.self, fn)) * seconds(way)
	return min(seconds(o.all[fn].depth)*capacity, o.all[fn].tokens(now)+gained-float64(len(o.going[fn])))
}

// expect takes in that a call was sent here, which arrives then.
func (o *omniscient) expect(then time.Duration, fn int) {
	i, _ := slices.BinarySearch(o.going[fn], then)
	o.going[fn] = slices.Insert(o.going[fn], i, then)
}

// again decides on a call that a peer has refused as on a new one.
func (o *omniscient) again(now time.Duration, fn, question int, _ int32) (decision, bool) {
	if question > route.MaxQuestions {
		return decision{}, false
	}
	return o.user(now, fn), true
}

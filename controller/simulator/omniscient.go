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
//
// With late news it knows this of each node as it was when news of it must have
// been sent to be here now. Those who know the same then do the same. It shows
// what the age of news costs, whatever they are used for.
type omniscient struct {
	passive
	late  bool
	of    [][]moment        // by function, oldest first, as far back as is asked for
	sent  [][]time.Duration // by function and node, when calls were sent to it lately
	going [][]time.Duration // by function, when calls on their way here arrive, sorted
	spans time.Duration     // the longest way from another node
}

// moment is what there is to know of one function at a node from then on.
type moment struct {
	at     time.Duration
	bucket bucket
	coming int     // calls on their way
	rate   float64 // of its users, requests/s
}

func newOmniscient(w *world, self int, late bool) *omniscient {
	o := &omniscient{
		passive: newPassive(w, self), late: late, of: make([][]moment, len(w.names)), going: make([][]time.Duration, len(w.names)),
		sent: make([][]time.Duration, len(w.names)*len(w.capacity)),
	}
	w.neighbours(self, func(n int) { o.spans = max(o.spans, w.delay(n, self)) })
	for f := range w.names {
		o.note(0, f)
	}
	return o
}

// note keeps what has just become of a function.
func (o *omniscient) note(now time.Duration, fn int) {
	w := o.world
	arrived, _ := slices.BinarySearch(o.going[fn], now+1)
	o.going[fn] = o.going[fn][arrived:]
	of := append(o.of[fn], moment{now, o.all[fn], len(o.going[fn]), w.streams[o.self*len(w.names)+fn].rate})
	for len(of) > 1 && of[1].at <= now-o.spans {
		of = of[1:]
	}
	o.of[fn] = of
}

// at is what there was to know then, which is not before what is kept.
func (o *omniscient) at(then time.Duration, fn int) moment {
	of := o.of[fn]
	i := len(of) - 1
	for i > 0 && of[i].at > then {
		i--
	}
	return of[i]
}

func (o *omniscient) user(now time.Duration, fn int) decision {
	served := o.limiter.user(now, fn)
	o.note(now, fn)
	if served {
		return decision{verdict: serve}
	}
	var best *omniscient
	most := 1.0 // what is expected to be refused is not sent
	for _, n := range o.having(fn) {
		if peer, ok := o.world.nodes[n].(*omniscient); ok && o.world.healthy(o.self, n) {
			if room := o.expected(now, peer, fn); room >= most {
				best, most = peer, room
			}
		}
	}
	if best == nil {
		return decision{}
	}
	best.expect(now, now+o.world.delay(o.self, best.self), fn)
	sent := &o.sent[fn*len(o.world.capacity)+best.self]
	*sent = append(*sent, now)
	return decision{verdict: forward, peer: best.self}
}

// expected is how many calls a peer will have room for, on average, when one that
// is sent now comes there: what it had, less what is on its way, plus what the
// bucket gains that its users do not take. Others send on as they did.
func (o *omniscient) expected(now time.Duration, peer *omniscient, fn int) float64 {
	way := o.world.delay(o.self, peer.self)
	age := time.Duration(0)
	if o.late {
		age = way
	}
	then := now - age
	sent := &o.sent[fn*len(o.world.capacity)+peer.self]
	for len(*sent) > 0 && (*sent)[0] <= then-way {
		*sent = (*sent)[1:]
	}
	before := 0 // own calls that were on their way then
	for before < len(*sent) && (*sent)[before] <= then {
		before++
	}
	m := peer.at(then, fn)
	others := float64(m.coming - before)
	if way > 0 {
		others *= seconds(age+way) / seconds(way)
	}
	capacity := o.world.capacity[peer.self][fn]
	gained := (capacity - m.rate) * seconds(age+way)
	return min(seconds(m.bucket.depth)*capacity, m.bucket.tokens(then)+gained-others-float64(len(*sent)))
}

// expect takes in that a call was sent here, which arrives then.
func (o *omniscient) expect(now, then time.Duration, fn int) {
	i, _ := slices.BinarySearch(o.going[fn], then)
	o.going[fn] = slices.Insert(o.going[fn], i, then)
	o.note(now, fn)
}

func (o *omniscient) peer(now time.Duration, fn, from int) (bool, int) {
	admitted, room := o.passive.peer(now, fn, from)
	o.note(now, fn)
	return admitted, room
}

// again decides on a call that a peer has refused as on a new one.
func (o *omniscient) again(now time.Duration, fn, question int, _ int32) (decision, bool) {
	if question > route.MaxQuestions {
		return decision{}, false
	}
	return o.user(now, fn), true
}

package simulator

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/dfaas/dfaas/spoa/route"
)

// lateNews knows everything there is to know of every node, only as it was when news of
// it must have been sent to be here now: buckets, calls on their way, and the true rates
// of users. It does what can well be done with that, and so shows what the age of news
// costs, whatever strategy has it:
//
//   - Nodes that know the same would do the same, and all fall on the same peer. So each
//     sends its part only, that of its surplus in the sum of all, of what a peer can take.
//   - A peer can take what it will have on average when a call comes there, less some
//     standard deviations (caution) of what others may ask for until then, by Poisson.
//   - A node's peers may go into a debt of half a second, and it makes room for them as
//     nodes do: see honored and relieve in spoa/route.
type lateNews struct {
	passive
	of       [][]moment        // by function, oldest first, as far back as is asked for
	going    [][]time.Duration // by function, when calls on their way here arrive, sorted
	sent     [][]time.Duration // by function and node, when calls were sent to it lately
	rates    [][]change        // by function, of users of this node
	reliefs  []reliefs         // by function
	draws    []draw            // by function
	farthest time.Duration     // the longest way from another node
}

const (
	// caution is how many standard deviations of what users and other senders may ask for
	// are left: 93 of 100 calls that are the last to be sent find room, if no rate changes.
	caution = 1.5
	// overflowing is what a node's users ask for now and then that it cannot serve though it
	// could on average, as a part of their rate.
	overflowing = 0.05
	// toMakeRoom marks calls of users that leave since a peer was given their room.
	toMakeRoom = 1
)

// moment is what there is to know of one function at a node from then on.
type moment struct {
	at         time.Duration
	users, all bucket
	coming     int // calls on their way
}

// draw is a number by chance, which holds for a while.
type draw struct {
	least float64
	until time.Duration
}

// reliefs is the room that was made for peers at the cost of users' calls yet to come.
type reliefs struct {
	owed  int
	since time.Duration   // when the latest of them was promised
	not   time.Duration   // until when no room is made
	users []time.Duration // when users came who could be served here, lately
}

func newLateNews(w *world, self int) *lateNews {
	functions := len(w.names)
	l := &lateNews{
		passive: newPassive(w, self), of: make([][]moment, functions), going: make([][]time.Duration, functions),
		sent: make([][]time.Duration, functions*len(w.capacity)), rates: make([][]change, functions),
		reliefs: make([]reliefs, functions), draws: make([]draw, functions),
	}
	w.neighbours(self, func(n int) { l.farthest = max(l.farthest, w.delay(n, self)) })
	for _, c := range w.changes {
		if c.node == self {
			l.rates[c.fn] = append(l.rates[c.fn], c)
		}
	}
	for f := range w.names {
		l.note(0, f)
	}
	return l
}

// note keeps what has just become of a function.
func (l *lateNews) note(now time.Duration, fn int) {
	arrived, _ := slices.BinarySearch(l.going[fn], now+1)
	l.going[fn] = l.going[fn][arrived:]
	of := append(l.of[fn], moment{now, l.users[fn], l.all[fn], len(l.going[fn])})
	for len(of) > 1 && of[1].at <= now-l.farthest {
		of = of[1:]
	}
	l.of[fn] = of
}

// at is what there was to know then, which is not before what is kept.
func (l *lateNews) at(then time.Duration, fn int) *moment {
	of := l.of[fn]
	i := sort.Search(len(of), func(i int) bool { return of[i].at > then })
	return &of[max(0, i-1)]
}

// rate is what users asked for then, requests/s.
func (l *lateNews) rate(then time.Duration, fn int) float64 {
	rates := l.rates[fn]
	if i := sort.Search(len(rates), func(i int) bool { return rates[i].at > then }); i > 0 {
		return rates[i-1].rate
	}
	return 0
}

// surplus is what users asked for then that could not be served here, requests/s.
func (l *lateNews) surplus(then time.Duration, fn int) float64 {
	rate := l.rate(then, fn)
	return max(0, rate-l.world.capacity[l.self][fn]) + overflowing*rate
}

func (l *lateNews) user(now time.Duration, fn int) decision {
	served := l.limiter.user(now, fn)
	l.note(now, fn)
	if !served {
		if peer := l.choose(now, fn); peer != nil {
			return l.send(now, fn, peer, 0)
		}
		return decision{}
	}
	r := &l.reliefs[fn]
	r.users = append(r.users, now)
	l.settle(now, fn)
	if r.owed > 0 {
		r.owed--
		if peer := l.choose(now, fn); peer != nil {
			return l.send(now, fn, peer, toMakeRoom)
		}
		l.all[fn].debit(now)
	}
	return decision{verdict: serve}
}

func (l *lateNews) send(now time.Duration, fn int, peer *lateNews, mark int32) decision {
	sent := &l.sent[fn*len(l.world.capacity)+peer.self]
	*sent = append(*sent, now)
	then := now + l.world.delay(l.self, peer.self)
	i, _ := slices.BinarySearch(peer.going[fn], then)
	peer.going[fn] = slices.Insert(peer.going[fn], i, then)
	peer.note(now, fn)
	return decision{verdict: forward, peer: peer.self, mark: mark}
}

// choose draws a peer by what this node may still send it, nil for none.
func (l *lateNews) choose(now time.Duration, fn int) *lateNews {
	own := l.surplus(now, fn)
	all := own
	var peers []*lateNews
	l.world.neighbours(l.self, func(n int) {
		if peer, ok := l.world.nodes[n].(*lateNews); ok && l.world.healthy(l.self, n) {
			peers = append(peers, peer)
			all += peer.surplus(now-l.world.delay(n, l.self), fn)
		}
	})
	mine := 1.0
	if all > 0 {
		mine = own / all
	}
	left, parts, sum := 0.0, make([]float64, len(peers)), 0.0
	for i, peer := range peers {
		if l.world.capacity[peer.self][fn] > 0 {
			room, sent := l.room(now, fn, peer)
			left += mine*max(0, room) - sent
			parts[i] = max(0, mine*room-sent)
			sum += parts[i]
		}
	}
	if left < l.least(now, fn) {
		return nil
	}
	drawn := l.random.Float64() * sum
	for i, part := range parts {
		if drawn -= part; drawn < 0 {
			return peers[i]
		}
	}
	return nil
}

// least is what has to be left for a call to be sent: of what is less than a call, each
// sends one as often as that while news is under way.
func (l *lateNews) least(now time.Duration, fn int) float64 {
	d := &l.draws[fn]
	if now >= d.until {
		*d = draw{l.random.Float64(), now + l.farthest}
	}
	return d.least
}

// room is how many calls a peer can take that all nodes may send from when the news of it
// left until now, and how many of those this one has sent.
func (l *lateNews) room(now time.Duration, fn int, peer *lateNews) (room, since float64) {
	way := l.world.delay(l.self, peer.self)
	then := now - way
	m := peer.at(then, fn)
	sent := &l.sent[fn*len(l.world.capacity)+peer.self]
	for len(*sent) > 0 && (*sent)[0] <= then {
		*sent = (*sent)[1:] // the news has it
	}
	capacity := l.world.capacity[peer.self][fn]
	gained := capacity * seconds(2*way)
	users := min(peer.rate(then, fn)*seconds(2*way), m.users.tokens(then)+gained)
	depth := seconds(m.all.depth) * capacity
	mean := min(depth, m.all.tokens(then)+gained-users) - float64(m.coming) + depth
	if mean < 1 {
		return 0, float64(len(*sent))
	}
	// As many as, with so many standard deviations of users' calls and of these, make up the mean.
	room = mean + caution*caution/2 - caution*math.Sqrt(mean+users+caution*caution/4)
	return room, float64(len(*sent))
}

func (l *lateNews) peer(now time.Duration, fn, _ int) (bool, int) {
	admitted := l.all[fn].takeInto(now, l.all[fn].depth) || l.relieve(now, fn)
	l.note(now, fn)
	return admitted, untold
}

// relieve makes room for a call of a peer, or reports false.
func (l *lateNews) relieve(now time.Duration, fn int) bool {
	l.settle(now, fn)
	r := &l.reliefs[fn]
	if r.owed >= len(r.users) || now < r.not || l.choose(now, fn) == nil {
		return false
	}
	r.owed++
	r.since = now
	return true
}

// settle forgets users who came too long ago, and has what users have not come for served
// in addition.
func (l *lateNews) settle(now time.Duration, fn int) {
	r := &l.reliefs[fn]
	for len(r.users) > 0 && r.users[0] < now-bucketDepth {
		r.users = r.users[1:]
	}
	if r.owed > 0 && now-r.since > bucketDepth {
		for range r.owed {
			l.all[fn].debit(now)
		}
		r.owed, r.not = 0, now+bucketDepth
	}
}

// again decides on a call that a peer has refused as on a new one. One that left to make
// room is served.
func (l *lateNews) again(now time.Duration, fn, question int, mark int32) (decision, bool) {
	switch {
	case mark == toMakeRoom:
		l.all[fn].debit(now)
		l.note(now, fn)
		return decision{verdict: serve}, true
	case question > route.MaxQuestions:
		return decision{}, false
	}
	return l.user(now, fn), true
}

package simulator

import (
	"math"
	"math/rand/v2"
	"time"
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// prober is a node that can be asked how much room it has, and asks others.
type prober interface {
	load(now time.Duration, fn int) float64
	probed(now time.Duration, peer, fn int, room float64)
}

// limiter admits calls to one node as the SPOA does: users up to the capacity,
// peers' calls as far as there is room after the users'.
type limiter struct{ users, all []bucket }

func newLimiter(capacity []float64) limiter {
	l := limiter{make([]bucket, len(capacity)), make([]bucket, len(capacity))}
	for f, c := range capacity {
		if c > 0 {
			l.users[f], l.all[f] = newBucket(c), newBucket(c)
		}
	}
	return l
}

func (l *limiter) user(now time.Duration, fn int) bool {
	if !l.users[fn].take(now) {
		return false
	}
	l.all[fn].debit(now)
	return true
}

func (l *limiter) peer(now time.Duration, fn int) (bool, int) {
	admitted := l.all[fn].take(now)
	return admitted, int(max(0, l.all[fn].tokens(now)))
}

// passive is what baselines have in common: they announce nothing.
type passive struct {
	limiter
	world  *world
	self   int
	random *rand.Rand
}

func newPassive(w *world, self int) passive {
	return passive{newLimiter(w.capacity[self]), w, self, rand.New(rand.NewPCG(w.config.Seed<<16^uint64(self), streamNodes))}
}

func (p *passive) peer(now time.Duration, fn, _ int) (bool, int) { return p.limiter.peer(now, fn) }
func (p *passive) answered(time.Duration, answer)                {}
func (p *passive) due() time.Duration                            { return never }
func (p *passive) wake(time.Duration)                            {}

// having lists whom this node reaches that has the function.
func (p *passive) having(fn int) []int {
	var out []int
	p.world.neighbours(p.self, func(n int) {
		if p.world.capacity[n][fn] > 0 {
			out = append(out, n)
		}
	})
	return out
}

// twoChoices sends surplus to that of two peers, drawn at random, which had more
// room when it answered last (M. Mitzenmacher, The power of two choices in
// randomized load balancing, 2001, with what is known instead of what is true).
type twoChoices struct {
	passive
	peers [][]int     // by function
	room  [][]float64 // by function and node, as heard last
}

func newTwoChoices(w *world, self int) *twoChoices {
	t := &twoChoices{passive: newPassive(w, self)}
	for f := range w.names {
		t.peers = append(t.peers, t.having(f))
		row := make([]float64, len(w.capacity))
		for n := range row {
			row[n] = w.capacity[n][f] * seconds(bucketDepth)
		}
		t.room = append(t.room, row)
	}
	return t
}

func (t *twoChoices) user(now time.Duration, fn int) decision {
	if t.limiter.user(now, fn) {
		return decision{verdict: serve}
	}
	if len(t.peers[fn]) == 0 {
		return decision{}
	}
	a, b := t.peers[fn][t.random.IntN(len(t.peers[fn]))], t.peers[fn][t.random.IntN(len(t.peers[fn]))]
	if t.room[fn][b] > t.room[fn][a] {
		a = b
	}
	return decision{verdict: forward, peer: a}
}

func (t *twoChoices) answered(_ time.Duration, a answer) { t.room[a.fn][a.peer] = float64(a.room) }

// hotCold keeps a pool of recent probes and sends to the one with the most room,
// after B. Wydrowski et al., Load is not what you should balance: Introducing
// Prequal, 2024: asynchronous probes, used a few times and for a second at most.
// A peer without room is hot.
type hotCold struct {
	passive
	peers [][]int
	pool  [][]probe // by function, oldest first
}

type probe struct {
	at   time.Duration
	peer int
	room float64
}

const (
	probesPerCall = 2
	poolSize      = 16
	probeAge      = time.Second
	probeBytes    = 80 // question and answer
)

func newHotCold(w *world, self int) *hotCold {
	h := &hotCold{passive: newPassive(w, self), pool: make([][]probe, len(w.names))}
	for f := range w.names {
		h.peers = append(h.peers, h.having(f))
	}
	return h
}

func (h *hotCold) user(now time.Duration, fn int) decision {
	if h.limiter.user(now, fn) {
		return decision{verdict: serve}
	}
	peers := h.peers[fn]
	if len(peers) == 0 {
		return decision{}
	}
	for range probesPerCall {
		n := peers[h.random.IntN(len(peers))]
		if now >= h.world.tally.from {
			h.world.tally.gossip += probeBytes
		}
		h.world.queue.push(event{at: now + h.world.delay(h.self, n), kind: probes, a: int32(h.self), b: int32(n), c: int32(fn)})
	}
	pool := h.pool[fn]
	for len(pool) > 0 && now-pool[0].at > probeAge {
		pool = pool[1:]
	}
	h.pool[fn] = pool
	best := -1
	for i := range pool {
		if pool[i].room >= 1 && (best < 0 || pool[i].room > pool[best].room) {
			best = i
		}
	}
	switch {
	case best >= 0:
		pool[best].room--
		return decision{verdict: forward, peer: pool[best].peer}
	case len(pool) > 0:
		return decision{} // all that are known are hot
	}
	return decision{verdict: forward, peer: peers[h.random.IntN(len(peers))]}
}

func (h *hotCold) load(now time.Duration, fn int) float64 { return h.all[fn].tokens(now) }

func (h *hotCold) probed(now time.Duration, peer, fn int, room float64) {
	pool := append(h.pool[fn], probe{now, peer, room})
	h.pool[fn] = pool[max(0, len(pool)-poolSize):]
}

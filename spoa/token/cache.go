package token

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	// keptTokens is how many good tokens of one peer are remembered. A peer has
	// one, two while it renews it, one more after a restart.
	keptTokens = 4
	// keptRefusals is how many bad tokens are remembered, of all peers together.
	keptRefusals = 1024
	// refusedFor is how long a refusal is repeated without looking again.
	refusedFor = time.Second
	// checksPerSecond is how many signatures are checked each second at most
	// (about 60 us of CPU each): honest peers need one every 15 s, so this is
	// what a flood of forged tokens may cost.
	checksPerSecond = 1000
)

// verdict is a token that was found good, and when it is valid. Immutable.
type verdict struct {
	token       string
	from, until time.Time
}

// accepted holds the latest good tokens of one peer. Only that peer can put
// something in: nobody else can push its tokens out.
type accepted struct {
	slots [keptTokens]atomic.Pointer[verdict]
	next  atomic.Uint32
}

func (a *accepted) has(now time.Time, token string) bool {
	for i := range a.slots {
		if v := a.slots[i].Load(); v != nil && v.token == token {
			return now.Before(v.until) && !now.Before(v.from)
		}
	}
	return false
}

func (a *accepted) add(now time.Time, v verdict) {
	if a.has(now, v.token) {
		return // two requests with a new token at once
	}
	a.slots[a.next.Add(1)%keptTokens].Store(&v)
}

// refusals remembers bad tokens, by a hash that nobody outside can compute, in
// a table of fixed size where a new one takes the place of an older one.
type refusals struct {
	seed  maphash.Seed
	slots [keptRefusals]atomic.Pointer[refusal]
}

type refusal struct {
	tag    uint64
	reason Reason
	at     time.Time
}

func (r *refusals) init() { r.seed = maphash.MakeSeed() }

func (r *refusals) tag(peer, token string) uint64 {
	return maphash.String(r.seed, peer) ^ maphash.String(r.seed, token)
}

func (r *refusals) lookup(now time.Time, tag uint64) Reason {
	e := r.slots[tag%keptRefusals].Load()
	if e == nil || e.tag != tag {
		return OK
	}
	if age := now.Sub(e.at); age < 0 || age >= refusedFor {
		return OK
	}
	return e.reason
}

func (r *refusals) add(now time.Time, tag uint64, reason Reason) {
	r.slots[tag%keptRefusals].Store(&refusal{tag: tag, reason: reason, at: now})
}

// budget bounds how often something is done, with one second's worth of burst.
// The state is the time, in Unix ns, up to which it is used up.
type budget struct{ usedUntil atomic.Int64 }

func (b *budget) take(now time.Time) bool {
	const (
		each      = int64(time.Second) / checksPerSecond
		burst     = int64(time.Second)
		clockJump = int64(time.Minute) // further ahead than use can get: the clock was set back
	)
	at := now.UnixNano()
	for {
		old := b.usedUntil.Load()
		ahead := old - at
		if ahead > burst && ahead < clockJump {
			return false
		}
		if ahead < 0 || ahead >= clockJump {
			ahead = 0
		}
		if b.usedUntil.CompareAndSwap(old, at+ahead+each) {
			return true
		}
	}
}

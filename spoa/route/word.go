package route

import (
	"sync/atomic"
	"time"
)

// What a node has told a peer that it may send is its word, and holds until the peer can have
// heard otherwise, on debt if need be (function.honored): the rate that the peer had in an
// earlier table for wordTime, and the room that an answer named, which is no more than an
// equal part, for promiseTime. Users mostly come back while calls are under way that were
// sent because they had gone.
const (
	wordTime = 500 * time.Millisecond
	// The peer goes by room for echoTime. That begins when the answer arrives, and the last
	// call has yet to arrive: farthest is how long these two ways may take together.
	promiseTime = echoTime + farthest
	farthest    = 400 * time.Millisecond
)

// word is a greater rate than an admission has by now.
type word struct {
	bucket       // has the state of the admission's
	until  int64 // ns since the epoch of the snapshots
}

// keepWord has the admission hold the word that was given by the one before it.
func (a *admission) keepWord(before *admission, at int64) {
	switch {
	case at < before.word.until && before.word.quicker(&a.bucket):
		a.word = before.word
	case before.quicker(&a.bucket):
		a.word = word{before.bucket, at + int64(wordTime)}
	}
}

// takeWord takes from the rate that the peer had.
func (a *admission) takeWord(at int64) bool { return at < a.word.until && a.word.take(at) }

// promise is the room beyond its rate that a peer was told and has not used.
type promise struct {
	calls atomic.Int64
	until atomic.Int64 // ns since the epoch of the snapshots
}

// tell notes that the peer is told of so much room.
func (p *promise) tell(at int64, calls int64) {
	if calls > 0 && (calls >= p.calls.Load() || at >= p.until.Load()) {
		p.calls.Store(calls)
		p.until.Store(at + int64(promiseTime))
	}
}

// take takes one of the calls that were promised, or reports false.
func (p *promise) take(at int64) bool {
	if at >= p.until.Load() || p.calls.Load() <= 0 {
		return false
	}
	return p.calls.Add(-1) >= 0
}

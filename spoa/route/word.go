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

// left is how many calls the word still stands for, 0 if it is no greater than the rate
// that there is now.
func (w *word) left(at int64, now *bucket) float64 {
	if at >= w.until || !w.quicker(now) {
		return 0
	}
	return float64(w.until-at) / float64(max(1, w.interval))
}

// keepWord has the admission hold the word that was given by the one before it, or the rate
// that that one had, whichever stands for more calls.
func (a *admission) keepWord(before *admission, at int64) {
	older, newer := before.word, word{before.bucket, at + int64(wordTime)}
	switch left := newer.left(at, &a.bucket); {
	case older.left(at, &a.bucket) > left:
		a.word = older
	case left > 0:
		a.word = newer
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

package membership

import (
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/wire"
)

const (
	// memoryOfGone is how long the (Epoch, Seq) of a node that is gone is
	// remembered, unless it speaks for itself before.
	memoryOfGone = 10 * time.Minute
	// hearsayAge is how far the clock of a node that is not connected may be from
	// this node's when others relay that it is there. It is half of memoryOfGone, so
	// that whatever was once within it is remembered for as long as it could be
	// repeated.
	hearsayAge = memoryOfGone / 2
	// lateness is how long after a node's farewell, or its end, its last words may
	// still come in.
	lateness = time.Second
	// maxSuperseded bounds how many epochs are remembered of a node whose clock was
	// put back.
	maxSuperseded = 8
)

// Track follows what one node announces. It alone says which announcement is newer,
// whether the node is there, and when its next is overdue: the overlay, which
// decides what to pass on and whom to ask, and Members, which decide what to use,
// each keep one of every node. The zero value is of a node never heard of. Not safe
// for concurrent use.
type Track struct {
	epoch int64
	seq   uint64
	// superseded are greater epochs than epoch, of runs by a clock that was ahead.
	superseded []int64
	heard      time.Time     // when the last announcement was taken; zero: never
	period     time.Duration // within which the next was promised
	left       bool          // the last was a farewell
}

// Newer reports whether the announcement is newer than all that was taken before.
// direct is true if the node itself, over its own connection, handed it over. So it
// is no replay, and if the node was gone before, it has been started anew, by a
// clock that may have been put right since and so with a smaller epoch.
func (t *Track) Newer(now time.Time, a wire.Announcement, direct bool) bool {
	if slices.Contains(t.superseded, a.Epoch) {
		return false
	}
	return a.Follows(t.epoch, t.seq) || direct && a.Epoch < t.epoch && t.goneFor(now) >= lateness
}

// Take notes an announcement that is Newer. Announcements of epochs greater than
// its own are what is replayed from then on.
func (t *Track) Take(now time.Time, a wire.Announcement) {
	if a.Epoch < t.epoch {
		t.superseded = append(t.superseded[max(0, len(t.superseded)-maxSuperseded+1):], t.epoch)
	}
	t.epoch, t.seq, t.heard, t.left = a.Epoch, a.Seq, now, a.Leaving
	t.period = time.Duration(a.PeriodMillis) * time.Millisecond
}

// Alive reports whether the node has announced itself lately, and not left since.
func (t *Track) Alive(now time.Time) bool { return !t.heard.IsZero() && t.goneFor(now) <= 0 }

// Silent reports whether the node's next announcement is overdue, although it has
// not left, and since when it has been silent. A node never heard of is not silent.
func (t *Track) Silent(now time.Time) (since time.Time, silent bool) {
	return t.heard, !t.heard.IsZero() && !t.left && t.goneFor(now) > 0
}

// Forgotten reports whether the node has been gone for so long that nothing need be
// remembered of it.
func (t *Track) Forgotten(now time.Time) bool { return t.goneFor(now) > memoryOfGone }

// due returns until when the node counts as alive.
func (t *Track) due() time.Time {
	if t.left || t.heard.IsZero() {
		return t.heard
	}
	// A quarter early, so that a node that died right after it announced is out of
	// everybody's table within three periods, planning included.
	return t.heard.Add(3*t.period - t.period/4)
}

// goneFor returns for how long the node has been gone; it is negative, or zero,
// while the node is alive.
func (t *Track) goneFor(now time.Time) time.Duration { return now.Sub(t.due()) }

// Duplicate reports whether an announcement signed with this node's identity cannot
// be its own, of the run with that epoch (0: nothing announced yet). One of an
// earlier run proves nothing: it may still be under way, or be repeated by somebody.
// But an earlier run does not announce any more when this one has begun.
func Duplicate(epoch int64, a wire.Announcement) bool {
	switch {
	case epoch == 0 || a.Epoch == epoch:
		return false
	case a.Epoch > epoch:
		return true
	}
	return a.SentAtMillis > epoch
}

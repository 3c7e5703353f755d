package route

import (
	"sync/atomic"
	"time"
)

// A function's room is first come, first served as long as there is enough for
// everybody. When there is not, those who have had more than an equal part of it
// lately leave a part of the bucket to those who have had less. So who asks ten
// times as often does not get ten times as much, nothing is held back for somebody
// who does not ask, and nobody needs to know what an equal part is. That is how
// peers share what is beyond their rates, and the addresses of users what is
// served here.
const (
	// fairTime is how long is lately.
	fairTime = 500 * time.Millisecond
	// fairPart divides what a bucket holds: that part is left, at most, by an address
	// that has had more than the others; peersLeave is the part that a peer leaves.
	fairPart   = 2
	peersLeave = 3.0 / 4
	// fairSlope is how soon that is: by who has had twice an equal part.
	fairSlope = 2
	// usersSlots is for how many addresses of users, times functions, it is known what
	// they have had. Those that fall into one slot share a part.
	usersSlots = 1 << usersBits
	usersBits  = 12
)

// lately counts events of about the last fairTime: all of the turn under way, and
// those of the one before as far as it reaches into that.
type lately struct {
	turn        atomic.Int64 // number of the turn under way
	now, before atomic.Int64 // events in it, and in the one before
}

func turnOf(at int64) int64 { return at/int64(fairTime) + 1 }

// begin begins the turn of at, unless it is under way.
func (l *lately) begin(at int64) {
	turn := turnOf(at)
	if old := l.turn.Load(); old != turn && l.turn.CompareAndSwap(old, turn) {
		before := l.now.Swap(0)
		if old != turn-1 {
			before = 0
		}
		l.before.Store(before)
	}
}

func (l *lately) add(at int64) {
	l.begin(at)
	l.now.Add(1)
}

func (l *lately) count(at int64) float64 {
	l.begin(at)
	left := 1 - float64(at%int64(fairTime))/float64(fairTime)
	return float64(l.now.Load()) + left*float64(l.before.Load())
}

// sharer is one of those who share something, such as a peer.
type sharer struct {
	turn atomic.Int64 // in which it was counted last
	had  lately
}

// sharing is what is shared by those who ask for it.
type sharing struct {
	askers lately // each once a turn
	had    lately // by all of them
}

// ask notes that somebody asks.
func (s *sharing) ask(at int64, who *sharer) {
	s.askers.begin(at)
	turn := turnOf(at)
	if old := who.turn.Load(); old != turn && who.turn.CompareAndSwap(old, turn) {
		s.askers.now.Add(1)
	}
}

// active is how many share, 1 at least.
func (s *sharing) active() int64 { return max(1, s.askers.now.Load(), s.askers.before.Load()) }

// got notes that somebody was given one.
func (s *sharing) got(at int64, who *sharer) {
	s.had.add(at)
	who.had.add(at)
}

// excess is how far somebody has had more than an equal part lately: from 0, not at
// all, to 1, twice as much or more.
func (s *sharing) excess(at int64, who *sharer) float64 {
	had := who.had.count(at)
	equal := s.had.count(at) / float64(s.active())
	if had <= equal {
		return 0
	}
	return min(1, fairSlope*(1-equal/had))
}

// users is what addresses of users have had, by function.
type users [usersSlots]sharer

// of returns the slot of an address, and of all others that fall into it.
func (u *users) of(source uint64, f *function) *sharer {
	return &u[(source^f.salt)*0x9e3779b97f4a7c15>>(64-usersBits)]
}

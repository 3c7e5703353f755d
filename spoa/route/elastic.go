package route

import (
	"sync/atomic"
	"time"
)

// Rates are planned from announcements, which are older than the last change. What
// makes up for that is here. A receiver admits peers beyond their rates while it
// has room, and its answers say how much room that is. A sender goes by these
// answers, each for half a second, as a sender goes by the credits of its server in
// I. Cho et al., Overload Control for us-scale RPCs with Breakwater, 2020. Where it
// has no answers, it tries: see trials.go.
const (
	// plannedPart is how much of its rate a sender uses without asking what the peer's
	// answers say: what is refused in vain is mostly sent by a plan that is too old.
	plannedPart = 0.85
	// echoTime is how long an answer's room is believed.
	echoTime = 500 * time.Millisecond
	// overcommit is how many times the room that it is told of a sender uses, less by the
	// part of all surplus that nobody has room for: the peer's bucket fills while the
	// answer is under way, and what is too much is decided on once more, which is worth
	// it as long as there is room elsewhere.
	overcommit = 1.5
	// shutTime is how long a peer that has refused is left alone at first, maxShut
	// at last, twice as long after each refusal in a row.
	shutTime, maxShut = 150 * time.Millisecond, time.Second
	// maxRoom bounds the room that is told and believed, calls.
	maxRoom = 9999
)

// echo is what is known of a peer from its answers.
type echo struct {
	sent      atomic.Int64 // calls, ever
	heard     atomic.Int64 // number of the latest of them that was answered
	heardAt   atomic.Int64 // when, ns since the epoch of the snapshots
	trip      atomic.Int64 // how long it was under way, ns
	room      atomic.Int64 // what it had then, calls
	shutUntil atomic.Int64 // it has refused; ns since the epoch
	shutFor   atomic.Int64 // ns, doubled with each refusal
}

// shut reports whether the peer is left alone since it has refused.
func (e *echo) shut(at int64) bool { return at < e.shutUntil.Load() }

// leaveAlone notes that the peer has refused; chance is 0 to 1: peers that have refused
// together do not come back together.
func (e *echo) leaveAlone(at int64, chance float64) {
	shutFor := min(max(int64(shutTime), 2*e.shutFor.Load()), int64(maxShut))
	e.shutFor.Store(shutFor)
	e.shutUntil.Store(at + shutFor/2 + int64(chance*float64(shutFor)))
}

// left is how many calls the peer could take as far as is known: so many times what it has
// told of, of which those under way are taken off, and to which is added what it gains of
// the planned rate while they are: else a long way would keep the rate low.
func (fw *forward) left(at int64, times float64) float64 {
	e := fw.state
	if heardAt := e.heardAt.Load(); heardAt == 0 || at-heardAt > int64(echoTime) {
		return 0
	}
	return times*float64(e.room.Load()) + fw.rate*float64(e.trip.Load()) - float64(e.sent.Load()-e.heard.Load())
}

// reach picks a peer beyond all rates, or none: the one that has the most room by
// its answers, or else one to try. What cannot be served here at all is tried
// without credit.
func (f *function) reach(at int64, free bool) (best *forward, why why) {
	if best = f.roomiest(at); best != nil {
		return best, asTold
	}
	if !f.want(at, f.owed, f.row.Unmet > 0) && !free {
		return nil, onTrial
	}
	if best = f.mostPromising(at, f.forwards, (*forward).tryable); best != nil {
		f.lose(trial)
	}
	return best, onTrial
}

// tryable reports whether calls beyond the plan may go to the peer.
func (fw *forward) tryable(at int64) bool { return fw.spare > 0 && !fw.state.shut(at) }

// mostPromising draws one of the eligible peers, rather one that has much to spare, or none.
func (f *function) mostPromising(at int64, among []forward, eligible func(fw *forward, at int64) bool) (best *forward) {
	most := 0.0
	for i := range among {
		if fw := &among[i]; eligible(fw, at) {
			if promise := fw.spare * (0.5 + f.sequences.open.next()); promise > most {
				best, most = fw, promise
			}
		}
	}
	return best
}

// roomiest is the peer that has the most room by its answers, one call at least, or nil.
func (f *function) roomiest(at int64) (best *forward) {
	if at >= f.roomUntil.Load() {
		return nil
	}
	most := 1.0
	for i := range f.forwards {
		fw := &f.forwards[i]
		if !fw.tryable(at) {
			continue
		}
		if left := fw.left(at, f.overcommit); left >= most {
			best, most = fw, left
		}
	}
	return best
}

// sender is a peer that sends calls of a function, or all peers of one source.
type sender struct {
	all    sharer // of all its calls, of which nothing is noted but that there are any
	beyond sharer // of those beyond its rate
	told   promise
}

// room is how many calls a peer could send beyond its rate, now, if each of those
// who send takes an equal part. Where that is less than a call, one call is told to as
// many as there is room for: else none of many who send would hear of any.
func (f *function) room(at int64, p *sender) int32 {
	if f.capacity.unlimited() {
		return maxRoom
	}
	if f.capacity.never() {
		return 0
	}
	left := at - f.capacity.opensAt() // ns of rate
	if may := left - f.leaves(at, p); may >= 0 {
		interval := f.capacity.interval
		all, among := min(left, f.capacity.burst)/interval+1, f.senders.active()
		if room := min(maxRoom, all/among, may/interval+1); room > 0 {
			p.told.tell(at, room)
			return int32(room)
		}
		if f.sequences.told.next()*float64(among) < float64(all) {
			return 1 // no promise: it may go to whoever asks first
		}
	}
	return f.roomToMake(at, p)
}

// honored is how far into debt, in ns, the capacity bucket goes for what peers were
// given: rates, and room that they were told. When users come back, a node's word holds
// until those that it was given can have heard otherwise; calls that come later pay for it.
func (f *function) honored() int64 {
	if !f.elastic {
		return 0
	}
	return f.capacity.depth()
}

// leaves is how much of the capacity bucket, in ns, a peer has to leave untouched
// with what is beyond its rate.
func (f *function) leaves(at int64, p *sender) int64 {
	if f.fair == 0 {
		return 0
	}
	return int64(float64(f.fair) * f.beyond.excess(at, &p.beyond))
}

// Heard takes in the answer of a peer: the mark of the call, and how much room there
// was, calls, or that the peer has refused it. An answer counts once; what is not
// known, be it for its age, is ignored. It may be called at any time from any
// goroutine.
func (s *Snapshot) Heard(now time.Time, mark, room int32, refused bool) {
	s.heard(s.sinceEpoch(now), mark, room, refused)
}

// heard is Heard, and returns what the call was sent for, if that is known.
func (s *Snapshot) heard(at int64, mark, room int32, refused bool) (why why) {
	call, known := s.sent.take(mark)
	if !known {
		return asPlanned
	}
	f, fw := call.function, call.forward
	if call.why == asPlanned {
		f.thrift.note(refused)
	}
	if refused {
		room = 0
		f.lose(trial)
		if !fw.shut(at) { // else it was under way when an earlier one was refused
			fw.leaveAlone(at, f.sequences.open.next())
		}
	} else {
		if call.why == onTrial {
			f.earn(served)
		}
		if fw.shutFor.Load() != 0 {
			fw.shutFor.Store(0)
			fw.shutUntil.Store(0)
			f.dryUntil.Store(0)
		}
	}
	if call.number < fw.heard.Load() {
		return call.why // a later call was answered before
	}
	fw.heard.Store(call.number)
	fw.room.Store(int64(min(max(0, room), maxRoom)))
	fw.heardAt.Store(at)
	fw.trip.Store(max(0, at-call.at))
	if room > 0 {
		f.roomUntil.Store(at + int64(echoTime))
	}
	return call.why
}

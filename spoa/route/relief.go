package route

import (
	"math"
	"sync/atomic"
)

// A peer that asks a full node may not know of others that have room, or not reach
// them, while this node does. It makes room then: it serves the peer's call, and the
// next call of its own users that it would have served leaves for where room is. It
// serves as many calls as without that, only others. A user's call that is
// refused there comes back, and is served here without taking anything again.

// leaveTime is how soon users have to come for that. If they do not, no room is made for
// as long.
const leaveTime = fairTime

// mostUnheard is how many calls to a peer may be without an answer.
const mostUnheard = 8

// relief is the room that was made and not yet paid for.
type relief struct {
	owed      atomic.Int64 // calls of users that have to leave
	since     atomic.Int64 // when the latest of them was promised, ns since the epoch of the snapshots
	noneUntil atomic.Int64 // when room may be made again
	users     lately       // calls of users that could be served here
}

// mostOwed is how many calls of users may have to leave at a time: those that come
// within leaveTime if they come as they did lately. Where no users come, room that is
// made would be served in addition, and the debt is bounded in which that can be held.
func (f *function) mostOwed(at int64) int64 { return int64(math.Ceil(f.relief.users.count(at))) }

// overdue settles what users have not come for: it was served in addition.
func (f *function) overdue(at int64) bool {
	r := &f.relief
	if r.owed.Load() <= 0 || at-r.since.Load() <= int64(leaveTime) {
		return false
	}
	if owed := r.owed.Swap(0); owed > 0 {
		r.noneUntil.Store(at + int64(leaveTime))
		f.capacity.debitMany(at, uint32(owed))
	}
	return true
}

// relievable is how many calls of a peer room could be made for now. Who has had more
// than the others lately is left a smaller part.
func (f *function) relievable(at int64, p *sender) int64 {
	if f.overdue(at) || at < f.relief.noneUntil.Load() {
		return 0
	}
	most := f.mostOwed(at)
	most -= int64(float64(most) * f.beyond.excess(at, &p.beyond))
	if left := most - f.relief.owed.Load(); left > 0 && f.elsewhere(at) {
		return left
	}
	return 0
}

// relieve makes room for a call of a peer, or reports false.
func (f *function) relieve(at int64, p *sender) bool {
	if f.capacity.usedUntil == nil {
		return false
	}
	f.beyond.ask(at, &p.beyond)
	if f.relievable(at, p) <= 0 {
		return false
	}
	f.beyond.got(at, &p.beyond)
	f.relief.since.Store(at)
	f.relief.owed.Add(1)
	return true
}

// leave returns where a user's call goes that could be served here, nil for nowhere:
// room was made and this call is to pay for it. If there is no room any more, it has
// been made in vain.
func (f *function) leave(at int64) *forward {
	if !f.elastic {
		return nil
	}
	f.relief.users.add(at)
	if f.relief.owed.Load() <= 0 || f.overdue(at) {
		return nil
	}
	f.relief.owed.Add(-1)
	f.capacity.debit(at)
	best := f.mostPromising(at, f.drawn, (*forward).promises)
	if best != nil && best.take(at) {
		return best
	}
	return f.roomiest(at)
}

// elsewhere reports whether a peer is known to have room.
func (f *function) elsewhere(at int64) bool {
	for i := range f.drawn {
		if f.drawn[i].promises(at) {
			return true
		}
	}
	return f.roomiest(at) != nil
}

// promises reports whether a peer that is drawn has room by the plan, and has answered
// nearly all calls. So one that takes calls and never answers gets few of those that could
// have been served here.
func (fw *forward) promises(at int64) bool {
	e := fw.state
	return fw.spare > 0 && fw.usableAt() <= at && e.sent.Load()-e.heard.Load() < mostUnheard
}

// roomToMake is how many calls a peer could send that room would be made for, if each of
// those who send takes an equal part. Users have yet to come, and senders exceed
// what they are told, so only a part of it is told, but one if there is any.
func (f *function) roomToMake(at int64, p *sender) int32 {
	const toldPart = 4
	each := f.relievable(at, p) / f.senders.active()
	return int32(min(maxRoom, each, max(1, each/toldPart)))
}

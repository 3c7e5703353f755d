package route

import "sync/atomic"

// sent remembers what was sent where, so that an answer needs to bring no more than
// a number. It keeps the latest; an answer that comes later than that is not heard.
type sent struct {
	next  atomic.Uint32
	slots [sentSlots]sentSlot
}

const sentSlots = 1 << 10

// sentSlot is where a call is kept. Whoever has put claimed for its mark has it alone, to
// write the call or to read it.
type sentSlot struct {
	mark atomic.Uint32 // 0: there is none
	call sentCall
}

// claimed is more than any mark.
const claimed = 1 << 31

type sentCall struct {
	number   int64 // of the calls to that peer
	at       int64 // when, ns since the epoch of the snapshots
	function *functionState
	forward  *forwardState
	why      why
}

// why is what a call was sent for.
type why uint8

const (
	asPlanned  why = iota // there was to be room, by rate
	asTold                // there was to be room, by answers
	onTrial               // to see whether there is
	toMakeRoom            // there was to be room, and a peer was given that which is here
)

// note returns the mark of a call that is sent now, > 0.
func (s *sent) note(at int64, f *functionState, fw *forwardState, why why) int32 {
	number := fw.sent.Add(1)
	for {
		mark := s.next.Add(1) % claimed
		slot := &s.slots[mark%sentSlots]
		old := slot.mark.Load()
		if mark == 0 || old == claimed || !slot.mark.CompareAndSwap(old, claimed) {
			continue // somebody else is at it
		}
		slot.call = sentCall{number: number, at: at, function: f, forward: fw, why: why}
		slot.mark.Store(mark)
		return int32(mark)
	}
}

// take returns the call of that mark, once, if it is still known.
func (s *sent) take(mark int32) (call sentCall, known bool) {
	if mark <= 0 {
		return call, false
	}
	slot := &s.slots[uint32(mark)%sentSlots]
	if !slot.mark.CompareAndSwap(uint32(mark), claimed) {
		return call, false
	}
	call = slot.call
	slot.mark.Store(0)
	return call, true
}

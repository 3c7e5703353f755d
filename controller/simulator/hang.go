package simulator

import (
	"slices"
	"time"
)

// A part that hangs (SIGSTOP) is there and does not answer. What is sent to it waits in
// the kernel until it goes on, or until whoever sent it has no more patience.

// patience is how long a user waits for an answer in all, as the emulator's loads do.
const patience = 10 * time.Second

// What HAProxy does about an agent that does not answer (haproxy/dfaas.cfg).
const (
	// askTimeout is how long it waits for an answer.
	askTimeout = 20 * time.Millisecond
	// From mostSilence on, to which a question without an answer adds lateAdds and an
	// answer takes one away, it asks once every tryEvery only.
	mostSilence, lateAdds = 100, 5
	tryEvery              = 100 * time.Millisecond
)

// hanging is what waits for the parts of a node that hang.
type hanging struct {
	parts   parts
	since   time.Duration // when the last of them began to
	calls   []waiting     // in the order in which they came
	unheard []parcel      // announcements, of each author the last
	// silence and tried are HAProxy's count of questions without an answer, and when it
	// asked last although there are many.
	silence int
	tried   time.Duration
}

// waiting is a call that waits, for which parts, and what happens to it when they go on.
type waiting struct {
	parts parts
	next  event
}

// hangs reports whether any of these parts of a node hangs.
func (w *world) hangs(n int, p parts) bool {
	return w.afflictions != nil && w.afflictions.hanging[n].parts&p != 0
}

// silent reports whether any of these parts of a node is dead or hangs.
func (w *world) silent(n int, p parts) bool { return w.without(n, p) || w.hangs(n, p) }

// hold has a call wait if any of these parts of a node hangs, and reports whether it
// does. next is what happens to the call afterwards.
func (w *world) hold(n int, p parts, next kind, id int32) bool {
	if !w.hangs(n, p) {
		return false
	}
	a := w.afflictions
	a.waits++
	c := &w.calls[id]
	c.waits = a.waits
	h := &a.hanging[n]
	h.calls = append(h.calls, waiting{p, event{kind: next, a: id, b: c.waits}})
	w.queue.push(event{at: max(w.now, c.arrived+patience), kind: leaves, a: id, b: c.waits})
	return true
}

// giveUp ends a call whose user has waited in vain, if it still waits for the same.
func (w *world) giveUp(id, waits int32) {
	if c := &w.calls[id]; c.waits == waits {
		w.lose(id)
	}
}

// lose ends a call that gets no answer.
func (w *world) lose(id int32) {
	c := &w.calls[id]
	c.waits, c.refused, c.status = 0, true, statusNone
	w.done(id)
}

// stop has parts of a node hang, those that are not dead.
func (w *world) stop(n int, p parts) {
	h := &w.afflictions.hanging[n]
	if p &^= w.afflictions.dead[n]; p != 0 {
		h.parts |= p
		h.since = w.now
	}
}

// resume has parts of a node that hang go on: with what has waited for them, in order.
func (w *world) resume(n int, p parts) {
	h := &w.afflictions.hanging[n]
	p &= h.parts
	h.parts &^= p
	for _, c := range w.noLongerWaiting(n, p) {
		w.calls[c.a].waits = 0
		c.at = w.now
		w.queue.push(c)
	}
	if p&controllerPart == 0 {
		return
	}
	unheard := h.unheard
	h.unheard = nil
	for i := range unheard {
		w.hear(&unheard[i])
	}
	w.wakesAt[n] = -1
	w.schedule(n)
}

// noLongerWaiting takes out what waits for any of these parts of a node: what happens to
// those calls whose users still wait.
func (w *world) noLongerWaiting(n int, p parts) []event {
	h := &w.afflictions.hanging[n]
	var out []event
	h.calls = slices.DeleteFunc(h.calls, func(c waiting) bool {
		if c.parts&p == 0 {
			return false
		}
		if w.calls[c.next.a].waits == c.next.b {
			out = append(out, c.next)
		}
		return true
	})
	return out
}

// die ends parts of a node that hang, and what waits for them.
func (w *world) die(n int, p parts) {
	h := &w.afflictions.hanging[n]
	h.parts &^= p
	if p&controllerPart != 0 {
		h.unheard = nil
	}
	for _, c := range w.noLongerWaiting(n, p) {
		w.lose(c.a)
	}
}

// keepUnheard keeps an announcement for a controller that hangs, and reports whether it
// does: of what came before of the same author nothing is new.
func (w *world) keepUnheard(p *parcel) bool {
	if !w.hangs(int(p.to), controllerPart) {
		return false
	}
	h := &w.afflictions.hanging[p.to]
	h.unheard = append(slices.DeleteFunc(h.unheard, func(before parcel) bool { return before.from == p.from }), *p)
	return true
}

// ask reports whether HAProxy gets an answer from its agent, and else how long it has
// waited for one.
func (w *world) ask(n int) (answered bool, waited time.Duration) {
	switch {
	case w.afflictions == nil:
		return true, 0
	case w.without(n, spoaPart): // the connection is refused
		return false, 0
	}
	h := &w.afflictions.hanging[n]
	if h.silence >= mostSilence {
		if w.now < h.tried+tryEvery {
			return false, 0
		}
		h.tried = w.now
	}
	if w.hangs(n, spoaPart) {
		if h.silence < mostSilence {
			h.silence += lateAdds
		}
		return false, askTimeout
	}
	h.silence = max(0, h.silence-1)
	return true, 0
}

// unasked has a call served where nobody says what to do with it, after HAProxy has
// waited for an answer.
func (w *world) unasked(id int32, n int, waited time.Duration) {
	if waited == 0 {
		w.begin(id, n)
		return
	}
	w.calls[id].at = int32(n)
	w.queue.push(event{at: w.now + waited, kind: enters, a: id})
}

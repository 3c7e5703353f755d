package simulator

import "time"

// kind is what happens in an event.
type kind uint8

const (
	changes  kind = iota // a: index into world.changes
	arrives              // a: stream, b: its generation
	reaches              // a: call; it comes to the peer
	falls                // a: call; its peer cannot be reached, its own node serves it
	answers              // a: call; its answer comes back to the node that forwarded it
	finishes             // a: call; it was served
	asks                 // a: call; its own node decides on it
	enters               // a: call; the gateway of the node that works on it takes it
	leaves               // a: call, b: number of its wait; its user has no more patience
	restores             // a: node; its HAProxy gets the servers of peers back
	works                // a: node, b: generation; its machine ends a call
	wakes                // a: node, b: generation; its controller is due
	hears                // a: parcel; an announcement arrives
	probes               // a: node, b: peer, c: function; a baseline asks a peer for its load
	probed               // a: node, b: peer, c: function, x: what it says
	fails                // a: index into the timeline of faults
	checks               // every HAProxy has looked at its servers
)

// event is something that happens at a moment of virtual time.
type event struct {
	at      time.Duration
	seq     uint64 // makes the order of simultaneous events that of their making
	kind    kind
	a, b, c int32
	x       float64
}

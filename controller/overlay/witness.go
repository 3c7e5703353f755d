package overlay

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
)

const (
	sharesIdentity = "has the identity of another node: give each its own key"
	// runFor is for how long a run is remembered that is not heard of.
	runFor = time.Minute
)

// witness finds out whether two nodes use one identity, by what both say. The two often
// cannot see it themselves: see duplicates. Whoever says something that proves it has
// signed it, or it came over its own connection: nobody accuses anybody else. Safe for
// concurrent use.
type witness struct {
	mu   sync.Mutex
	runs map[peer.ID]*lastRun
}

// lastRun is the latest run of a node.
type lastRun struct {
	epoch  int64
	heard  time.Time // in that run
	shared time.Time // when an earlier run was heard last that went on; zero: never
}

func newWitness() *witness { return &witness{runs: make(map[peer.ID]*lastRun)} }

// hear takes in what a node said, by way of whomever.
func (w *witness) hear(now time.Time, from peer.ID, a wire.Announcement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.runs[from]
	switch {
	case r == nil:
		makeRoom(w.runs, func(r *lastRun) bool { return now.Sub(r.heard) > runFor })
		w.runs[from] = &lastRun{epoch: a.Epoch, heard: now}
	case a.Epoch >= r.epoch || now.Sub(r.heard) > runFor: // of a clock that was ahead, if not later
		r.epoch, r.heard = a.Epoch, now
	case membership.Duplicate(r.epoch, a):
		r.shared = now
	}
}

// refusals returns whom to tell that others use their identity.
func (w *witness) refusals(now time.Time) []membership.Refusal {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []membership.Refusal
	for id, r := range w.runs {
		if !r.shared.IsZero() && now.Sub(r.shared) <= runFor {
			list = append(list, membership.Refusal{Peer: id.String(), Reason: sharesIdentity})
		}
	}
	return list
}

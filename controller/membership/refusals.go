package membership

import (
	"cmp"
	"slices"
	"time"
)

const (
	maxRefusals = 128
	refusalAge  = 10 * time.Minute
)

// Refusal tells which peer was turned away, why the last time, and how often.
type Refusal struct {
	Peer   string // peer id, or the remote IP address when the id was never learned
	Reason string
	Count  uint64
	Last   time.Time
}

// Refusals remembers whom this node refused lately, for the operator to see.
// Memory is bounded: the oldest entries give way, and entries older than ten
// minutes are not shown. The zero value is ready. Not safe for concurrent use.
type Refusals struct{ byPeer map[string]Refusal }

// Add records one more refusal of the peer, and reports whether it is news: the
// peer's first, or for another reason than the last.
func (r *Refusals) Add(now time.Time, peer, reason string) (news bool) {
	if r.byPeer == nil {
		r.byPeer = make(map[string]Refusal)
	}
	entry, known := r.byPeer[peer]
	if !known && len(r.byPeer) >= maxRefusals {
		r.dropOldest()
	}
	r.byPeer[peer] = Refusal{Peer: peer, Reason: reason, Count: entry.Count + 1, Last: now}
	return entry.Reason != reason
}

// Forget removes the peer's entry, because it has been accepted since.
func (r *Refusals) Forget(peer string) { delete(r.byPeer, peer) }

// List returns the refusals of the last ten minutes, sorted by peer.
func (r *Refusals) List(now time.Time) []Refusal {
	list := make([]Refusal, 0, len(r.byPeer))
	for peer, entry := range r.byPeer {
		if now.Sub(entry.Last) > refusalAge {
			delete(r.byPeer, peer)
			continue
		}
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, b Refusal) int { return cmp.Compare(a.Peer, b.Peer) })
	return list
}

func (r *Refusals) dropOldest() {
	oldest, found := Refusal{}, false
	for _, entry := range r.byPeer {
		if !found || entry.Last.Before(oldest.Last) {
			oldest, found = entry, true
		}
	}
	delete(r.byPeer, oldest.Peer)
}

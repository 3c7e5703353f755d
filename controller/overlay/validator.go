package overlay

import (
	"context"
	"errors"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Reasons by which dropped gossip is counted.
const (
	reasonMalformed  = "malformed"  // not an announcement within its bounds
	reasonVersion    = "version"    // only newer versions understand it
	reasonAllow      = "allow"      // author is not on the allow list, or has another kind of key
	reasonRate       = "rate"       // author announces too often
	reasonStale      = "stale"      // not newer than what the author said before
	reasonAuthors    = "authors"    // more authors than this node follows, or than one relay may bring
	reasonSignature  = "signature"  // not signed, or not by its author
	reasonSelf       = "self"       // others relay what is signed with this node's own identity
	reasonOverload   = "overload"   // this node could not keep up
	reasonProtocol   = "protocol"   // breaks the rules of gossipsub in another way
	reasonTooLarge   = "too_large"  // longer than anything a node may send
	reasonNeighbours = "neighbours" // more mDNS packets than are read
)

const (
	// authorRate is how many messages a second one author may send, and how many
	// stale ones one peer may relay: four of the longest announcements, each of
	// wire.MaxParts, and as many for members of the first version; authorBurst is how
	// many at once, as when a network hang dissolves. Publish keeps to half of both.
	authorRate  = 100
	authorBurst = 400
	maxAuthors  = 4 * membership.DefaultMaxMembers
	// introduceRate is how many authors a second, not heard of before, one peer
	// may relay. A node that joins is told of a whole federation at once.
	introduceRate  = 1
	introduceBurst = membership.DefaultMaxMembers
	// authorIdle is after how long a silent author is no longer followed.
	authorIdle = time.Minute
)

// author is one node whose announcements come in, from wherever, or that relays
// those of others.
type author struct {
	limit      *rate.Limiter // of what it says
	stale      *rate.Limiter // of what it relays that is stale
	introduces *rate.Limiter // of authors not heard of before that it relays
	track      membership.Track
	parts      seen
	last       time.Time // last message from it or in its name
	met        time.Time // last message over its own connection
	direct     time.Time // last valid announcement that it handed over itself
}

// validator decides which gossip this node believes and passes on. What counts
// is the author, who signed, not the peer that relayed. Safe for concurrent use.
type validator struct {
	self    peer.ID
	gate    *gate
	refused *refusals
	metrics *metrics
	// offended is told who handed over what is rejected.
	offended func(relay peer.ID)
	// witness is told what anybody signed.
	witness func(now time.Time, from peer.ID, a wire.Announcement)

	mu      sync.Mutex
	authors map[peer.ID]*author
}

// valid is what an accepted message says, and who signed it.
type valid struct {
	author       peerid.ID
	announcement wire.Announcement
}

// validate is gossipsub's validator. An accepted message carries what it says, a
// valid, as ValidatorData. Rejecting scores the relaying peer down, so
// only that is rejected which an honest relay would not have passed on; what
// depends on this node's own settings or moment is ignored.
func (v *validator) validate(_ context.Context, relay peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	from := msg.GetFrom()
	if from == v.self {
		return pubsub.ValidationAccept
	}
	author, allowed := v.gate.check(from)
	if !allowed {
		return v.drop(reasonAllow, pubsub.ValidationIgnore)
	}
	if reason := v.overRate(time.Now(), relay, from); reason != "" {
		if relay == from {
			v.refused.add(from.String(), "announces too often")
			v.offended(relay)
			return v.drop(reason, pubsub.ValidationReject)
		}
		return v.drop(reason, pubsub.ValidationIgnore)
	}
	announcement, err := wire.Decode(msg.GetData())
	switch {
	case errors.Is(err, wire.ErrNewer):
		v.refused.newer(from.String())
		return v.drop(reasonVersion, pubsub.ValidationIgnore)
	case err != nil:
		v.refused.add(from.String(), err.Error())
		v.offended(relay)
		return v.drop(reasonMalformed, pubsub.ValidationReject)
	}
	v.witness(time.Now(), from, announcement)
	if reason := v.heard(time.Now(), relay, from, announcement); reason != "" {
		return v.drop(reason, pubsub.ValidationIgnore)
	}
	if relay == from {
		v.refused.forget(from.String())
	}
	msg.ValidatorData = valid{author, announcement}
	return pubsub.ValidationAccept
}

func (v *validator) drop(reason string, result pubsub.ValidationResult) pubsub.ValidationResult {
	v.metrics.refused.WithLabelValues(reason).Inc()
	return result
}

// overRate returns the reason to drop the message unread, or "". What an author
// hands over itself counts at once. What others relay counts when it has turned
// out to be new, and against the relay if it is stale: or else a member could
// mute another by repeating what that said long ago. Authors never heard of
// count against the relay, too, since anybody can make up as many as he likes.
func (v *validator) overRate(now time.Time, relay, from peer.ID) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.follow(now, relay)
	if r == nil {
		return reasonAuthors
	}
	r.met = now
	switch {
	case relay == from && !r.limit.AllowN(now, 1):
		return reasonRate
	case relay == from:
		return ""
	case r.stale.TokensAt(now) < 1:
		return reasonStale
	case v.authors[from] == nil && !r.introduces.AllowN(now, 1):
		return reasonAuthors
	case v.follow(now, from) == nil:
		return reasonAuthors
	}
	return ""
}

// follow returns what is kept of a node, nil if there is no room for it.
func (v *validator) follow(now time.Time, id peer.ID) *author {
	a := v.authors[id]
	if a == nil {
		if len(v.authors) >= maxAuthors && !v.makeRoom(now) {
			return nil
		}
		a = &author{
			limit:      rate.NewLimiter(authorRate, authorBurst),
			stale:      rate.NewLimiter(authorRate, authorBurst),
			introduces: rate.NewLimiter(introduceRate, introduceBurst),
		}
		v.authors[id] = a
	}
	a.last = now
	return a
}

// heard takes note of an announcement, or returns the reason to drop it.
func (v *validator) heard(now time.Time, relay, from peer.ID, announcement wire.Announcement) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := v.authors[from]
	if a == nil {
		return reasonAuthors // dropped as idle meanwhile
	}
	if relay == from {
		a.direct = now
	}
	if a.track.Forgotten(now) {
		a.track = membership.Track{}
	}
	if !a.track.Newer(now, announcement, relay == from) && !a.parts.another(announcement) {
		if r := v.authors[relay]; relay != from && r != nil {
			r.stale.AllowN(now, 1)
		}
		return reasonStale
	}
	if relay != from && !a.limit.AllowN(now, 1) {
		return reasonRate
	}
	a.track.Take(now, announcement)
	a.parts.note(announcement)
	return ""
}

// met takes note of a peer that was heard over its own connection, other than by gossip.
func (v *validator) met(now time.Time, id peer.ID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a := v.follow(now, id); a != nil {
		a.met, a.direct = now, now
	}
}

// silent returns the authors whose announcements are overdue, and since when
// each has been silent.
func (v *validator) silent(now time.Time) map[peer.ID]time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	silent := make(map[peer.ID]time.Time)
	for id, a := range v.authors {
		if since, is := a.track.Silent(now); is {
			silent[id] = since
		}
	}
	return silent
}

// welcomes reports whether the peer, which was connected for less than stable, made
// an announcement over that connection, as none does that turns this node away.
func (v *validator) welcomes(now time.Time, id peer.ID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := v.authors[id]
	return a != nil && now.Sub(a.direct) < stable
}

// makeRoom drops the idle authors. If there are none, the one gives way that was
// silent the longest of those that others alone speak for, who may be made up.
func (v *validator) makeRoom(now time.Time) bool {
	var hearsay peer.ID
	var last time.Time
	for id, a := range v.authors {
		switch {
		case now.Sub(a.last) > authorIdle:
			delete(v.authors, id)
		case now.Sub(a.met) > authorIdle && (hearsay == "" || a.last.Before(last)):
			hearsay, last = id, a.last
		}
	}
	if len(v.authors) >= maxAuthors {
		delete(v.authors, hearsay)
	}
	return len(v.authors) < maxAuthors
}

// Package membership keeps who is alive in the federation and what each member
// announced last.
package membership

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
)

// DefaultMaxMembers is how many peers are kept unless Options says otherwise.
const DefaultMaxMembers = 256

const (
	// memoryOfGone is how long the (Epoch, Seq) of a member that is gone is
	// remembered, unless it speaks for itself before.
	memoryOfGone = 10 * time.Minute
	// lateness is how long after a member's farewell, or its end, its last words
	// may still come in.
	lateness = time.Second
	// maxSuperseded bounds how many epochs are remembered of a member whose clock
	// was put back.
	maxSuperseded = 8
	// goneShare is how many gone members are remembered for each alive one that
	// there may be.
	goneShare = 4
	// addressTrust is how long a verified address stays good while the direct
	// connection that proved it is down.
	addressTrust = 5 * time.Minute
)

// Reasons for which Members refuses an announcement.
const (
	ReasonSelf       = "self"       // signed with this node's own identity: two nodes share a key
	ReasonReplay     = "replay"     // (Epoch, Seq) did not grow: repeated, reordered, or replayed
	ReasonUnverified = "unverified" // no direct connection to check the address against
	ReasonAddress    = "address"    // address is not the connection's, nor allowed
	ReasonFull       = "full"       // as many as there may be are alive already
	ReasonTLS        = "tls"        // one of both wants TLS between HAProxies, the other does not
)

// SharedIdentity says that somebody else signs with this node's own identity.
const SharedIdentity = "another node uses this node's identity: give each its own key"

// RefusedError is why Members did not accept an announcement.
type RefusedError struct {
	Reason string // one of the Reason constants
	Detail string // for people, with a hint where there is one
}

func (e *RefusedError) Error() string { return e.Detail }

// Member is a node of the federation as its last accepted announcement tells.
// A Member is a value: nobody changes its Offers.
type Member struct {
	ID       string
	HTTP     netip.AddrPort // where forwarded requests go; verified
	Strategy string
	Period   time.Duration
	Offers   []strategy.Offer // sorted by name; nil once gone
	Since    time.Time        // when it became alive
	LastSeen time.Time        // when its last accepted announcement came
	Left     bool             // it said that it stops, rather than falling silent
}

// record is all that is kept of one node.
type record struct {
	Member
	epoch int64
	seq   uint64
	// superseded are greater epochs than epoch, of runs by a clock that was ahead.
	superseded []int64
	verified   time.Time // when HTTP was last checked against a connection
	gone       time.Time // when it left or expired; zero while alive
}

// Options is what a node wants of its members.
type Options struct {
	Self string // own peer id
	// TLS refuses members that are not reached in TLS, or if it is false those
	// that are: neither side could serve the other.
	TLS bool
	// Allowed are networks whose addresses are accepted although no connection
	// proves them.
	Allowed    []netip.Prefix
	MaxMembers int // alive at a time; 0: DefaultMaxMembers
}

// Counts is what Members has counted since it was made.
type Counts struct {
	Alive   int               // members now
	Refused map[string]uint64 // well-formed announcements not accepted, by Reason constant
}

// Members is the state machine of who is alive in the federation. It has no
// clock of its own and does no I/O. It is owned by one goroutine.
type Members struct {
	o       Options
	records map[string]*record
	alive   int
	expired []string // ids that Expire has yet to report
	log     Refusals
	refused map[string]uint64 // by reason
}

// New returns an empty federation.
func New(o Options) *Members {
	if o.MaxMembers == 0 {
		o.MaxMembers = DefaultMaxMembers
	}
	return &Members{o: o, records: make(map[string]*record), refused: make(map[string]uint64)}
}

// Counts returns a copy of the counters.
func (m *Members) Counts() Counts { return Counts{Alive: m.alive, Refused: maps.Clone(m.refused)} }

// Via is how an announcement reached this node.
type Via struct {
	// RemoteIPs are the far ends of this node's direct connections to the
	// author, none if there is none.
	RemoteIPs []netip.Addr
	// Direct is true if the author itself, over its own connection, handed it
	// over: nobody replays it.
	Direct bool
}

// Apply takes in an announcement that from has signed. changed tells that something other than the time changed: a member came, left,
// moved, or offers something else. An error is always a *RefusedError, and then
// nothing has changed.
func (m *Members) Apply(now time.Time, from string, a wire.Announcement, via Via) (changed bool, err error) {
	r := m.records[from]
	if via.Direct {
		r.speaks(now, a.Epoch)
	}
	if refusal := m.checkOrder(from, a, r); refusal != nil {
		return false, m.refuse(now, from, refusal)
	}
	if a.Leaving {
		return m.leave(now, from, a, r), nil
	}
	http, verified, refusal := m.checkAddress(now, a, r, via.RemoteIPs)
	if refusal != nil {
		return false, m.refuse(now, from, refusal)
	}
	if r == nil || !r.gone.IsZero() {
		if r, refusal = m.admit(now, from, r); refusal != nil {
			return false, m.refuse(now, from, refusal)
		}
		changed = true
	}
	changed = changed || r.HTTP != http || r.Strategy != a.Strategy || !slices.Equal(r.Offers, a.Offers)
	r.HTTP, r.Strategy, r.Offers, r.Period = http, a.Strategy, a.Offers, time.Duration(a.PeriodMillis)*time.Millisecond
	r.epoch, r.seq, r.LastSeen, r.verified = a.Epoch, a.Seq, now, verified
	m.log.Forget(from)
	return changed, nil
}

// speaks notes that the member itself hands over an announcement of that epoch. So
// that is no replay, and if the member was gone before, it has been started anew,
// by a clock that may have been put right since and so with a smaller epoch. From
// then on, announcements of the epoch before are what is replayed.
func (r *record) speaks(now time.Time, epoch int64) {
	if r == nil || r.gone.IsZero() || now.Sub(r.gone) < lateness || epoch >= r.epoch || slices.Contains(r.superseded, epoch) {
		return
	}
	r.superseded = append(r.superseded[max(0, len(r.superseded)-maxSuperseded+1):], r.epoch)
	r.epoch, r.seq = epoch, 0
}

// Expire makes members gone that have been silent for almost three periods, in
// which at least three announcements were due, and returns the ids of all that expired since the last call, sorted.
func (m *Members) Expire(now time.Time) []string {
	m.sweep(now)
	expired := slices.DeleteFunc(m.expired, m.isAlive)
	m.expired = nil
	slices.Sort(expired)
	return expired
}

// Alive returns the members that are alive, sorted by id.
func (m *Members) Alive() []Member {
	return m.list(func(r *record) bool { return r.gone.IsZero() })
}

// Gone returns the members that left or expired in the last ten minutes, sorted
// by id.
func (m *Members) Gone() []Member {
	return m.list(func(r *record) bool { return !r.gone.IsZero() && r.HTTP.IsValid() })
}

// Refused returns whose announcements were refused lately, and why. Replays are
// only counted: reordering makes some of them in any healthy network.
func (m *Members) Refused(now time.Time) []Refusal { return m.log.List(now) }

func (m *Members) checkOrder(from string, a wire.Announcement, r *record) *RefusedError {
	switch {
	case from == m.o.Self:
		return &RefusedError{ReasonSelf, SharedIdentity}
	case r != nil && (slices.Contains(r.superseded, a.Epoch) || !a.Follows(r.epoch, r.seq)):
		return &RefusedError{ReasonReplay, "repeats or precedes an announcement already seen"}
	case a.TLS && !m.o.TLS && !a.Leaving:
		return &RefusedError{ReasonTLS, "wants TLS between HAProxies, this node does not: set peer_tls the same on all nodes"}
	case !a.TLS && m.o.TLS && !a.Leaving:
		return &RefusedError{ReasonTLS, "does without TLS between HAProxies, this node does not: set peer_tls the same on all nodes"}
	}
	return nil
}

// checkAddress returns the announced address and when it was last verified.
func (m *Members) checkAddress(now time.Time, a wire.Announcement, r *record, remoteIPs []netip.Addr) (
	netip.AddrPort, time.Time, *RefusedError,
) {
	http, err := wire.ParseHTTP(a.HTTP)
	if err != nil {
		return http, now, &RefusedError{ReasonAddress, err.Error()}
	}
	err = CheckAddress(http, remoteIPs, m.o.Allowed)
	switch {
	case err == nil:
		return http, now, nil
	case len(remoteIPs) > 0:
		return http, now, &RefusedError{ReasonAddress, err.Error()}
	case r != nil && r.HTTP == http && now.Sub(r.verified) <= addressTrust:
		return http, r.verified, nil
	}
	return http, now, &RefusedError{ReasonUnverified, err.Error()}
}

// admit makes room for one more member alive and returns its record: r if there
// is one, else a new one.
func (m *Members) admit(now time.Time, id string, r *record) (*record, *RefusedError) {
	if m.alive >= m.o.MaxMembers {
		m.sweep(now)
	}
	if m.alive >= m.o.MaxMembers {
		return nil, &RefusedError{ReasonFull, fmt.Sprintf("the federation has %d members, which is the limit", m.o.MaxMembers)}
	}
	if r == nil {
		r = &record{Member: Member{ID: id}}
		m.records[id] = r
	}
	r.Since, r.Left, r.gone = now, false, time.Time{}
	m.alive++
	return r, nil
}

// leave takes a node's word that it stops. An unknown node's farewell is
// remembered too, so that an announcement it overtook does not revive it.
func (m *Members) leave(now time.Time, id string, a wire.Announcement, r *record) (changed bool) {
	if r == nil {
		r = &record{Member: Member{ID: id}}
		m.records[id] = r
	}
	changed = m.bury(now, r)
	r.epoch, r.seq, r.Left = a.Epoch, a.Seq, true
	m.boundGone()
	return changed
}

// bury makes the record gone and reports whether it had been alive.
func (m *Members) bury(now time.Time, r *record) bool {
	wasAlive := r.gone.IsZero() && r.HTTP.IsValid()
	if wasAlive {
		m.alive--
	}
	r.gone, r.Offers = now, nil
	return wasAlive
}

// sweep buries the members that are overdue and forgets those long gone.
func (m *Members) sweep(now time.Time) {
	for id, r := range m.records {
		// A quarter early, so that a node that died right after it announced
		// is out of everybody's table within three periods, planning included.
		overdue := 3*r.Period - r.Period/4
		switch {
		case r.gone.IsZero() && now.Sub(r.LastSeen) > overdue:
			m.bury(now, r)
			m.expired = append(m.expired, id)
		case !r.gone.IsZero() && now.Sub(r.gone) > memoryOfGone:
			delete(m.records, id)
		}
	}
	m.boundGone()
}

// boundGone forgets those gone longest when there are too many.
func (m *Members) boundGone() {
	maxGone := goneShare * m.o.MaxMembers
	if len(m.records)-m.alive <= maxGone {
		return
	}
	var gone []*record
	for _, r := range m.records {
		if !r.gone.IsZero() {
			gone = append(gone, r)
		}
	}
	slices.SortFunc(gone, func(a, b *record) int { return a.gone.Compare(b.gone) })
	for _, r := range gone[:len(gone)-maxGone] {
		delete(m.records, r.ID)
	}
}

func (m *Members) refuse(now time.Time, from string, refusal *RefusedError) error {
	m.refused[refusal.Reason]++
	if refusal.Reason != ReasonReplay {
		m.log.Add(now, from, refusal.Detail)
	}
	return refusal
}

func (m *Members) isAlive(id string) bool {
	r := m.records[id]
	return r != nil && r.gone.IsZero()
}

func (m *Members) list(want func(*record) bool) []Member {
	members := make([]Member, 0, len(m.records))
	for _, r := range m.records {
		if want(r) {
			members = append(members, r.Member)
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return members
}

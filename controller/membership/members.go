// Package membership keeps who is alive in the federation and what each member
// announced last.
package membership

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// DefaultMaxMembers is how many peers are kept unless Options says otherwise.
const DefaultMaxMembers = 256

const (
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
	ReasonOld        = "old"        // only relayed, and sent long ago by its author's clock
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
	ID       peerid.ID
	Name     string         // by its own word; "": none
	HTTP     netip.AddrPort // where forwarded requests go; verified
	Strategy string
	Async    bool // its gateway takes asynchronous calls
	Version  int  // of gossip that it speaks
	Period   time.Duration
	Offers   []strategy.Offer // sorted by name; nil once gone
	Since    time.Time        // when it became alive
	LastSeen time.Time        // when its last accepted announcement came
	Left     bool             // it said that it stops, rather than falling silent
}

// record is all that is kept of one node.
type record struct {
	Member
	track     Track
	alive     bool
	announced string    // HTTP, as it was announced
	verified  time.Time // when HTTP was last checked against a connection
	gone      time.Time // since when it is not alive
}

// Options is what a node wants of its members.
type Options struct {
	Self peerid.ID // this node
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
	Max     int               // members that there may be
	Refused map[string]uint64 // well-formed announcements not accepted, by Reason constant
}

// Members is the state machine of who is alive in the federation. It has no
// clock of its own and does no I/O. It is owned by one goroutine.
type Members struct {
	o       Options
	records map[peerid.ID]*record
	alive   int
	next    time.Time   // no sweep is needed up to then; zero: never
	expired []peerid.ID // ids that Expire has yet to report
	log     Refusals
	refused map[string]uint64 // by reason
}

// New returns an empty federation.
func New(o Options) *Members {
	if o.MaxMembers == 0 {
		o.MaxMembers = DefaultMaxMembers
	}
	return &Members{o: o, records: make(map[peerid.ID]*record), refused: make(map[string]uint64)}
}

// Counts returns a copy of the counters.
func (m *Members) Counts() Counts {
	return Counts{Alive: m.alive, Max: m.o.MaxMembers, Refused: maps.Clone(m.refused)}
}

// Via is how an announcement reached this node.
type Via struct {
	// RemoteIPs are the far ends of this node's direct connections to the
	// author, none if there is none.
	RemoteIPs []netip.Addr
	// Direct is true if the author itself, over its own connection, handed it
	// over: nobody replays it.
	Direct bool
}

// Change is what an announcement has changed.
type Change int

const (
	Nothing  Change = iota // but the time
	Offers                 // what a member offers, and nothing else
	Standing               // a member came, left, moved, goes by another strategy, or has a queue or not
)

// Apply takes in an announcement that from has signed. An error is always a
// *RefusedError, and then nothing has changed.
func (m *Members) Apply(now time.Time, from peerid.ID, a wire.Announcement, via Via) (Change, error) {
	r := m.records[from]
	if r != nil {
		m.expire(now, r)
	}
	if r == nil || !r.alive && r.track.Forgotten(now) {
		r = &record{Member: Member{ID: from}}
	}
	if refusal := m.check(now, from, a, r, via); refusal != nil {
		return Nothing, m.refuse(now, from, refusal)
	}
	if a.Leaving {
		return m.leave(now, a, r), nil
	}
	http, verified, refusal := m.checkAddress(now, a, r, via.RemoteIPs)
	if refusal != nil {
		return Nothing, m.refuse(now, from, refusal)
	}
	changed := Nothing
	switch {
	case !r.alive:
		if refusal := m.admit(now, r, a, via); refusal != nil {
			return Nothing, m.refuse(now, from, refusal)
		}
		changed = Standing
	case r.HTTP != http || r.Strategy != a.Strategy:
		changed = Standing
	case !slices.Equal(r.Offers, a.Offers):
		changed = Offers
	}
	r.track.Take(now, a)
	if a.V > 1 { // the form of version 1, which comes beside it, has neither
		if r.Async != a.Async {
			changed = Standing
		}
		r.Name, r.Async = a.Name, a.Async
	}
	r.HTTP, r.announced = http, a.HTTP
	r.Strategy, r.Version, r.Offers, r.Period = a.Strategy, a.V, a.Offers, time.Duration(a.PeriodMillis)*time.Millisecond
	r.LastSeen, r.verified = now, verified
	m.due(r.track.due())
	m.log.Forget(from.String())
	return changed, nil
}

// Expire makes members gone that have been silent for almost three periods, in
// which at least three announcements were due, and returns the ids of all that expired
// since the last call, sorted. It costs nothing before Next.
func (m *Members) Expire(now time.Time) []peerid.ID {
	if !m.next.IsZero() && now.After(m.next) {
		m.sweep(now)
	}
	expired := slices.DeleteFunc(m.expired, m.isAlive)
	m.expired = nil
	slices.SortFunc(expired, peerid.ID.Compare)
	return slices.Compact(expired)
}

// Next returns until when nobody can expire or be forgotten, unless another
// announcement is applied; zero if there is nobody.
func (m *Members) Next() time.Time { return m.next }

// Alive returns the members that are alive, sorted by id.
func (m *Members) Alive() []Member {
	return m.list(func(r *record) bool { return r.alive })
}

// Get returns the member of that id, if it is alive.
func (m *Members) Get(id peerid.ID) (member Member, alive bool) {
	if r := m.records[id]; r != nil && r.alive {
		return r.Member, true
	}
	return Member{}, false
}

// NameOf returns what a node calls itself, "" for no name and who is not known.
func (m *Members) NameOf(id peerid.ID) string {
	if r := m.records[id]; r != nil {
		return r.Name
	}
	return ""
}

// Gone returns the members that left or expired in the last ten minutes, sorted
// by id.
func (m *Members) Gone() []Member {
	return m.list(func(r *record) bool { return !r.alive && r.HTTP.IsValid() })
}

// Refused returns whose announcements were refused lately, and why. Replays are
// only counted: reordering makes some of them in any healthy network.
func (m *Members) Refused(now time.Time) []Refusal { return m.log.List(now) }

// check refuses what is not news, or not for this node.
func (m *Members) check(now time.Time, from peerid.ID, a wire.Announcement, r *record, via Via) *RefusedError {
	switch {
	case from == m.o.Self:
		return &RefusedError{ReasonSelf, SharedIdentity}
	case !r.track.Newer(now, a, via.Direct):
		return &RefusedError{ReasonReplay, "repeats or precedes an announcement already seen"}
	case a.Leaving:
		return nil
	case a.TLS && !m.o.TLS:
		return &RefusedError{ReasonTLS, "wants TLS between HAProxies, this node does not: set peer_tls the same on all nodes"}
	case !a.TLS && m.o.TLS:
		return &RefusedError{ReasonTLS, "does without TLS between HAProxies, this node does not: set peer_tls the same on all nodes"}
	}
	return nil
}

// checkAddress returns the announced address and when it was last verified.
func (m *Members) checkAddress(now time.Time, a wire.Announcement, r *record, remoteIPs []netip.Addr) (
	netip.AddrPort, time.Time, *RefusedError,
) {
	http, err := r.HTTP, error(nil)
	if a.HTTP != r.announced || !http.IsValid() { // mostly it is what it was
		if http, err = wire.ParseHTTP(a.HTTP); err != nil {
			return http, now, &RefusedError{ReasonAddress, err.Error()}
		}
	}
	err = CheckAddress(http, remoteIPs, m.o.Allowed)
	switch {
	case err == nil:
		return http, now, nil
	case len(remoteIPs) > 0:
		return http, now, &RefusedError{ReasonAddress, err.Error()}
	case r.HTTP == http && now.Sub(r.verified) <= addressTrust:
		return http, r.verified, nil
	}
	return http, now, &RefusedError{ReasonUnverified, err.Error()}
}

// admit makes r one of the members alive, if it is there and there is room for one
// more.
func (m *Members) admit(now time.Time, r *record, a wire.Announcement, via Via) *RefusedError {
	sent := time.UnixMilli(a.SentAtMillis)
	if !via.Direct && len(via.RemoteIPs) == 0 && now.Sub(sent).Abs() > hearsayAge {
		// Whoever relays it may have kept it since the node left.
		return &RefusedError{ReasonOld, fmt.Sprintf("is not connected, and what others relay of it was sent at %s by its clock, while it is %s here: "+
			"set the clocks, or join it", sent.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))}
	}
	if m.alive >= m.o.MaxMembers {
		m.sweep(now)
	}
	if m.alive >= m.o.MaxMembers {
		return &RefusedError{ReasonFull, fmt.Sprintf("the federation has %d members, which is the limit", m.o.MaxMembers)}
	}
	// Only now: sweep forgets, and may have forgotten r.
	m.records[r.ID] = r
	r.alive, r.Since, r.Left, r.gone = true, now, false, time.Time{}
	m.alive++
	return nil
}

// leave takes a node's word that it stops. An unknown node's farewell is
// remembered too, so that an announcement it overtook does not revive it.
func (m *Members) leave(now time.Time, a wire.Announcement, r *record) (changed Change) {
	if r.alive {
		changed = Standing
	}
	m.records[r.ID] = r
	m.bury(now, r)
	r.track.Take(now, a)
	r.Left = true
	m.due(now.Add(memoryOfGone))
	m.boundGone()
	return changed
}

// bury makes the record gone.
func (m *Members) bury(now time.Time, r *record) {
	if r.alive {
		m.alive--
	}
	r.alive, r.gone, r.Offers = false, now, nil
}

// expire buries the member if it is overdue.
func (m *Members) expire(now time.Time, r *record) {
	if r.alive && !r.track.Alive(now) {
		m.bury(now, r)
		m.expired = append(m.expired, r.ID)
	}
}

// sweep buries the members that are overdue and forgets those long gone.
func (m *Members) sweep(now time.Time) {
	m.next = time.Time{}
	for id, r := range m.records {
		m.expire(now, r)
		switch {
		case r.alive:
			m.due(r.track.due())
		case r.track.Forgotten(now):
			delete(m.records, id)
		default:
			m.due(r.track.due().Add(memoryOfGone))
		}
	}
	m.boundGone()
}

// due notes that there is nothing to do for a record up to and at that time.
func (m *Members) due(at time.Time) {
	if m.next.IsZero() || at.Before(m.next) {
		m.next = at
	}
}

// standing is 0 for a record of which nothing but a farewell is known.
func (r *record) standing() int {
	if r.HTTP.IsValid() {
		return 1
	}
	return 0
}

// boundGone forgets some of those gone when there are too many: first who never was
// a member, and so may be made up, then who has been gone the longest.
func (m *Members) boundGone() {
	maxGone := goneShare * m.o.MaxMembers
	if len(m.records)-m.alive <= maxGone {
		return
	}
	var gone []*record
	for _, r := range m.records {
		if !r.alive {
			gone = append(gone, r)
		}
	}
	slices.SortFunc(gone, func(a, b *record) int {
		return cmp.Or(cmp.Compare(a.standing(), b.standing()), a.gone.Compare(b.gone))
	})
	// Some more than need be, so that a flood of them does not sort each time.
	for _, r := range gone[:len(gone)-maxGone+maxGone/8] {
		delete(m.records, r.ID)
	}
}

func (m *Members) refuse(now time.Time, from peerid.ID, refusal *RefusedError) error {
	m.refused[refusal.Reason]++
	if refusal.Reason != ReasonReplay {
		m.log.Add(now, from.String(), refusal.Detail)
	}
	return refusal
}

func (m *Members) isAlive(id peerid.ID) bool {
	r := m.records[id]
	return r != nil && r.alive
}

func (m *Members) list(want func(*record) bool) []Member {
	members := make([]Member, 0, len(m.records))
	for _, r := range m.records {
		if want(r) {
			members = append(members, r.Member)
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return a.ID.Compare(b.ID) })
	return members
}

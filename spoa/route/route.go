// Package route decides, for one request at a time and from memory alone, what
// becomes of it: served here, sent to a peer, or refused.
//
// A decision waits for nobody and allocates nothing, but that the counters of a
// peer that asks for what it is not admitted to are looked up, and made when it
// does so for the first time. It depends on the request, the time given and the
// snapshot; the only things it changes are the snapshot's token buckets, sequences
// and counters.
package route

import (
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/token"
)

// Request is what a decision is made from. Nothing of it is kept: its texts may lie
// in a buffer that is used again.
type Request struct {
	Path string // without the query string
	// Claimed is true when the request has a DFaaS-Node-ID header, be it empty:
	// it claims to come from a peer.
	Claimed bool
	Node    string // value of DFaaS-Node-ID
	Token   string // value of DFaaS-Token, "" when there is none
	// Ambiguous is true when the request has more than one DFaaS-Node-ID or
	// DFaaS-Token: no claim can be true then.
	Ambiguous bool
	// Proven is the peer whose certificate was shown, "" if it came without TLS.
	Proven string
	// Source is a number that stands for the address that it came from; 0 if that is
	// not known.
	Source uint64
	Call
}

// Call is what is known of a call besides who makes it and of which function. The
// zero value is a call that has just arrived.
type Call struct {
	// GatewayDown is true while the gateway of this node takes no calls.
	GatewayDown bool
	// Question is which one about this call it is: 2 or 3 if a user's call comes back
	// from where it was sent. A third one is the last.
	Question int
	// Mark is that of the decision by which the call was sent to a peer, which has
	// refused it, or is lost. 0: it comes back from the gateway.
	Mark int32
}

// MaxQuestions is how often is asked about one call.
const MaxQuestions = 3

func (c *Call) returned() bool { return c.Question > 1 }

// notTaken is that the call was to be served here, and the gateway did not take it.
func (c *Call) notTaken() bool { return c.returned() && c.Mark == 0 }

// Action is what to do with a request.
type Action uint8

const (
	Local Action = iota // serve it on this node
	Peer                // send it to Decision.Target
	Deny                // answer it with Decision.Status
)

// String returns the value that txn.dfaas.action has for the action.
func (a Action) String() string {
	switch a {
	case Local:
		return "local"
	case Peer:
		return "peer"
	}
	return "deny"
}

// Decision is the answer. The zero value means: serve it here, it is known to be
// right, nothing special.
type Decision struct {
	Action Action
	// Status is what to answer: with Deny now (403, 404, 429, 501 or 503); with Peer,
	// if not 0, in case the peer does not serve it and nobody decides anew, for this
	// node cannot serve it; with Local, if not 0, in case the gateway does not have the function.
	Status int32
	// Open is true when no table says what to do, and so with Local only: whoever
	// asks is let through, and nothing that the request claims was checked.
	Open bool
	// TimeoutMillis is the function's time limit in ms, 0 for none.
	TimeoutMillis int32
	Target        peerid.ID // with Peer
	Token         string    // with Peer: what to show it
	Place         int32     // with Peer: of the target among the table's peers
	// Mark, unless 0, is what to call Heard with when the peer has answered.
	Mark int32
	// TellRoom is that a peer should hear of Room: how many calls more of the function
	// it could send now; none if Action is Deny.
	TellRoom bool
	Room     int32
	// Reason is why a claim to be a peer was refused, with Status 403.
	Reason token.Reason
}

// Route decides what becomes of a request that arrived at now: who asks, then what
// that one is admitted to.
func (s *Snapshot) Route(now time.Time, req Request) (d Decision) {
	s.route(now, &req, &d)
	return d
}

// route is Route. What it calls, down to where it is decided, writes into the zero
// Decision that it is given: handing one up from there, field by field written and then
// copied as a whole each time, takes longer than to decide.
func (s *Snapshot) route(now time.Time, req *Request, d *Decision) {
	name, ours, async := functionName(req.Path)
	if !ours {
		d.Open = true
		return
	}
	at := s.sinceEpoch(now)
	if at >= s.expires {
		s.meter.Open()
		d.Open = true
		return
	}
	from, reason := s.authenticate(now, req)
	switch {
	case reason != token.OK:
		s.meter.Deny(reason)
		d.deny(http.StatusForbidden)
		d.Reason = reason
	case async:
		s.admitAsync(at, from, name, &req.Call, d)
	default:
		s.admit(at, from, name, &req.Call, d)
	}
}

func (d *Decision) deny(status int32) { d.Action, d.Status = Deny, status }

// Caller is who asks: a peer of one snapshot, or a user of this node. The zero value
// is a user at an address that is not known.
type Caller struct {
	peer   *peer
	source uint64
}

// Authenticate returns who made a request, or why its claim to come from a peer is
// false.
func (s *Snapshot) Authenticate(now time.Time, req Request) (Caller, token.Reason) {
	return s.authenticate(now, &req)
}

func (s *Snapshot) authenticate(now time.Time, req *Request) (Caller, token.Reason) {
	switch {
	case req.Ambiguous:
		return Caller{}, token.Ambiguous
	case !req.Claimed:
		return Caller{source: req.Source}, token.OK
	}
	p := s.peer(req.Node)
	switch {
	case p == nil:
		return Caller{}, token.UnknownPeer
	case s.table.PeerTLS && req.Proven != req.Node:
		return Caller{}, token.NotOverTLS
	}
	return Caller{peer: p}, p.issuer.Check(s.inFederation(now), req.Token)
}

// Peer is the caller of that id, and whether the snapshot knows it. It is for
// those who need not be convinced, such as a simulator.
func (s *Snapshot) Peer(id string) (Caller, bool) {
	p := s.peer(id)
	return Caller{peer: p}, p != nil
}

// PeerAt is Peer, at a place among the table's peers.
func (s *Snapshot) PeerAt(place int) Caller { return Caller{peer: &s.peers[place]} }

// Admit decides what becomes of a call of a function by a caller of this snapshot,
// which must not be past its time to live. That a call comes back from a peer says
// that the peer has refused it: Heard is not to be told.
func (s *Snapshot) Admit(now time.Time, from Caller, function string, c Call) (d Decision) {
	s.admit(s.sinceEpoch(now), from, function, &c, &d)
	return d
}

// AdmitNear is Admit for who knows at which place of the table the function probably is.
func (s *Snapshot) AdmitNear(place int, now time.Time, from Caller, function string, c Call) (d Decision) {
	s.admitTo(s.functionNear(place, function), s.sinceEpoch(now), from, function, &c, &d)
	return d
}

func (s *Snapshot) admit(at int64, from Caller, function string, c *Call, d *Decision) {
	s.admitTo(s.function(function), at, from, function, c, d)
}

// admitTo is admit for a function that was looked up; nil: the table does not have it.
func (s *Snapshot) admitTo(f *function, at int64, from Caller, function string, c *Call, d *Decision) {
	if from.peer != nil {
		s.fromPeer(at, f, from.peer, c.GatewayDown, d)
		return
	}
	if c.Mark != 0 && s.heard(at, c.Mark, 0, true) == toMakeRoom && f != nil && f.local && !c.GatewayDown {
		f.serve(at, c, d)
		return
	}
	s.fromUser(at, from.source, function, f, c, d)
}

// fromPeer never forwards: a request makes one hop at most.
func (s *Snapshot) fromPeer(at int64, f *function, p *peer, gatewayDown bool, d *Decision) {
	if (f == nil || !f.local) && s.table.UnknownLocal {
		s.meter.Open()
		return
	}
	if f == nil {
		s.meter.NotFound()
		d.deny(http.StatusServiceUnavailable)
		return
	}
	if !f.local || gatewayDown {
		// The peer has yet to hear that it is not here any more. Others have it.
		f.meter.In(p.id.String()).Limited.Add(1)
		d.deny(http.StatusServiceUnavailable)
		return
	}
	a, count, from := f.admission(p.place), (*meter.In)(nil), &f.others
	if a != nil {
		count, from = a.count, a.sender
	} else {
		count = f.meter.In(p.id.String())
	}
	d.TellRoom = f.elastic
	if !f.admit(at, a, from) {
		count.Limited.Add(1)
		d.deny(http.StatusTooManyRequests)
		return
	}
	count.Local.Add(1)
	d.TimeoutMillis = f.timeout
	if f.elastic {
		d.Room = f.room(at, from)
	}
}

// admit takes what a peer's call needs, or reports false.
func (f *function) admit(at int64, a *admission, from *sender) bool {
	if !f.elastic {
		return f.fits(at, a, from)
	}
	f.senders.ask(at, &from.all)
	return f.fits(at, a, from) || f.relieve(at, from)
}

// fits is admit, of what there is room for already.
func (f *function) fits(at int64, a *admission, from *sender) bool {
	// The capacity is looked at before anything is taken, so that a full node
	// does not use up what the peer has left.
	debt := f.honored()
	if f.capacity.opensAt() > at+debt {
		return false
	}
	if a != nil && (a.take(at) || a.takeWord(at)) {
		return f.capacity.takeInto(at, debt)
	}
	if !f.elastic {
		return false
	}
	if from.told.take(at) && f.capacity.takeInto(at, debt) {
		return true
	}
	f.beyond.ask(at, &from.beyond)
	if f.capacity.opensAt() > at-f.leaves(at, from) || !f.capacity.take(at) {
		return false
	}
	f.beyond.got(at, &from.beyond)
	return true
}

// fromUser decides where a user's request goes: to this node, to a peer that has
// rate left or, by what it has told, room, or nowhere. While the gateway is down,
// peers come first.
func (s *Snapshot) fromUser(at int64, source uint64, name string, f *function, c *Call, d *Decision) {
	if f == nil || f.refusal == http.StatusNotFound {
		s.unknown(at, name, c, d)
		return
	}
	gone := c.GatewayDown || c.notTaken()
	hereFirst := f.local && !gone && (c.returned() || f.share >= 1 || f.sequences.share.next() < f.share)
	if hereFirst && s.takeForUser(at, source, f) {
		if !c.returned() {
			if fw := f.leave(at); fw != nil {
				s.send(at, f, fw, c, toMakeRoom, d)
				return
			}
		}
		f.serve(at, c, d)
		return
	}
	if f.elastic && !c.returned() {
		f.earn(f.perCall)
	}
	if fw := f.draw(at); fw != nil {
		s.send(at, f, fw, c, asPlanned, d)
		return
	}
	if f.elastic {
		if fw, why := f.reach(at, gone); fw != nil {
			s.send(at, f, fw, c, why, d)
			return
		}
	}
	if f.local && (c.notTaken() || !hereFirst && s.takeForUser(at, source, f) || f.soft) {
		f.serve(at, c, d)
		return
	}
	if f.local && c.returned() && !f.user.never() {
		// It was to go to a peer, which may be lost, and nobody else has room. It does not
		// pay for that; a later call does, so that the rate holds.
		f.user.debit(at)
		f.serve(at, c, d)
		return
	}
	f.refuse(c, d)
}

// outcomes is where the decision on the call is counted.
func (f *function) outcomes(c *Call) *meter.Outcomes {
	if c.returned() {
		return &f.meter.Returned
	}
	return &f.meter.Outcomes
}

// takeForUser takes what a user's call needs to be served here, or reports false.
func (s *Snapshot) takeForUser(at int64, source uint64, f *function) bool {
	if source == 0 || f.userFair == 0 {
		return f.user.take(at)
	}
	who := s.users.of(source, f)
	f.byUsers.ask(at, who)
	leaves := int64(float64(f.userFair) * f.byUsers.excess(at, who))
	if f.user.opensAt() > at-leaves || !f.user.take(at) {
		return false
	}
	f.byUsers.got(at, who)
	return true
}

// serve lets a user's request be served here. It counts against what is left
// for peers.
func (f *function) serve(at int64, c *Call, d *Decision) {
	f.capacity.debit(at)
	f.outcomes(c).Local.Add(1)
	d.TimeoutMillis = f.timeout
}

func (s *Snapshot) send(at int64, f *function, fw *forward, c *Call, why why, d *Decision) {
	fw.count.Forwarded.Add(1)
	f.outcomes(c).Forwarded.Add(1)
	p := &s.peers[fw.peer]
	d.Action, d.Target, d.Place, d.Token, d.TimeoutMillis = Peer, p.id, fw.peer, p.token, fw.timeout
	switch {
	case !f.local:
		d.Status = http.StatusServiceUnavailable
	case c.Question >= MaxQuestions && !f.soft:
		d.Status = f.refusal
	}
	if f.elastic {
		d.Mark = s.sent.note(at, f.functionState, fw.state, why)
	}
}

func (f *function) refuse(c *Call, d *Decision) {
	if f.refusal == http.StatusServiceUnavailable {
		f.outcomes(c).Full.Add(1)
	} else {
		f.outcomes(c).Limited.Add(1)
	}
	d.deny(f.refusal)
}

// unknown is the answer for functions that nobody has, as far as this node knows.
// The gateway is asked: it may have been deployed there just now.
func (s *Snapshot) unknown(at int64, name string, c *Call, d *Decision) {
	if c.returned() { // it has been counted
		d.Open = true
		return
	}
	if s.table.UnknownLocal {
		s.meter.Open()
		return
	}
	s.meter.NotFound()
	switch {
	case !funcname.Valid(name): // a gateway might take it for another one
		d.deny(http.StatusNotFound)
	case s.otherName(name):
		d.deny(http.StatusServiceUnavailable)
	case !s.found.has(at, name) && !s.guess.take(at):
		d.deny(http.StatusTooManyRequests)
	case at < s.missed[name]:
		d.Status = http.StatusServiceUnavailable
	default:
		d.Status = http.StatusNotFound
	}
}

// otherName reports whether the gateway may take it for the name of a function that
// the table has without its namespace, and with a limit. Which one is the default
// namespace is not known then.
func (s *Snapshot) otherName(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	return dot >= 0 && s.table.DefaultNamespace == "" && s.function(name[:dot]) != nil
}

// draw picks a peer by weight among those with rate left and takes from its
// rate, or returns nil.
func (f *function) draw(at int64) *forward {
	if len(f.drawn) == 0 || at < f.dryUntil.Load() || f.planned.opensAt() > at {
		return nil
	}
	fw := f.drawByWeight(at)
	if fw != nil {
		f.thrift.spend(at, &f.planned)
	}
	return fw
}

// drawByWeight is draw, of what is sent by plan in all.
func (f *function) drawByWeight(at int64) *forward {
	for try := range f.sequences.peer {
		mark := f.sequences.peer[try].next() * f.weight
		if fw := &f.drawn[firstAbove(f.upTo, mark)]; fw.use(at) {
			return fw
		}
	}
	return f.drawOpen(at)
}

// firstAbove returns the place of the first of the sums, in ascending order, that is
// above the mark, the last one if none is. It takes as many steps wherever that is, and
// branches nowhere that the CPU would guess wrong every other time.
func firstAbove(sums []float64, mark float64) int {
	at := 0
	for n := len(sums); n > 1; {
		half, below := n/2, 0
		if sums[at+half-1] <= mark {
			below = 1
		}
		at += half * below
		n -= half
	}
	return at
}

// drawOpen looks at all peers and draws among those that are open.
func (f *function) drawOpen(at int64) *forward {
	left, dryUntil := 0.0, int64(math.MaxInt64)
	for i := range f.drawn {
		fw := &f.drawn[i]
		usableAt := fw.usableAt()
		if usableAt <= at {
			left += fw.weight
		}
		dryUntil = min(dryUntil, usableAt)
	}
	if left == 0 {
		// Buckets only ever open later than they say, so this holds until a peer that has
		// refused serves again.
		f.dryUntil.Store(dryUntil)
		return nil
	}
	mark := f.sequences.open.next() * left
	for i := range f.drawn {
		fw := &f.drawn[i]
		if fw.usableAt() > at {
			continue
		}
		if mark -= fw.weight; mark < 0 && fw.take(at) {
			return fw
		}
	}
	// Another request was quicker, or the sums were rounded: whoever is open.
	for i := range f.drawn {
		if fw := &f.drawn[i]; fw.use(at) {
			return fw
		}
	}
	return nil
}

// use takes from the peer's rate, unless the peer is left alone.
func (fw *forward) use(at int64) bool { return !fw.state.shut(at) && fw.take(at) }

// usableAt is the first time at which use takes.
func (fw *forward) usableAt() int64 { return max(fw.opensAt(), fw.state.shutUntil.Load()) }

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
	"sort"
	"time"

	"github.com/dfaas/dfaas/spoa/token"
)

// Request is what a decision is made from.
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
}

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

// Decision is the answer. The zero value means: serve it here, nothing special.
type Decision struct {
	Action Action
	// Status is what to answer: with Deny now (403, 404, 429 or 503); with Peer,
	// if not 0, in case the peer is lost, for this node cannot serve it.
	Status int32
	// TimeoutMillis is the function's time limit in ms, 0 for none.
	TimeoutMillis int32
	Target        string // with Peer: its id
	Token         string // with Peer: what to show it
	// Reason is why a claim to be a peer was refused, with Status 403.
	Reason token.Reason
}

// Route decides what becomes of a request that arrived at now.
func (s *Snapshot) Route(now time.Time, req Request) Decision {
	name, ours := functionName(req.Path)
	if !ours {
		return Decision{}
	}
	at := s.sinceEpoch(now)
	if at >= s.expires {
		s.meter.Open()
		return Decision{}
	}
	if req.Ambiguous {
		return s.forbid(token.Ambiguous)
	}
	if req.Claimed {
		return s.fromPeer(now, at, s.functions[name], req)
	}
	return s.fromUser(at, s.functions[name])
}

// fromPeer never forwards: a request makes one hop at most.
func (s *Snapshot) fromPeer(now time.Time, at int64, f *function, req Request) Decision {
	p := s.peers[req.Node]
	if p == nil {
		return s.forbid(token.UnknownPeer)
	}
	if s.table.PeerTLS && req.Proven != req.Node {
		return s.forbid(token.NotOverTLS)
	}
	if reason := p.issuer.Check(s.inFederation(now), req.Token); reason != token.OK {
		return s.forbid(reason)
	}
	if f == nil || !f.local && s.table.UnknownLocal {
		return s.unknown()
	}
	if !f.local {
		// The peer has yet to hear that it is not here any more. Others have it.
		f.meter.In(p.id).Limited.Add(1)
		return Decision{Action: Deny, Status: http.StatusServiceUnavailable}
	}
	a := p.admits[f.name]
	if a == nil {
		f.meter.In(p.id).Limited.Add(1)
		return Decision{Action: Deny, Status: http.StatusTooManyRequests}
	}
	// The capacity is looked at before anything is taken, so that a full node
	// does not use up what the peer has left.
	if f.capacity.opensAt() > at || !a.take(at) || !f.capacity.take(at) {
		a.count.Limited.Add(1)
		return Decision{Action: Deny, Status: http.StatusTooManyRequests}
	}
	a.count.Local.Add(1)
	return Decision{TimeoutMillis: f.timeout}
}

func (s *Snapshot) fromUser(at int64, f *function) Decision {
	if f == nil || f.refusal == http.StatusNotFound {
		return s.unknown()
	}
	hereFirst := f.local && (f.share >= 1 || f.sequences.share.next() < f.share)
	if hereFirst && f.user.take(at) {
		return f.serve(at)
	}
	if fw := f.draw(at); fw != nil {
		return f.send(fw)
	}
	if f.local && (!hereFirst && f.user.take(at) || f.soft) {
		return f.serve(at)
	}
	return f.refuse()
}

// serve lets a user's request be served here. It counts against what is left
// for peers.
func (f *function) serve(at int64) Decision {
	f.capacity.debit(at)
	f.meter.Local.Add(1)
	return Decision{TimeoutMillis: f.timeout}
}

func (f *function) send(fw *forward) Decision {
	fw.count.Forwarded.Add(1)
	f.meter.Forwarded.Add(1)
	d := Decision{Action: Peer, Target: fw.peer.id, Token: fw.peer.token, TimeoutMillis: fw.timeout}
	if !f.local {
		d.Status = http.StatusServiceUnavailable
	}
	return d
}

func (f *function) refuse() Decision {
	if f.refusal == http.StatusServiceUnavailable {
		f.meter.Full.Add(1)
	} else {
		f.meter.Limited.Add(1)
	}
	return Decision{Action: Deny, Status: f.refusal}
}

func (s *Snapshot) forbid(reason token.Reason) Decision {
	s.meter.Deny(reason)
	return Decision{Action: Deny, Status: http.StatusForbidden, Reason: reason}
}

// unknown is the answer for functions that nobody has.
func (s *Snapshot) unknown() Decision {
	if s.table.UnknownLocal {
		s.meter.Open()
		return Decision{}
	}
	s.meter.NotFound()
	return Decision{Action: Deny, Status: http.StatusNotFound}
}

// draw picks a peer by weight among those with rate left and takes from its
// rate, or returns nil.
func (f *function) draw(at int64) *forward {
	if f.weight == 0 || at < f.dryUntil.Load() {
		return nil
	}
	for try := range f.sequences.peer {
		mark := f.sequences.peer[try].next() * f.weight
		i := sort.Search(len(f.forwards)-1, func(i int) bool { return mark < f.forwards[i].upTo })
		if fw := &f.forwards[i]; fw.weight > 0 && fw.take(at) {
			return fw
		}
	}
	return f.drawOpen(at)
}

// drawOpen looks at all peers and draws among those that are open.
func (f *function) drawOpen(at int64) *forward {
	left, dryUntil := 0.0, int64(math.MaxInt64)
	for i := range f.forwards {
		fw := &f.forwards[i]
		if fw.weight == 0 {
			break // and so have all after it
		}
		opensAt := fw.opensAt()
		if opensAt <= at {
			left += fw.weight
		}
		dryUntil = min(dryUntil, opensAt)
	}
	if left == 0 {
		// Buckets only ever open later than they say, so this holds.
		f.dryUntil.Store(dryUntil)
		return nil
	}
	mark := f.sequences.open.next() * left
	for i := range f.forwards {
		fw := &f.forwards[i]
		if fw.weight == 0 || fw.opensAt() > at {
			continue
		}
		if mark -= fw.weight; mark < 0 && fw.take(at) {
			return fw
		}
	}
	// Another request was quicker, or the sums were rounded: whoever is open.
	for i := range f.forwards {
		if fw := &f.forwards[i]; fw.weight > 0 && fw.take(at) {
			return fw
		}
	}
	return nil
}

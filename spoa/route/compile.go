package route

import (
	"cmp"
	"crypto/ed25519"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

const (
	// missedFor is how long a function that is gone with its peer is expected back.
	// A controller that is restarted takes about three seconds.
	missedFor = 10 * time.Second
	// guessRate is how many calls a second of functions that nobody is known to
	// have may reach the gateway.
	guessRate = 100
)

// Compile makes a snapshot of a table received at now, which continues where prev
// is; prev is nil for the first one. Counters come from m. Times are compared by the
// monotonic clock where they have one.
func Compile(t table.Valid, prev *Snapshot, m *meter.Meter, now time.Time) *Snapshot {
	if prev == nil {
		prev = &Snapshot{epoch: now, sent: new(sent), users: new(users), guess: newBucket(guessRate, new(atomic.Int64))}
	}
	s := &Snapshot{
		table:     t.Table,
		epoch:     prev.epoch,
		sent:      prev.sent,
		users:     prev.users,
		verifier:  prev.verifier,
		functions: make(map[string]*function, 2*len(t.Functions)),
		peers:     make(map[string]*peer, len(t.Peers)),
		meter:     m,
		received:  now,
		clock:     now.Round(0).Add(t.ClockOffset()),
		guess:     prev.guess,
	}
	if s.verifier == nil || s.verifier.Audience() != t.NodeID {
		s.verifier = token.NewVerifier(t.NodeID)
	}
	at := s.sinceEpoch(now)
	s.expires = at + t.TTL().Nanoseconds()
	for i := range t.Peers {
		s.addPeer(&t.Peers[i], t.Keys[i], prev)
	}
	for i := range t.Functions {
		s.addFunction(&t.Functions[i], prev, at)
		runtime.Gosched() // a large table takes long: requests must not wait for it, not even on one core
	}
	for i := range t.Peers {
		s.addAdmissions(&t.Peers[i], prev, at)
	}
	s.addMissed(prev, at, t.Limits.Functions)
	return s
}

// addMissed notes the functions that were at peers only, of which one has left, up
// to so many. A peer that is still there and does not have a function any more has
// removed it.
func (s *Snapshot) addMissed(prev *Snapshot, at int64, most int) {
	s.missed = make(map[string]int64)
	note := func(name string, until int64) {
		if f := s.functions[name]; (f == nil || f.refusal == http.StatusNotFound) && at < until && len(s.missed) < most {
			s.missed[name] = until
		}
	}
	for name, until := range prev.missed {
		note(name, until)
	}
	left := func(fw forward) bool {
		p := s.peers[fw.peer.id]
		return p == nil || p.token == ""
	}
	for name, f := range prev.functions {
		if !f.local && slices.ContainsFunc(f.forwards, left) {
			note(name, at+missedFor.Nanoseconds())
		}
	}
}

func (s *Snapshot) addPeer(tp *table.Peer, key ed25519.PublicKey, prev *Snapshot) {
	p := &peer{id: tp.ID, token: tp.Token}
	old := prev.peers[tp.ID]
	p.keepAsync(old)
	if old != nil && prev.verifier == s.verifier {
		p.issuer = old.issuer
	} else {
		p.issuer = s.verifier.Issuer(tp.ID, key)
	}
	s.peers[p.id] = p
}

func (s *Snapshot) addFunction(tf *table.Function, prev *Snapshot, at int64) {
	f := &function{name: tf.Name, elastic: tf.Elastic}
	old := prev.row(tf.Name)
	var user, capacity *bucket
	if old != nil {
		f.functionState, f.meter, user, capacity = old.functionState, old.meter, &old.user, &old.capacity
	} else {
		f.functionState, f.meter = new(functionState), s.meter.Row(tf.Name)
		f.start(s.table.NodeID, tf.Name)
		f.salt = f.sequences.open.n.Load()
	}
	if l := tf.Local; l != nil {
		f.local, f.soft, f.share, f.timeout = true, l.Soft, l.Share, int32(l.TimeoutMillis)
		f.user = newBucket(l.Rate, &f.usedByUsers)
		f.user.settle(user, at, f.user.depth())
		f.capacity = newBucket(l.Rate, &f.usedByAll)
		f.capacity.settle(capacity, at, f.capacity.mostDebt())
		f.reserve = f.capacity.depth() / reservedPart
		// No more than the bucket holds, or some of the rate would be lost.
		f.fair = max(0, f.capacity.burst-f.reserve) / fairPart
		f.userFair = f.user.burst / fairPart
	}
	f.forwards = s.forwards(tf, f.meter, old, at)
	for i := range f.forwards {
		f.weight += f.forwards[i].weight
		f.forwards[i].upTo = f.weight
	}
	f.dryUntil.Store(0)
	f.takers = s.takers(tf)
	f.refusal = f.refusalStatus()
	s.functions[tf.Name] = f
	if alias, ok := aliasOf(tf.Name, s.table.DefaultNamespace); ok {
		s.functions[alias] = f
	}
}

// forwards keeps those that nothing can be sent to for now, with their state.
func (s *Snapshot) forwards(tf *table.Function, counts *meter.Row, old *function, at int64) []forward {
	if len(tf.Forward) == 0 {
		return nil
	}
	var known map[string]*forward
	if old != nil {
		known = make(map[string]*forward, len(old.forwards))
		for i := range old.forwards {
			known[old.forwards[i].peer.id] = &old.forwards[i]
		}
	}
	forwards := make([]forward, 0, len(tf.Forward))
	for _, tfw := range tf.Forward {
		fw := forward{weight: tfw.Weight, peer: s.peers[tfw.Peer], spare: tfw.Spare, timeout: int32(tfw.TimeoutMillis)}
		if tf.Local != nil && tf.Local.TimeoutMillis > 0 {
			fw.timeout = int32(tf.Local.TimeoutMillis) // what this node's operator wrote goes for its users
		}
		var before *bucket
		if k := known[tfw.Peer]; k != nil {
			fw.state, fw.count, before = k.state, k.count, &k.bucket
		} else {
			fw.state, fw.count = new(forwardState), counts.Out(tfw.Peer)
		}
		fw.bucket = newBucket(tfw.Rate, &fw.state.used)
		if tf.Elastic {
			fw.bucket.slow(plannedPart)
		}
		fw.settle(before, at, fw.depth())
		if !fw.open() {
			fw.weight = 0
		}
		if fw.peer.token == "" {
			fw.spare = 0
		}
		forwards = append(forwards, fw)
	}
	slices.SortStableFunc(forwards, func(a, b forward) int { return cmp.Compare(b.weight, a.weight) })
	return forwards
}

// open reports whether there is anything that may be sent to the peer.
func (fw *forward) open() bool { return !fw.never() && fw.peer.token != "" }

// refusalStatus is what users get whom neither this node nor a peer serves.
func (f *function) refusalStatus() int32 {
	switch {
	case len(f.forwards) == 0 && !f.local:
		return http.StatusNotFound
	case len(f.forwards) > 0 && !slices.ContainsFunc(f.forwards, func(fw forward) bool { return fw.open() }):
		return http.StatusServiceUnavailable
	}
	return http.StatusTooManyRequests
}

// addAdmissions needs the functions: only what is deployed here is admitted.
func (s *Snapshot) addAdmissions(tp *table.Peer, prev *Snapshot, at int64) {
	p := s.peers[tp.ID]
	p.admits = make(map[string]*admission, len(tp.Inbound))
	var known map[string]*admission
	if old := prev.peers[tp.ID]; old != nil {
		known = old.admits
	}
	for name, rate := range tp.Inbound {
		f := s.functions[name]
		if f == nil || !f.local {
			continue
		}
		a := new(admission)
		var before *bucket
		if k := known[name]; k != nil {
			a.state, a.count, before = k.state, k.count, &k.bucket
		} else {
			a.state, a.count = new(admissionState), f.meter.In(tp.ID)
		}
		a.sender = &a.state.sender
		if tp.Source != "" {
			a.sender = f.sharedBy(tp.Source, prev.row(name))
		}
		a.bucket = newBucket(rate, &a.state.used)
		a.settle(before, at, a.depth())
		p.admits[name] = a
	}
}

// sharedBy returns the sender that all peers of a source are; before is the
// function's row in the snapshot before, or nil.
func (f *function) sharedBy(source string, before *function) *sender {
	if one := f.bySource[source]; one != nil {
		return one
	}
	one := new(sender)
	if before != nil && before.bySource[source] != nil {
		one = before.bySource[source]
	}
	if f.bySource == nil {
		f.bySource = make(map[string]*sender)
	}
	f.bySource[source] = one
	return one
}

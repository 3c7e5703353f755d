package route

import (
	"cmp"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

const (
	// missedFor is how long a function that is gone with its peer is expected back.
	// A controller that is restarted takes about three seconds.
	missedFor = 10 * time.Second
	// guessRate is how many calls a second of functions that nobody is known to
	// have, nor was found to, may reach the gateway.
	guessRate = 100
)

// Compile makes a snapshot of a table received at now, which continues where prev
// is; prev is nil for the first one. Counters come from m. Times are compared by the
// monotonic clock where they have one.
//
// Rows that the tables of both share (table.Function.Same) are not compiled again, as
// long as there are the same peers.
func Compile(t table.Valid, prev *Snapshot, m *meter.Meter, now time.Time) *Snapshot {
	return compileTable(t, prev, m, now, nil)
}

// compileTable is Compile. Unless it is nil, pause is called after each row that took a while,
// for others to get their turn.
func compileTable(t table.Valid, prev *Snapshot, m *meter.Meter, now time.Time, pause func()) *Snapshot {
	if prev == nil {
		prev = &Snapshot{table: table.Valid{Table: new(table.Table)}, epoch: now, sent: new(sent), users: new(users), guess: bucketAt(guessRate, new(atomic.Int64)), found: newFound()}
	}
	s := &Snapshot{
		table:      t,
		generation: prev.generation + 1,
		epoch:      prev.epoch,
		sent:       prev.sent,
		users:      prev.users,
		verifier:   prev.verifier,
		functions:  make([]*function, len(t.Functions)),
		meter:      m,
		received:   now,
		clock:      now.Round(0).Add(t.ClockOffset()),
		guess:      prev.guess,
		found:      prev.found,
	}
	if s.verifier == nil || s.verifier.Audience() != t.NodeID {
		s.verifier = token.NewVerifier(t.NodeID)
	}
	at := s.sinceEpoch(now)
	s.expires = at + t.TTL().Nanoseconds()
	samePeers := s.addPeers(&t, prev)
	sameNames := s.addPlaces(prev)
	c := compiler{s: s, at: at, places: placesOf(prev, s, samePeers)}
	missing := false // a function that was there has become one that nobody has
	for i := range t.Functions {
		tf := &t.Functions[i]
		var old *function
		if sameNames {
			old = prev.functions[i]
		} else {
			old = prev.row(tf.Name.String())
		}
		if samePeers && old != nil && old.row.Same(tf) {
			old.dryUntil.Store(0) // as for all that come with a table
			s.functions[i] = old
			continue
		}
		f := c.compile(tf, old)
		s.functions[i], missing = f, missing || f.refusal == http.StatusNotFound
		if pause != nil {
			pause()
		}
	}
	if !samePeers || !sameNames || missing || len(prev.missed) > 0 {
		s.addMissed(prev, at, t.Limits.Functions)
	}
	return s
}

// addPeers lists the peers, and reports whether they are those of before: the same
// ones at the same places, to whom there is a token or not as there was.
func (s *Snapshot) addPeers(t *table.Valid, prev *Snapshot) (same bool) {
	same = prev.verifier == s.verifier && slices.EqualFunc(t.Peers, prev.peers, func(now table.Peer, before peer) bool {
		return now.ID == before.id && now.Source == before.source && (now.Token == "") == (before.token == "")
	})
	if same && slices.EqualFunc(t.Peers, prev.peers, func(now table.Peer, before peer) bool { return now.Token == before.token }) {
		s.peers, s.peerPlace = prev.peers, prev.peerPlace
		return true
	}
	s.peers = make([]peer, len(t.Peers))
	if same {
		s.peerPlace = prev.peerPlace
		for i := range t.Peers {
			p := &s.peers[i]
			*p = prev.peers[i]
			p.token = t.Peers[i].Token
		}
		return true
	}
	s.peerPlace = make(map[string]int32, len(t.Peers))
	there := make(map[string]int, len(t.Peers)) // peers by source
	for i := range t.Peers {
		there[t.Peers[i].Source]++
	}
	for i := range t.Peers {
		tp := &t.Peers[i]
		p := peer{id: tp.ID, place: int32(i), token: tp.Token, source: tp.Source, shares: tp.Source != "" && there[tp.Source] > 1}
		old := prev.peer(tp.ID.String())
		p.keepAsync(old)
		if old != nil && prev.verifier == s.verifier {
			p.issuer = old.issuer
		} else {
			p.issuer = s.verifier.Issuer(tp.ID)
		}
		s.peerPlace[tp.ID.String()] = p.place
		s.peers[i] = p
	}
	return false
}

// addPlaces notes where each function is, and reports whether all are where they were.
func (s *Snapshot) addPlaces(prev *Snapshot) (same bool) {
	rows, namespace := s.table.Functions, s.table.DefaultNamespace
	if prev.places != nil && namespace == prev.table.DefaultNamespace &&
		slices.EqualFunc(rows, prev.functions, func(now table.Function, before *function) bool { return now.Name == before.row.Name }) {
		s.places = prev.places
		return true
	}
	s.places = make(map[string]int32, 2*len(rows))
	for i := range rows {
		s.places[rows[i].Name.String()] = int32(i)
		if alias, ok := aliasOf(rows[i].Name, namespace); ok {
			s.places[alias] = int32(i)
		}
	}
	return false
}

// addMissed notes the functions that were at peers only, of which one has left, up
// to so many. A peer that is still there and does not have a function any more has
// removed it.
func (s *Snapshot) addMissed(prev *Snapshot, at int64, most int) {
	s.missed = make(map[string]int64)
	note := func(name string, until int64) {
		if f := s.function(name); (f == nil || f.refusal == http.StatusNotFound) && at < until && len(s.missed) < most {
			s.missed[name] = until
		}
	}
	for name, until := range prev.missed {
		note(name, until)
	}
	left := func(fw forward) bool {
		p := s.peer(prev.peers[fw.peer].id.String())
		return p == nil || p.token == ""
	}
	for name, place := range prev.places {
		if f := prev.functions[place]; !f.local && slices.ContainsFunc(f.forwards, left) {
			note(name, at+missedFor.Nanoseconds())
		}
	}
}

// compiler makes rows of a table ready.
type compiler struct {
	s      *Snapshot
	at     int64   // when the table came, ns since epoch
	places []int32 // by the place of a peer before: its place now, or -1; nil: the same

	// By place: what the row had before. It is nil between two rows.
	forward []*forward
	admit   []*admission
	weighed []weighed // see byWeight
}

// placesOf returns the places that peers of one snapshot have in the next, nil if those
// are the same.
func placesOf(prev, next *Snapshot, same bool) []int32 {
	if same {
		return nil
	}
	places := make([]int32, len(prev.peers))
	for i := range prev.peers {
		places[i] = -1
		if p := next.peer(prev.peers[i].id.String()); p != nil {
			places[i] = p.place
		}
	}
	return places
}

// placeOf returns the place of a peer that had this one before, or -1.
func (c *compiler) placeOf(before int32) int32 {
	if c.places == nil {
		return before
	}
	return c.places[before]
}

// compile makes a row ready, which continues where old is; old is nil for a function
// that the snapshot before does not have.
func (c *compiler) compile(tf *table.Function, old *function) *function {
	f := &function{row: *tf, elastic: tf.Elastic}
	var user, capacity *bucket
	if old != nil {
		f.functionState, f.meter, user, capacity = old.functionState, old.meter, &old.user, &old.capacity
	} else {
		f.functionState, f.meter = new(functionState), c.s.meter.Row(tf.Name.String())
		f.start(c.s.table.NodeID.String(), tf.Name.String())
		f.salt = f.sequences.open.n.Load()
	}
	if l := tf.Local; l != nil {
		f.local, f.soft, f.share, f.timeout = true, l.Soft, l.Share, int32(l.TimeoutMillis)
		f.user = newBucket(l.Rate, &f.usedByUsers)
		f.user.settle(user, c.at, f.user.depth())
		f.capacity = newBucket(l.Rate, &f.usedByAll)
		f.capacity.settle(capacity, c.at, f.capacity.mostDebt())
		// No more than the bucket holds, or some of the rate would be lost.
		f.fair = int64(peersLeave * float64(f.capacity.burst))
		f.userFair = f.user.burst / fairPart
		f.admits = c.admissions(f, old)
	}
	anyOpen := false
	f.forwards, anyOpen = c.forwards(f, old)
	n := 0
	for n < len(f.forwards) && f.forwards[n].weight > 0 {
		n++
	}
	f.drawn, f.upTo = f.forwards[:n], make([]float64, n)
	for i := range f.drawn {
		f.weight += f.drawn[i].weight
		f.upTo[i] = f.weight
	}
	if f.elastic {
		var before *bucket
		if old != nil {
			before = &old.planned
		}
		f.planned = plannedBucket(f.drawn, &f.thrift.used)
		f.planned.settle(before, c.at, f.planned.mostDebt())
	}
	f.overcommit = overcommit - tf.Unmet
	f.perCall, f.owed = perCallFor(tf.Unmet), owedFor(f.forwards, tf.Unmet)
	f.dryUntil.Store(0)
	f.takers = c.s.takers(tf)
	// What users get whom neither this node nor a peer serves.
	switch f.refusal = http.StatusTooManyRequests; {
	case len(f.forwards) == 0 && !f.local:
		f.refusal = http.StatusNotFound
	case len(f.forwards) > 0 && !anyOpen:
		f.refusal = http.StatusServiceUnavailable
	}
	return f
}

// forwards keeps those that nothing can be sent to for now, with their state, and
// reports whether there are others.
func (c *compiler) forwards(f, old *function) (forwards []forward, anyOpen bool) {
	tf := &f.row
	if len(tf.Forward) == 0 {
		return nil, false
	}
	if c.forward == nil {
		c.forward = make([]*forward, len(c.s.peers))
	}
	var said []table.Forward // before; what is said again is as it was
	if old != nil {
		for i := range old.forwards {
			if place := c.placeOf(old.forwards[i].peer); place >= 0 {
				c.forward[place] = &old.forwards[i]
			}
		}
		defer clear(c.forward)
		if c.places == nil && old.elastic == f.elastic && old.timeout == f.timeout {
			said = old.row.Forward
		}
	}
	forwards = make([]forward, len(tf.Forward))
	for i, d := range c.byWeight(tf.Forward) {
		fw, tfw, k := &forwards[i], &tf.Forward[d.entry], c.forward[d.place]
		anyOpen = anyOpen || d.open
		if int(d.entry) < len(said) && said[d.entry] == *tfw {
			*fw = *k
			continue
		}
		*fw = forward{weight: d.weight, peer: d.place, timeout: int32(tfw.TimeoutMillis)}
		if c.s.peers[d.place].token != "" {
			fw.spare = tfw.Spare.PerSecond()
		}
		if f.timeout > 0 {
			fw.timeout = f.timeout // what this node's operator wrote goes for its users
		}
		var before *bucket
		if k != nil {
			fw.state, fw.count, before = k.state, k.count, &k.bucket
		} else {
			fw.state, fw.count = new(forwardState), f.meter.Out(tfw.Peer.String())
		}
		fw.bucket = newBucket(tfw.Rate, &fw.state.used)
		if f.elastic {
			fw.bucket.slow(plannedPart)
			fw.rate = max(0, tfw.Rate.PerSecond()) / float64(time.Second)
		}
		fw.settle(before, c.at, fw.depth())
	}
	return forwards, anyOpen
}

// weighed is an entry of a row's list of forwards: where it is there, the place of its
// peer, and the weight of what can be sent there.
type weighed struct {
	weight       float64
	entry, place int32
	open         bool // something can be sent there
}

// byWeight lists the entries, those of the greatest weight first. It is used up before
// the next row.
func (c *compiler) byWeight(entries []table.Forward) []weighed {
	c.weighed = slices.Grow(c.weighed[:0], len(entries))[:len(entries)]
	next, sorted := int32(0), true
	for i := range entries {
		tfw := &entries[i]
		p := c.s.peerNear(next, tfw.Peer)
		next = p.place + 1
		w := weighed{entry: int32(i), place: p.place, open: tfw.Rate != (limit.Bound{}) && p.token != ""}
		if w.open {
			w.weight = tfw.Weight
		}
		c.weighed[i] = w
		sorted = sorted && (i == 0 || c.weighed[i-1].weight >= w.weight)
	}
	if !sorted {
		slices.SortFunc(c.weighed, func(a, b weighed) int {
			return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.entry, b.entry))
		})
	}
	return c.weighed
}

// admissions lists from whom calls of a function that is here are admitted.
func (c *compiler) admissions(f, old *function) []admission {
	tf := &f.row
	if len(tf.Admit) == 0 {
		return nil
	}
	if c.places == nil && old != nil && old.local && slices.Equal(old.row.Admit, tf.Admit) {
		f.bySource = old.bySource
		return old.admits
	}
	if c.admit == nil {
		c.admit = make([]*admission, len(c.s.peers))
	}
	if old != nil {
		for i := range old.admits {
			if place := c.placeOf(old.admits[i].peer); place >= 0 {
				c.admit[place] = &old.admits[i]
			}
		}
		defer clear(c.admit)
	}
	admits := make([]admission, 0, len(tf.Admit))
	next := int32(0)
	for i := range tf.Admit {
		ta := &tf.Admit[i]
		a := admission{peer: c.s.peerNear(next, ta.Peer).place}
		next = a.peer + 1
		var before *bucket
		kept := c.admit[a.peer]
		if kept != nil {
			a.state, a.count, before = kept.state, kept.count, &kept.bucket
		} else {
			a.state, a.count = new(admissionState), f.meter.In(ta.Peer.String())
		}
		a.sender = &a.state.sender
		if p := &c.s.peers[a.peer]; p.shares {
			a.sender = f.sharedBy(p.source, old)
		}
		a.bucket = newBucket(ta.Rate, &a.state.used)
		a.settle(before, c.at, a.depth())
		if f.elastic && kept != nil {
			a.keepWord(kept, c.at)
		}
		admits = append(admits, a)
	}
	slices.SortFunc(admits, func(a, b admission) int { return int(a.peer - b.peer) })
	return admits
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

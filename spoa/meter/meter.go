package meter

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/spoa/token"
)

// Meter holds all counters of one run of the SPOA. Counting is atomic and takes
// no lock: whoever routes keeps pointers to the counters of its rows. Counters
// outlive the tables that they were made for. Safe for concurrent use; those who
// only read share the lock.
type Meter struct {
	start    time.Time
	denied   [token.NumReasons]atomic.Uint64
	notFound atomic.Uint64
	open     atomic.Uint64

	reporting sync.Mutex // one report at a time; taken before mu

	mu        sync.RWMutex
	functions map[string]*Row
	sorted    []*Row // by name
	size      int    // rows and the counters of peers in them
	forgotten Totals // what was counted by rows that are no more
}

// Outcomes counts decisions on user requests.
type Outcomes struct{ Local, Forwarded, Limited, Full atomic.Uint64 }

// Row holds the counters of one function.
type Row struct {
	meter *Meter
	name  string
	// Outcomes are those of first decisions, each request once.
	Outcomes
	// Returned are those of the decisions on requests that came back from where they
	// were sent.
	Returned Outcomes
	// Of asynchronous calls, which are not among the others: of users, by outcome,
	// those that came from peers, and all that were refused.
	AsyncLocal, AsyncForwarded, AsyncPeers, AsyncRefused atomic.Uint64

	in  counters[In] // guarded by Meter.mu, like out
	out counters[Out]

	reported reported // guarded by Meter.reporting
}

// counters are those of a function's peers, by id.
type counters[C any] struct {
	byPeer map[string]*C
	list   []counter[C] // the same, which is quicker to go through
}

type counter[C any] struct {
	peer  string
	count *C
}

func newCounters[C any]() counters[C] { return counters[C]{byPeer: make(map[string]*C)} }

func (c *counters[C]) add(peer string) *C {
	n := new(C)
	c.byPeer[peer] = n
	c.list = append(c.list, counter[C]{peer, n})
	return n
}

// keep drops the peers that are not wanted, having told of each.
func (c *counters[C]) keep(wanted func(peer string) bool, drop func(*C)) {
	c.list = slices.DeleteFunc(c.list, func(n counter[C]) bool {
		if wanted(n.peer) {
			return false
		}
		drop(n.count)
		delete(c.byPeer, n.peer)
		return true
	})
}

// In counts what one peer sent for one function.
type In struct{ Local, Limited atomic.Uint64 }

// Out counts what one peer was sent for one function.
type Out struct{ Forwarded atomic.Uint64 }

// New returns a meter of a run that starts now.
func New(now time.Time) *Meter {
	return &Meter{start: now, functions: make(map[string]*Row)}
}

// Deny counts a refused claim to be a peer.
func (m *Meter) Deny(r token.Reason) { m.denied[r].Add(1) }

// NotFound counts a request for a function that cannot be had.
func (m *Meter) NotFound() { m.notFound.Add(1) }

// Open counts a function call that was let through to the local gateway because
// no table says what to do with it.
func (m *Meter) Open() { m.open.Add(1) }

// Row returns the counters of a function, the same ones each time.
func (m *Meter) Row(function string) *Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.functions[function]
	if r == nil {
		r = &Row{meter: m, name: function, in: newCounters[In](), out: newCounters[Out]()}
		m.functions[function] = r
		i, _ := m.find(function)
		m.sorted = slices.Insert(m.sorted, i, r)
		m.size++
	}
	return r
}

// find returns where the row of that name is, or should be.
func (m *Meter) find(function string) (int, bool) {
	return slices.BinarySearchFunc(m.sorted, function, func(r *Row, name string) int { return strings.Compare(r.name, name) })
}

// In returns the counters of what a peer sends, the same ones each time.
func (r *Row) In(peer string) *In {
	r.meter.mu.RLock()
	c := r.in.byPeer[peer]
	r.meter.mu.RUnlock()
	if c != nil {
		return c
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if c = r.in.byPeer[peer]; c == nil {
		c = r.in.add(peer)
		r.meter.size++
	}
	return c
}

// Out returns the counter of what a peer is sent, the same one each time.
func (r *Row) Out(peer string) *Out {
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	c := r.out.byPeer[peer]
	if c == nil {
		c = r.out.add(peer)
		r.meter.size++
	}
	return c
}

// Size is the number of rows and of peers' counters in them.
func (m *Meter) Size() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.size
}

// Forget drops the counters of every function and of every peer that the two
// functions do not want kept. What they counted stays part of the totals. A
// function or peer that comes back later starts from 0.
func (m *Meter) Forget(keepFunction func(name string) bool, keepPeer func(id string) bool) {
	m.reporting.Lock()
	defer m.reporting.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sorted = slices.DeleteFunc(m.sorted, func(r *Row) bool {
		if keepFunction(r.name) {
			r.in.keep(keepPeer, func(c *In) { m.forgotten.addIn(c); m.size-- })
			r.out.keep(keepPeer, func(*Out) { m.size-- })
			r.reported = reported{}
			return false
		}
		m.forgotten.addRow(r)
		m.size -= 1 + len(r.in.list) + len(r.out.list)
		delete(m.functions, r.name)
		return true
	})
}

// Totals are counts over all functions, monotonic since the start.
type Totals struct {
	User     User
	Returned User // of requests that User has counted
	Peer     Peer
	Async    Async
	NotFound uint64
	Open     uint64 // let through to the local gateway because no table says what to do
	Denied   map[token.Reason]uint64
}

func (t *Totals) addRow(r *Row) {
	t.User = t.User.plus(r.Outcomes.read())
	t.Returned = t.Returned.plus(r.Returned.read())
	a := r.async()
	t.Async.Local += a.Local
	t.Async.Forwarded += a.Forwarded
	t.Async.Peers += a.Peers
	t.Async.Refused += a.Refused
	for _, c := range r.in.list {
		t.addIn(c.count)
	}
}

func (t *Totals) addIn(c *In) {
	t.Peer.Local += c.Local.Load()
	t.Peer.Limited += c.Limited.Load()
}

// Totals sums up.
func (m *Meter) Totals() Totals {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.forgotten
	for _, r := range m.sorted {
		t.addRow(r)
	}
	t.NotFound = m.notFound.Load()
	t.Open = m.open.Load()
	t.Denied = make(map[token.Reason]uint64, token.NumReasons)
	for r := token.OK + 1; int(r) < token.NumReasons; r++ {
		t.Denied[r] = m.denied[r].Load()
	}
	return t
}

func (r *Row) async() Async {
	return Async{
		Local: r.AsyncLocal.Load(), Forwarded: r.AsyncForwarded.Load(), Peers: r.AsyncPeers.Load(), Refused: r.AsyncRefused.Load(),
	}
}

func (o *Outcomes) read() User {
	return User{Local: o.Local.Load(), Forwarded: o.Forwarded.Load(), Limited: o.Limited.Load(), Full: o.Full.Load()}
}

func (u User) plus(v User) User {
	return User{u.Local + v.Local, u.Forwarded + v.Forwarded, u.Limited + v.Limited, u.Full + v.Full}
}

package meter

import (
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

	mu        sync.RWMutex
	functions map[string]*Row
	size      int    // rows and the counters of peers in them
	forgotten Totals // what was counted by rows that are no more
}

// Row holds the counters of one function.
type Row struct {
	meter *Meter
	// Of user requests, by outcome.
	Local, Forwarded, Limited, Full atomic.Uint64

	in  map[string]*In // guarded by Meter.mu, like out
	out map[string]*Out
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
		r = &Row{meter: m, in: make(map[string]*In), out: make(map[string]*Out)}
		m.functions[function] = r
		m.size++
	}
	return r
}

// In returns the counters of what a peer sends, the same ones each time.
func (r *Row) In(peer string) *In {
	r.meter.mu.RLock()
	c := r.in[peer]
	r.meter.mu.RUnlock()
	if c != nil {
		return c
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if c = r.in[peer]; c == nil {
		c = new(In)
		r.in[peer] = c
		r.meter.size++
	}
	return c
}

// Out returns the counter of what a peer is sent, the same one each time.
func (r *Row) Out(peer string) *Out {
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	c := r.out[peer]
	if c == nil {
		c = new(Out)
		r.out[peer] = c
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
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, r := range m.functions {
		if !keepFunction(name) {
			m.forgotten.addRow(r)
			m.size -= 1 + len(r.in) + len(r.out)
			delete(m.functions, name)
			continue
		}
		for id, c := range r.in {
			if !keepPeer(id) {
				m.forgotten.addIn(c)
				m.size--
				delete(r.in, id)
			}
		}
		for id := range r.out {
			if !keepPeer(id) {
				m.size--
				delete(r.out, id)
			}
		}
	}
}

// Totals are counts over all functions, monotonic since the start.
type Totals struct {
	User     User
	Peer     Peer
	NotFound uint64
	Open     uint64 // let through to the local gateway because no table says what to do
	Denied   map[token.Reason]uint64
}

func (t *Totals) addRow(r *Row) {
	u := r.user()
	t.User.Local += u.Local
	t.User.Forwarded += u.Forwarded
	t.User.Limited += u.Limited
	t.User.Full += u.Full
	for _, c := range r.in {
		t.addIn(c)
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
	for _, r := range m.functions {
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

func (r *Row) user() User {
	return User{
		Local:     r.Local.Load(),
		Forwarded: r.Forwarded.Load(),
		Limited:   r.Limited.Load(),
		Full:      r.Full.Load(),
	}
}

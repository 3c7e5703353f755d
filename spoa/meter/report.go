// Package meter counts what the SPOA decided, per function and source.
package meter

import (
	"time"

	"github.com/dfaas/dfaas/spoa/token"
)

// Report is the answer to GET /v1/meter. All counts are monotonic since
// StartMillis; a reader takes differences, and starts anew when StartMillis has
// changed (the SPOA was restarted).
type Report struct {
	StartMillis int64 `json:"start_ms"` // SPOA start, Unix time in ms; identifies the run
	NowMillis   int64 `json:"now_ms"`   // when the report was made, Unix time in ms
	// UptimeMicros is monotonic time since the start in microseconds: the
	// divisor for rates, which a stepped wall clock cannot spoil.
	UptimeMicros int64 `json:"uptime_us"`

	TableVersion uint64 `json:"table_version"` // 0: no table yet
	TableFresh   bool   `json:"table_fresh"`   // there is a table within its time to live
	// TableOldest and TableNewest are the versions of tables that this SPOA
	// understands; both 0 in reports of the first version, which understood that.
	TableOldest int `json:"table_oldest,omitempty"`
	TableNewest int `json:"table_newest,omitempty"`

	Functions []Function `json:"functions"` // those of the current table, and others with counts
	// Denied counts refused claims to be a peer by reason (unknown_peer,
	// missing_token, bad_signature, wrong_audience, expired, malformed, ...).
	Denied map[string]uint64 `json:"denied"`
	// NotFound counts requests for functions that no node has (404).
	NotFound uint64 `json:"not_found"`
}

// Function holds the counters of one function.
type Function struct {
	Name string `json:"name"`
	User User   `json:"user"`
	// Returned counts what became of user requests that came back from where they were
	// sent: a peer has refused them, or was lost, or the gateway did not take them. User
	// has counted each of them before, as forwarded or local. Nil: none ever came back.
	Returned *User `json:"returned,omitempty"`
	// In counts requests that peers forwarded to this node, by peer id.
	In map[string]Peer `json:"in,omitempty"`
	// Out counts user requests that this node forwarded, by peer id; one that came back
	// may count for several.
	Out map[string]uint64 `json:"out,omitempty"`
	// Async counts asynchronous calls, which are not among the others; nil: none.
	Async *Async `json:"async,omitempty"`
}

// Async counts the asynchronous calls of one function. They are no demand for what
// the function can serve.
type Async struct {
	Local     uint64 `json:"local"`     // of this node's users, to its own gateway
	Forwarded uint64 `json:"forwarded"` // of this node's users, to peers
	Peers     uint64 `json:"peers"`     // of peers, to this node's gateway
	Refused   uint64 `json:"refused"`   // of both: no queue, or too many
}

// Back is Returned, all 0 if none ever came back.
func (f *Function) Back() User {
	if f.Returned == nil {
		return User{}
	}
	return *f.Returned
}

// Refused is how many user requests were answered with 429 or 503.
func (f *Function) Refused() uint64 {
	back := f.Back()
	return f.User.Limited + f.User.Full + back.Limited + back.Full
}

// User counts the requests of this node's own users, by outcome. All of the first
// decisions together are the demand: Local + Forwarded + Limited + Full.
type User struct {
	Local     uint64 `json:"local"`
	Forwarded uint64 `json:"forwarded"`
	Limited   uint64 `json:"limited"` // 429: over the limit
	Full      uint64 `json:"full"`    // 503: every node that has it is full
}

// Total is the number of user requests seen, whatever became of them.
func (u User) Total() uint64 { return u.Local + u.Forwarded + u.Limited + u.Full }

// Peer counts what one peer sent for one function, by outcome.
type Peer struct {
	Local   uint64 `json:"local"`
	Limited uint64 `json:"limited"` // 429: over the rate admitted from it
}

// Report returns all counts as of now, functions in the order of their names. Nobody
// may change its maps: later reports share those in which nothing has changed.
// It leaves out the peers that nothing was counted for; TableVersion and
// TableFresh are for the caller to fill in.
func (m *Meter) Report(now time.Time) Report {
	m.reporting.Lock()
	defer m.reporting.Unlock()
	m.mu.RLock()
	defer m.mu.RUnlock()
	rep := Report{
		StartMillis:  m.start.UnixMilli(),
		NowMillis:    now.UnixMilli(),
		UptimeMicros: now.Sub(m.start).Microseconds(),
		Functions:    make([]Function, len(m.sorted)),
		Denied:       make(map[string]uint64),
		NotFound:     m.notFound.Load(),
	}
	for i, r := range m.sorted {
		rep.Functions[i] = r.report()
	}
	for reason := range m.denied {
		if n := m.denied[reason].Load(); n > 0 {
			rep.Denied[token.Reason(reason).String()] = n
		}
	}
	return rep
}

// reported is what the last report said of a row's peers. It is said again as long as
// the sums of what was counted are the same: counts only grow.
type reported struct {
	in     map[string]Peer
	out    map[string]uint64
	inSum  uint64
	outSum uint64
}

func (r *Row) report() Function {
	before := &r.reported
	if sum := r.inSum(); sum != before.inSum {
		before.inSum, before.in = 0, make(map[string]Peer, len(before.in))
		for _, c := range r.in.list {
			if p := (Peer{Local: c.count.Local.Load(), Limited: c.count.Limited.Load()}); p != (Peer{}) {
				before.in[c.peer] = p
				before.inSum += p.Local + p.Limited
			}
		}
	}
	if sum := r.outSum(); sum != before.outSum {
		before.outSum, before.out = 0, make(map[string]uint64, len(before.out))
		for _, c := range r.out.list {
			if n := c.count.Forwarded.Load(); n > 0 {
				before.out[c.peer] = n
				before.outSum += n
			}
		}
	}
	f := Function{Name: r.name, User: r.Outcomes.read(), In: before.in, Out: before.out}
	if back := r.Returned.read(); back != (User{}) {
		f.Returned = &back
	}
	if a := r.async(); a != (Async{}) {
		f.Async = &a
	}
	return f
}

func (r *Row) inSum() (sum uint64) {
	for _, c := range r.in.list {
		sum += c.count.Local.Load() + c.count.Limited.Load()
	}
	return sum
}

func (r *Row) outSum() (sum uint64) {
	for _, c := range r.out.list {
		sum += c.count.Forwarded.Load()
	}
	return sum
}

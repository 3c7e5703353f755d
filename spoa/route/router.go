package route

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// Router answers from the latest table, which may be replaced at any time. It
// is safe for concurrent use.
type Router struct {
	meter   *meter.Meter
	current atomic.Pointer[Snapshot]
	swap    sync.Mutex // one table at a time
}

// NewRouter returns a router without a table: everything is served locally.
func NewRouter(m *meter.Meter) *Router { return &Router{meter: m} }

// Route decides what becomes of a request that arrived at now.
func (r *Router) Route(now time.Time, req Request) Decision {
	if s := r.current.Load(); s != nil {
		return s.Route(now, req)
	}
	if _, ours, _ := functionName(req.Path); ours {
		r.meter.Open()
	}
	return Decision{Open: true}
}

// Fresh returns the snapshot to decide by at now, nil if there is none within its
// time to live.
func (r *Router) Fresh(now time.Time) *Snapshot {
	if s := r.current.Load(); s != nil && s.sinceEpoch(now) < s.expires {
		return s
	}
	return nil
}

// Heard takes in the answer of a peer to a call that was given that mark, see
// Snapshot.Heard.
func (r *Router) Heard(now time.Time, mark, room int32, refused bool) {
	if s := r.current.Load(); s != nil {
		s.Heard(now, mark, room, refused)
	}
}

// Found takes in that the gateway has a function, see Snapshot.Found.
func (r *Router) Found(now time.Time, function string, number int64) {
	if s := r.current.Load(); s != nil {
		s.Found(now, function, number)
	}
}

// Swap replaces the current table with one received at now. Counters of functions
// and peers outside of it are forgotten once there are more than two of the
// largest tables have.
func (r *Router) Swap(t table.Valid, now time.Time) {
	r.swap.Lock()
	defer r.swap.Unlock()
	s := Compile(t, r.current.Load(), r.meter, now)
	r.current.Store(s)
	if r.meter.Size() > 2*(t.Limits.Functions+t.Limits.Forwards) {
		r.meter.Forget(func(name string) bool { return s.row(name) != nil }, func(id string) bool { return s.peer(id) != nil })
	}
}

// Status describes the current table.
type Status struct {
	Table   *table.Table  // nil: none yet; not to be changed
	Fresh   bool          // there is one and it is within its time to live
	Expires time.Duration // until it is not fresh any more; below 0 since then
}

// Status returns the state as of now.
func (r *Router) Status(now time.Time) Status {
	s := r.current.Load()
	if s == nil {
		return Status{}
	}
	left := time.Duration(s.expires - s.sinceEpoch(now))
	return Status{Table: s.table, Fresh: left > 0, Expires: left}
}

// Report returns the counters as of now, with the state of the table.
func (r *Router) Report(now time.Time) meter.Report {
	rep := r.meter.Report(now)
	if st := r.Status(now); st.Table != nil {
		rep.TableVersion, rep.TableFresh = st.Table.Version, st.Fresh
	}
	return rep
}

// Totals returns the sums of all counters.
func (r *Router) Totals() meter.Totals { return r.meter.Totals() }

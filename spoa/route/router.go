package route

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// Router answers from the latest table, which may be replaced at any time. It
// is safe for concurrent use.
type Router struct {
	// Pace, unless it is nil, returns what to call in the midst of long work, such as
	// making a large table ready, for others to get their turn. It is set before the
	// first table comes.
	Pace func() (pause func())

	meter   *meter.Meter
	current atomic.Pointer[Snapshot]
	swap    sync.Mutex // one table at a time
	unasked unasked
}

// NewRouter returns a router without a table: everything is served locally.
func NewRouter(m *meter.Meter) *Router { return &Router{meter: m} }

// Route decides what becomes of a request that arrived at now.
func (r *Router) Route(now time.Time, req Request) (d Decision) {
	if s := r.current.Load(); s != nil {
		s.route(now, &req, &d)
		return d
	}
	if _, ours, _ := functionName(req.Path); ours {
		r.meter.Open()
	}
	d.Open = true
	return d
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

// Swap replaces the current table with one received at now, and returns the new one's
// generation. Counters of functions and peers outside of it are forgotten once there are
// more than two of the largest tables have.
func (r *Router) Swap(t table.Valid, now time.Time) (generation uint64) {
	r.swap.Lock()
	defer r.swap.Unlock()
	return r.put(t, now)
}

// ErrOtherBase is what Patch returns for a patch of a table that is not the current one.
var ErrOtherBase = errors.New("the current table is another one than the patch is for")

// Patch replaces the table of the base's generation by what the patch, received at now,
// makes of it, and returns the new one's generation. The error is ErrOtherBase if that
// table is not the current one, and else says what is wrong with the result. The patch is
// used up.
func (r *Router) Patch(base uint64, p *table.Patch, now time.Time) (generation uint64, err error) {
	r.swap.Lock()
	defer r.swap.Unlock()
	s := r.current.Load()
	if s == nil || s.generation != base {
		return 0, ErrOtherBase
	}
	t, err := p.Apply(s.table)
	if err != nil {
		return 0, err
	}
	return r.put(t, now), nil
}

// put compiles a table and swaps it in; swap is held.
func (r *Router) put(t table.Valid, now time.Time) (generation uint64) {
	var pause func()
	if r.Pace != nil {
		pause = r.Pace()
	}
	s := compileTable(t, r.current.Load(), r.meter, now, pause)
	r.current.Store(s)
	if r.meter.Size() > 2*(t.Limits.Functions+t.Limits.Forwards) {
		r.meter.Forget(func(name string) bool { return s.row(name) != nil }, func(id string) bool { return s.peer(id) != nil })
	}
	return s.generation
}

// Status describes the current table.
type Status struct {
	Table *table.Table // nil: none yet; not to be changed
	// Generation is the number of tables so far, this one included; 0: none yet.
	Generation uint64
	Fresh      bool          // there is one and it is within its time to live
	Expires    time.Duration // until it is not fresh any more; below 0 since then
}

// Status returns the state as of now.
func (r *Router) Status(now time.Time) Status {
	s := r.current.Load()
	if s == nil {
		return Status{}
	}
	left := time.Duration(s.expires - s.sinceEpoch(now))
	return Status{Table: s.table.Table, Generation: s.generation, Fresh: left > 0, Expires: left}
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

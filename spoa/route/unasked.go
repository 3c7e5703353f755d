package route

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/spoa/grant"
)

// HAProxy need not ask about what is sure to be admitted: users' calls of a function
// whose buckets are more than half full are served here whoever makes them. So it is
// granted a number of calls that it serves without a question, says a moment later
// how many it has served, and is granted anew. The buckets pay for these calls as for
// all others, but late, and a bucket that is paid late never has more in it than one that
// is paid at once. What HAProxy serves meanwhile, while others are admitted here, is all
// that can be too much: it is as if the bucket held one grant more.
const (
	// grantedPart divides what a bucket holds: no more than that part is granted at a
	// time.
	grantedPart = 4
	// sharedPart divides it, too: that part is not granted. With more than that left, who
	// has had more than others leaves nothing to them (fairPart), so it does not matter
	// who calls.
	sharedPart = fairPart
	// leastGrant is the smallest that is worth it, calls. grant.LeastRate follows from it.
	leastGrant = 4
	// slack is by how much HAProxy may exceed what it was granted: by one call a thread.
	slack = 4096
)

// unasked is what is known of calls that HAProxy serves without a question.
type unasked struct {
	mu      sync.Mutex
	run     string            // of HAProxy, that the last report was of; "": there was none
	counted map[string]uint32 // by it
	called  map[string]uint64 // users' calls served here by then, by function
	granted map[string]bool   // functions that HAProxy may have a grant for
	calls   atomic.Uint64     // that it has served so, ever
}

// UnaskedCalls is how many calls HAProxy has served without a question, as far as it
// has reported them; they are among those that the meter counts.
func (r *Router) UnaskedCalls() uint64 { return r.unasked.calls.Load() }

// Unasked takes in what HAProxy has served without a question, as if it had been asked
// about now, and returns what it may serve so from now on. Reports have to be taken
// in in the order in which they were made.
//
// The first report says only where counting begins. With one of another run of HAProxy
// it has begun at 0; what the run before had served since its last report is not
// counted.
func (r *Router) Unasked(now time.Time, report grant.Report) grant.Grants {
	u := &r.unasked
	u.mu.Lock()
	defer u.mu.Unlock()
	s := r.current.Load()
	switch u.run {
	case report.Run:
	case "":
		u.counted = report.Counted // it was granted by an earlier run of this program
	default:
		u.counted = nil
	}
	u.run = report.Run
	for name, count := range report.Counted {
		if n := grown(u.counted[name], count); n > 0 {
			r.serveUnasked(s, now, name, n)
		}
	}
	u.counted = report.Counted
	return grant.Grants{Functions: u.grants(s, now)}
}

// grown is by how much a counter of 32 bits has grown, which may have begun anew: at 0
// if that is more than can have been granted.
func grown(before, now uint32) uint32 {
	const most = grant.MaxCalls + slack
	switch n := now - before; {
	case n <= most:
		return n
	case now <= most:
		return now
	}
	return 0
}

// serveUnasked counts and pays for calls that HAProxy has served.
func (r *Router) serveUnasked(s *Snapshot, now time.Time, name string, n uint32) {
	r.unasked.calls.Add(uint64(n))
	var f *function
	if s != nil {
		f = s.row(name)
	}
	if f == nil { // it is not in the table any more
		r.meter.Row(name).Local.Add(uint64(n))
		return
	}
	at := s.sinceEpoch(now)
	f.user.debitMany(at, n)
	f.capacity.debitMany(at, n)
	f.meter.Local.Add(uint64(n))
}

// grants returns what HAProxy may serve of the functions that were called most since
// the last report, and takes back what it may not serve any more.
func (u *unasked) grants(s *Snapshot, now time.Time) map[string]grant.Grant {
	type candidate struct {
		name   string
		calls  uint64 // since the last report
		offers grant.Grant
	}
	var best []candidate
	called := make(map[string]uint64, len(u.called))
	grants := make(map[string]grant.Grant)
	if s != nil && s.sinceEpoch(now) < s.expires {
		at := s.sinceEpoch(now)
		for _, f := range s.functions {
			calls := f.meter.Local.Load()
			if calls == 0 {
				continue
			}
			name := f.row.Name.String()
			called[name] = calls
			since := calls - min(calls, u.called[name])
			offers := grant.Grant{Calls: f.grantable(at), TimeoutMillis: f.timeout}
			switch {
			case offers.Calls == 0:
			case since > 0:
				best = append(best, candidate{name, since, offers})
			default:
				continue // it keeps what it has, for as long as that lasts
			}
			if u.granted[name] {
				grants[name] = grant.Grant{} // unless it is granted anew
			}
		}
	}
	for name := range u.granted {
		if _, there := called[name]; !there {
			grants[name] = grant.Grant{}
		}
	}
	slices.SortFunc(best, func(a, b candidate) int { return cmp.Compare(b.calls, a.calls) })
	for _, c := range best[:min(len(best), grant.MaxFunctions)] {
		grants[c.name] = c.offers
	}
	u.called = called
	for name, g := range grants {
		if g.Calls == 0 {
			delete(u.granted, name)
			continue
		}
		if u.granted == nil {
			u.granted = make(map[string]bool)
		}
		u.granted[name] = true
	}
	return grants
}

// grantable is how many calls of users would be admitted now and served here, whoever
// makes them, as far as that may be granted; 0 if it is not worth it.
func (f *function) grantable(at int64) uint32 {
	if !f.local || f.share < 1 {
		return 0
	}
	n := min(f.user.grantable(at), f.capacity.grantable(at))
	if n < leastGrant {
		return 0
	}
	return n
}

func (b *bucket) grantable(at int64) uint32 {
	switch {
	case b.unlimited():
		return grant.MaxCalls
	case b.never():
		return 0
	}
	depth := b.depth()
	left := depth - max(0, b.usedUntil.Load()-at) - depth/sharedPart // ns of rate
	if left <= 0 {
		return 0
	}
	return uint32(min(grant.MaxCalls, left/b.interval, int64(math.Floor(float64(depth)/grantedPart))/b.interval))
}

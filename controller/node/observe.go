package node

import "github.com/dfaas/dfaas/spoa/meter"

// counts is what happened to the requests of one function during a sample.
type counts struct {
	user    uint64            // demand of this node's users, whatever became of it
	refused uint64            // of these, answered 429 or 503
	in      map[string]uint64 // served for peers, by peer id
	asked   map[string]uint64 // asked for by peers, served or not
	out     map[string]uint64 // sent to peers, by peer id
}

// sample is what happened between two reports of the meter.
type sample struct {
	seconds   float64 // monotonic time between them, > 0
	functions map[string]counts
}

// minSample is the shortest time, in seconds, over which a rate is worth
// computing.
const minSample = 0.02

// difference returns what happened between two reports. A SPOA that was
// restarted meanwhile began to count from zero, and its uptime is the time that
// it counted. There is no sample (false) without an earlier report, nor when
// hardly any time has passed.
func difference(before, now *meter.Report) (sample, bool) {
	if before == nil {
		return sample{}, false
	}
	if restarted(before, now) {
		before = &meter.Report{}
	}
	s := sample{
		seconds:   float64(now.UptimeMicros-before.UptimeMicros) / 1e6,
		functions: make(map[string]counts, len(now.Functions)),
	}
	if s.seconds < minSample {
		return sample{}, false
	}
	earlier := make(map[string]*meter.Function, len(before.Functions))
	for i := range before.Functions {
		earlier[before.Functions[i].Name] = &before.Functions[i]
	}
	for i := range now.Functions {
		f := &now.Functions[i]
		e := earlier[f.Name]
		if e == nil {
			e = &meter.Function{}
		}
		s.functions[f.Name] = counts{
			user:    grown(e.User.Total(), f.User.Total()),
			refused: grown(e.User.Limited+e.User.Full, f.User.Limited+f.User.Full),
			in:      grownEach(e.In, f.In, func(p meter.Peer) uint64 { return p.Local }),
			asked:   grownEach(e.In, f.In, func(p meter.Peer) uint64 { return p.Local + p.Limited }),
			out:     grownEach(e.Out, f.Out, func(n uint64) uint64 { return n }),
		}
	}
	return s, true
}

// restarted reports whether two reports are of different runs of the SPOA.
func restarted(before, now *meter.Report) bool { return before.StartMillis != now.StartMillis }

// grown is how much a monotonic counter has grown: nothing, rather than nearly
// 2^64, should it have shrunk.
func grown(before, now uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

// grownEach is grown for each counter of a map, those that stood still left out.
func grownEach[C any](before, now map[string]C, count func(C) uint64) map[string]uint64 {
	var out map[string]uint64
	for id, c := range now {
		n := grown(count(before[id]), count(c))
		if n == 0 {
			continue
		}
		if out == nil {
			out = make(map[string]uint64, len(now))
		}
		out[id] = n
	}
	return out
}

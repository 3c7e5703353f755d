package estimate

import "github.com/dfaas/dfaas/spoa/meter"

// Counts is what happened to the requests of one function during a sample.
type Counts struct {
	User    uint64            // demand of this node's users, whatever became of it
	Refused uint64            // of these, answered 429 or 503
	In      map[string]uint64 // served for peers, by peer id
	Asked   map[string]uint64 // asked for by peers, served or not
	Out     map[string]uint64 // sent to peers, by peer id
}

// Sample is what happened between two reports of the SPOA's meter.
type Sample struct {
	Seconds   float64 // monotonic time between them, > 0
	Functions map[string]Counts
}

// minSample is the shortest time, in seconds, over which a rate is worth
// computing.
const minSample = 0.02

// Difference returns what happened between two reports. A SPOA that was
// restarted meanwhile began to count from zero, and its uptime is the time that
// it counted. There is no sample (false) without an earlier report, nor when
// hardly any time has passed.
func Difference(before, now *meter.Report) (Sample, bool) {
	if before == nil {
		return Sample{}, false
	}
	if Restarted(before, now) {
		before = &meter.Report{}
	}
	s := Sample{
		Seconds:   float64(now.UptimeMicros-before.UptimeMicros) / 1e6,
		Functions: make(map[string]Counts, len(now.Functions)),
	}
	if s.Seconds < minSample {
		return Sample{}, false
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
		s.Functions[f.Name] = Counts{
			User:    grown(e.User.Total(), f.User.Total()),
			Refused: grown(e.User.Limited+e.User.Full, f.User.Limited+f.User.Full),
			In:      grownEach(e.In, f.In, func(p meter.Peer) uint64 { return p.Local }),
			Asked:   grownEach(e.In, f.In, func(p meter.Peer) uint64 { return p.Local + p.Limited }),
			Out:     grownEach(e.Out, f.Out, func(n uint64) uint64 { return n }),
		}
	}
	return s, true
}

// Restarted reports whether two reports are of different runs of the SPOA.
func Restarted(before, now *meter.Report) bool { return before.StartMillis != now.StartMillis }

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

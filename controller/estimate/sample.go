package estimate

import (
	"reflect"

	"github.com/dfaas/dfaas/spoa/meter"
)

// Counts is what happened to the requests of one function during a sample.
type Counts struct {
	User    uint64            // demand of this node's users, whatever became of it
	Here    uint64            // of these, served here, or sent to the gateway
	Refused uint64            // of these, answered 429 or 503
	In      map[string]uint64 // served for peers, by peer id
	Asked   map[string]uint64 // asked for by peers, served or not
	Out     map[string]uint64 // sent to peers, by peer id
}

// Sample is what happened between two reports of the SPOA's meter.
type Sample struct {
	Seconds   float64           // monotonic time between them, > 0
	Functions map[string]Counts // those for which anything was counted
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
	s := Sample{Seconds: float64(now.UptimeMicros-before.UptimeMicros) / 1e6}
	if s.Seconds < minSample {
		return Sample{}, false
	}
	earlier := finder{functions: before.Functions}
	for i := range now.Functions {
		f := &now.Functions[i]
		e := earlier.find(f.Name)
		if e.User == f.User && e.Back() == f.Back() && sameMap(e.In, f.In) && sameMap(e.Out, f.Out) {
			continue
		}
		c := Counts{
			User:    grown(e.User.Total(), f.User.Total()),
			Here:    grown(e.User.Local+e.Back().Local, f.User.Local+f.Back().Local),
			Refused: grown(e.Refused(), f.Refused()),
		}
		if !sameMap(e.In, f.In) {
			c.In = grownEach(e.In, f.In, func(p meter.Peer) uint64 { return p.Local })
			c.Asked = grownEach(e.In, f.In, func(p meter.Peer) uint64 { return p.Local + p.Limited })
		}
		if !sameMap(e.Out, f.Out) {
			c.Out = grownEach(e.Out, f.Out, func(n uint64) uint64 { return n })
		}
		if c.idle() {
			continue
		}
		if s.Functions == nil {
			s.Functions = make(map[string]Counts)
		}
		s.Functions[f.Name] = c
	}
	return s, true
}

// finder finds functions of a report by name. Those of two reports mostly are in the
// same places.
type finder struct {
	functions []meter.Function
	at        int // where the next one probably is
	byName    map[string]int
}

// find returns the function of that name, one without counts if there is none.
func (f *finder) find(name string) *meter.Function {
	if f.at < len(f.functions) && f.functions[f.at].Name == name {
		f.at++
		return &f.functions[f.at-1]
	}
	if f.byName == nil {
		f.byName = make(map[string]int, len(f.functions))
		for i := range f.functions {
			f.byName[f.functions[i].Name] = i
		}
	}
	i, there := f.byName[name]
	if !there {
		return new(meter.Function)
	}
	f.at = i + 1
	return &f.functions[i]
}

// sameMap reports whether both are one map, or both empty. A report that a meter makes
// in this process shares with the one before what has not changed.
func sameMap[K comparable, V any](a, b map[K]V) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer())
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

package simulator

import (
	"container/heap"
	"fmt"
	"time"
)

// Machine is how nodes work on the calls that they have admitted.
type Machine struct {
	Kind MachineKind
}

// MachineKind is a model of a machine.
type MachineKind string

// The models.
const (
	// TokenMachine serves every admitted call in its service time: the label says
	// all there is to know of the machine.
	TokenMachine MachineKind = "token"
	// ServersMachine has as many servers as the node has CPUs; calls wait in line.
	ServersMachine MachineKind = "servers"
	// SharedMachine divides its CPUs evenly over the calls under way, of all
	// functions (processor sharing).
	SharedMachine MachineKind = "shared"
)

func (m Machine) check() error {
	switch m.Kind {
	case TokenMachine, ServersMachine, SharedMachine:
		return nil
	}
	return fmt.Errorf("machine %q: use %s, %s or %s", m.Kind, TokenMachine, ServersMachine, SharedMachine)
}

// machine works on calls. Its times are virtual.
type machine interface {
	// begin takes in a call that needs so much work, as time on an idle CPU.
	begin(now, work time.Duration, call int32)
	// next is when a call ends, and which, if none begins before.
	next() (at time.Duration, call int32, any bool)
	// end takes out the call that next names.
	end()
}

// ending is a call under way and when it ends.
type ending struct {
	at   time.Duration
	call int32
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// servers is a machine with several servers and one line before them.
type servers struct {
	free  []time.Duration // when each server is free
	under endings
}

func newServers(cpus float64) *servers {
	return &servers{free: make([]time.Duration, max(1, int(cpus)))}
}

func (s *servers) begin(now, work time.Duration, call int32) {
	first := 0
	for i := range s.free {
		if s.free[i] < s.free[first] {
			first = i
		}
	}
	s.free[first] = max(now, s.free[first]) + work
	heap.Push(&s.under, ending{s.free[first], call})
}

func (s *servers) next() (time.Duration, int32, bool) {
	if len(s.under) == 0 {
		return 0, 0, false
	}
	return s.under[0].at, s.under[0].call, true
}

func (s *servers) end() { heap.Pop(&s.under) }

// shared is processor sharing. It keeps time by the work that each call under
// way has been given so far, which is the same for all that were there.
type shared struct {
	cpus  float64
	given time.Duration // to a call that was there from the beginning
	asOf  time.Duration
	under endings // at: what given will be when the call ends
}

// speed is how fast each call is worked on, 1 on an idle CPU.
func (s *shared) speed() float64 { return min(1, s.cpus/float64(max(1, len(s.under)))) }

func (s *shared) advance(now time.Duration) {
	s.given += time.Duration(float64(now-s.asOf) * s.speed())
	s.asOf = now
}

func (s *shared) begin(now, work time.Duration, call int32) {
	s.advance(now)
	heap.Push(&s.under, ending{s.given + work, call})
}

func (s *shared) next() (time.Duration, int32, bool) {
	if len(s.under) == 0 {
		return 0, 0, false
	}
	left := max(0, s.under[0].at-s.given)
	return s.asOf + time.Duration(float64(left)/s.speed()), s.under[0].call, true
}

func (s *shared) end() {
	at, _, _ := s.next()
	s.advance(at)
	heap.Pop(&s.under)
}

// Package scenario reads the files that describe an experiment: the nodes of a
// federation, the load on it, the faults done to it and what is expected of it.
//
// The package is pure: it decides whether a file makes sense, it starts nothing.
package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/topology"
	"github.com/dfaas/dfaas/internal/yamlfile"
)

// Bounds of a scenario. A file outside them is refused.
const (
	MaxFile      = 1 << 20 // bytes
	MaxFunctions = 64      // per node
	MaxFaults    = 256
	MaxExpect    = 256
	MaxRate      = shape.MaxRate // requests per second of one load
	MaxLasting   = 24 * time.Hour
	// Of planning.
	MinPeriod = 100 * time.Millisecond
	MaxPeriod = 10 * time.Minute
)

// Limits bound how large a scenario may be. 0 means the default, which is for
// real processes on one machine.
type Limits struct {
	Nodes int // default topology.MaxNodes
	Loads int // default 64
}

func (l Limits) orDefaults() Limits {
	return Limits{cmp.Or(l.Nodes, topology.MaxNodes), cmp.Or(l.Loads, 64)}
}

// mostRate is more than all loads together can be, requests/s.
const mostRate = 1e12

// Values of what a scenario leaves out.
const (
	DefaultStrategy = "headroom"
	DefaultPeriod   = time.Second
	DefaultWarmup   = 3 * time.Second
	DefaultSeed     = 1
	// DefaultSkew is how unevenly a moving load is spread.
	DefaultSkew = 3
	// DefaultMaxrate is the capacity, in requests/s, that nodes give functions
	// without a maxrate.
	DefaultMaxrate = 100
)

// Scenario is one experiment. Times are relative to t = 0, the moment when the
// federation has formed, every function is announced and the warm-up is over.
type Scenario struct {
	Name     string
	Strategy string        // of the nodes that do not name one
	Period   time.Duration // planning period
	Warmup   time.Duration
	Seed     uint64 // of all that loads draw; set by Reseed
	// DefaultMaxrate is the soft capacity of functions without maxrate, requests/s.
	DefaultMaxrate float64
	// Topology is how the nodes are linked, by their indexes; nil where each is linked to
	// each and nothing is said of the links.
	Topology *topology.Topology
	// Neighbours is that nodes forward only to those whom they are linked to.
	Neighbours bool
	// Namespaces gives every node a network of its own: asked for, or needed by
	// partitions and by links that do something.
	Namespaces bool
	// MDNS has nodes find each other on their network, instead of through the first.
	MDNS bool
	// TLS makes requests between nodes go over TLS.
	TLS bool
	// FastPath lets nodes' HAProxies serve calls without asking the agent.
	FastPath bool
	Nodes    []Node
	Loads    []Load
	Faults   []Fault
	Expect   []Expectation
}

// Node is one member of the federation.
type Node struct {
	Name     string
	Strategy string // empty: the scenario's
	// Gateway is the URL of an OpenFaaS-compatible gateway that runs already.
	// Empty: the emulator starts a dfaas-provider for the node.
	Gateway             string
	GatewayUser         string
	GatewayPasswordFile string
	// CPUs and Memory, bytes, are what all parts of the node together may have; 0: all.
	CPUs   float64
	Memory int64
	// Functions are deployed to the node's provider. With a gateway they are
	// only expected there: the emulator changes no gateway that it did not start.
	Functions []Function

	Line int // in the file
}

// Function is a function of one node.
type Function struct {
	Name string
	// Image names an image of the provider's catalogue, Process a command that
	// reads the request body from stdin. One of both.
	Image   string
	Process string
	Mode    string // how the provider runs a process: "" its default, "streaming", "serializing", "http"
	// Maxrate is the capacity label in requests/s; nil: no label.
	Maxrate       *float64
	TimeoutMillis int64 // 0: no label
	Env           map[string]string
	Labels        map[string]string // further labels, as they are

	Line int
}

// Load is a stream of requests for one function at one node.
type Load struct {
	Target   string // node
	Function string
	// Rate is requests/s, of all targets together if the load moves between them; 0
	// where the shape says all.
	Rate     float64
	Shape    shape.Shape    // but its rate
	Arrivals shape.Arrivals // "" is constant
	Seed     uint64         // of random arrivals
	Start    time.Duration
	Duration time.Duration
	Method   string // GET without a body, POST with one, unless given
	Path     string // behind the function's name, with its leading slash
	Query    string // without the question mark
	Body     string
	Headers  map[string]string

	Line int
}

// End is when the load's last request has been sent.
func (l Load) End() time.Duration { return l.Start + l.Duration }

// Requests is the number of requests that the load consists of; where that is
// left to chance, the one to be expected.
func (l Load) Requests() int { return int(l.shape().Mean(l.Duration)*l.Duration.Seconds() + 0.5) }

// Times are when the requests are sent, after the load's start. The same load has
// the same times whenever it is asked.
func (l Load) Times() *shape.Times {
	return shape.NewTimes(l.shape().Course(l.Duration), l.Duration, l.Arrivals, l.Seed)
}

func (l Load) shape() shape.Shape {
	s := l.Shape
	s.Rate = l.Rate
	return s
}

// peak is the highest rate to reckon with, requests/s.
func (l Load) peak() float64 {
	if s := l.shape(); s.Kind != shape.Moving {
		return s.Peak()
	}
	return l.shape().Mean(l.Duration) // what one target has more, others have less
}

// Reseed has the loads draw other random numbers.
func (s *Scenario) Reseed(seed uint64) {
	s.Seed = seed
	Reseed(s.Loads, seed)
}

// Reseed has all loads of a scenario draw other random numbers.
func Reseed(loads []Load, seed uint64) {
	for i := range loads {
		l := &loads[i]
		if l.Arrivals == shape.Poisson {
			l.Seed = seed<<20 ^ uint64(i)
		}
		switch l.Shape.Kind {
		case shape.Moving: // one draw for all its targets
			l.Shape.Seed = seed<<20 ^ uint64(l.Line)
		case shape.OnOff:
			l.Shape.Seed = seed<<20 ^ uint64(i)
		}
	}
}

// Action is what a fault does to a part of a node.
type Action string

// The actions on parts.
const (
	Kill     Action = "kill"     // SIGKILL; dead until restarted
	Stop     Action = "stop"     // SIGSTOP: hangs
	Continue Action = "continue" // SIGCONT
	Restart  Action = "restart"  // ended if it runs, then started
	Reload   Action = "reload"   // SIGUSR2 to HAProxy's master
)

// The actions on the network.
const (
	Partition Action = "partition" // nodes are cut off from all others
	Heal      Action = "heal"      // and reach them again
)

// The actions on links.
const (
	ChangeLink Action = "link"      // it has another delay, jitter, rate or loss
	LinkDown   Action = "link-down" // nothing goes over it
	LinkUp     Action = "link-up"
)

// onNetwork reports whether the action is one on whole nodes.
func (a Action) onNetwork() bool { return a == Partition || a == Heal }

// OnLink reports whether the action is one on a link.
func (a Action) OnLink() bool { return a == ChangeLink || a == LinkDown || a == LinkUp }

// Actions lists the actions on parts.
func Actions() []Action { return []Action{Kill, Stop, Continue, Restart, Reload} }

// ParseAction returns the action of that name.
func ParseAction(name string) (Action, error) {
	if action := Action(name); action.onNetwork() || action.OnLink() || slices.Contains(Actions(), action) {
		return action, nil
	}
	return "", fmt.Errorf("unknown action %q: use one of %s", name, joined(append(Actions(), Partition, Heal, ChangeLink, LinkDown, LinkUp)))
}

// Part is one of a node's processes.
type Part string

// The parts of a node.
const (
	SPOA       Part = "spoa"
	Controller Part = "controller"
	HAProxy    Part = "haproxy"
	Provider   Part = "provider"
	All        Part = "all" // each of them
)

// Parts lists the parts, in the order in which a node starts them, without All.
func Parts() []Part { return []Part{Provider, SPOA, HAProxy, Controller} }

// ParsePart returns the part of that name.
func ParsePart(name string) (Part, error) {
	if part := Part(name); part == All || slices.Contains(Parts(), part) {
		return part, nil
	}
	return "", fmt.Errorf("unknown part %q: use one of %s", name, joined(append(Parts(), All)))
}

// CheckFault reports whether the action can be done to the part.
func CheckFault(action Action, part Part) error {
	switch {
	case action.onNetwork():
		return fmt.Errorf("%s is done to whole nodes, not to a part", action)
	case action.OnLink():
		return fmt.Errorf("%s is done to the link between two nodes, not to a part", action)
	case action == Reload && part != HAProxy:
		return fmt.Errorf("only haproxy can be reloaded: use part: haproxy, or do: restart")
	}
	return nil
}

// Fault is something done to a node on purpose.
type Fault struct {
	At   time.Duration
	Do   Action
	Node string // with an action on a part
	Part Part
	// Nodes are those parted from all others, or healed: all, if none is named.
	Nodes []string
	// Between are the ends of a link, with an action on one; Link is what it is like from
	// then on.
	Between [2]string
	Link    topology.Link
	// Duration, when not 0, undoes the fault after that time: a killed part is
	// restarted, a stopped one continued, a partition healed, a link as it was.
	Duration time.Duration

	Line int

	given  []property    // of the link, until the topology is known
	before topology.Link // what the topology says that it is like
}

// Undo is the fault that ends f, and whether there is one.
func (f Fault) Undo() (Fault, bool) {
	if f.Duration == 0 {
		return Fault{}, false
	}
	undo := Fault{At: f.At + f.Duration, Do: Restart, Node: f.Node, Part: f.Part, Nodes: f.Nodes, Between: f.Between, Link: f.before, Line: f.Line}
	switch f.Do {
	case ChangeLink:
		undo.Do = ChangeLink
	case LinkDown:
		undo.Do = LinkUp
	case Stop:
		undo.Do = Continue
	case Partition:
		undo.Do = Heal
	}
	return undo, true
}

// Expectation bounds what happens, in requests per second on average over the
// whole seconds [From, To).
type Expectation struct {
	Load int // number of the load, counted from 1; 0: all loads together
	From time.Duration
	To   time.Duration
	// Status bounds the responses by status ("200"; "0": no response). Other
	// stands for all statuses not named here.
	Status map[string]Range
	// ByNode bounds the 200s by the node that executed the function.
	ByNode map[string]Range

	Line int
}

// Other is the key of Expectation.Status for the statuses not named.
const Other = "other"

// Range is a closed interval; Max may be +Inf.
type Range struct{ Min, Max float64 }

// Contains reports whether the value lies in the range.
func (r Range) Contains(v float64) bool { return v >= r.Min && v <= r.Max }

// String writes the range as scenario files do: 5, 5..7, 5.., ..7.
func (r Range) String() string {
	switch {
	case r.Min == r.Max:
		return yamlfile.Number(r.Min)
	case r.Max > mostRate:
		return yamlfile.Number(r.Min) + ".."
	default:
		return yamlfile.Number(r.Min) + ".." + yamlfile.Number(r.Max)
	}
}

// End is when the last load ends.
func (s *Scenario) End() time.Duration {
	var end time.Duration
	for _, l := range s.Loads {
		end = max(end, l.End())
	}
	return end
}

// PeakRate is the most requests/s that all loads together send.
func (s *Scenario) PeakRate() float64 {
	peak := 0.0
	for _, at := range s.Loads {
		sum := 0.0
		for _, l := range s.Loads {
			if l.Start <= at.Start && at.Start < l.End() {
				sum += l.peak()
			}
		}
		peak = max(peak, sum)
	}
	return peak
}

// Timeline lists the faults and what undoes them, in the order of their time.
func (s *Scenario) Timeline() []Fault {
	var line []Fault
	for _, f := range s.Faults {
		line = append(line, f)
		if undo, ok := f.Undo(); ok {
			line = append(line, undo)
		}
	}
	slices.SortStableFunc(line, func(a, b Fault) int { return int(a.At - b.At) })
	return line
}

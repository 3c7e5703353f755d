package simulator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// Note is what a simulation of a scenario takes to be otherwise.
type Note struct {
	Line int // of the scenario's file
	Text string
}

// Of a simulated scenario.
const (
	// formed is how long nodes take to know each other; then the warm-up begins.
	formed = 4 * time.Second
	// LocalDelay is the delay between nodes on one machine.
	LocalDelay = 500 * time.Microsecond
)

// ScenarioLimits returns the limits of scenarios that can be simulated.
func ScenarioLimits() scenario.Limits { return scenario.Limits{Nodes: maxNodes, Loads: maxNodes} }

// FromScenario completes a configuration with what a scenario of the emulator's
// says: nodes, loads and faults, seed and times. What it cannot model is noted.
func FromScenario(s *scenario.Scenario, c Config) (Config, []Note) {
	r := fromScenario{scenario: s, index: make(map[string]int), machine: c.Machine.Kind}
	c.Strategy, c.Period, c.Seed = s.Strategy, s.Period, s.Seed
	c.Warmup = formed + s.Warmup
	c.Duration = max(time.Second, s.End())
	c.Instance = r.instance()
	c.Topology = r.topology()
	c.Faults = r.faults()
	c.Loads, c.PeerTLS = s.Loads, s.TLS
	c.Load = offered(c.Loads, c.Instance, c.Duration)
	if s.TLS {
		r.note(1, "tls: calls between nodes take no longer for it")
	}
	if s.FastPath {
		r.note(1, "fast_path: every call is asked about, which takes no time here")
	}
	slices.SortStableFunc(r.notes, func(a, b Note) int { return a.Line - b.Line })
	return c, r.notes
}

type fromScenario struct {
	scenario *scenario.Scenario
	index    map[string]int // of nodes
	notes    []Note
	machine  MachineKind
}

func (r *fromScenario) note(line int, format string, args ...any) {
	r.notes = append(r.notes, Note{Line: line, Text: fmt.Sprintf(format, args...)})
}

func (r *fromScenario) instance() *Instance {
	i := &Instance{Name: r.scenario.Name}
	for at, n := range r.scenario.Nodes {
		r.index[n.Name] = at
		node := Node{Name: n.Name, CPUs: cmp.Or(n.CPUs, 1), Strategy: n.Strategy}
		if n.CPUs != 0 && r.machine == TokenMachine {
			r.note(n.Line, "cpus: those of node %s matter with --machine servers or shared only", n.Name)
		}
		if n.Memory != 0 {
			r.note(n.Line, "memory: node %s has as much as it needs", n.Name)
		}
		if n.Gateway != "" {
			r.note(n.Line, "gateway: node %s has a gateway whose functions are not known here: each is taken to serve %v requests/s",
				n.Name, r.scenario.DefaultMaxrate)
		}
		for _, f := range n.Functions {
			node.Functions = append(node.Functions, r.function(f))
		}
		i.Nodes = append(i.Nodes, node)
	}
	if r.scenario.Neighbours {
		for _, e := range r.scenario.Topology.Edges {
			i.Edges = append(i.Edges, [2]int{e.A, e.B})
		}
	}
	return i
}

// topology is how the scenario's nodes are linked. Where only neighbours forward to each
// other, the instance has its edges.
func (r *fromScenario) topology() *topology.Topology {
	s := r.scenario
	if slices.ContainsFunc(s.Faults, func(f scenario.Fault) bool { return f.Link.Rate != 0 }) ||
		s.Topology != nil && slices.ContainsFunc(s.Topology.Edges, func(e topology.Edge) bool { return e.Rate != 0 }) {
		r.note(1, "rate: what goes over a link takes no longer for its rate")
	}
	return s.Topology
}

func (r *fromScenario) function(f scenario.Function) Function {
	out := Function{Name: f.Name, ServiceMillis: defaultServiceMillis, Maxrate: r.scenario.DefaultMaxrate, Soft: true}
	if f.Maxrate != nil {
		out.Maxrate, out.Soft = *f.Maxrate, false
	}
	if out.Maxrate == 0 {
		r.note(f.Line, "maxrate: function %s cannot have %v here: taken as %v", f.Name, out.Maxrate, leastMaxrate)
		out.Maxrate = leastMaxrate
	}
	if f.TimeoutMillis != 0 {
		r.note(f.Line, "timeout_ms: calls of %s take %d ms on average and are never broken off", f.Name, defaultServiceMillis)
	}
	for name := range f.Labels {
		r.note(f.Line, "labels: %s of function %s does nothing", name, f.Name)
	}
	return out
}

// leastMaxrate stands for a function that serves nothing.
const leastMaxrate = 0.001

func (r *fromScenario) faults() []Fault {
	var out []Fault
	for _, f := range r.scenario.Timeline() {
		fault := Fault{At: f.At, Do: f.Do, Part: f.Part, Link: f.Link}
		if f.Do.OnLink() {
			fault.Edge, _ = r.scenario.Topology.Find(r.index[f.Between[0]], r.index[f.Between[1]])
		}
		for _, name := range f.Nodes {
			fault.Nodes = append(fault.Nodes, r.index[name])
		}
		if f.Node != "" {
			fault.Nodes = append(fault.Nodes, r.index[f.Node])
		}
		out = append(out, fault)
	}
	return out
}

// offered is what users' loads ask for on average, as a fraction of the capacity.
func offered(loads []scenario.Load, i *Instance, lasting time.Duration) float64 {
	requests, capacity := 0.0, 0.0
	for i := range loads {
		if claimOf(&loads[i], false) == nil {
			requests += float64(loads[i].Requests())
		}
	}
	for _, n := range i.Nodes {
		for _, f := range n.Functions {
			capacity += f.Maxrate
		}
	}
	return math.Round(1000*requests/seconds(lasting)/max(capacity, leastMaxrate)) / 1000
}

// addLoads has the loads' calls arrive.
func (w *world) addLoads() {
	if w.config.Loads == nil {
		return
	}
	index, functions := make(map[string]int), make(map[string]int)
	for n := range w.config.Instance.Nodes {
		index[w.config.Instance.Nodes[n].Name] = n
	}
	for f, name := range w.names {
		functions[name.String()] = f
	}
	loads := slices.Clone(w.config.Loads)
	scenario.Reseed(loads, w.config.Seed)
	w.firstLoad = len(w.streams)
	w.samples = make([][]summary.Sample, len(loads))
	for i := range loads {
		l := &loads[i]
		w.streams = append(w.streams, stream{
			node: index[l.Target], fn: functions[l.Function], times: l.Times(), starts: w.config.Warmup + l.Start, claim: claimOf(l, w.config.PeerTLS),
		})
	}
}

// begins has the first call of each load arrive.
func (w *world) begins() {
	for id := w.firstLoad; id < len(w.streams) && w.config.Loads != nil; id++ {
		w.next(int32(id))
	}
}

// Statuses of answers.
const (
	statusOK          = 200
	statusFull        = 429
	statusUnavailable = 503
	statusNone        = 0 // no answer
)

// sample keeps what became of a load's call.
func (w *world) sample(c *call) {
	load := int(c.stream) - w.firstLoad
	if w.samples == nil || load < 0 {
		return
	}
	s := summary.Sample{At: c.arrived - w.config.Warmup, Latency: w.now - c.arrived, Status: int(c.status)}
	if !c.refused {
		s.Status, s.Node = statusOK, w.config.Instance.Nodes[c.at].Name
	}
	w.samples[load] = append(w.samples[load], s)
}

// summaries are what became of the loads; nil without any.
func (w *world) summaries() []summary.Load {
	var out []summary.Load
	for i, l := range w.config.Loads {
		out = append(out, summary.OfLoad(l, w.samples[i]))
	}
	return out
}

package scenario

import (
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/yamlfile"
	"github.com/dfaas/dfaas/spoa/grant"
)

// references refuses what names things that are not there, or not in time.
// The values themselves have been checked before.
func (r *reader) references(s *Scenario) {
	if len(s.Nodes) == 0 {
		r.Refuse(1, "the scenario has no nodes")
		return
	}
	r.lay(s)
	r.decideNetwork(s)
	nodes := r.uniqueNodes(s)
	r.fastPath(s)
	r.loads(s, nodes)
	r.faults(s, nodes)
	for i := range s.Expect {
		r.window(s, &s.Expect[i])
		for name := range s.Expect[i].ByNode {
			if !nodes[name] {
				r.Refuse(s.Expect[i].Line, "by_node: there is no node %q", yamlfile.Clip(name))
			}
		}
	}
}

func (r *reader) uniqueNodes(s *Scenario) map[string]bool {
	nodes := make(map[string]bool)
	for _, node := range s.Nodes {
		if nodes[node.Name] {
			r.Refuse(node.Line, "node %s is there twice", node.Name)
		}
		nodes[node.Name] = true
		functions := make(map[string]bool)
		for _, f := range node.Functions {
			if functions[f.Name] {
				r.Refuse(f.Line, "function %s is there twice on node %s", f.Name, node.Name)
			}
			functions[f.Name] = true
		}
		if s.Namespaces && node.Gateway != "" {
			r.Refuse(node.Line, "gateway: from a network namespace, node %s could not reach it", node.Name)
		}
	}
	return nodes
}

// fastPath refuses one that nothing could take: what is measured with it would say nothing
// of it. What functions of a gateway that runs already can serve is not known here.
func (r *reader) fastPath(s *Scenario) {
	if !s.FastPath || slices.ContainsFunc(s.Nodes, func(n Node) bool {
		return n.Gateway != "" || slices.ContainsFunc(n.Functions, func(f Function) bool {
			return f.capacity(s.DefaultMaxrate) >= grant.LeastRate
		})
	}) {
		return
	}
	r.Refuse(r.fastPathLine, "fast_path: every call of a function of less than %d requests/s is asked about, and no node has another", grant.LeastRate)
}

// capacity is the requests/s that the node can serve.
func (f *Function) capacity(byDefault float64) float64 {
	if f.Maxrate == nil {
		return byDefault
	}
	return *f.Maxrate
}

func (r *reader) loads(s *Scenario, nodes map[string]bool) {
	deployed := make(map[string]bool)
	for _, node := range s.Nodes {
		for _, f := range node.Functions {
			deployed[f.Name] = true
		}
	}
	if len(s.Loads) > r.limits.Loads {
		r.Refuse(s.Loads[r.limits.Loads].Line, "load: %d are too many, at most %d; one that moves counts for each of its targets", len(s.Loads), r.limits.Loads)
	}
	for _, l := range s.Loads {
		if !nodes[l.Target] {
			r.Refuse(l.Line, "target: there is no node %q", yamlfile.Clip(l.Target))
		}
		if !deployed[l.Function] {
			r.Refuse(l.Line, "function: no node has %q", yamlfile.Clip(l.Function))
		}
		if l.Requests() < 1 {
			r.Refuse(l.Line, "rate: at %s requests/s not one request falls into %s",
				yamlfile.Number(l.shape().Mean(l.Duration)), l.Duration)
		}
	}
}

func (r *reader) faults(s *Scenario, nodes map[string]bool) {
	for _, f := range s.Faults {
		for _, name := range f.Nodes {
			if !nodes[name] {
				r.Refuse(f.Line, "nodes: there is no node %q", yamlfile.Clip(name))
			}
		}
		if f.Do == Partition && len(f.Nodes) >= len(s.Nodes) {
			r.Refuse(f.Line, "nodes: all nodes are on one side, nothing would be cut")
		}
		if !f.Do.onNetwork() && !f.Do.OnLink() && !nodes[f.Node] {
			r.Refuse(f.Line, "node: there is no node %q", yamlfile.Clip(f.Node))
		}
		if end := s.End(); f.At >= end {
			r.Refuse(f.Line, "at: the load ends at %s, a fault at %s would meet none", end, f.At)
		} else if f.At+f.Duration >= end {
			r.Refuse(f.Line, "duration: the load ends at %s, before the fault does at %s", end, f.At+f.Duration)
		}
		for _, node := range s.Nodes {
			if node.Name == f.Node && node.Gateway != "" && f.Part == Provider {
				r.Refuse(f.Line, "part: node %s has its own gateway, there is no provider to %s", f.Node, f.Do)
			}
		}
	}
}

// window gives the expectation the whole seconds in which its loads run, and
// refuses a window that lies outside of them.
func (r *reader) window(s *Scenario, e *Expectation) {
	if e.Load > len(s.Loads) {
		r.Refuse(e.Line, "load: there is no load %d, only %d", e.Load, len(s.Loads))
		return
	}
	start, end := time.Duration(0), s.End()
	if e.Load > 0 {
		start, end = s.Loads[e.Load-1].Start, s.Loads[e.Load-1].End()
	}
	if e.To == 0 {
		e.To = end.Truncate(time.Second)
	}
	if e.From == 0 {
		e.From = (start + time.Second - 1).Truncate(time.Second)
	}
	whole := e.From%time.Second == 0 && e.To%time.Second == 0
	if !whole || e.From >= e.To || e.From < start || e.To > end {
		r.Refuse(e.Line, "from %s to %s: whole seconds within %s and %s are expected", e.From, e.To, start, end)
	}
}

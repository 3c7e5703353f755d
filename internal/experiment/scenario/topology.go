package scenario

import (
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/internal/experiment/topology"
	"github.com/dfaas/dfaas/internal/yamlfile"
)

// lines is what a file says of its topology, before its nodes are known.
type lines struct {
	line     int // of topology; 0: there is none
	kind     topology.Kind
	file     string
	fileLine int
	prob     float64
	seed     uint64
	like     topology.Link
	links    []between
	scope    string
	at       int // line of scope
}

// between is what a file says of one link.
type between struct {
	line  int
	nodes [2]string
	given []property
}

// property is one of a link's, as it is written and known to be good.
type property struct{ name, text string }

func (b *between) change(l topology.Link) topology.Link {
	for _, p := range b.given {
		_ = l.Set(p.name, p.text) // it was read before
	}
	return l
}

// linkFields are the keys of a link's properties; what is read is added to given.
func (r *reader) linkFields(given *[]property) yamlfile.Fields {
	fields := make(yamlfile.Fields)
	for _, name := range topology.Properties() {
		fields[name] = func(n *yaml.Node) {
			text := r.Text(n, name)
			if err := new(topology.Link).Set(name, text); text != "" && err != nil {
				r.Refuse(n.Line, "%v", err)
				return
			}
			*given = append(*given, property{name, text})
		}
	}
	return fields
}

// linksFile is a file beside the scenario's: a scenario reads no other.
var linksFile = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(csv|graphml)$`)

func (r *reader) topology(n *yaml.Node) {
	l := &r.lines
	l.line, l.seed = n.Line, DefaultSeed
	like := between{}
	seeded := false
	fields := r.linkFields(&like.given)
	fields["kind"] = func(n *yaml.Node) { l.kind = refused(r, n, "kind", topology.ParseKind) }
	fields["edges"] = func(n *yaml.Node) {
		l.fileLine, l.file = n.Line, r.Name(n, "edges", linksFile, "the name of a file beside the scenario's is expected, that ends with .csv or .graphml")
	}
	fields["prob"] = func(n *yaml.Node) {
		if l.prob = r.Number(n, "prob", 0, 1); l.prob == 0 && r.Err() == nil {
			r.Refuse(n.Line, "prob: with 0, no two nodes would be linked")
		}
	}
	fields["seed"] = func(n *yaml.Node) { seeded, l.seed = true, uint64(r.Whole(n, "seed", 0, 1e9)) }
	r.Mapping(n, "the topology", fields)
	l.like = like.change(topology.Link{})
	random := l.kind == topology.Random
	switch {
	case l.kind == "" && l.fileLine == 0:
		if r.Err() == nil {
			r.Refuse(n.Line, "the topology has neither a kind nor a file of edges")
		}
	case l.kind != "" && l.fileLine != 0:
		r.Refuse(n.Line, "the topology has a kind and a file of edges: give one")
	case !random && (l.prob != 0 || seeded):
		r.Refuse(n.Line, "prob and seed are those of a random topology")
	case random && l.prob == 0 && r.Err() == nil:
		r.Refuse(n.Line, "a random topology needs prob, the probability that two nodes are linked")
	}
	if err := l.like.Check(); err != nil {
		r.Refuse(n.Line, "%v", err)
	}
}

func (r *reader) links(n *yaml.Node) {
	r.List(n, "links", topology.MaxEdges, func(n *yaml.Node) {
		b := between{line: n.Line}
		fields := r.linkFields(&b.given)
		fields["between"] = func(n *yaml.Node) { b.nodes = r.pair(n) }
		r.Mapping(n, "a link", fields, "between")
		r.lines.links = append(r.lines.links, b)
	})
}

// pair reads the two nodes of a link.
func (r *reader) pair(n *yaml.Node) [2]string {
	var nodes []string
	r.List(n, "between", 2, func(n *yaml.Node) { nodes = append(nodes, r.Text(n, "between")) })
	if len(nodes) != 2 {
		if r.Err() == nil {
			r.Refuse(n.Line, "between: two nodes are expected")
		}
		return [2]string{}
	}
	return [2]string(nodes)
}

// What scope may be.
const (
	toNeighbours = "neighbours"
	toAll        = "all"
)

func (r *reader) scope(n *yaml.Node) {
	r.lines.at, r.lines.scope = n.Line, r.Text(n, "scope")
	if s := r.lines.scope; s != toNeighbours && s != toAll {
		r.Refuse(n.Line, "scope: %s or %s is expected, not %q", toNeighbours, toAll, yamlfile.Clip(s))
	}
}

// lay makes the topology of what the file says, once the nodes are known.
func (r *reader) lay(s *Scenario) {
	l := &r.lines
	s.Neighbours = l.scope == toNeighbours || l.scope == "" && l.line != 0
	if l.line == 0 && l.scope == toNeighbours {
		r.Refuse(l.at, "scope: without a topology, all are neighbours of all")
	}
	faulty := false
	for i := range s.Faults {
		faulty = faulty || s.Faults[i].Do.OnLink()
	}
	if l.line == 0 && len(l.links) == 0 && !faulty {
		return
	}
	if s.Topology = r.made(s); s.Topology == nil {
		return
	}
	seen := make(map[int]int)
	for i := range l.links {
		b := &l.links[i]
		link, ok := r.find(s, b.line, b.nodes)
		if !ok {
			continue
		}
		if before := seen[link]; before != 0 {
			r.Refuse(b.line, "between: the link of %s and %s is described in line %d already", b.nodes[0], b.nodes[1], before)
		}
		seen[link] = b.line
		e := &s.Topology.Edges[link]
		e.Link = b.change(e.Link)
		if err := e.Check(); err != nil {
			r.Refuse(b.line, "%v", err)
		}
	}
	for i := range s.Faults {
		r.onLink(s, &s.Faults[i])
	}
}

// made makes the topology without what links say.
func (r *reader) made(s *Scenario) *topology.Topology {
	l := &r.lines
	line := max(l.line, 1)
	var t *topology.Topology
	var err error
	if l.file != "" {
		names := make([]string, len(s.Nodes))
		for i := range s.Nodes {
			names[i] = s.Nodes[i].Name
		}
		t, err = topology.Read(filepath.Join(r.directory, l.file), names, l.like)
		line = l.fileLine
	} else {
		kind := l.kind
		if kind == "" {
			kind = topology.Mesh
		}
		t, err = topology.Shape{Kind: kind, Prob: l.prob, Seed: l.seed, Link: l.like}.Topology(len(s.Nodes))
	}
	if err != nil {
		r.Refuse(line, "topology: %v", err)
		return nil
	}
	if n, apart := t.Apart(); apart {
		r.Refuse(line, "topology: no links lead from %s to %s: they would never be one federation", s.Nodes[0].Name, s.Nodes[n].Name)
		return nil
	}
	return t
}

// find returns the index of the link between two nodes by their names.
func (r *reader) find(s *Scenario, line int, nodes [2]string) (int, bool) {
	a, b := s.index(nodes[0]), s.index(nodes[1])
	if a < 0 || b < 0 {
		name := nodes[0]
		if a >= 0 {
			name = nodes[1]
		}
		r.Refuse(line, "between: there is no node %q", yamlfile.Clip(name))
		return 0, false
	}
	link, ok := s.Topology.Find(a, b)
	if a == b || !ok {
		r.Refuse(line, "between: %s and %s are not linked in this topology", nodes[0], nodes[1])
	}
	return link, a != b && ok
}

// onLink completes a fault that is done to a link.
func (r *reader) onLink(s *Scenario, f *Fault) {
	if !f.Do.OnLink() {
		return
	}
	link, ok := r.find(s, f.Line, f.Between)
	if !ok {
		return
	}
	f.before = s.Topology.Edges[link].Link
	change := between{given: f.given}
	if f.Link, f.given = change.change(f.before), nil; f.Do == ChangeLink {
		if err := f.Link.Check(); err != nil {
			r.Refuse(f.Line, "%v", err)
		}
	}
}

// linkFault checks a fault that is done to a link, by itself.
func (r *reader) linkFault(n *yaml.Node, f *Fault) {
	switch {
	case f.Part != "" || f.Node != "" || len(f.Nodes) > 0:
		r.Refuse(n.Line, "%s is done to the link between two nodes: between: [a, b]", f.Do)
	case f.Between == [2]string{}:
		r.Refuse(n.Line, "%s needs between, the two nodes of the link", f.Do)
	case f.Do == ChangeLink && len(f.given) == 0:
		r.Refuse(n.Line, "link changes nothing: give delay, jitter, rate or loss")
	case f.Do != ChangeLink && len(f.given) > 0:
		r.Refuse(n.Line, "%s takes no %s: that is do: link", f.Do, f.given[0].name)
	case f.Do == LinkUp && f.Duration != 0:
		r.Refuse(n.Line, "duration: link-up does not last: use do: link-down")
	}
}

// index is that of a node, -1 if there is none of that name.
func (s *Scenario) index(name string) int {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return i
		}
	}
	return -1
}

// NeighboursOf lists the names of those to whom a node, by its index, may forward; nil
// where that is everybody.
func (s *Scenario) NeighboursOf(n int) []string {
	if !s.Neighbours {
		return nil
	}
	names := []string{}
	for _, other := range s.Topology.Neighbours(n) {
		names = append(names, s.Nodes[other].Name)
	}
	return names
}

// shaped reports whether links do something, now or later.
func (s *Scenario) shaped() bool {
	if s.Topology == nil {
		return false
	}
	for i := range s.Faults {
		if s.Faults[i].Do.OnLink() {
			return true
		}
	}
	return !s.Topology.Plain()
}

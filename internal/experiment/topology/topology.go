// Package topology is what lies between the nodes of an experiment: which of them
// are linked, what each link is like, and which way a packet takes.
//
// The package is pure: emulator and simulator each make of it what they can.
package topology

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Bounds of a topology.
const (
	MaxNodes = 1000
	MaxEdges = MaxNodes * (MaxNodes - 1) / 2
)

// Topology is a set of nodes, 0 to Nodes-1, and the links between them. Whoever has
// one may change Edges[i].Link, and nothing else.
type Topology struct {
	Nodes int
	Edges []Edge // A < B, sorted by both, each pair once
	// Direct is that nothing goes through a third node: there is the link between two
	// nodes or none. Else a packet takes the way with the fewest links.
	Direct bool
}

// Edge is a link between two different nodes.
type Edge struct {
	A, B int
	Link
}

// Kind is a shape of topologies.
type Kind string

// The kinds.
const (
	Star   Kind = "star"   // all are linked to the first
	Line   Kind = "line"   // each is linked to the next
	Ring   Kind = "ring"   // and the last to the first
	Mesh   Kind = "mesh"   // each is linked to each
	Tree   Kind = "tree"   // a binary tree, by rows; the first is its root
	Random Kind = "random" // two are linked with a probability, and each is to the one before
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Star, Line, Ring, Mesh, Tree, Random} }

// ParseKind returns the kind of that name.
func ParseKind(name string) (Kind, error) {
	if slices.Contains(Kinds(), Kind(name)) {
		return Kind(name), nil
	}
	words := make([]string, len(Kinds()))
	for i, k := range Kinds() {
		words[i] = string(k)
	}
	return "", fmt.Errorf("unknown kind of topology %q: use one of %s", name, strings.Join(words, ", "))
}

// Shape is how to make a topology up.
type Shape struct {
	Kind Kind
	Prob float64 // with Random: the probability that two nodes are linked, above 0, at most 1
	Seed uint64  // with Random
	Link Link    // what all links are like
}

// stream is the one of the random numbers that a shape with a seed draws.
const stream = 0x746f706f

// Topology makes one up. The same shape and number of nodes give the same one.
func (s Shape) Topology(nodes int) (*Topology, error) {
	if nodes < 2 || nodes > MaxNodes {
		return nil, fmt.Errorf("a topology of %d nodes: it has 2 to %d", nodes, MaxNodes)
	}
	if s.Kind == Random && !(s.Prob > 0 && s.Prob <= 1) {
		return nil, fmt.Errorf("probability %v: it is above 0 and at most 1", s.Prob)
	}
	t := &Topology{Nodes: nodes, Direct: s.Kind == Mesh}
	r := rand.New(rand.NewPCG(s.Seed, stream))
	for b := 1; b < nodes; b++ {
		for a := range b {
			if s.linked(a, b, nodes, r) {
				t.Edges = append(t.Edges, Edge{a, b, s.Link})
			}
		}
	}
	t.sort()
	return t, nil
}

// linked reports whether two nodes are, a before b.
func (s Shape) linked(a, b, nodes int, r *rand.Rand) bool {
	switch s.Kind {
	case Star:
		return a == 0
	case Line:
		return a == b-1
	case Ring:
		return a == b-1 || a == 0 && b == nodes-1
	case Tree:
		return a == (b-1)/2
	case Random: // drawn for each pair, so that more nodes move nothing among the first
		return r.Float64() < s.Prob || a == b-1
	}
	return true
}

// Of makes a topology of links, in any order.
func Of(nodes int, edges []Edge) (*Topology, error) {
	if nodes < 2 || nodes > MaxNodes {
		return nil, fmt.Errorf("a topology of %d nodes: it has 2 to %d", nodes, MaxNodes)
	}
	t := &Topology{Nodes: nodes, Edges: slices.Clone(edges)}
	for i := range t.Edges {
		e := &t.Edges[i]
		if e.A == e.B || min(e.A, e.B) < 0 || max(e.A, e.B) >= nodes {
			return nil, fmt.Errorf("a link between %d and %d: two of the nodes 0 to %d are expected", e.A, e.B, nodes-1)
		}
		e.A, e.B = min(e.A, e.B), max(e.A, e.B)
	}
	t.sort()
	for i := 1; i < len(t.Edges); i++ {
		if e, before := t.Edges[i], t.Edges[i-1]; e.A == before.A && e.B == before.B {
			return nil, fmt.Errorf("the link between %d and %d is there twice", e.A, e.B)
		}
	}
	return t, nil
}

func (t *Topology) sort() { slices.SortFunc(t.Edges, compare) }

func compare(x, y Edge) int { return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B)) }

// Find returns the index of the link between two nodes, in any order.
func (t *Topology) Find(a, b int) (int, bool) {
	return slices.BinarySearchFunc(t.Edges, Edge{A: min(a, b), B: max(a, b)}, compare)
}

// Neighbours lists to whom a node is linked, in order.
func (t *Topology) Neighbours(n int) []int {
	var out []int
	for _, e := range t.Edges {
		switch n {
		case e.A:
			out = append(out, e.B)
		case e.B:
			out = append(out, e.A)
		}
	}
	slices.Sort(out)
	return out
}

// Clone returns a copy that shares nothing.
func (t *Topology) Clone() *Topology {
	c := *t
	c.Edges = slices.Clone(t.Edges)
	return &c
}

// Plain reports whether no link does anything to what goes over it.
func (t *Topology) Plain() bool {
	return !slices.ContainsFunc(t.Edges, func(e Edge) bool { return e.Link != Link{} })
}

// Apart returns a node that the first one cannot reach, if there is any.
func (t *Topology) Apart() (node int, apart bool) {
	r := NewRoutes(t)
	for n := 1; n < t.Nodes; n++ {
		if _, ok := r.Path(0, n); !ok {
			return n, true
		}
	}
	return 0, false
}

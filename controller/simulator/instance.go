package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"

	"github.com/dfaas/dfaas/internal/clip"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/strictjson"
)

// Instance is a federation: its nodes, what they can serve, and who reaches whom.
type Instance struct {
	Name  string `json:"name,omitempty"`
	Nodes []Node `json:"nodes"`
	// Edges are pairs of nodes, by index, that exchange announcements and calls.
	// Absent: everybody reaches everybody.
	Edges Edges `json:"edges,omitempty"`
}

// Edges are pairs of nodes, by index.
type Edges [][2]int

// UnmarshalJSON takes pairs only: by itself, JSON makes one of any list.
func (e *Edges) UnmarshalJSON(data []byte) error {
	var lists [][]int
	if err := json.Unmarshal(data, &lists); err != nil {
		return fmt.Errorf("edges: pairs of indexes of nodes are expected: %v", err)
	}
	if lists != nil {
		*e = make(Edges, len(lists))
	}
	for i, pair := range lists {
		if len(pair) != 2 {
			return fmt.Errorf("edges[%d]: the indexes of two nodes are expected, and not %v", i, pair)
		}
		(*e)[i] = [2]int(pair)
	}
	return nil
}

// ways is how many nodes there are for all nodes together to reach.
func (i *Instance) ways() int {
	if i.Edges == nil {
		return len(i.Nodes) * (len(i.Nodes) - 1)
	}
	return 2 * len(i.Edges)
}

// Node is one node of an instance.
type Node struct {
	Name string `json:"name"`
	// CPUs is how many calls the machine can work on at full speed at a time, for
	// the machine models that ask. > 0.
	CPUs      float64    `json:"cpus,omitempty"`
	Functions []Function `json:"functions"`
	// Strategy, unless empty, is this node's instead of the run's.
	Strategy string `json:"strategy,omitempty"`
}

// Function is a function as a node has it.
type Function struct {
	Name string `json:"name"`
	// Maxrate is the label dfaas.maxrate: what the node says that it can serve,
	// requests/s, > 0.
	Maxrate float64 `json:"maxrate"`
	// ServiceMillis is how long a call takes on a machine that does nothing else,
	// on average, ms, > 0.
	ServiceMillis float64 `json:"service_ms,omitempty"`
	// Soft is that nobody wrote the maxrate down: users beyond it are forwarded if
	// possible, and never refused.
	Soft bool `json:"soft,omitempty"`
}

const (
	defaultServiceMillis = 20
	maxInstance          = 64 << 20 // bytes of a file
	maxFunctions         = 1000     // of all nodes together
	maxName              = 80       // bytes of a node's
)

// ReadInstance reads an instance from a JSON file.
func ReadInstance(path string) (*Instance, error) {
	data, err := readBounded(path, maxInstance)
	if err != nil {
		return nil, fmt.Errorf("reading the instance: %w", err)
	}
	i, err := parseInstance(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return i, nil
}

func parseInstance(data []byte) (*Instance, error) {
	var i Instance
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if err := json.Unmarshal(data, &i); err != nil {
		return nil, placed(data, err)
	}
	// A file of the user's: a misspelt key, or one that is there twice, must not go unnoticed.
	i = Instance{}
	if err := strictjson.Unmarshal(data, &i); err != nil {
		return nil, err
	}
	return &i, i.normalize()
}

// placed adds the line to an error of JSON's, if it says where it is.
func placed(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(len(data))
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("the file is empty")
	case errors.As(err, &syntax):
		offset = syntax.Offset
		if strings.HasPrefix(syntax.Error(), "unexpected end") {
			err = errors.New("it ends within a value")
		}
	case errors.As(err, &kind):
		offset = kind.Offset
		err = fmt.Errorf("%s: a JSON %s is not expected here", cmp.Or(kind.Field, "the whole file"), kind.Value)
	default:
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:min(int(offset), len(data))], []byte("\n")), err)
}

// normalize checks the instance and fills in what it leaves out.
func (i *Instance) normalize() error {
	if len(i.Nodes) == 0 || len(i.Nodes) > maxNodes {
		return fmt.Errorf("%d nodes: there must be 1 to %d", len(i.Nodes), maxNodes)
	}
	names := make(map[string]bool)
	for n := range i.Nodes {
		node := &i.Nodes[n]
		if node.Name == "" {
			node.Name = fmt.Sprintf("node-%d", n+1)
		}
		if len(node.Name) > maxName || strings.ContainsFunc(node.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("nodes[%d]: the name %q: at most %d bytes, and all to be seen, are expected", n, clip.Text(node.Name), maxName)
		}
		if names[node.Name] {
			return fmt.Errorf("nodes[%d]: there are two nodes named %q", n, node.Name)
		}
		names[node.Name] = true
		if err := node.normalize(); err != nil {
			return fmt.Errorf("nodes[%d] (%s): %w", n, node.Name, err)
		}
	}
	if all := len(i.functions()); all == 0 || all > maxFunctions {
		return fmt.Errorf("%d functions on all nodes: there must be 1 to %d", all, maxFunctions)
	}
	for e, edge := range i.Edges {
		if edge[0] == edge[1] || min(edge[0], edge[1]) < 0 || max(edge[0], edge[1]) >= len(i.Nodes) {
			return fmt.Errorf("edges[%d]: %v: name two different nodes by index, 0 to %d", e, edge, len(i.Nodes)-1)
		}
	}
	return nil
}

func (n *Node) normalize() error {
	if n.CPUs == 0 {
		n.CPUs = 1
	}
	if !(n.CPUs > 0 && n.CPUs <= 1e6) {
		return fmt.Errorf("cpus %v: it must be above 0 and at most 1e6", n.CPUs)
	}
	if n.Strategy != "" {
		if err := CheckStrategy(n.Strategy); err != nil {
			return err
		}
	}
	seen := make(map[string]bool)
	for f := range n.Functions {
		fn := &n.Functions[f]
		if fn.ServiceMillis == 0 {
			fn.ServiceMillis = defaultServiceMillis
		}
		switch {
		case !funcname.Valid(fn.Name):
			return fmt.Errorf("functions[%d]: %q is no name of a function", f, fn.Name)
		case seen[fn.Name]:
			return fmt.Errorf("functions[%d]: %s is there twice", f, fn.Name)
		case fn.Maxrate == 0 || !limit.ValidRate(fn.Maxrate):
			return fmt.Errorf("functions[%d] (%s): maxrate %v: it must be above 0 and at most %v requests/s", f, fn.Name, fn.Maxrate, float64(limit.MaxRate))
		case !(fn.ServiceMillis > 0 && fn.ServiceMillis <= limit.MaxTimeoutMillis):
			return fmt.Errorf("functions[%d] (%s): service_ms %v: it must be above 0 and at most an hour", f, fn.Name, fn.ServiceMillis)
		}
		seen[fn.Name] = true
	}
	return nil
}

// functions returns the names of all functions, sorted.
func (i *Instance) functions() []string {
	seen := make(map[string]bool)
	var names []string
	for _, n := range i.Nodes {
		for _, f := range n.Functions {
			if !seen[f.Name] {
				seen[f.Name] = true
				names = append(names, f.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Generate is how to make up an instance.
type Generate struct {
	Nodes     int
	Functions int // of every node; fn-0, fn-1, ...
	// EdgeProb is the probability that two nodes reach each other. Nodes are never
	// left without a neighbour: each is linked to the one before. 1: all to all.
	EdgeProb float64
	// Capacity is the range of a function's maxrate at a node, requests/s.
	Capacity [2]float64
	// Profiles, unless nil, are what nodes are drawn from, instead of Functions and
	// Capacity.
	Profiles *Profiles
	Seed     uint64
}

// Instance makes one up. The same values give the same instance.
func (g Generate) Instance() (*Instance, error) {
	switch {
	case g.Nodes < 1 || g.Nodes > maxNodes:
		return nil, fmt.Errorf("%d nodes: there must be 1 to %d", g.Nodes, maxNodes)
	case g.Functions < 1 || g.Functions > maxFunctions:
		return nil, fmt.Errorf("%d functions: there must be 1 to %d", g.Functions, maxFunctions)
	case !(g.EdgeProb > 0 && g.EdgeProb <= 1):
		return nil, fmt.Errorf("edge probability %v: it is above 0 and at most 1", g.EdgeProb)
	case !(g.Capacity[0] > 0 && g.Capacity[0] <= g.Capacity[1] && limit.ValidRate(g.Capacity[1])):
		return nil, fmt.Errorf("capacity %v to %v requests/s: it must be a range above 0", g.Capacity[0], g.Capacity[1])
	}
	if g.Profiles == nil {
		if err := checkSize(g.Nodes, int(g.EdgeProb*float64(g.Nodes)*float64(g.Nodes-1)), g.Functions); err != nil {
			return nil, err
		}
	}
	r := rand.New(rand.NewPCG(g.Seed, streamInstance))
	i := &Instance{Name: fmt.Sprintf("generated-%d", g.Seed)}
	for range g.Nodes {
		if g.Profiles != nil {
			i.Nodes = append(i.Nodes, g.Profiles.draw(r))
			continue
		}
		n := Node{}
		for f := range g.Functions {
			rate := g.Capacity[0] + r.Float64()*(g.Capacity[1]-g.Capacity[0])
			n.Functions = append(n.Functions, Function{Name: fmt.Sprintf("fn-%d", f), Maxrate: rate})
		}
		i.Nodes = append(i.Nodes, n)
	}
	if g.EdgeProb < 1 {
		for b := 1; b < g.Nodes; b++ {
			for a := range b {
				if r.Float64() < g.EdgeProb || a == b-1 {
					i.Edges = append(i.Edges, [2]int{a, b})
				}
			}
		}
	}
	return i, i.normalize()
}

// Streams of random numbers: what is drawn in one moves no number of another.
const (
	streamInstance = iota + 1
	streamDemand
	streamArrivals
	streamLinks
	streamService
	streamNodes
	streamChurn
	streamCallLinks
	streamJitter
)

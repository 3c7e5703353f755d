package topology

import "slices"

// Routes is which way what goes from node to node takes: the one with the fewest
// links, of these the one with the least delay, of these the one through the nodes that
// come first. It is not safe for concurrent use.
type Routes struct {
	t    *Topology
	at   [][]int32 // by node: its links
	down []bool    // by link
	side []int     // by node: nothing goes between different sides
	// into are, by where it starts and where it leads, the last link of the way: -1
	// for none. nil where nobody asked yet.
	into [][]int32
	// all is what the ways do to what takes them.
	all [][]Link
}

// NewRoutes returns the routes of a topology whose links are all up. It keeps the
// topology; after a change of a link, Changed is to be called.
func NewRoutes(t *Topology) *Routes {
	r := &Routes{t: t, at: make([][]int32, t.Nodes), down: make([]bool, len(t.Edges)), side: make([]int, t.Nodes), into: make([][]int32, t.Nodes), all: make([][]Link, t.Nodes)}
	for i, e := range t.Edges {
		r.at[e.A], r.at[e.B] = append(r.at[e.A], int32(i)), append(r.at[e.B], int32(i))
	}
	return r
}

// Changed makes all ways anew, when they are asked for.
func (r *Routes) Changed() { clear(r.into) }

// SetDown takes a link down, or up again.
func (r *Routes) SetDown(link int, down bool) {
	r.down[link] = down
	r.Changed()
}

// Down reports whether a link was taken down.
func (r *Routes) Down(link int) bool { return r.down[link] }

// SetSide puts a node on a side: nothing goes from one side to another. At first all
// are on the same, 0.
func (r *Routes) SetSide(node, side int) {
	r.side[node] = side
	r.Changed()
}

// Side is where a node is.
func (r *Routes) Side(node int) int { return r.side[node] }

func (r *Routes) passes(link int32) bool {
	e := &r.t.Edges[link]
	return !r.down[link] && r.side[e.A] == r.side[e.B]
}

// Path returns the links of the way between two nodes, in order, and whether there is
// one: for the way from a node to itself, there is, without any.
func (r *Routes) Path(from, to int) (links []int32, ok bool) {
	if r.t.Direct {
		if from == to {
			return nil, true
		}
		if i, linked := r.t.Find(from, to); linked && r.passes(int32(i)) {
			return []int32{int32(i)}, true
		}
		return nil, false
	}
	ok = r.walk(from, to, func(link int32) { links = append(links, link) })
	slices.Reverse(links)
	return links, ok
}

// Link is what the way between two nodes does to what takes it, and whether there is
// one.
func (r *Routes) Link(from, to int) (Link, bool) {
	if r.t.Direct {
		i, linked := r.t.Find(from, to)
		switch {
		case from == to:
			return Link{}, true
		case !linked || !r.passes(int32(i)):
			return Link{}, false
		}
		return r.t.Edges[i].Link, true
	}
	if r.into[from] == nil {
		r.search(from)
	}
	return r.all[from][to], to == from || r.into[from][to] >= 0
}

// walk calls each with every link of the way, the last first.
func (r *Routes) walk(from, to int, each func(link int32)) bool {
	if r.into[from] == nil {
		r.search(from)
	}
	for to != from {
		link := r.into[from][to]
		if link < 0 {
			return false
		}
		each(link)
		to = r.t.Edges[link].Other(to)
	}
	return true
}

// Other is the node at the link's other end.
func (e *Edge) Other(n int) int {
	if n == e.A {
		return e.B
	}
	return e.A
}

// search finds the ways from a node to all others.
func (r *Routes) search(from int) {
	into, hops, delay := make([]int32, r.t.Nodes), make([]int, r.t.Nodes), make([]int64, r.t.Nodes)
	line := make([]int, 1, r.t.Nodes)
	line[0] = from
	for n := range into {
		into[n] = -1
	}
	// A node comes after all that are nearer, so its own delay is final by then.
	for i := 0; i < len(line); i++ {
		n := line[i]
		for _, link := range r.at[n] {
			e := &r.t.Edges[link]
			other, d := e.Other(n), delay[n]+int64(e.Delay)
			switch {
			case other == from || !r.passes(link):
			case into[other] < 0:
				into[other], hops[other], delay[other] = link, hops[n]+1, d
				line = append(line, other)
			case hops[other] == hops[n]+1 && d < delay[other]:
				into[other], delay[other] = link, d
			}
		}
	}
	all := make([]Link, r.t.Nodes)
	for _, n := range line[1:] {
		e := &r.t.Edges[into[n]]
		all[n] = all[e.Other(n)].Then(e.Link)
	}
	r.into[from], r.all[from] = into, all
}

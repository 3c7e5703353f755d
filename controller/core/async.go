package core

import (
	"slices"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/spoa/table"
)

// Asynchronous calls go to a queue: this node's own, or that of a peer which has the
// function. No strategy has a say in that: a queue takes what cannot be served now.

// littleTrust is how far a peer's spare must be disbelieved for its queue to be used
// only if there is no other.
const littleTrust = 0.5

// takesAsync reports whether the gateway takes asynchronous calls now.
func (g *gateway) takesAsync() bool { return g.up() && g.async }

// queue is what the table says of this node's queue. Before the gateway was asked, it
// is let answer for itself.
func (c *Core) queue() string {
	switch {
	case !c.gateway.read || c.gateway.takesAsync():
		return table.QueueHere
	case c.gateway.async:
		return table.QueueDown
	}
	return table.QueueNone
}

// takers are the peers that take asynchronous calls, by function. Those of functions
// that this node's own queue takes are left out.
func (c *Core) takers() map[string][]string {
	if !slices.ContainsFunc(c.alive, func(m membership.Member) bool { return m.Async }) {
		return nil
	}
	var trusted, others []*membership.Member
	for i := range c.alive {
		switch m := &c.alive[i]; {
		case !m.Async || !c.usable(m.ID) || !c.isNeighbour(m.ID):
		case c.trust.Distrust(m.ID) < littleTrust:
			trusted = append(trusted, m)
		default:
			others = append(others, m)
		}
	}
	takers := make(map[string][]string)
	c.addTakers(takers, trusted)
	more := make(map[string][]string)
	c.addTakers(more, others)
	for name, peers := range more {
		if takers[name] == nil {
			takers[name] = peers
		}
	}
	if c.queue() == table.QueueHere {
		for _, f := range c.local() {
			delete(takers, f.Name)
		}
	}
	return takers
}

// addTakers adds so many members to each of their functions as a table may have. Which
// ones those are differs from node to node.
func (c *Core) addTakers(takers map[string][]string, members []*membership.Member) {
	if len(members) == 0 {
		return
	}
	first := int(c.o.Seed % uint64(len(members)))
	for _, m := range slices.Concat(members[first:], members[:first]) {
		for i := range m.Offers {
			if o := &m.Offers[i]; !o.Absent && len(takers[o.Name]) < table.MaxAsync {
				takers[o.Name] = append(takers[o.Name], m.ID)
			}
		}
	}
}

// async are those of the peers that there is room for.
func (b *builder) async(peers []string) []string {
	var list []string
	for _, id := range peers {
		if b.usable[id] && b.room() {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

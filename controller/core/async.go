package core

import (
	"slices"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// Asynchronous calls go to a queue: this node's own, or that of a peer which has the
// function. No strategy has a say in that: a queue takes what cannot be served now.

// littleTrust is how far a peer, or its queue for a function, must be disbelieved to be
// used only if there is no other.
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
func (c *Core) takers() map[funcname.Name][]peerid.ID {
	if !slices.ContainsFunc(c.alive, func(m membership.Member) bool { return m.Async }) {
		return nil
	}
	var members []*membership.Member
	for i := range c.alive {
		if m := &c.alive[i]; m.Async && c.known[i].usable && c.known[i].neighbour {
			members = append(members, m)
		}
	}
	takers, more := make(map[funcname.Name][]peerid.ID), make(map[funcname.Name][]peerid.ID) // more: of those who are hardly believed
	c.addTakers(takers, more, members)
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

// addTakers adds so many members to each of their functions as a table may have, to
// others those who are hardly believed. Which ones those are differs from node to node.
func (c *Core) addTakers(takers, others map[funcname.Name][]peerid.ID, members []*membership.Member) {
	if len(members) == 0 {
		return
	}
	first := int(c.o.Seed % uint64(len(members)))
	for _, m := range slices.Concat(members[first:], members[:first]) {
		id := m.ID.String()
		for i := range m.Offers {
			o, to := &m.Offers[i], takers
			if c.trust.Distrust(id) >= littleTrust || c.trust.Unserved(estimate.Offered{Peer: id, Function: o.Name.String(), Async: true}) >= littleTrust {
				to = others
			}
			if !o.Absent && len(to[o.Name]) < table.MaxAsync {
				to[o.Name] = append(to[o.Name], m.ID)
			}
		}
	}
}

// async are those of the peers that there is room for.
func (b *builder) async(peers []peerid.ID) []peerid.ID {
	var list []peerid.ID
	for _, id := range peers {
		if at := b.place(id.String(), 0); at >= 0 && b.peers[at].usable && b.room() {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, peerid.ID.Compare)
	return list
}

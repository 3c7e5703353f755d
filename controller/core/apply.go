package core

import (
	"maps"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// apply hands the plan to those who act on it.
func (c *Core) apply(now time.Time) {
	gone := len(c.gone)
	maps.DeleteFunc(c.gone, func(_ peerid.ID, d departed) bool { return now.After(d.until) })
	c.applyTable(now)
	if c.serversNew || len(c.gone) < gone {
		c.serversNew = false
		c.applyServers()
	}
}

// applyTable gives the SPOA a table if it differs from the one it has, or is
// due.
func (c *Core) applyTable(now time.Time) {
	offset := c.followClock(now)
	t, changed := c.maker.next(tableInput{
		maxPeerTimeout: c.o.MaxPeerTimeout,
		self:           c.o.Self, peerTLS: c.o.PeerTLS, clockOffset: offset, defaultNamespace: c.o.DefaultNamespace,
		unknownLocal: !c.gateway.read, plan: c.plan, peers: c.tablePeers(c.clocks.Wall(now).Add(offset)),
		stranded: c.stranded(), queue: c.queue(), takers: c.takers(), limits: c.o.Limits,
	})
	if c.tables.newest == nil || now.Sub(c.tables.at) >= refresh || changed {
		c.setTable(now, t)
	}
}

// followClock returns the offset of the federation's time and says when this
// node's clock is wrong and when it is right again.
func (c *Core) followClock(now time.Time) time.Duration {
	offset, refused := c.clocks.Offset(now)
	moved := func(to, from time.Duration) bool {
		return to != 0 && (from == 0 || (to-from).Abs() > estimate.ClockTolerance)
	}
	switch {
	case moved(offset, c.clockWrong):
		c.log(Warn, "this node's clock is not the federation's: tokens go by that of most members; set it right",
			Field{"wrong_by", -offset})
		c.clockWrong = offset
	case offset == 0 && c.clockWrong != 0:
		c.log(Info, "this node's clock is right again")
		c.clockWrong = 0
	}
	switch {
	case moved(refused, c.clocksLied):
		c.log(Warn, "most members' clocks have moved, and are not followed: if they are right, set this node's clock "+
			"or restart dfaas-controller", Field{"moved_by", refused})
		c.clocksLied = refused
	case refused == 0:
		c.clocksLied = 0
	}
	return offset
}

// tablePeers lists the peers that the SPOA should know, by id. The time is the
// federation's.
func (c *Core) tablePeers(now time.Time) []tablePeer {
	peers := make([]tablePeer, 0, len(c.alive)+len(c.gone))
	for i := range c.alive {
		m := &c.alive[i]
		known := &c.known[i]
		if !known.neighbour { // known, so that what it sends is refused for lack of a share, not as forged
			peers = append(peers, tablePeer{id: m.ID, source: known.source})
			continue
		}
		token, err := c.o.Tokens.Token(now, m.ID)
		if err != nil {
			c.log(Error, "no token: nothing is forwarded to this peer", Field{"peer", m.ID}, Field{"error", err})
		}
		peers = append(peers, tablePeer{id: m.ID, source: known.source, token: token, usable: known.usable})
	}
	for _, id := range slices.SortedFunc(maps.Keys(c.gone), peerid.ID.Compare) {
		peers = append(peers, tablePeer{id: id, source: sourceOf(c.gone[id].server.Address.Addr()), lingering: c.gone[id].inbound})
	}
	return peers
}

// applyServers says which servers HAProxy should have.
func (c *Core) applyServers() {
	wanted := make([]Peer, 0, len(c.alive)+len(c.gone)) // nil would ask for nothing
	for i := range c.alive {
		if m := &c.alive[i]; c.known[i].neighbour {
			wanted = append(wanted, Peer{m.ID, m.HTTP})
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(c.gone), peerid.ID.Compare) {
		if c.isNeighbour(id) {
			wanted = append(wanted, c.gone[id].server)
		}
	}
	if c.wanted == nil || !slices.Equal(c.wanted, wanted) {
		c.wanted, c.fx.Servers = wanted, wanted
	}
}

// leave does the last things: peers are told, and the SPOA is left with a table
// that soon ends, after which everything is served here.
func (c *Core) leave(now time.Time) {
	c.stopped = true
	a, _ := c.announcer.next(now, c.clocks.Wall(now), nil, true)
	a.HTTP, a.Strategy, a.Leaving = c.o.HTTP.String(), c.o.Strategy.Name(), true
	c.fx.Announce, c.fx.Everybody = &a, true
	if c.tables.newest == nil || !c.tables.answers {
		return
	}
	offset, _ := c.clocks.Offset(now)
	last := finalTable(*c.tables.newest, offset)
	last.Version = c.tables.versions + 1
	c.fx.Table = &last
}

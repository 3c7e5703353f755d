package core

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/peerid"
)

const (
	// grace is how long a peer that is gone is still recognised and keeps its
	// server, for the requests under way.
	grace = 15 * time.Second
	// leaveGrace is how long a peer that has said that it stops is planned with all
	// the same: mostly its controller is only started anew, and what it leaves to
	// its SPOA goes on serving for finalTTL. If the whole node stops, HAProxy's
	// health check says so.
	leaveGrace = finalTTL - 3*time.Second
)

// departed is a peer that is gone, within grace.
type departed struct {
	server  Peer
	until   time.Time
	inbound *inbound // what it was admitted to send
}

// leaver is a peer that has said that it stops, within leaveGrace.
type leaver struct {
	membership.Member // as it was before
	until             time.Time
}

func (c *Core) onHeard(now time.Time, e Heard) {
	changed, err := c.o.Members.Apply(now, e.From, e.Announcement, e.Via)
	if err != nil {
		c.log(Debug, "announcement refused", Field{"peer", e.From}, Field{"error", err})
		return
	}
	// What waited while this process stood still, or came from nobody knows where,
	// says nothing of the time.
	timely := c.attentive(now) && (e.Direct || len(e.RemoteIPs) > 0)
	if !e.Announcement.Leaving && timely {
		c.clocks.Read(now, e.From.String(), e.Announcement.SentAtMillis)
	}
	switch changed {
	case membership.Standing:
		c.membersNew = true
		c.soon(now)
	case membership.Offers:
		c.onOffers(now, &e)
	}
}

// onOffers takes in that a member offers something else: a plan is made soon if calls go
// elsewhere by what is noticeably other than when the last plan was made, or else at the
// end of the period.
func (c *Core) onOffers(now time.Time, e *Heard) {
	i, known := find(c.alive, e.From)
	_, leaving := c.leaving[e.From]
	if known && !leaving {
		if !slices.Contains(c.offersNew, e.From) {
			c.offersNew = append(c.offersNew, e.From)
		}
		if !c.matters(c.alive[i].Offers, e.Announcement.Offers) {
			c.changed = true
			return
		}
		c.planWithin(now)
		return
	}
	c.membersNew = true
	c.soon(now)
}

// matters reports whether calls go elsewhere if a member offers this now, and not that
// before, and notes of which functions. How much room a member has which needs none of
// others', and how much surplus is counted by one that has room for it or not as before,
// does not matter at once to a node that needs no room either: its plan says what could be
// sent there, and will by the end of the period.
func (c *Core) matters(before, now []strategy.Offer) bool {
	if len(before) != len(now) {
		c.whole = true
		return true
	}
	matters := false
	for i := range now {
		b, n := &before[i], &now[i]
		switch {
		case b.Name != n.Name:
			c.whole, matters = true, true
		case c.announcer.differently(b, n),
			c.announcer.moved(b, n) && (!c.followsChanges() || n.Overloaded() || c.lacks(n.Name)),
			counted(b, n) && (c.lacks(n.Name) || b.Full() != n.Full()):
			matters = true
			c.urgent[n.Name] = true
		}
	}
	return matters
}

// lacks reports whether users of this node ask for more of a function than it can serve,
// by the last plan.
func (c *Core) lacks(name funcname.Name) bool {
	i, known := slices.BinarySearchFunc(c.observed.Functions, name, func(f strategy.Function, name funcname.Name) int { return f.Name.Compare(name) })
	if !known {
		return false
	}
	f := &c.observed.Functions[i]
	return f.UserRate.PerSecond() > 0 && (f.Absent || f.Backup || f.UserRate.Exceeds(f.Capacity))
}

// followOffers takes in what members offer now.
func (c *Core) followOffers() {
	for _, id := range c.offersNew {
		if m, alive := c.o.Members.Get(id); alive {
			if i, known := find(c.alive, id); known {
				c.alive[i] = m
			}
		}
	}
	c.offersNew = c.offersNew[:0]
}

// expire lets go of members that fell silent and reports whether there were any.
// After this process stood still, whoever seems silent is given until the next
// tick to be heard.
func (c *Core) expire(now time.Time) bool {
	return c.attentive(now) && len(c.o.Members.Expire(now)) > 0
}

// endLeaving reports whether anybody who said that it stops has had its grace.
func (c *Core) endLeaving(now time.Time) bool {
	for _, l := range c.leaving {
		if !now.Before(l.until) {
			return true
		}
	}
	return false
}

// followMembers takes in who is there now and says who came and who went.
func (c *Core) followMembers(now time.Time) {
	c.membersNew, c.serversNew, c.offersNew = false, true, c.offersNew[:0]
	before := c.alive
	c.alive = c.o.Members.Alive()
	for _, m := range c.alive {
		if _, back := c.leaving[m.ID]; back {
			delete(c.leaving, m.ID)
			c.newcomers = true
			c.log(Info, "peer is back", Field{"peer", m.ID}, Field{"http", m.HTTP})
		}
	}
	c.keepLeaving(now, before)
	for _, m := range c.alive {
		delete(c.gone, m.ID)
		if _, known := find(before, m.ID); !known {
			c.newcomers = true
			c.log(Info, "peer joined", Field{"peer", m.ID}, Field{"http", m.HTTP})
		}
		if m.Strategy != c.strategies[m.ID] && m.Strategy != c.o.Strategy.Name() {
			c.log(Warn, "a peer plans by another strategy: set the same on all nodes",
				Field{"peer", m.ID}, Field{"strategy", m.Strategy}, Field{"ours", c.o.Strategy.Name()})
		}
		c.strategies[m.ID] = m.Strategy
	}
	for _, m := range before {
		if _, still := find(c.alive, m.ID); !still {
			c.gone[m.ID] = departed{Peer{m.ID, m.HTTP}, now.Add(grace), c.inboundOf(m.ID)}
			delete(c.strategies, m.ID)
			c.log(Info, "peer is gone", Field{"peer", m.ID})
		}
	}
	c.know()
	// Whoever came and went between two plans has no say either.
	alive := make(map[string]bool, len(c.alive))
	for _, m := range c.alive {
		alive[m.ID.String()] = true
	}
	c.clocks.Keep(func(id string) bool { return alive[id] })
}

// keepLeaving adds to those alive who has said that it stops, for leaveGrace.
func (c *Core) keepLeaving(now time.Time, before []membership.Member) {
	if missing := slices.DeleteFunc(slices.Clone(before), func(m membership.Member) bool { return !c.isMissing(m.ID) }); len(missing) > 0 {
		left := make(map[peerid.ID]bool)
		for _, m := range c.o.Members.Gone() {
			left[m.ID] = m.Left
		}
		for _, m := range missing {
			if _, known := c.leaving[m.ID]; !known && left[m.ID] {
				c.leaving[m.ID] = leaver{m, now.Add(leaveGrace)}
				c.log(Info, "peer stops, or starts anew", Field{"peer", m.ID})
			}
		}
	}
	maps.DeleteFunc(c.leaving, func(_ peerid.ID, l leaver) bool { return !now.Before(l.until) })
	if len(c.leaving) == 0 {
		return
	}
	for _, id := range slices.SortedFunc(maps.Keys(c.leaving), peerid.ID.Compare) {
		c.alive = append(c.alive, c.leaving[id].Member)
	}
	slices.SortFunc(c.alive, func(a, b membership.Member) int { return a.ID.Compare(b.ID) })
}

// known is what goes for a member until somebody comes or goes, or HAProxy says otherwise.
type known struct {
	source    string // see table.Peer
	neighbour bool
	// usable is that HAProxy could and may send it requests: its server is there and is
	// not down, nor drained by the operator.
	usable bool
}

// know notes what goes for the members that are alive.
func (c *Core) know() {
	c.known = make([]known, len(c.alive))
	for i := range c.alive {
		m := &c.alive[i]
		c.known[i] = known{sourceOf(m.HTTP.Addr()), c.isNeighbour(m.ID), c.servers[m.ID.String()].Up}
	}
}

// isNeighbour reports whether calls are exchanged with the member.
func (c *Core) isNeighbour(id peerid.ID) bool { return c.o.Neighbours == nil || c.o.Neighbours[id] }

func (c *Core) isMissing(id peerid.ID) bool {
	_, alive := find(c.alive, id)
	return !alive
}

// find returns the member of that id from a list sorted by id.
func find(members []membership.Member, id peerid.ID) (int, bool) {
	return slices.BinarySearchFunc(members, id, func(m membership.Member, id peerid.ID) int { return m.ID.Compare(id) })
}

// inboundOf returns what the table in use admits from the peer, nil for nothing.
func (c *Core) inboundOf(id peerid.ID) *inbound {
	if c.tables.newest == nil {
		return nil
	}
	rates := make(inbound)
	for i := range c.tables.newest.Functions {
		f := &c.tables.newest.Functions[i]
		for _, a := range f.Admit {
			if a.Peer == id {
				rates[f.Name] = a.Rate
			}
		}
	}
	if len(rates) == 0 {
		return nil
	}
	return &rates
}

func (c *Core) onHAProxy(now time.Time, e HAProxy) {
	c.note(&c.haproxy, now, e.Err)
	c.answers, c.ofGateway = nil, e.Gateway
	if e.Calls != nil {
		c.calls = e.Calls
		c.judgeFunctions(now)
	}
	if e.Servers == nil {
		return // what it said last is believed
	}
	c.answers = c.ofFunctions(e.Answers)
	before := c.servers
	c.servers = e.Servers
	if before == nil || !maps.EqualFunc(before, e.Servers, func(a, b Server) bool { return a.Up == b.Up }) {
		c.know()
		c.soon(now)
	}
}

// ofFunctions merges what was counted of a function by its two names.
func (c *Core) ofFunctions(counted map[estimate.Offered]estimate.Answers) map[estimate.Offered]estimate.Answers {
	answers := make(map[estimate.Offered]estimate.Answers, len(counted))
	for o, a := range counted {
		if name, long := strings.CutSuffix(o.Function, "."+c.o.DefaultNamespace); long && c.o.DefaultNamespace != "" {
			o.Function = name
		}
		answers[o] = answers[o].Plus(a)
	}
	return answers
}

// checkOverlay notes whether announcements go out, and whether anybody can be
// reached when members are named.
func (c *Core) checkOverlay(now time.Time) {
	err := c.publishErr
	if err == nil && len(c.alive) == 0 && c.o.HasBootstrap && now.Sub(c.start) >= lonely && c.connected == 0 {
		err = errLonely
	}
	c.note(&c.overlay, now, err)
}

var errLonely = errors.New("connected to nobody: none of the bootstrap members can be reached; " +
	"check their addresses, the firewall and the federation key")

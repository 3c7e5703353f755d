package core

import (
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// soon has a plan of everything made within the debounce.
func (c *Core) soon(now time.Time) {
	c.whole = true
	c.planWithin(now)
}

// planWithin has a plan made within the debounce.
func (c *Core) planWithin(now time.Time) {
	c.changed = true
	if c.planSoon {
		return
	}
	c.planSoon = true
	c.planAt = now.Add(max(debounce, planShare*c.planCost))
}

// stale reports whether a plan made now would be of other things than the last.
func (c *Core) stale() bool {
	if c.changed || c.judgements != c.trust.Judgements() {
		return true
	}
	if c.followsChanges() {
		return c.drifted()
	}
	return !slices.Equal(c.observed.Functions, c.functions())
}

// followsChanges reports whether the strategy plans for each change of demand.
func (c *Core) followsChanges() bool { return c.o.Strategy.Demand() == strategy.DemandChanging }

// drifted reports whether users ask for noticeably more or less than the plan is
// for, where the strategy follows changes: after a change, the first estimates are
// rough.
func (c *Core) drifted() bool {
	if !c.followsChanges() {
		return false
	}
	now, planned := c.rates.Smooth(), 0
	for _, f := range c.observed.Functions {
		rate, asked := now[f.Name.String()]
		if asked {
			planned++
		}
		if differs(f.UserRate, limit.NearestRate(rate), f.Capacity.Rate()) {
			return true
		}
	}
	return planned < len(now) // somebody asks for what the plan does not have
}

// replan makes a plan from all that is known now, applies it, and sees to it
// that it is announced.
func (c *Core) replan(now time.Time) {
	c.planSoon, c.planAt, c.judgements = false, time.Time{}, c.trust.Judgements()
	if c.membersNew {
		c.whole = true
		c.followMembers(now)
	} else {
		c.followOffers()
	}
	c.observed = strategy.Observation{Self: c.o.Self.String(), Functions: c.functions(), Peers: c.peers(), Sparse: c.o.Neighbours != nil}
	var plan strategy.Plan
	if c.whole {
		plan, c.changed = c.planner.Plan(c.observed), false
	} else {
		plan, c.changed = c.planner.PlanUrgent(c.observed, func(name funcname.Name) bool { return c.urgent[name] || c.lacks(name) })
	}
	c.whole = false
	clear(c.urgent)
	c.follow(now, c.tryAgain(plan))
	c.fx.Planned = true
	settled := c.settled(now)
	switch earliest := c.start.Add(settle(c.o.Period)); {
	case settled:
		c.apply(now)
	case now.Before(earliest):
		c.planAt = earliest
	default:
		c.planAt = c.start.Add(maxReunion)
	}
	// Peers would take a node that does not know yet what its users ask for to
	// have no surplus, and refuse what its SPOA goes on sending.
	if c.gateway.looked && c.measured || settled {
		c.announcer.reach(len(c.alive), c.unfed, c.newcomers)
		c.speakAt = c.announcer.due(now, c.plan.Offers, c.newcomers)
	}
}

// settled reports whether the node has listened long enough to apply what it
// knows.
func (c *Core) settled(now time.Time) bool {
	listened := now.Sub(c.start)
	return listened >= settle(c.o.Period) && (listened >= maxReunion || !slices.ContainsFunc(c.earlier, c.isMissing))
}

// functions are those that are deployed here or asked for here, sorted by name.
func (c *Core) functions() []strategy.Function {
	local, demand := c.local(), c.demand()
	functions := make([]strategy.Function, len(local), len(local)+len(demand))
	asked := 0
	for i := range local {
		f := &local[i]
		rate, is := demand[f.Name.String()]
		if is {
			asked++
		}
		functions[i] = strategy.Function{
			Name: f.Name, Capacity: f.Capacity, Soft: f.Soft, UserRate: c.noticed(f.Name.String(), rate, f.Capacity.Rate()), TimeoutMillis: f.TimeoutMillis,
			Backup: c.standings[f.Name.String()] != "",
		}
		if c.triedByPeers(&functions[i]) {
			functions[i].Backup, functions[i].Capacity = false, trialCapacity(f.Capacity)
		}
	}
	if asked == len(demand) {
		return functions
	}
	for text, rate := range demand {
		name, err := funcname.Parse(text)
		if err != nil {
			continue // a SPOA of another version may count what is no name here
		}
		if _, here := slices.BinarySearchFunc(local, name, func(f Function, name funcname.Name) int { return f.Name.Compare(name) }); !here {
			functions = append(functions, strategy.Function{Name: name, Absent: true, UserRate: c.noticed(text, rate, limit.Rate{})})
		}
	}
	slices.SortFunc(functions, func(a, b strategy.Function) int { return a.Name.Compare(b.Name) })
	return functions
}

// noticed is the rate to plan for and to announce where users ask for so many requests/s:
// what it was in the last plan, as long as it is not noticeably other, nor above a
// capacity that it was not above, nor known much better by now. What is only noise would
// else have every function planned anew at every plan, here and wherever it is announced.
func (c *Core) noticed(name string, perSecond float64, capacity limit.Rate) limit.Rate {
	rate := limit.NearestRate(perSecond).Rounded()
	if !c.followsChanges() || rate == (limit.Rate{}) {
		return rate
	}
	before, known := c.demands[name]
	span := c.rates.Span(name)
	if known && !differs(before.rate, rate, capacity) && before.rate.Exceeds(capacity.Bound()) == rate.Exceeds(capacity.Bound()) &&
		(before.span >= wellKnown || span < min(betterKnown*before.span, wellKnown)) {
		return before.rate
	}
	c.demands[name] = demand{rate, span}
	return rate
}

// measuredOver is over how many seconds the rate that is planned for was measured, as
// long as one look at the meter at least.
func (c *Core) measuredOver(function funcname.Name) float64 {
	return max(leastGap.Seconds(), c.demands[function.String()].span*estimate.WindowSpan.Seconds())
}

// demand is a rate of users that was planned for, and how well it was known
// (estimate.Rates.Span).
type demand struct {
	rate limit.Rate
	span float64
}

// A rate that is hardly another is planned for when it is the mean over betterKnown times
// as long, and a last time when it is that over wellKnown of the longest.
const betterKnown, wellKnown = 2.5, 0.9

// demand is what the strategy wants to know of what users ask for, requests/s by
// function; not to be changed. A node that starts goes by what it has seen so far.
func (c *Core) demand() map[string]float64 {
	if c.o.Strategy.Demand() != strategy.DemandOfPeriod || !c.rates.Whole() {
		return c.rates.Smooth()
	}
	last := c.rates.Last()
	demand := make(map[string]float64, len(last))
	for name, rates := range last {
		demand[name] = rates.User
	}
	return demand
}

// peers are those alive with which calls are exchanged, sorted by id, as far as they are
// believed. Of others no plan knows: nothing is sent to them, nor admitted from them.
func (c *Core) peers() []strategy.Peer {
	peers := make([]strategy.Peer, 0, len(c.alive))
	for i := range c.alive {
		m := &c.alive[i]
		if !c.known[i].neighbour {
			continue
		}
		usable := c.known[i].usable
		p := strategy.Peer{ID: m.ID.String(), Offers: offersOf(m, usable), Down: !usable, Distrust: c.trust.Distrust(m.ID.String())}
		if c.trust.AnyUnserved() {
			p.Unserved = byFunction(&p, func(name string) float64 { return c.trust.Unserved(estimate.Offered{Peer: p.ID, Function: name}) })
		}
		if c.trust.AnyUnused() {
			p.Unused = byFunction(&p, func(name string) float64 { return c.trust.Unused(p.ID, name) })
		}
		peers = append(peers, p)
	}
	return peers
}

// byFunction is how far something of the peer's functions is disbelieved, but for those
// of which it is believed.
func byFunction(p *strategy.Peer, distrust func(function string) float64) (parts map[funcname.Name]float64) {
	for i := range p.Offers {
		name := p.Offers[i].Name
		if part := distrust(name.String()); part > 0 {
			if parts == nil {
				parts = make(map[funcname.Name]float64)
			}
			parts[name] = part
		}
	}
	return parts
}

// offersOf returns what a peer offers this node: while HAProxy cannot reach it,
// nothing but the surplus of its users.
func offersOf(m *membership.Member, usable bool) []strategy.Offer {
	if usable {
		return m.Offers
	}
	offers := slices.Clone(m.Offers)
	for i := range offers {
		o := &offers[i]
		if o.Limit = (limit.Rate{}); !o.Overloaded() {
			o.Capacity = o.UserRate
		}
	}
	return offers
}

package core

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/limit"
)

// Standing is why calls of a function deployed here are better served by peers that
// have it, or Ready.
type Standing string

const (
	Ready   Standing = "ready"
	Idle    Standing = "idle"    // no replica is ready
	Failing Standing = "failing" // calls fail
	Trial   Standing = "trial"   // they did; a few calls are to show whether they still do
)

// trialShare is the fraction of users' calls that a trial costs, trialRate how many it
// takes at least, requests/s.
const trialShare, trialRate = 0.1, 2

// standing is that of a function deployed here.
func (c *Core) standing(now time.Time, f *Function) Standing {
	if f.Idle {
		return Idle
	}
	if h := c.health[f.Name.String()]; h != nil {
		return [...]Standing{estimate.Healthy: Ready, estimate.Failing: Failing, estimate.Trial: Trial}[h.Condition(now)]
	}
	return Ready
}

// judgeFunctions takes in what became of calls of the functions deployed here.
func (c *Core) judgeFunctions(now time.Time) {
	if c.calls == nil {
		return
	}
	health := make(map[string]*estimate.Health, len(c.gateway.functions))
	for i := range c.gateway.functions {
		name := c.gateway.functions[i].Name.String()
		h := c.health[name]
		if h == nil {
			h = new(estimate.Health)
		}
		total := c.calls[name]
		if !strings.Contains(name, ".") && c.o.DefaultNamespace != "" {
			alias := c.calls[name+"."+c.o.DefaultNamespace]
			total.Ended, total.Failed = total.Ended+alias.Ended, total.Failed+alias.Failed
		}
		h.Observe(now, total)
		health[name] = h
	}
	c.health = health
	c.noteStandings(now)
}

// noteStandings logs what has become of functions since the last time, and has a plan
// made. It is called at each look at the meter, and mostly there is nothing to note.
func (c *Core) noteStandings(now time.Time) {
	changed, notReady := false, 0
	for i := range c.gateway.functions {
		f := &c.gateway.functions[i]
		name := f.Name.String()
		is, was := c.standing(now, f), cmp.Or(c.standings[name], Ready)
		if is != Ready {
			notReady++
		}
		if is == was {
			continue
		}
		changed = true
		switch is {
		case Idle:
			c.log(Info, "no replica of the function is ready: peers that have it come first", Field{"function", name})
		case Failing:
			c.log(Warn, "calls of the function fail here: peers that have it come first", Field{"function", name})
		case Trial:
			c.log(Info, "the function is tried again", Field{"function", name})
		default:
			c.log(Info, "the function is ready", Field{"function", name})
		}
		c.soon(now)
	}
	if !changed && notReady == len(c.standings) {
		return
	}
	c.standings = make(map[string]Standing, notReady) // a new one: View shows the other
	for i := range c.gateway.functions {
		f := &c.gateway.functions[i]
		if is := c.standing(now, f); is != Ready {
			c.standings[f.Name.String()] = is
		}
	}
}

// trialCapacity is what peers may be told to have of a function that is tried again.
func trialCapacity(of limit.Bound) limit.Bound {
	full := of.PerSecond()
	return limit.NearestRate(min(full, max(trialRate, trialShare*full))).Bound()
}

// tryAgain returns the plan with a few calls of functions that have failed served
// here.
func (c *Core) tryAgain(plan strategy.Plan) strategy.Plan {
	if len(c.standings) == 0 {
		return plan
	}
	plan.Functions = slices.Clone(plan.Functions)
	for i := range plan.Functions {
		f := &plan.Functions[i]
		if c.standings[f.Name.String()] == Trial && f.Local != nil && f.Local.Share == 0 {
			local := *f.Local
			local.Share = max(trialShare, trialRate/max(trialRate, c.observed.UserRate(f.Name).PerSecond()))
			f.Local = &local
		}
	}
	return plan
}

// triedByPeers reports whether a function is tried again that hardly any user calls
// here, while others have it: a few calls of their users are then to show how it is.
func (c *Core) triedByPeers(f *strategy.Function) bool {
	return c.standings[f.Name.String()] == Trial && f.UserRate.PerSecond() < trialRate/2 && f.Capacity.PerSecond() > 0 && slices.ContainsFunc(c.alive, func(m membership.Member) bool {
		i, is := strategy.FindOffer(m.Offers, f.Name)
		return is && c.isNeighbour(m.ID) && !m.Offers[i].Absent && !m.Offers[i].Backup && m.Offers[i].Capacity.PerSecond() > 0
	})
}

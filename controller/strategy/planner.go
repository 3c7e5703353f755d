package strategy

import (
	"slices"

	"github.com/dfaas/dfaas/internal/funcname"
)

// rule plans one function.
type rule func(v *view) (FunctionPlan, Offer)

// perFunction is a strategy whose plan for a function depends on nothing but what the
// observation says of that function, and on who is alive. Planner makes such a plan
// anew only where something has changed.
type perFunction interface{ rule(alive []Peer) rule }

// Planner makes the plans of one node, one after the other. They are what the
// strategy's Plan says, but what has not changed since the last plan is not planned
// again: it shares its flows with that plan, which is how one sees that it is the same
// (FunctionPlan.Same). It is owned by one goroutine.
type Planner struct {
	strategy Strategy
	observed *Observation    // that the last plan is of; nil: none yet
	parts    []part          // of the last plan, by name
	later    []funcname.Name // of which it says what the one before said, sorted
	last     Plan
	peers    []peerOffer // of the function that is planned
	out, in  []Flow      // of that function, for the time being
}

// part is what a plan says of one function.
type part struct {
	plan  FunctionPlan
	offer Offer
}

// NewPlanner returns a planner that goes by the strategy.
func NewPlanner(s Strategy) *Planner { return &Planner{strategy: s} }

// Plan plans. Neither the observation nor the plan may be changed any more.
func (p *Planner) Plan(o Observation) Plan {
	return p.planned(o, func(funcname.Name) bool { return true })
}

// PlanUrgent is Plan, but that where nothing but peers' offers of a function is other, it
// is planned anew only if it is an urgent one. It reports whether any are left for later.
func (p *Planner) PlanUrgent(o Observation, urgent func(funcname.Name) bool) (plan Plan, left bool) {
	plan = p.planned(o, urgent)
	return plan, len(p.later) > 0
}

func (p *Planner) planned(o Observation, urgent func(funcname.Name) bool) Plan {
	each, ok := p.strategy.(perFunction)
	if !ok {
		return p.strategy.Plan(o)
	}
	rule := each.rule(o.Peers)
	names, all := p.changes(&o, urgent)
	p.observed = &o
	switch {
	case all:
		p.parts = p.parts[:0]
		for _, v := range views(o) {
			p.parts = append(p.parts, v.part(rule))
		}
	case len(names) == 0:
		return p.last
	default:
		for _, name := range names {
			p.replace(&o, name, rule)
		}
	}
	p.last = planOf(p.parts)
	return p.last
}

// changes names the functions of which the observation says something else than the
// last one, sorted, or reports that all have to be planned. It puts off what is not urgent.
func (p *Planner) changes(o *Observation, urgent func(funcname.Name) bool) (names []funcname.Name, all bool) {
	before := p.observed
	if before == nil || before.Self != o.Self || before.Sparse != o.Sparse ||
		!slices.EqualFunc(before.Peers, o.Peers, func(a, b Peer) bool { return a.ID == b.ID }) {
		p.later = p.later[:0]
		return nil, true
	}
	offered := p.later
	names = appendChanges(names, before.Functions, o.Functions, func(f *Function) funcname.Name { return f.Name })
	for i := range o.Peers {
		b, n := &before.Peers[i], &o.Peers[i]
		offers := b.Offers
		if b.Down != n.Down || b.Distrust != n.Distrust {
			names = appendChanges(names, nil, b.Offers, offerName)
			offers = nil
		}
		offered = appendChanges(offered, offers, n.Offers, offerName)
		names = appendDifferent(appendDifferent(names, b.Unserved, n.Unserved), b.Unused, n.Unused)
	}
	p.later = offered[:0]
	slices.SortFunc(offered, funcname.Name.Compare)
	for _, name := range slices.Compact(offered) {
		if urgent(name) {
			names = append(names, name)
		} else {
			p.later = append(p.later, name)
		}
	}
	slices.SortFunc(names, funcname.Name.Compare)
	return slices.Compact(names), false
}

func offerName(o *Offer) funcname.Name { return o.Name }

// appendChanges appends the names of all that are in one of two sorted lists only, or
// not the same in both.
func appendChanges[T comparable](names []funcname.Name, before, now []T, name func(*T) funcname.Name) []funcname.Name {
	if sameSlice(before, now) {
		return names
	}
	for len(before) > 0 && len(now) > 0 {
		b, n := name(&before[0]), name(&now[0])
		switch b.Compare(n) {
		case -1:
			names, before = append(names, b), before[1:]
		case 1:
			names, now = append(names, n), now[1:]
		default:
			if before[0] != now[0] {
				names = append(names, n)
			}
			before, now = before[1:], now[1:]
		}
	}
	for i := range before {
		names = append(names, name(&before[i]))
	}
	for i := range now {
		names = append(names, name(&now[i]))
	}
	return names
}

// appendDifferent appends the keys whose values are not the same in both.
func appendDifferent(names []funcname.Name, before, now map[funcname.Name]float64) []funcname.Name {
	for name, part := range before {
		if now[name] != part {
			names = append(names, name)
		}
	}
	for name, part := range now {
		if before[name] != part {
			names = append(names, name)
		}
	}
	return names
}

// replace plans one function anew.
func (p *Planner) replace(o *Observation, name funcname.Name, rule rule) {
	i, known := slices.BinarySearchFunc(p.parts, name, func(p part, name funcname.Name) int { return p.plan.Name.Compare(name) })
	v := viewOf(o, name, p.peers[:0])
	v.out, v.in = p.out, p.in
	switch {
	case !v.exists() && known:
		p.parts = slices.Delete(p.parts, i, i+1)
	case !v.exists():
	case known:
		now := v.part(rule)
		now.plan.keep(&p.parts[i].plan)
		p.parts[i] = now
	default:
		now := v.part(rule)
		now.plan.keep(new(FunctionPlan))
		p.parts = slices.Insert(p.parts, i, now)
	}
	p.peers, p.out, p.in = v.peers, v.out, v.in
}

// part plans the function that is viewed.
func (v *view) part(rule rule) part {
	fp, offer := rule(v)
	fp.Name = v.name
	return part{fp, offer}
}

// planOf puts a plan together. Functions that are only at peers are planned but
// announced only if this node's users ask for them.
func planOf(parts []part) Plan {
	p := Plan{Functions: make([]FunctionPlan, 0, len(parts)), Offers: make([]Offer, 0, len(parts))}
	for i := range parts {
		fp, offer := &parts[i].plan, &parts[i].offer
		if fp.Local != nil || len(fp.Out) > 0 {
			p.Functions = append(p.Functions, *fp)
		}
		if !offer.Absent || offer.UserRate.PerSecond() > 0 {
			p.Offers = append(p.Offers, *offer)
		}
	}
	return p
}

// Same reports whether the plan of a function was taken over from an earlier plan of
// the same planner's as it was. It is quick, and may be false for plans that are equal.
func (p *FunctionPlan) Same(other *FunctionPlan) bool {
	return p.Name == other.Name && p.Local == other.Local && p.Elastic == other.Elastic && p.Unmet == other.Unmet &&
		sameSlice(p.Out, other.Out) && sameSlice(p.In, other.In)
}

// SameIn is Same of what is admitted from peers.
func (p *FunctionPlan) SameIn(other *FunctionPlan) bool {
	return p.Name == other.Name && p.Elastic == other.Elastic && sameSlice(p.In, other.In)
}

// keep has a plan share with the one before of the same function what both say, and have
// flows of its own else: those that it comes with lie where the next plan's will.
func (p *FunctionPlan) keep(before *FunctionPlan) {
	if p.Local != nil && before.Local != nil && *p.Local == *before.Local {
		p.Local = before.Local
	}
	p.Out, p.In = kept(p.Out, before.Out), kept(p.In, before.In)
}

func kept(now, before []Flow) []Flow {
	if slices.Equal(now, before) {
		return before
	}
	return slices.Clone(now)
}

// sameSlice reports whether both are the same part of the same array, or both empty.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

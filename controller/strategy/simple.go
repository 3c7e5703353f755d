package strategy

import "github.com/dfaas/dfaas/internal/limit"

// The strategies of this file do not look at rates at all: the base lines that
// the others are measured against. They send without limit and leave it to the
// receiver's capacity to refuse.

// staticShare is the fraction of user requests that static serves here.
const staticShare = 0.6

// static serves a fixed fraction here and spreads the rest evenly over the
// peers having the function.
type static struct{}

func (static) Name() string { return "static" }

func (static) Demand() Demand { return DemandNow }

func (s static) Plan(o Observation) Plan { return plan(o, s.rule(o.Peers)) }

func (static) rule(alive []Peer) rule {
	return blind(alive, func(peers int) float64 { return staticShare })
}

// random sends each request to any node having the function, all with the same
// chance.
type random struct{}

func (random) Name() string { return "random" }

func (random) Demand() Demand { return DemandNow }

func (r random) Plan(o Observation) Plan { return plan(o, r.rule(o.Peers)) }

func (random) rule(alive []Peer) rule {
	return blind(alive, func(peers int) float64 { return 1 / float64(peers+1) })
}

// blind serves share(peers having the function) here and spreads the rest
// evenly; alone it serves everything.
func blind(alive []Peer, share func(peers int) float64) rule {
	return func(v *view) (FunctionPlan, Offer) {
		here := 1.0
		if n := v.having(); n > 0 {
			here = share(n)
		}
		return FunctionPlan{
			Local: v.local(here),
			Out:   v.evenly(1, limit.Unlimited()),
			In:    v.admitToCapacity(alive),
		}, v.offer()
	}
}

// allLocal never forwards; it still serves peers within its capacity.
type allLocal struct{}

func (allLocal) Name() string { return "alllocal" }

func (allLocal) Demand() Demand { return DemandNow }

func (a allLocal) Plan(o Observation) Plan { return plan(o, a.rule(o.Peers)) }

func (allLocal) rule(alive []Peer) rule {
	return func(v *view) (FunctionPlan, Offer) {
		return FunctionPlan{Local: v.local(1), In: v.admitToCapacity(alive)}, v.offer()
	}
}

// admitToCapacity lets every peer use the whole capacity; what they get
// together is bounded by the capacity bucket, after this node's own users.
func (v *view) admitToCapacity(peers []Peer) []Flow {
	if !v.bounded() {
		return nil
	}
	return admitAll(peers, v.own.Capacity)
}

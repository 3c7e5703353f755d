package strategy

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

func (static) Plan(o Observation) Plan {
	return blind(o, func(peers int) float64 { return staticShare })
}

// random sends each request to any node having the function, all with the same
// chance.
type random struct{}

func (random) Name() string { return "random" }

func (random) Demand() Demand { return DemandNow }

func (random) Plan(o Observation) Plan {
	return blind(o, func(peers int) float64 { return 1 / float64(peers+1) })
}

// blind serves share(peers having the function) here and spreads the rest
// evenly; alone it serves everything.
func blind(o Observation, share func(peers int) float64) Plan {
	return plan(o, func(v *view) (FunctionPlan, Offer) {
		here := 1.0
		if n := v.having(); n > 0 {
			here = share(n)
		}
		return FunctionPlan{
			Local: v.local(here),
			Out:   v.evenly(1, Unlimited),
			In:    v.admitToCapacity(o.Peers),
		}, v.offer(v.evenLimit())
	})
}

// allLocal never forwards; it still serves peers within its capacity.
type allLocal struct{}

func (allLocal) Name() string { return "alllocal" }

func (allLocal) Demand() Demand { return DemandNow }

func (allLocal) Plan(o Observation) Plan {
	return plan(o, func(v *view) (FunctionPlan, Offer) {
		return FunctionPlan{Local: v.local(1), In: v.admitToCapacity(o.Peers)}, v.offer(v.evenLimit())
	})
}

// admitToCapacity lets every peer use the whole capacity; what they get
// together is bounded by the capacity bucket, after this node's own users.
func (v *view) admitToCapacity(peers []Peer) []Flow {
	if !v.bounded() {
		return nil
	}
	return admitAll(peers, v.own.Capacity)
}

package strategy

import "github.com/dfaas/dfaas/internal/limit"

// recalc is the algorithm of the original DFaaS. Per function with limit max
// and own user rate u: a node with u < max is not overloaded; it splits its
// margin max - u evenly over the peers having the function, and that is the
// limit of each, announced to all. An overloaded node admits nobody and sends
// its surplus to the peers in proportion to the limits they announced.
type recalc struct{}

func (recalc) Name() string { return "recalc" }

func (recalc) Demand() Demand { return DemandOfPeriod }

func (r recalc) Plan(o Observation) Plan { return plan(o, r.rule(o.Peers)) }

func (recalc) rule(alive []Peer) rule {
	return func(v *view) (FunctionPlan, Offer) {
		even := v.evenLimit()
		fp := FunctionPlan{Local: v.local(1), In: admitAll(alive, even.Bound()), Out: v.evenly(0, limit.Bound{})}
		if v.overloaded() {
			fp.Out = nil
			for _, p := range v.peers {
				if !p.Absent {
					fp.Out = append(fp.Out, p.flow(p.Limit.PerSecond(), p.Limit.Bound()))
				}
			}
		}
		return fp, v.offer(even)
	}
}

// overloaded reports whether the users ask for all that this node can serve; a
// node whose users are better served by peers always is.
func (v *view) overloaded() bool {
	return v.lacking() || v.bounded() && v.own.UserRate.PerSecond() >= v.own.Capacity.PerSecond()
}

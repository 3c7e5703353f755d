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
			for i := range v.peers {
				if p := &v.peers[i]; !p.Absent {
					to := v.limitOf(p)
					fp.Out = append(fp.Out, p.flow(to.PerSecond(), to.Bound()))
				}
			}
		}
		offer := v.offer()
		if v.bounded() {
			offer.Limit = even
		}
		return fp, offer
	}
}

// evenLimit is the spare split evenly over the peers that have the function,
// or over one where none has it but some may ask.
func (v *view) evenLimit() limit.Rate {
	return limit.NearestRate(v.spare() / float64(max(1, v.having())))
}

// limitOf is what the peer's limit is: as it announces it or, if it goes by another strategy
// and announces none, as this one would have it.
func (v *view) limitOf(p *peerOffer) limit.Rate {
	if p.Limit != (limit.Rate{}) {
		return p.Limit
	}
	others := v.having() - 1 // peers of that peer that have the function
	if !v.own.Absent {
		others++
	}
	return limit.NearestRate(p.spare() / float64(max(1, others)))
}

// overloaded reports whether the users ask for all that this node can serve; a
// node whose users are better served by peers always is.
func (v *view) overloaded() bool {
	return v.lacking() || v.bounded() && v.own.UserRate.PerSecond() >= v.own.Capacity.PerSecond()
}

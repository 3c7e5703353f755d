package strategy

import "github.com/dfaas/dfaas/internal/limit"

// sparseFill is the fill of a node that exchanges calls with some members only, where
// peers hear claims that this node does not hear. It goes by what each peer k says:
//
//   - D_k, the sum of surplus that it counts (Offer.Demand);
//   - R_k, how much room it could make by sending its own users elsewhere, instead of
//     what it lends (Offer.Limit) if D_k > S_k: there is nothing to lend then.
//
// Node i may send it
//
//	a_ik = (S_k + R_k) * O_i / max(D_k, O_i)
//
// and prefers peers of which others claim little: while there is rate left, calls go to
// k in proportion to a_ik O_i / max(D_k, O_i). What k could make room for is what it may
// send itself, less O_k, and no more than the users that it serves. Without a surplus it
// may send what is lent, and so nothing where a_ik may be another's promise: no node
// promises on the strength of its own.
//
// Peers that announce no D are of an older version, and the fill of what is heard here
// has to do for them. They send a node of this version what they take its spare for, as
// ever, and no more than D_k leaves them.
type sparseFill struct{ *fill }

// room is what those who claim may have of the peer together: S + R.
func (p *peerOffer) room() float64 {
	if !p.Full() {
		return p.spare()
	}
	return min(p.Capacity.PerSecond(), p.spare()+p.Limit.PerSecond())
}

// counted is room as far as it counts for whom calls go to: no more than all other claims
// together.
func (f sparseFill) counted(p *peerOffer) float64 {
	return max(0, min(p.room(), f.surplus+f.spare-p.spare()))
}

// demand is the sum of surplus that is claimed of the peer. Those that are disbelieved make
// it no smaller by what they say that they count.
func (f sparseFill) demand(p *peerOffer) float64 {
	demand := p.Demand.PerSecond()
	if demand == 0 || p.distrust > 0 {
		demand = max(demand, f.claimed)
	}
	return demand
}

// share is the part of the peer's room that is for this node's need, above 0.
func (f sparseFill) share(p *peerOffer) float64 { return f.need / max(f.need, f.demand(p)) }

func (f sparseFill) outTo(p *peerOffer) Flow {
	if f.need == 0 && p.Demand.PerSecond() == 0 {
		return f.fill.outTo(p)
	}
	flow, room, trust := p.flow(0, limit.Bound{}), p.room(), 1-p.distrust
	flow.Spare = limit.NearestRate(max(room, leastSpare*p.Capacity.PerSecond()) * trust)
	var weight, rate float64
	switch {
	case f.need > 0:
		share := f.share(p)
		weight, rate = f.counted(p)*share*share, room*share
	case !p.Full():
		weight = min(f.counted(p), p.Limit.PerSecond())
		rate = weight
	}
	if rate > 0 {
		flow.Weight, flow.Rate = max(lastWeight, trust*weight), limit.NearestRate(rate).Bound()
	}
	return flow
}

// unmet is FunctionPlan.Unmet: k has S_k + R_k for D_k. Those who claim that claim it of
// others, too, and take what they need where they get it, so half of what is reckoned by
// that counts.
func (f sparseFill) unmet(v *view) float64 {
	met := 0.0
	for i := range v.peers {
		p := &v.peers[i]
		met += p.room() * (1 - p.distrust) / max(noDemand, f.need, f.demand(p))
	}
	return unmet(2, 1+met)
}

// relief is R: how much room this node could make by sending its own users elsewhere,
// requests/s.
func (f sparseFill) relief(v *view, out []Flow) float64 {
	free := -f.need
	for i := range out {
		free += out[i].Rate.PerSecond()
	}
	return max(0, min(free, v.own.UserRate.PerSecond(), v.own.Capacity.PerSecond()))
}

// announce puts D into this node's offer, and R where there is nothing to lend.
func (f sparseFill) announce(o *Offer, v *view, out []Flow) {
	o.Demand = limit.NearestRate(max(noDemand, f.believed))
	if f.believed > f.ownSpare {
		o.Limit = limit.NearestRate(f.relief(v, out))
	}
}

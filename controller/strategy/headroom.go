package strategy

import (
	"math"
	"slices"

	"github.com/dfaas/dfaas/internal/limit"
)

// headroom shares the spare capacity of the federation so that surplus is
// served wherever there is room, and refused where it arose when there is none.
//
// Every node j announces its capacity C and user rate u of a function, and so
// its surplus O = max(0, u - C) and its spare S = max(0, C - u). From the same
// announcements everybody computes the same fill: node i may send to node k
//
//	a_ik = S_k * O_i / max(sum O, sum S)
//
// which gives every surplus its room when there is enough, and fills every
// node, refusals shared in proportion to surplus, when there is not. What the
// fill leaves unclaimed of S_k is lent in advance, in equal parts to all m other
// nodes, so that a sudden surplus is served at once, before any gossip.
//
// Each announces what it lends to each (Offer.Limit), and nodes that have no surplus, who
// take part in no fill, go by that. Where not everybody exchanges calls with everybody,
// nobody knows from its own view what others claim of a spare: see sparseFill.
//
// # Liars
//
// Announcements are claims. A node's own users come first, and so keep what it
// can serve itself whatever others claim. For the rest, with one liar among
// honest nodes:
//
//  1. No claim counts as more than all others together, nor a surplus as more
//     than the others could serve with all they have. So, at any time, a liar
//     takes or keeps idle what an honest node with that surplus would get.
//  2. Who sends sees which peer leaves requests unserved (Peer.Unserved). Its
//     spare counts for less, and it gets little as long as others have room.
//     What they have no room for it may get, so that an honest node that was
//     misjudged loses nobody's requests. After three periods, infinite spare
//     costs the others no more than a trial, 5 % of their surplus.
//  3. Who receives sees which peer leaves its claim unused (Peer.Unused): such
//     surplus counts for less. All must know, so the receiver then announces the
//     sum of surplus that it counts, D_k, which senders use for sum O. After
//     three periods, an invented surplus costs the others nothing but the equal
//     part that is lent to every node.
//  4. k admits from i, whatever else comes, S_k * O_i/D_k at least and S_k *
//     max(O_i/D_k, 1/m) at most, where others' spare says how much of k's is left
//     to be lent. So who invents spare makes k promise more, never less than
//     what i's surplus is due; and more than was promised only goes while there
//     is room.
type headroom struct{}

const (
	// claimMargin makes a node that is over its capacity claim a little more
	// than it measured, as a fraction of its user rate: a rate measured too low
	// by chance would otherwise leave room unused while requests are refused.
	claimMargin = 0.05
	// admitMargin is what a receiver admits beyond a node's part, as a fraction
	// of it: sender and receiver plan from estimates of slightly different age.
	// The capacity bucket bounds the sum of what all peers get.
	admitMargin = 0.10
	// lastWeight is that of a peer which gets only what no other has room for.
	lastWeight = 0.001
	// noDemand is what is announced when no surplus is believed, requests/s.
	noDemand = 0.001
	// leastSpare is what a peer that says to have nothing left is thought to have, as a
	// fraction of its capacity: how promising it is to try.
	leastSpare = 0.02
	// unmetSteps is how finely it is told what nobody has room for.
	unmetSteps = 20
)

func (headroom) Name() string { return "headroom" }

func (headroom) Demand() Demand { return DemandChanging }

func (h headroom) Plan(o Observation) Plan { return plan(o, h.rule(o.Peers)) }

func (headroom) rule(alive []Peer) rule { return fillRule(alive, true) }

// fillRule plans by the fill. Elastic plans go on where it ends.
func fillRule(alive []Peer, elastic bool) rule {
	return func(v *view) (FunctionPlan, Offer) {
		f := newFill(v)
		f.elastic = elastic
		fp, offer := FunctionPlan{Local: v.local(1), Elastic: elastic}, v.offer()
		sparse := elastic && v.sparse
		switch {
		case sparse:
			fp.Out, fp.Unmet = v.flows(sparseFill{&f}.outTo), sparseFill{&f}.unmet(v)
		case elastic:
			fp.Out, fp.Unmet = f.out(v), unmet(f.claimed, f.trusted)
		default:
			fp.Out = f.out(v)
		}
		if v.bounded() {
			fp.In = f.in(v, alive)
			if elastic {
				offer.Limit = limit.NearestRate(f.ownSpare * f.part(0, 0, f.taken()))
			}
		}
		if f.ownSpare > 0 && v.distrustful(alive) {
			offer.Demand = limit.NearestRate(max(noDemand, f.believed))
		}
		if sparse && v.bounded() {
			sparseFill{&f}.announce(&offer, v, fp.Out)
		}
		return fp, offer
	}
}

// distrustful reports whether this node disbelieves anybody's surplus. It goes on
// counting aloud while that one happens to claim nothing.
func (v *view) distrustful(peers []Peer) bool {
	return slices.ContainsFunc(peers, func(p Peer) bool { return p.Unused[v.name] > 0 })
}

// fill is the common plan for one function as this node computes it.
type fill struct {
	elastic              bool
	need                 float64 // of this node's users, beyond what it can serve
	ownSurplus, ownSpare float64 // need as a claim, and what is left here
	capacity             float64 // of all nodes
	surplus, spare       float64 // sums of what is claimed
	claimed, believed    float64 // sums of surplus that counts: as claimed, as far as believed here
	offered, trusted     float64 // sums of spare that counts: as claimed, as far as believed here
	others               float64 // m: nodes a spare is lent to, everybody but its owner
}

func newFill(v *view) fill {
	f := fill{ownSpare: v.spare(), others: float64(max(1, v.alive))}
	own := Offer{Absent: v.own.Absent, UserRate: v.own.UserRate}
	if v.bounded() {
		own.Capacity = v.own.Capacity.Rate()
	}
	f.capacity, f.spare = own.Capacity.PerSecond(), f.ownSpare
	for i := range v.peers {
		f.capacity += v.peers[i].Capacity.PerSecond()
		f.spare += v.peers[i].spare()
	}
	if v.lacking() || v.bounded() {
		f.need = surplus(own.UserRate.PerSecond(), own.Capacity.PerSecond())
		f.ownSurplus = f.claim(&own)
	}
	f.surplus = f.ownSurplus
	for i := range v.peers {
		f.surplus += f.claim(&v.peers[i].Offer)
	}
	f.ownSurplus = f.counted(f.ownSurplus)
	f.claimed, f.believed = f.ownSurplus, f.ownSurplus
	f.offered, f.trusted = f.countedSpare(f.ownSpare), f.countedSpare(f.ownSpare)
	for i := range v.peers {
		p := &v.peers[i]
		counts := f.counted(f.claim(&p.Offer))
		f.claimed += counts
		f.believed += counts * (1 - p.unused)
		spare := f.countedSpare(p.spare())
		f.offered += spare
		f.trusted += spare * (1 - p.distrust)
	}
	return f
}

// claim is a node's surplus: no more than all others can serve together.
func (f *fill) claim(o *Offer) float64 {
	capacity := o.Capacity.PerSecond()
	return max(0, min(surplus(o.UserRate.PerSecond(), capacity), f.capacity-capacity))
}

// counted is a claim as far as it counts: no more than all other claims together,
// of which those of spare get the margin, too.
func (f *fill) counted(claim float64) float64 {
	return max(0, min(claim, f.surplus-claim+f.spare*(1+claimMargin)))
}

// countedSpare is a spare as far as it counts: no more than all other claims
// together.
func (f *fill) countedSpare(spare float64) float64 {
	return max(0, min(spare, f.surplus+f.spare-spare))
}

// unmet is FunctionPlan.Unmet, where there is so much room for what is claimed.
func unmet(claimed, room float64) float64 {
	if claimed <= room {
		return 0
	}
	return math.Round(unmetSteps*(1-room/claimed)) / unmetSteps
}

// part is what a node may have of a spare of 1: of the fraction that the fill
// takes its share of the demand, an equal part of the rest.
func (f *fill) part(surplus, demand, taken float64) float64 {
	part := (1 - taken) / f.others
	if demand > 0 {
		part += taken * surplus / demand
	}
	return part
}

// taken is the fraction of this node's spare that the fill takes: of the surplus that
// is believed here, by the spare that the most trusting sender counts on.
func (f *fill) taken() float64 {
	if f.believed == 0 || f.ownSpare == 0 {
		return 0
	}
	return f.believed / max(f.believed, f.offered) * f.countedSpare(f.ownSpare) / f.ownSpare
}

// out lists every peer that has the function; a full one with rate 0.
func (f *fill) out(v *view) []Flow { return v.flows(f.outTo) }

func (f *fill) outTo(p *peerOffer) Flow {
	spare := p.spare()
	flow := p.flow(0, limit.Bound{})
	flow.Spare = limit.NearestRate(max(spare, leastSpare*p.Capacity.PerSecond()) * (1 - p.distrust))
	if spare == 0 {
		return flow
	}
	demand := f.claimed
	if counts := p.Demand.PerSecond(); counts > 0 {
		demand = min(demand, counts)
	}
	own := min(f.ownSurplus, demand)
	taken := 0.0
	if demand > 0 {
		taken = demand / max(demand, f.trusted)
	}
	counted := f.countedSpare(spare)
	weight := max(lastWeight, counted*(1-p.distrust)*f.part(own, demand, taken))
	// Of a spare that counts in part, only that part is taken by the fill.
	rate := spare * f.part(own, demand, taken*counted/spare)
	if f.elastic && f.ownSurplus == 0 {
		rate = max(rate, min(p.Limit.PerSecond(), counted*(1-p.distrust)))
	}
	flow.Weight, flow.Rate = weight, limit.NearestRate(rate).Bound()
	return flow
}

// in lists every peer alive that may send us something, whether it has the
// function or not: users may ask for it anywhere. The weight is what it will
// send if it has the surplus that it claims.
// Elastic plans name also those for whom there is nothing, who share what is left.
func (f *fill) in(v *view, alive []Peer) []Flow {
	if f.ownSpare == 0 && !f.elastic {
		return nil
	}
	in := slices.Grow(v.in[:0], len(alive))
	offers := v.peers // in the order of alive, with gaps
	for _, p := range alive {
		flow := Flow{Peer: p.ID}
		counts := 0.0
		if len(offers) > 0 && offers[0].id == p.ID {
			o := &offers[0]
			offers = offers[1:]
			if counts = f.counted(f.claim(&o.Offer)); counts > 0 {
				measured := min(counts, o.UserRate.PerSecond()-o.Capacity.PerSecond())
				flow.Weight = f.countedSpare(f.ownSpare) * measured / max(f.claimed, f.trusted)
				if f.elastic && v.sparse { // it prefers those of which others claim less
					flow.Weight *= measured / max(f.claimed, f.trusted)
				}
			}
		}
		if f.ownSpare > 0 {
			flow.Rate = limit.NearestRate(min(v.own.Capacity.PerSecond(), f.ownSpare*f.admitted(counts)*(1+admitMargin))).Bound()
		}
		in = append(in, flow)
	}
	v.in = in
	return in
}

// admitted is the part of a spare of 1 that a node with that surplus may have
// whoever comes first. That is an equal part at least; with elastic plans, which
// admit more while there is room, only as far as the fill leaves any to be lent.
func (f *fill) admitted(surplus float64) float64 {
	equal := 1 / f.others
	if surplus == 0 {
		return equal
	}
	part := min(1, surplus/f.believed)
	if f.elastic && f.believed > 0 {
		return max(part, f.part(surplus, f.believed, f.taken()))
	}
	return max(part, equal)
}

func surplus(userRate, capacity float64) float64 {
	if userRate <= capacity {
		return 0
	}
	return userRate*(1+claimMargin) - capacity
}

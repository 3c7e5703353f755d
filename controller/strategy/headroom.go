package strategy

import "math"

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
// # Liars
//
// Announcements are claims. Each node believes a claim only as far as it can see
// for itself, and needs nothing to be true that only others could see:
//
//   - Spare, seen by who sends. Of a peer that left the fraction d of our requests
//     unserved, S_k counts as (1-d) * min(S_k, the others' sum O): infinite spare
//     draws our surplus until the refusals are seen, no longer.
//   - Surplus, seen by who receives. Of a peer that left the fraction f of its
//     claim unused, O_j counts as (1-f) * O_j. As long as there is such a peer, k
//     announces the sum that it counts, D_k, which senders then use for sum O
//     (and the level below which it counts every surplus in full).
//   - Too much surplus. When there is too little room, O_j counts at most as
//     reciprocity * C_j, or as an equal part of the room (or what the others leave
//     of it) if that is more, and never as more than claimBound * sum S.
//   - k admits from i at most S_k * max(x, c*x + (1-c)/m), where x = O_i/D_k and
//     c = min(1, D_k/sum S). Spare that others have invented makes c too small,
//     but a_ik, computed with the true c, is not above that.
type headroom struct{}

const (
	// claimMargin makes a node that is over its capacity claim a little more
	// than it measured, as a fraction of its user rate: a rate measured too low
	// by chance would otherwise leave room unused while requests are refused.
	claimMargin = 0.05
	// admitMargin is what a receiver admits beyond a claim's part of the fill, as
	// a fraction of it: sender and receiver plan from estimates of slightly
	// different age. The capacity bucket bounds the sum of what all peers get.
	admitMargin = 0.10
	// reciprocity is how many times what it can serve a node may claim as if it
	// were nothing special. Those who bring little queue behind the others.
	reciprocity = 5
	// claimBound bounds every surplus, as a multiple of all spare that there is.
	claimBound = 2
	// leastDemand is what is announced when nobody's claim is believed, requests/s.
	leastDemand = 0.001
)

func (headroom) Name() string { return "headroom" }

func (headroom) Plan(o Observation) Plan {
	return plan(o, func(v *view) (FunctionPlan, Offer) {
		f := newFill(v)
		fp, offer := FunctionPlan{Local: v.local(1), Out: f.out(v)}, v.offer(v.evenLimit())
		if v.bounded() {
			fp.In = f.in(v, o.Peers)
		}
		if f.ownSpare > 0 && f.doubts {
			offer.Demand = max(leastDemand, f.believed)
			if !math.IsInf(f.level, 1) {
				offer.Level = f.level
			}
		}
		return fp, offer
	})
}

// fill is the common plan for one function as this node computes it.
type fill struct {
	ownSurplus, ownSpare float64
	surplus, spare       float64 // sums: surplus as claimed, spare as far as believed
	level                float64 // surplus that counts whatever its owner can serve
	claimed, believed    float64 // sums of surplus as far as it counts
	doubts               bool    // some claim is not believed in full
	others               float64 // m: nodes a spare is lent to, everybody but its owner
}

func newFill(v *view) fill {
	f := fill{ownSpare: v.spare(), others: float64(max(1, v.alive)), level: math.Inf(1)}
	f.spare, f.surplus = f.ownSpare, v.ownSurplus()
	for i := range v.peers {
		f.surplus += v.peers[i].surplus()
	}
	for i := range v.peers {
		f.spare += v.peers[i].believedSpare(f.surplus)
	}
	if f.demand(v) > f.spare {
		f.setLevel(v)
	}
	f.ownSurplus = f.bounded(v.ownSurplus(), v.ownCapacity())
	f.claimed, f.believed = f.ownSurplus, f.ownSurplus
	for i := range v.peers {
		p := &v.peers[i]
		f.claimed += f.bounded(p.surplus(), p.Capacity)
		f.believed += f.bounded(p.believedSurplus(), p.Capacity)
		f.doubts = f.doubts || p.unused > 0
	}
	return f
}

// bounded is a surplus as far as it counts.
func (f *fill) bounded(surplus, capacity float64) float64 {
	return min(surplus, max(f.level, reciprocity*capacity), max(f.level, claimBound*f.spare))
}

// demand is the sum of all surplus as far as it counts and is believed.
func (f *fill) demand(v *view) float64 {
	sum := f.bounded(v.ownSurplus(), v.ownCapacity())
	for i := range v.peers {
		sum += f.bounded(v.peers[i].believedSurplus(), v.peers[i].Capacity)
	}
	return sum
}

// setLevel finds the least level, from an equal part of the room upwards, at
// which the claims that count leave no room unused.
func (f *fill) setLevel(v *view) {
	low, high := f.spare/(f.others+1), f.spare
	f.level = low
	if f.demand(v) >= f.spare {
		return
	}
	for range 30 {
		f.level = (low + high) / 2
		if f.demand(v) < f.spare {
			low = f.level
		} else {
			high = f.level
		}
	}
	f.level = high
}

// out lists every peer that has the function; a full one with rate 0.
func (f *fill) out(v *view) []Flow {
	var out []Flow
	for i := range v.peers {
		p := &v.peers[i]
		if !p.Absent {
			rate := f.share(v, p)
			out = append(out, Flow{Peer: p.id, Weight: rate, Rate: rate})
		}
	}
	return out
}

// share is what this node may send to the peer.
func (f *fill) share(v *view, p *peerOffer) float64 {
	demand, own := f.claimed, f.ownSurplus
	if p.Demand > 0 {
		demand = min(demand, p.Demand)
		there := fill{spare: f.spare, level: p.Level}
		if there.level == 0 {
			there.level = math.Inf(1)
		}
		own = there.bounded(v.ownSurplus(), v.ownCapacity())
		demand = max(demand, own)
	}
	most := max(demand, f.spare)
	if most == 0 {
		return 0
	}
	return p.believedSpare(f.surplus) * (own/most + (1-demand/most)/f.others)
}

// in lists every peer alive that may send us something, whether it has the
// function or not: users may ask for it anywhere.
func (f *fill) in(v *view, alive []Peer) []Flow {
	if f.ownSpare == 0 {
		return nil
	}
	in := make([]Flow, 0, len(alive))
	offers := v.peers // in the order of alive, with gaps
	taken := min(1, f.believed/f.spare)
	for _, p := range alive {
		part, expected := 0.0, 0.0
		if len(offers) > 0 && offers[0].id == p.ID {
			o := &offers[0]
			expected = f.ownSpare * f.bounded(max(0, o.UserRate-o.Capacity), o.Capacity) / max(f.claimed, f.spare)
			if believed := f.bounded(o.believedSurplus(), o.Capacity); believed > 0 {
				part = believed / f.believed * (1 + admitMargin)
			}
			offers = offers[1:]
		}
		rate := f.ownSpare * max(part, taken*part+(1-taken)/f.others)
		expected = min(expected, rate/(1+admitMargin))
		in = append(in, Flow{Peer: p.ID, Weight: expected, Rate: min(v.own.Capacity, rate)})
	}
	return in
}

// ownSurplus is what this node's users ask for beyond what it can serve.
func (v *view) ownSurplus() float64 {
	switch {
	case v.own.Absent:
		return surplus(v.own.UserRate, 0)
	case !v.bounded():
		return 0
	}
	return surplus(v.own.UserRate, v.own.Capacity)
}

// ownCapacity is what this node brings to the federation, requests/s.
func (v *view) ownCapacity() float64 {
	if !v.bounded() {
		return 0
	}
	return v.own.Capacity
}

func (p *peerOffer) surplus() float64 { return surplus(p.UserRate, p.Capacity) }

// believedSurplus is the peer's surplus as far as this node believes in it.
func (p *peerOffer) believedSurplus() float64 { return p.surplus() * (1 - p.unused) }

// believedSpare is the peer's spare as far as this node believes in it, given
// the sum of all surplus.
func (p *peerOffer) believedSpare(surplus float64) float64 {
	spare := max(0, p.Capacity-p.UserRate)
	if p.distrust > 0 {
		spare = (1 - p.distrust) * min(spare, surplus-p.surplus())
	}
	return spare
}

func surplus(userRate, capacity float64) float64 {
	if userRate <= capacity {
		return 0
	}
	return userRate*(1+claimMargin) - capacity
}

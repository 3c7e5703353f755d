package strategy

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
// fill leaves unclaimed of S_k is lent in advance, in equal parts to all other
// nodes, so that a sudden surplus is served at once, before any gossip.
type headroom struct{}

const (
	// claimMargin makes a node that is over its capacity claim a little more
	// than it measured, as a fraction of its user rate: a rate measured too low
	// by chance would otherwise leave room unused while requests are refused.
	claimMargin = 0.05
	// admitMargin is what a receiver admits beyond the fill, as a fraction of
	// it: sender and receiver plan from estimates of slightly different age.
	// The capacity bucket still bounds the sum of what all peers get.
	admitMargin = 0.10
)

func (headroom) Name() string { return "headroom" }

func (headroom) Plan(o Observation) Plan {
	return plan(o, func(v *view) (FunctionPlan, Offer) {
		f := newFill(v)
		fp := FunctionPlan{Local: v.local(1), Out: f.out(v)}
		if v.bounded() {
			fp.In = f.in(v, o.Peers)
		}
		return fp, v.offer(v.evenLimit())
	})
}

// fill is the common plan for one function as this node computes it.
type fill struct {
	ownSurplus, ownSpare float64
	most                 float64 // max(sum of surplus, sum of spare)
	claimed              float64 // fraction of every spare that the fill claims, 0 to 1
	others               float64 // nodes a spare is lent to: everybody but its owner
}

func newFill(v *view) fill {
	f := fill{ownSpare: v.spare(), ownSurplus: v.ownSurplus(), others: float64(max(1, v.alive))}
	surplus, spare := f.ownSurplus, f.ownSpare
	for i := range v.peers {
		surplus += v.peers[i].surplus()
		spare += v.peers[i].spare()
	}
	f.most = max(surplus, spare)
	if f.most > 0 {
		f.claimed = surplus / f.most
	}
	return f
}

// share is what a node with that surplus may send to a node with that spare.
func (f fill) share(surplus, spare float64) float64 {
	if f.most == 0 {
		return 0
	}
	return spare*surplus/f.most + spare*(1-f.claimed)/f.others
}

// out lists every peer that has the function; a full one with rate 0.
func (f fill) out(v *view) []Flow {
	var out []Flow
	for i := range v.peers {
		p := &v.peers[i]
		if !p.Absent {
			rate := f.share(f.ownSurplus, p.spare())
			out = append(out, Flow{Peer: p.id, Weight: rate, Rate: rate})
		}
	}
	return out
}

// in lists every peer alive that may send us something, whether it has the
// function or not: users may ask for it anywhere.
func (f fill) in(v *view, alive []Peer) []Flow {
	if f.ownSpare == 0 {
		return nil
	}
	in := make([]Flow, 0, len(alive))
	offers := v.peers // in the order of alive, with gaps
	for _, p := range alive {
		surplus := 0.0
		if len(offers) > 0 && offers[0].id == p.ID {
			surplus, offers = offers[0].surplus(), offers[1:]
		}
		rate := min(v.own.Capacity, f.share(surplus, f.ownSpare)*(1+admitMargin))
		in = append(in, Flow{Peer: p.ID, Rate: rate})
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

func (p *peerOffer) surplus() float64 { return surplus(p.UserRate, p.Capacity) }

func (p *peerOffer) spare() float64 { return max(0, p.Capacity-p.UserRate) }

func surplus(userRate, capacity float64) float64 {
	if userRate <= capacity {
		return 0
	}
	return userRate*(1+claimMargin) - capacity
}

package strategy

import (
	"slices"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// view is one function as every strategy wants to see it: this node's own row
// and the peers' offers.
type view struct {
	name   funcname.Name
	own    Function // Absent when this node neither has it nor was asked for it
	peers  []peerOffer
	alive  int  // peers alive, whether they have the function or not
	sparse bool // Observation.Sparse
	// out and in are where to put its flows: each is used for one plan at a time.
	out, in []Flow
	// backup is that this node's function is used only after the peers', since
	// somebody has it who is no backup.
	backup bool
}

// peerOffer is one peer's offer, peers in the order of their ids.
type peerOffer struct {
	id string
	Offer
	distrust, unused float64 // 0 to 1
	down             bool
}

// views groups an observation by function, sorted by name.
func views(o Observation) []view {
	byName := make(map[funcname.Name]*view, len(o.Functions))
	get := func(name funcname.Name) *view {
		v := byName[name]
		if v == nil {
			v = &view{
				name: name, own: Function{Name: name, Absent: true}, alive: len(o.Peers), sparse: o.Sparse, peers: make([]peerOffer, 0, len(o.Peers)),
			}
			byName[name] = v
		}
		return v
	}
	for i := range o.Functions {
		get(o.Functions[i].Name).own = o.Functions[i]
	}
	for i := range o.Peers {
		p := &o.Peers[i]
		for j := range p.Offers {
			v := get(p.Offers[j].Name)
			if n := len(v.peers); n > 0 && v.peers[n-1].id == p.ID {
				continue // named twice in one announcement: the first counts
			}
			v.peers = append(v.peers, p.offer(j))
		}
	}
	out := make([]view, 0, len(byName))
	for _, v := range byName {
		if !v.exists() {
			continue
		}
		v.setBackups()
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b view) int { return a.name.Compare(b.name) })
	return out
}

// viewOf is the view of one function; peers is where to put those that offer it.
func viewOf(o *Observation, name funcname.Name, peers []peerOffer) view {
	v := view{name: name, own: Function{Name: name, Absent: true}, alive: len(o.Peers), sparse: o.Sparse, peers: peers}
	if own := o.function(name); own != nil {
		v.own = *own
	}
	at := 0 // mostly it is at the same place of all that are offered
	for i := range o.Peers {
		p := &o.Peers[i]
		if at >= len(p.Offers) || p.Offers[at].Name != name {
			var offered bool
			if at, offered = FindOffer(p.Offers, name); !offered {
				continue
			}
		}
		v.peers = append(v.peers, p.offer(at))
	}
	if v.exists() {
		v.setBackups()
	}
	return v
}

// exists reports whether anybody has the function. It may be asked for somewhere and
// deployed nowhere.
func (v *view) exists() bool { return !v.own.Absent || v.atPeers() }

// offer is one of the peer's.
func (p *Peer) offer(i int) peerOffer {
	of := p.Offers[i]
	if of.Absent {
		of.withdraw()
	}
	of.TimeoutMillis = min(max(0, of.TimeoutMillis), limit.MaxTimeoutMillis)
	return peerOffer{p.ID, of, max(fraction(p.Distrust), fraction(p.Unserved[of.Name])), fraction(p.Unused[of.Name]), p.Down}
}

// withdraw leaves of an offer the demand of the users there.
func (o *Offer) withdraw() {
	*o = Offer{Name: o.Name, Absent: true, UserRate: o.UserRate, Backup: o.Backup}
}

// setBackups sees to it that backups are used only while nobody else has the
// function. If all that have it are backups, none is.
func (v *view) setBackups() {
	somebody := !v.own.Absent && !v.own.Backup
	for i := range v.peers {
		somebody = somebody || v.peers[i].first()
	}
	if !somebody {
		return
	}
	v.backup = v.own.Backup && !v.own.Absent
	for i := range v.peers {
		if o := &v.peers[i].Offer; o.Backup {
			o.withdraw()
		}
	}
}

// leastTrust is how far the spare of a peer must be disbelieved for backups not to
// wait for it.
const leastTrust = 0.5

// first reports whether the peer comes before those that are backups: one that can
// serve, is reached, and does.
func (p *peerOffer) first() bool {
	return !p.Absent && !p.Backup && p.Capacity.PerSecond() > 0 && !p.down && p.distrust < leastTrust
}

// atPeers reports whether any peer has the function deployed.
func (v *view) atPeers() bool {
	return slices.ContainsFunc(v.peers, func(p peerOffer) bool { return !p.Absent })
}

// having counts the peers that have the function deployed.
func (v *view) having() int {
	n := 0
	for i := range v.peers {
		if !v.peers[i].Absent {
			n++
		}
	}
	return n
}

// bounded reports whether this node has the function with a capacity that can be
// shared: unlimited functions are served here and kept out of the federation.
func (v *view) bounded() bool { return !v.lacking() && !v.own.Capacity.IsUnlimited() }

// lacking reports whether this node's users are better served by peers, whatever
// they ask for.
func (v *view) lacking() bool { return v.own.Absent || v.backup }

// spare is what this node has left of the function after its own users.
func (v *view) spare() float64 {
	if !v.bounded() {
		return 0
	}
	return max(0, v.own.Capacity.PerSecond()-v.own.UserRate.PerSecond())
}

// local is this node's row of the function, nil where it is not deployed.
func (v *view) local(share float64) *Local {
	if v.own.Absent {
		return nil
	}
	if v.backup {
		share = 0
	}
	return &Local{Rate: v.own.Capacity, Soft: v.own.Soft, Share: share, TimeoutMillis: v.own.TimeoutMillis}
}

// offer is what this node announces of the function.
func (v *view) offer() Offer {
	o := Offer{Name: v.name, Absent: v.own.Absent, UserRate: v.own.UserRate}
	if !v.own.Absent {
		o.TimeoutMillis, o.Backup = v.own.TimeoutMillis, v.own.Backup
	}
	if v.bounded() {
		o.Capacity = v.own.Capacity.Rate()
	} else if !v.lacking() {
		o.UserRate = limit.Rate{} // an unlimited function needs nobody's room
	}
	return o
}

// evenly is one flow of that weight and rate to each peer having the function.
func (v *view) evenly(weight float64, rate limit.Bound) []Flow {
	return v.flows(func(p *peerOffer) Flow { return p.flow(weight, rate) })
}

// flows is one to each peer having the function, nil if there is none.
func (v *view) flows(to func(*peerOffer) Flow) []Flow {
	having := v.having()
	if having == 0 {
		return nil
	}
	v.out = slices.Grow(v.out[:0], having)
	for i := range v.peers {
		if p := &v.peers[i]; !p.Absent {
			v.out = append(v.out, to(p))
		}
	}
	return v.out
}

// flow is what may be sent to the peer.
func (p *peerOffer) flow(weight float64, rate limit.Bound) Flow {
	return Flow{Peer: p.id, Weight: weight, Rate: rate, TimeoutMillis: p.TimeoutMillis}
}

// admitAll admits every peer alive at that rate; none at rate 0.
func admitAll(peers []Peer, rate limit.Bound) []Flow {
	if rate == (limit.Bound{}) {
		return nil
	}
	in := make([]Flow, 0, len(peers))
	for _, p := range peers {
		in = append(in, Flow{Peer: p.ID, Rate: rate})
	}
	return in
}

// plan runs a per-function rule over the whole observation.
func plan(o Observation, rule rule) Plan {
	vs := views(o)
	parts := make([]part, len(vs))
	for i := range vs {
		parts[i] = vs[i].part(rule)
	}
	return planOf(parts)
}

// fraction is the fraction that is nearest.
func fraction(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, 1)
}

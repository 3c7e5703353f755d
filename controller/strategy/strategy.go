// Package strategy decides, from what one node has observed and what its peers
// have announced, how much of each function to serve here, how much to send to
// whom, and what to announce in turn.
//
// A strategy is pure: no clock, no I/O, no randomness, no state between calls.
// The same observation gives the same plan, on the node and in the simulator.
package strategy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// Observation is what one node knows when it plans.
type Observation struct {
	Self      string     // own peer id
	Functions []Function // deployed here or asked for here, sorted by name
	Peers     []Peer     // alive, sorted by id; never Self
	// Sparse is true where calls are exchanged with some of the members only: peers may
	// hear claims that this node does not hear.
	Sparse bool
}

// UserRate is the demand of this node's own users for a function, 0 where there is none.
func (o *Observation) UserRate(name funcname.Name) limit.Rate {
	if f := o.function(name); f != nil {
		return f.UserRate
	}
	return limit.Rate{}
}

// function is that of this node, nil where it is neither deployed nor asked for.
func (o *Observation) function(name funcname.Name) *Function {
	i, known := slices.BinarySearchFunc(o.Functions, name, func(f Function, name funcname.Name) int { return f.Name.Compare(name) })
	if !known {
		return nil
	}
	return &o.Functions[i]
}

// FindOffer returns the place of a function's offer among those that are sorted by
// name, and whether there is one.
func FindOffer(offers []Offer, name funcname.Name) (int, bool) {
	return slices.BinarySearchFunc(offers, name, func(o Offer, name funcname.Name) int { return o.Name.Compare(name) })
}

// Function is a function deployed on this node, or one that its users ask for
// although it is not (Absent).
type Function struct {
	Name funcname.Name
	// Absent is true when the function is not deployed on this node: Capacity is
	// then ignored, UserRate is the demand that only peers can serve.
	Absent bool
	// Capacity is what this node can serve, unlimited for a function that is served
	// here without limit and not offered to peers.
	Capacity limit.Bound
	// Soft is true when nobody wrote Capacity down (the node's default): users
	// over it are forwarded if possible, but never refused.
	Soft bool
	// UserRate is the demand of this node's own users, smoothed (EWMA), whatever
	// became of the requests.
	UserRate      limit.Rate
	TimeoutMillis int64
	// Backup is true when calls of the function are better served elsewhere: none
	// of its replicas is ready, or it fails. It is for what HAProxy has backup
	// servers for: while a peer has the function and is no backup, users go there
	// first, and peers are offered nothing.
	Backup bool
}

// Peer is another node, as its last announcement describes it.
type Peer struct {
	ID     string
	Offers []Offer // sorted by name
	// Down is true while nothing can be sent to the peer.
	Down bool
	// Distrust is how far this node disbelieves that the peer has any spare at all, 0
	// to 1. Unserved is that of single functions, by name: the peer left that fraction
	// of their calls that was sent to it unserved.
	Distrust float64
	Unserved map[funcname.Name]float64
	// Unused is how far this node disbelieves the peer's surplus, by function: it
	// did not use what it was given for it. 0 to 1.
	Unused map[funcname.Name]float64
}

// Offer is what a node announces about one function that it has deployed, or
// that its users ask for. Announcements consist of offers.
type Offer struct {
	Name funcname.Name
	// Absent offers come from nodes that do not have the function: they only
	// tell the demand of the users there.
	Absent   bool
	Capacity limit.Rate // of functions without limit: 0
	UserRate limit.Rate
	// Limit is what each peer having the function may send the announcer. recalc goes by
	// it; headroom announces what it lends to each, by which go nodes without a surplus,
	// or, where Observation.Sparse and with more Demand than spare, how much room it could
	// make for all of them together.
	Limit limit.Rate
	// Demand is the sum of surplus that the announcer counts; > 0 only while it
	// does not believe all that is claimed, and where Observation.Sparse. Used by headroom.
	Demand limit.Rate
	// TimeoutMillis is how long the announcer lets the function take, 0 where
	// nobody wrote that down. Who forwards to it must wait as long.
	TimeoutMillis int64
	// Backup is Function.Backup there. The rest is what the announcer offers as
	// long as it knows of nobody who is none.
	Backup bool
}

// Overloaded reports whether users there ask for more than the node can serve.
func (o *Offer) Overloaded() bool { return o.UserRate.Exceeds(o.Capacity.Bound()) }

// Full reports whether more surplus is counted there than the node has room for.
func (o *Offer) Full() bool { return o.Demand.PerSecond() > o.spare() }

func (o *Offer) spare() float64 { return max(0, o.Capacity.PerSecond()-o.UserRate.PerSecond()) }

// Local is how a function is served on this node.
type Local struct {
	Rate limit.Bound // the node's capacity
	// Soft makes Rate a threshold for forwarding only: users over it whom no peer
	// takes are served here.
	Soft bool
	// Share is the fraction of user requests, 0 to 1, tried here first.
	Share         float64
	TimeoutMillis int64 // 0: none written down
}

// Flow is an amount of one function between this node and one peer.
type Flow struct {
	Peer   string
	Weight float64
	Rate   limit.Bound
	// Spare is what the peer is thought to have left: how promising it is to try
	// beyond Rate, with FunctionPlan.Elastic. 0: never. Only of what is sent.
	Spare limit.Rate
	// TimeoutMillis is how long the receiver lets the function take, 0 if it does
	// not say. Only of what is sent.
	TimeoutMillis int64
}

// FunctionPlan is what a strategy decides for one function.
type FunctionPlan struct {
	Name  funcname.Name
	Local *Local // nil: not deployed here
	Out   []Flow // what this node may send; sorted by peer
	In    []Flow // what it admits (Weight: what the peer's claim, if true, makes it send); sorted by peer
	// Elastic makes the rates of flows what is reserved rather than the most: more
	// is admitted while there is room, and sent where peers' answers say so.
	Elastic bool
	// Unmet is the part of all nodes' surplus for which nobody has room, 0 to 1: how
	// little there is to be found beyond the rates.
	Unmet float64
}

// Plan is a strategy's whole answer.
type Plan struct {
	Functions []FunctionPlan // deployed here or at a peer, sorted by name
	Offers    []Offer        // to announce, sorted by name
}

// Strategy plans. Implementations are stateless and safe for concurrent use.
type Strategy interface {
	// Name is what operators write in the configuration.
	Name() string
	// Demand says which estimate of what users ask for the plans go by.
	Demand() Demand
	// Plan never fails: whatever the peers announced, it answers with finite
	// rates >= 0 and never admits more from peers than the capacity it has.
	Plan(Observation) Plan
}

// Demand is an estimate of what a node's users ask for.
type Demand int

const (
	// DemandNow follows a rise at once, and a decline or noise smoothly. A sharp
	// rise is planned for at once.
	DemandNow Demand = iota
	// DemandOfPeriod is the plain mean over the last whole period. Plans are made
	// when a period ends.
	DemandOfPeriod
	// DemandChanging is the mean since the rate has changed last (estimate.Window).
	// Every change that can be told from noise is planned for at once, and while
	// users call, counts are read ten times a second.
	DemandChanging
)

// Names lists the strategies, sorted.
func Names() []string {
	var names []string
	for _, s := range all() {
		names = append(names, s.Name())
	}
	slices.Sort(names)
	return names
}

// New returns the strategy of that name.
func New(name string) (Strategy, error) {
	for _, s := range all() {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("unknown strategy %q: use one of %s", name, strings.Join(Names(), ", "))
}

package strategy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// settleSparse plans at every node, of which each hears those only to whom there is an
// edge, until what is announced changes no more. Those that are old announce neither a
// demand nor a limit.
func settleSparse(sites []site, edges [][2]int, old ...int) []Plan {
	plans, offers := make([]Plan, len(sites)), make([]Offer, len(sites))
	for i, s := range sites {
		offers[i] = s.offer(0)
	}
	for range 20 {
		for i := range sites {
			o := observe(sites, i, make([]float64, len(sites)))
			o.Sparse = true
			o.Peers = slices.DeleteFunc(o.Peers, func(p Peer) bool {
				return !slices.ContainsFunc(edges, func(e [2]int) bool {
					return id(e[0]) == o.Self && id(e[1]) == p.ID || id(e[1]) == o.Self && id(e[0]) == p.ID
				})
			})
			for k := range o.Peers {
				for j := range sites {
					if id(j) == o.Peers[k].ID {
						o.Peers[k].Offers = []Offer{offers[j]}
					}
				}
			}
			plans[i] = headroom{}.Plan(o)
		}
		for i, p := range plans {
			if offers[i] = p.Offers[0]; slices.Contains(old, i) {
				offers[i].Demand, offers[i].Limit = limit.Rate{}, limit.Rate{}
			}
		}
	}
	return plans
}

// TestSpareThatOthersClaim: who sends goes by what the receiver counts, of which the
// sender hears a part only, and prefers peers of whom others claim nothing.
func TestSpareThatOthersClaim(t *testing.T) {
	// Three in need around one that has room; the first reaches another one, too.
	sites := []site{{30, 0}, {10, 50}, {10, 30}, {10, 30}, {30, 0}}
	edges := [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 4}}
	sum := func(plans []Plan) (sum float64) {
		for i := 1; i <= 3; i++ {
			sum += flow(function(plans[i]).Out, id(0))
		}
		return sum
	}
	plans := settleSparse(sites, edges)
	if got := sum(plans); got < 29 || got > 31 {
		t.Errorf("of a spare of 30/s, %g/s are sent", got)
	}
	if got := flow(function(plans[1]).Out, id(4)); got < 29 {
		t.Errorf("of a spare of 30/s that nobody else claims, %g/s are sent", got)
	}
	out := function(plans[1]).Out
	if out[0].Weight > out[1].Weight/4 {
		t.Errorf("the one that others claim, too, has weight %g, the other one %g", out[0].Weight, out[1].Weight)
	}
	if got := sum(settleSparse(sites, edges, 0)); got < 60 {
		t.Errorf("a peer that says nothing of what it counts is sent %g/s, not what the sender knows of no other claims on", got)
	}
}

// TestRoomThatCanBeMade: a node that is full of its own users says how many of them may
// go elsewhere, and those in need who do not reach that place go by it; once.
func TestRoomThatCanBeMade(t *testing.T) {
	for name, c := range map[string]struct {
		sites []site
		edges [][2]int
		want  float64 // from the first to the second
	}{
		"room behind it":                  {[]site{{10, 60}, {40, 40}, {30, 0}}, [][2]int{{0, 1}, {1, 2}}, 30},
		"room behind it, some of its own": {[]site{{10, 60}, {40, 30}, {15, 0}}, [][2]int{{0, 1}, {1, 2}}, 25},
		"more room than users":            {[]site{{10, 90}, {40, 40}, {100, 0}}, [][2]int{{0, 1}, {1, 2}}, 40},
		"it is in need of that itself":    {[]site{{10, 60}, {40, 80}, {20, 0}}, [][2]int{{0, 1}, {1, 2}}, 0},
		"no room anywhere":                {[]site{{10, 60}, {40, 40}, {40, 40}}, [][2]int{{0, 1}, {1, 2}}, 0},
		"others claim what is behind it":  {[]site{{10, 60}, {40, 40}, {30, 0}, {10, 100}}, [][2]int{{0, 1}, {1, 2}, {2, 3}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			plans := settleSparse(c.sites, c.edges)
			if got := flow(function(plans[0]).Out, id(1)); got < c.want*0.9-0.1 || got > c.want*1.1+0.1 {
				t.Errorf("%g/s are sent, want %g/s", got, c.want)
			}
		})
	}
}

// TestReliefIsThere: however nodes are linked, none says that it can be relieved of more
// than its users ask it for, nor, beyond its spare, of more than all others serve.
func TestReliefIsThere(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		sites, edges := randomSites(r), [][2]int(nil)
		for b := range sites {
			if sites[b].capacity < 0 {
				sites[b].capacity = 0
			}
			for a := range b {
				if r.IntN(3) == 0 || a == b-1 {
					edges = append(edges, [2]int{a, b})
				}
			}
		}
		capacity := 0.0
		for _, s := range sites {
			capacity += s.capacity
		}
		for k, p := range settleSparse(sites, edges) {
			o := p.Offers[0]
			if o.Demand.PerSecond() > sites[k].capacity-sites[k].user && o.Limit.PerSecond() > min(sites[k].capacity, sites[k].user)+0.01 {
				t.Fatalf("seed %d: %s says that it can be relieved of %v of %g/s", seed, id(k), o.Limit, sites[k].user)
			}
			if o.Limit.PerSecond() > capacity-sites[k].capacity+0.01 && o.Limit.PerSecond() > max(0, sites[k].capacity-sites[k].user)+0.01 {
				t.Fatalf("seed %d: %s says that it can be relieved of %v, and all others serve %g/s", seed, id(k), o.Limit, capacity-sites[k].capacity)
			}
		}
	}
}

// TestLiarsWhereNotAllAreHeard is TestLiarTakesNoMoreThanItsShare for nodes that
// think that others hear others.
func TestLiarsWhereNotAllAreHeard(t *testing.T) {
	all := append(liars[:len(liars):len(liars)],
		liar{"full, with room behind it", func(int) Offer {
			return Offer{Capacity: testvalue.Rate(limit.MaxRate / 2), UserRate: testvalue.Rate(limit.MaxRate / 2), Demand: testvalue.Rate(1), Limit: testvalue.Rate(limit.MaxRate)}
		}, false, false},
		liar{"a little spare, with room behind it", func(int) Offer {
			return Offer{Capacity: testvalue.Rate(1000), UserRate: testvalue.Rate(999), Demand: testvalue.Rate(2), Limit: testvalue.Rate(limit.MaxRate)}
		}, true, false},
	)
	for name, sites := range liarFederations() {
		for _, l := range all {
			t.Run(fmt.Sprint(name, "/", l.name), func(t *testing.T) { checkLiar(t, sites, l, true) })
		}
	}
}

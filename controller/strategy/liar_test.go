package strategy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// liar is one node that says and does what it likes. It serves nobody.
type liar struct {
	name  string
	offer func(round int) Offer
	// floods is whether it sends each node all that it admits, or nothing.
	floods bool
	// changes is whether it tells another lie before all have heard what was
	// found out about the last.
	changes bool
}

var liars = []liar{
	{"infinite spare", func(int) Offer { return Offer{Capacity: testvalue.Rate(limit.MaxRate)} }, false, false},
	{"infinite spare, and floods", func(int) Offer { return Offer{Capacity: testvalue.Rate(limit.MaxRate)} }, true, false},
	{"a hundred to spare", func(int) Offer { return Offer{Capacity: testvalue.Rate(100)} }, false, false},
	{"infinite demand, none there", func(int) Offer { return Offer{UserRate: testvalue.Rate(limit.MaxRate)} }, false, false},
	{"infinite demand, and floods", func(int) Offer { return Offer{UserRate: testvalue.Rate(limit.MaxRate)} }, true, false},
	{"demand without the function, none there", func(int) Offer { return Offer{Absent: true, UserRate: testvalue.Rate(limit.MaxRate)} }, false, false},
	{"infinite capacity and demand, none there", func(int) Offer {
		return Offer{Capacity: testvalue.Rate(limit.MaxRate / 2), UserRate: testvalue.Rate(limit.MaxRate)}
	}, false, false},
	{"counts no demand, and floods", func(int) Offer { return Offer{Capacity: testvalue.Rate(limit.MaxRate), Demand: testvalue.Rate(0.001)} }, true, false},
	{"now spare, now demand", func(round int) Offer {
		if round%2 == 0 {
			return Offer{Capacity: testvalue.Rate(limit.MaxRate)}
		}
		return Offer{UserRate: testvalue.Rate(limit.MaxRate)}
	}, false, true},
}

// world is a federation of honest nodes and, as the last, one liar or one more
// honest node. A round is a second; requests move as SPOAs move them, without
// chance.
type world struct {
	sites    []site
	liar     *liar // nil: all are honest
	offers   []Offer
	distrust [][]estimate.Claim // by who distrusts whom
	unused   [][]estimate.Claim
	failing  map[int]bool // honest nodes that serve no peer for now
	sparse   bool         // Observation.Sparse
}

func newWorld(sites []site, l *liar) *world {
	n := len(sites)
	if l != nil {
		n++
	}
	w := &world{sites: sites, liar: l, offers: make([]Offer, n), failing: map[int]bool{}}
	for range n {
		w.distrust = append(w.distrust, slices.Repeat([]estimate.Claim{estimate.SpareClaim()}, n))
		w.unused = append(w.unused, slices.Repeat([]estimate.Claim{estimate.SurplusClaim()}, n))
	}
	for i, s := range sites {
		w.offers[i] = s.offer(0)
	}
	return w
}

func (w *world) observation(i int) Observation {
	s := w.sites[i]
	o := Observation{Self: id(i), Sparse: w.sparse, Functions: []Function{{Name: testvalue.Name(fn), Absent: s.capacity < 0, Capacity: testvalue.Bound(max(0, s.capacity)), UserRate: testvalue.Rate(s.user)}}}
	for j := range w.offers {
		if j != i {
			o.Peers = append(o.Peers, Peer{
				ID: id(j), Offers: []Offer{w.offers[j]},
				Distrust: w.distrust[i][j].Distrust(), Unused: map[funcname.Name]float64{testvalue.Name(fn): w.unused[i][j].Distrust()},
			})
		}
	}
	return o
}

// round returns how much of each honest node's surplus was served.
func (w *world) round(number int) (served []float64) {
	if w.liar != nil {
		offer := w.liar.offer(number)
		offer.Name = testvalue.Name(fn)
		w.offers[len(w.sites)] = offer
	}
	plans := make([]Plan, len(w.sites))
	for i := range w.sites {
		plans[i] = headroom{}.Plan(w.observation(i))
	}
	sent := w.send(plans)
	served = make([]float64, len(w.sites))
	for k := range w.sites {
		w.receive(k, plans[k], sent, served)
	}
	for i := range w.sites {
		if w.liar != nil {
			w.distrust[i][len(w.sites)].Observe(1, sent[i][len(w.sites)], 0)
		}
		w.offers[i] = Offer{}
		if len(plans[i].Offers) > 0 {
			w.offers[i] = plans[i].Offers[0]
		}
	}
	return served
}

// send is what every node sends every other.
func (w *world) send(plans []Plan) [][]float64 {
	sent := make([][]float64, len(w.offers))
	for i := range sent {
		sent[i] = make([]float64, len(w.offers))
	}
	for i, p := range plans {
		draw(function(p).Out, max(0, w.sites[i].user-max(0, w.sites[i].capacity)), func(peer string, rate float64) {
			for k := range w.offers {
				if id(k) == peer {
					sent[i][k] = rate
				}
			}
		})
		if w.liar != nil && w.liar.floods {
			sent[len(plans)][i] = flow(function(p).In, id(len(plans)))
		}
	}
	return sent
}

// draw spreads requests by weight over those with rate left.
func draw(flows []Flow, requests float64, send func(peer string, rate float64)) {
	rates := make([]float64, len(flows))
	for requests > 1e-9 {
		weight := 0.0
		for i, f := range flows {
			if f.Rate.PerSecond()-rates[i] > 1e-9 {
				weight += f.Weight
			}
		}
		if weight == 0 {
			break
		}
		step := 1.0 // of the requests; as far as nobody's rate ends
		for i, f := range flows {
			if left := f.Rate.PerSecond() - rates[i]; left > 1e-9 {
				step = min(step, left/(requests*f.Weight/weight))
			}
		}
		for i, f := range flows {
			if f.Rate.PerSecond()-rates[i] > 1e-9 {
				rates[i] += step * requests * f.Weight / weight
			}
		}
		requests -= step * requests
	}
	for i, f := range flows {
		send(f.Peer, rates[i])
	}
}

// receive is what node k serves of what it is sent, and what all see of it.
func (w *world) receive(k int, p Plan, sent [][]float64, served []float64) {
	admitted, sum := make([]float64, len(sent)), 0.0
	for i := range sent {
		admitted[i] = min(sent[i][k], flow(function(p).In, id(i)))
		sum += admitted[i]
	}
	room := max(0, w.sites[k].capacity-w.sites[k].user)
	if w.failing[k] {
		room = 0
	}
	for i := range w.sites {
		got := admitted[i] * min(1, room/max(sum, 1e-9))
		served[i] += got
		w.distrust[i][k].Observe(1, sent[i][k], got)
	}
	for _, f := range function(p).In {
		for i := range sent {
			if f.Peer == id(i) {
				w.unused[k][i].Observe(1, f.Weight, 2*sent[i][k])
			}
		}
	}
}

// asHonest is the node that the liar must not cost the others more than: with
// nothing to offer, and as much surplus as it could be given, if it uses that.
func asHonest(sites []site, l liar) site {
	var capacity, room, need float64
	for _, s := range sites {
		c := max(0, s.capacity)
		capacity, room, need = capacity+c, room+max(0, c-s.user), need+surplus(s.user, c)
	}
	if !l.floods && !l.changes {
		return site{capacity: 0}
	}
	return site{capacity: 0, user: min(capacity, room*(1+claimMargin)+need) / (1 + claimMargin)}
}

const (
	rounds = 60
	// seen is after how many rounds a liar must be seen through.
	seen = 5
	// trial is the fraction that it may cost to try again and again whether a
	// liar has become honest, and the margins of what is claimed and admitted.
	trial, margins = 0.05, 0.15
	// evidence is what it takes to judge a node to which little is sent, spread
	// over the rounds that count, requests/s.
	evidence = 4. * estimate.Enough / (rounds - seen)
)

// goodput is what each honest node gets served of its surplus, per round, when
// evidence is in.
func goodput(w *world, honest int) []float64 {
	mean := make([]float64, honest)
	for r := range rounds {
		for i, got := range w.round(r)[:honest] {
			if r >= seen {
				mean[i] += got / (rounds - seen)
			}
		}
	}
	return mean
}

func checkLiar(t *testing.T, sites []site, l liar, sparse bool) {
	t.Helper()
	of := func(sites []site, l *liar, honest int) []float64 {
		w := newWorld(sites, l)
		w.sparse = sparse
		return goodput(w, honest)
	}
	got := of(sites, &l, len(sites))
	want := of(append(sites[:len(sites):len(sites)], asHonest(sites, l)), nil, len(sites))
	tolerance := trial
	if l.floods {
		tolerance += margins
	}
	for i := range sites {
		if got[i] < want[i]*(1-tolerance)-evidence {
			t.Errorf("%s: of node %d's surplus, %.1f req/s are served; beside an honest node it would be %.1f\n%+v",
				l.name, i, got[i], want[i], sites)
		}
	}
}

// TestLiarTakesNoMoreThanItsShare: whatever one node claims and sends, every
// other gets at least what it would get beside an honest node instead: one that
// neither has nor wants anything if the liar sticks to its lie and uses nothing,
// and else one that wants as much as counts.
func TestLiarTakesNoMoreThanItsShare(t *testing.T) {
	for name, sites := range liarFederations() {
		for _, l := range liars {
			t.Run(fmt.Sprint(name, "/", l.name), func(t *testing.T) { checkLiar(t, sites, l, false) })
		}
	}
}

func liarFederations() map[string][]site {
	return map[string][]site{
		"one in need":                  {{10, 60}, {30, 0}, {30, 0}, {30, 10}},
		"one in need, little room":     {{10, 90}, {30, 10}, {30, 20}, {20, 20}},
		"two in need, little room":     {{10, 50}, {20, 50}, {30, 0}, {20, 10}},
		"need without the function":    {{-1, 40}, {30, 0}, {30, 10}},
		"room for all several times":   {{10, 20}, {100, 0}, {100, 0}},
		"two honest nodes, one liar":   {{10, 40}, {30, 0}},
		"nobody in need":               {{10, 0}, {20, 0}, {30, 0}},
		"nobody has room":              {{10, 20}, {20, 40}, {30, 60}},
		"many nodes, a few in need":    {{10, 80}, {20, 60}, {30, 5}, {30, 5}, {30, 5}, {30, 5}, {30, 5}, {30, 5}},
		"many nodes, some without it":  {{-1, 30}, {-1, 30}, {30, 5}, {30, 5}, {30, 5}, {30, 90}, {30, 5}, {30, 5}},
		"a small one beside a big one": {{10, 50}, {1, 0}, {200, 150}},
	}
}

// TestLiarInRandomFederations is the same for federations that nobody thought of.
func TestLiarInRandomFederations(t *testing.T) {
	for seed := range uint64(25) {
		sites := randomSites(rand.New(rand.NewPCG(seed, 3)))
		for _, l := range liars {
			checkLiar(t, sites, l, false)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestLiarAtOnce: before there is any evidence, a liar costs no more than an
// honest node that wants as much as counts; and infinite spare draws no more
// than the part of the surplus that all claims together, but its own, allow.
func TestLiarAtOnce(t *testing.T) {
	sites := []site{{10, 50}, {20, 0}, {30, 0}}
	for _, l := range liars {
		got := newWorld(sites, &l).round(0)[0]
		if l.offer(0).UserRate.PerSecond() > 0 {
			l.floods = true
			if want := newWorld(append(sites[:3:3], asHonest(sites, l)), nil).round(0)[0]; got < want*(1-margins) {
				t.Errorf("%s: %.1f req/s are served, beside an honest node %.1f", l.name, got, want)
			}
		}
	}
	w := newWorld(sites, &liars[0])
	w.round(0) // nobody knew of the surplus
	if got := w.round(1)[0]; got < 40*0.3 {
		t.Errorf("infinite spare leaves %.1f req/s of 40", got)
	}
}

// TestHonestNodesAreBelieved: with nobody lying, distrust never arises. No node of this
// world makes room for others' calls, so spare is not judged where that is promised.
func TestHonestNodesAreBelieved(t *testing.T) {
	for seed := range uint64(600) {
		sites := randomSites(rand.New(rand.NewPCG(seed/2, 4)))
		w := newWorld(sites, nil)
		w.sparse = seed%2 == 1
		for n := range 10 {
			w.round(n)
		}
		for i := range sites {
			for k := range sites {
				if d, u := w.distrust[i][k].Distrust(), w.unused[i][k].Distrust(); d > 0 && !w.sparse || u > 0 {
					t.Fatalf("seed %d: %s disbelieves %g of the spare and %g of the surplus of %s\n%+v", seed, id(i), d, u, id(k), sites)
				}
			}
		}
	}
}

// TestMisjudged: a node that could not serve anybody for a while costs nobody a
// request when it can again, and its share comes back.
func TestMisjudged(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		t.Run(fmt.Sprint("sparse ", sparse), func(t *testing.T) { checkMisjudged(t, sparse) })
	}
}

func checkMisjudged(t *testing.T, sparse bool) {
	w := newWorld([]site{{10, 60}, {30, 0}, {30, 0}}, nil)
	w.sparse, w.failing[1] = sparse, true
	for r := range 20 {
		w.round(r)
	}
	if d := w.distrust[0][1].Distrust(); d < 0.9 {
		t.Fatalf("a node that serves nobody is distrusted by %g", d)
	}
	w.failing[1] = false
	for r := range 100 {
		if got := w.round(r)[0]; got < 49 {
			t.Fatalf("round %d: %.1f req/s of 50 are served", r, got)
		}
	}
	if d := w.distrust[0][1].Distrust(); d > 0 {
		t.Errorf("not trusted again: %g is disbelieved", d)
	}
}

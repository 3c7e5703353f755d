package strategy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// liar is one node that says and does what it likes. It serves nobody.
type liar struct {
	name  string
	offer func(round int) Offer
	// floods is whether it sends each node all that is admitted, or nothing.
	floods bool
}

const infinite = maxRate

var liars = []liar{
	{"infinite spare", func(int) Offer { return Offer{Capacity: infinite} }, false},
	{"infinite spare, and floods", func(int) Offer { return Offer{Capacity: infinite} }, true},
	{"a hundred to spare", func(int) Offer { return Offer{Capacity: 100} }, false},
	{"infinite demand, none there", func(int) Offer { return Offer{UserRate: infinite} }, false},
	{"infinite demand, and floods", func(int) Offer { return Offer{UserRate: infinite} }, true},
	{"demand without the function, and floods", func(int) Offer { return Offer{Absent: true, UserRate: infinite} }, true},
	{"infinite capacity and demand, none there", func(int) Offer { return Offer{Capacity: infinite / 2, UserRate: infinite} }, false},
	{"negative", func(int) Offer { return Offer{Capacity: -infinite, UserRate: -1} }, true},
	{"now this, now that", func(round int) Offer {
		if round%2 == 0 {
			return Offer{Capacity: infinite}
		}
		return Offer{UserRate: infinite}
	}, false},
}

// world is a federation, seconds apart, of honest nodes and one liar, which is
// the last. It moves requests as the SPOAs do, without chance.
type world struct {
	sites    []site // honest
	liar     liar
	offers   []Offer
	distrust [][]Distrust // by who distrusts whom
	unused   [][]Unused
	failing  map[int]bool // honest nodes that serve no peer for now
}

func newWorld(sites []site, l liar) *world {
	n := len(sites) + 1
	w := &world{sites: sites, liar: l, offers: make([]Offer, n), failing: map[int]bool{}}
	for range n {
		w.distrust = append(w.distrust, make([]Distrust, n))
		w.unused = append(w.unused, make([]Unused, n))
	}
	for i, s := range sites {
		w.offers[i] = s.offer(0)
	}
	return w
}

func (w *world) observation(i int) Observation {
	s := w.sites[i]
	o := Observation{Self: id(i), Functions: []Function{{Name: fn, Absent: s.capacity < 0, Capacity: max(0, s.capacity), UserRate: s.user}}}
	for j := range w.offers {
		if j != i {
			o.Peers = append(o.Peers, Peer{
				ID: id(j), Offers: []Offer{w.offers[j]},
				Distrust: w.distrust[i][j].Value(), Unused: map[string]float64{fn: w.unused[i][j].Value()},
			})
		}
	}
	return o
}

// round is one second. It returns how much of the honest nodes' surplus was
// served.
func (w *world) round(number int) (served float64) {
	last := len(w.sites)
	w.offers[last] = w.liar.offer(number)
	w.offers[last].Name = fn
	plans := make([]Plan, last)
	for i := range w.sites {
		plans[i] = headroom{}.Plan(w.observation(i))
	}
	sent := w.send(plans)
	for k := range w.sites {
		served += w.receive(k, plans[k], sent)
	}
	for i := range w.sites {
		w.distrust[i][last].Observe(0, sent[i][last], 1)
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
		sum := 0.0
		for _, f := range function(p).Out {
			sum += f.Rate
		}
		surplus := max(0, w.sites[i].user-max(0, w.sites[i].capacity))
		for k := range w.offers {
			if sum > 0 {
				sent[i][k] = flow(function(p).Out, id(k)) * min(1, surplus/sum)
			}
		}
		if w.liar.floods {
			sent[len(plans)][i] = flow(function(p).In, id(len(plans)))
		}
	}
	return sent
}

// receive is what node k serves of what it is sent by honest nodes.
func (w *world) receive(k int, p Plan, sent [][]float64) (served float64) {
	admitted, sum := make([]float64, len(sent)), 0.0
	for i := range sent {
		admitted[i] = min(sent[i][k], flow(function(p).In, id(i)))
		sum += admitted[i]
	}
	room := max(0, w.sites[k].capacity-w.sites[k].user)
	if w.failing[k] {
		room = 0
	}
	for i := range sent {
		got := admitted[i] * min(1, room/max(sum, 1e-9))
		if i < len(w.sites) {
			served += got
			w.distrust[i][k].Observe(got, sent[i][k]-got, 1)
		}
		for _, f := range function(p).In {
			if f.Peer == id(i) {
				w.unused[k][i].Observe(f.Weight, sent[i][k])
			}
		}
	}
	return served
}

// fair is how much of the honest nodes' surplus is served when the liar takes
// its share of the room and no more: of what is lent, an equal part among all
// nodes but the lender; if it really sends as much as it claims, and so is one of
// those in need, an equal part among them, with what they leave of theirs.
func fair(sites []site, l liar) float64 {
	need, room := 0.0, 0.0
	var surplus []float64
	for _, s := range sites {
		surplus = append(surplus, max(0, s.user-max(0, s.capacity)))
		need += surplus[len(surplus)-1]
		room += max(0, s.capacity-s.user)
	}
	share := room / float64(len(sites))
	if l.floods {
		slices.Sort(surplus)
		left := room
		for i, o := range surplus {
			left -= min(o, left/float64(len(surplus)-i+1))
		}
		share = max(share, left) * (1 + admitMargin)
	}
	return min(need, room-share)
}

const (
	rounds = 60
	// seen is after how many rounds a liar must be seen through.
	seen = 10
	// eyeOpen is the fraction that it may cost to try again and again whether a
	// liar has become honest.
	eyeOpen = 0.02
)

func checkLiar(t *testing.T, sites []site, l liar) {
	t.Helper()
	w, want, total := newWorld(sites, l), fair(sites, l), 0.0
	for r := range rounds {
		if got := w.round(r); r >= seen {
			total += got
		}
	}
	if got := total / (rounds - seen); got < want*(1-eyeOpen) {
		t.Errorf("%s: of the honest nodes' surplus, %.1f req/s are served; without more than its share to the liar it would be %.1f\n%+v",
			l.name, got, want, sites)
	}
}

// TestLiarTakesNoMoreThanItsShare: whatever one node claims and sends, the
// others' users are served as if it took its share of the room, and no more.
func TestLiarTakesNoMoreThanItsShare(t *testing.T) {
	federations := map[string][]site{
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
	for name, sites := range federations {
		for _, l := range liars {
			t.Run(fmt.Sprint(name, "/", l.name), func(t *testing.T) { checkLiar(t, sites, l) })
		}
	}
}

// TestLiarInRandomFederations is the same for federations that nobody thought of.
func TestLiarInRandomFederations(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		sites := randomSites(r)
		for i := range sites {
			// Claims of more than reciprocity times one's capacity are not fair either.
			if c := max(0, sites[i].capacity); sites[i].user > c {
				sites[i].user = min(sites[i].user, c+reciprocity*c/(1+claimMargin)/2)
			}
		}
		checkLiar(t, sites, liars[seed%uint64(len(liars))])
	}
}

// TestHonestNodesAreBelieved: with nobody lying, doubt never arises.
func TestHonestNodesAreBelieved(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		sites := randomSites(r)
		w := newWorld(sites, liar{"honest", func(int) Offer { return Offer{} }, false})
		for n := range 10 {
			w.round(n)
		}
		for i := range sites {
			for k := range sites {
				if d, u := w.distrust[i][k].Value(), w.unused[i][k].Value(); d > 0 || u > 0 {
					t.Fatalf("seed %d: %s disbelieves %g of the spare and %g of the surplus of %s\n%+v", seed, id(i), d, u, id(k), sites)
				}
			}
		}
	}
}

// TestTrustComesBack: a node that could not serve anybody for a while gets its
// share again when it can.
func TestTrustComesBack(t *testing.T) {
	w := newWorld([]site{{10, 60}, {30, 0}, {30, 0}}, liar{"honest", func(int) Offer { return Offer{} }, false})
	w.failing[1] = true
	for r := range 20 {
		w.round(r)
	}
	if w.distrust[0][1].Value() == 0 {
		t.Fatal("a node that serves nobody is trusted")
	}
	w.failing[1] = false
	for r := range 200 {
		if w.round(r) > 49.9 {
			return
		}
	}
	t.Errorf("not trusted again: %g is disbelieved", w.distrust[0][1].Value())
}

func TestDistrust(t *testing.T) {
	var d Distrust
	for range 2 {
		d.Observe(10, 90, 1)
		if d.Value() != 0 {
			t.Errorf("%g after two bad periods: it may be a change under way", d.Value())
		}
	}
	d.Observe(10, 90, 1)
	if d.Value() < 0.89 {
		t.Errorf("%g after three bad periods, want 0.9", d.Value())
	}
	for range 30 {
		d.Observe(100, 0, 1)
	}
	if d.Value() != 0 {
		t.Errorf("%g after half a minute of good service", d.Value())
	}
	for name, honest := range map[string][3]float64{
		"few refusals":                     {95, 5, 1},
		"functions that fail here as well": {30, 70, 0.3},
		"nothing served here either":       {0, 100, 0},
		"hardly anything sent":             {0, 0.1, 1},
	} {
		var d Distrust
		for range 10 {
			d.Observe(honest[0], honest[1], honest[2])
		}
		if d.Value() != 0 {
			t.Errorf("%s: %g is disbelieved", name, d.Value())
		}
	}
}

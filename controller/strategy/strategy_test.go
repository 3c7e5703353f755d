package strategy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// site is one node of a test federation with a single function.
type site struct {
	capacity float64 // -1: not deployed
	user     float64
}

const fn = "funca"

func id(i int) string { return fmt.Sprintf("n%03d", i) }

func (s site) offer(limit float64) Offer {
	if s.capacity < 0 {
		return Offer{Name: testvalue.Name(fn), Absent: true, UserRate: testvalue.Rate(s.user)}
	}
	return Offer{Name: testvalue.Name(fn), Capacity: testvalue.Rate(s.capacity), UserRate: testvalue.Rate(s.user), Limit: testvalue.Rate(limit)}
}

// observe is what node i knows when all announcements have arrived.
func observe(sites []site, i int, limits []float64) Observation {
	o := Observation{Self: id(i)}
	s := sites[i]
	if s.capacity >= 0 || s.user > 0 {
		o.Functions = []Function{{Name: testvalue.Name(fn), Absent: s.capacity < 0, Capacity: testvalue.Bound(max(0, s.capacity)), UserRate: testvalue.Rate(s.user)}}
	}
	for j, p := range sites {
		if j == i {
			continue
		}
		peer := Peer{ID: id(j)}
		if p.capacity >= 0 || p.user > 0 {
			peer.Offers = []Offer{p.offer(limits[j])}
		}
		o.Peers = append(o.Peers, peer)
	}
	return o
}

// settle plans at every node twice: the first round makes the announced limits
// that the second uses.
func settle(s Strategy, sites []site) []Plan {
	limits := make([]float64, len(sites))
	plans := make([]Plan, len(sites))
	for range 2 {
		for i := range sites {
			plans[i] = s.Plan(observe(sites, i, limits))
		}
		for i, p := range plans {
			for _, o := range p.Offers {
				limits[i] = o.Limit.PerSecond()
			}
		}
	}
	return plans
}

func flow(flows []Flow, peer string) float64 {
	for _, f := range flows {
		if f.Peer == peer {
			return f.Rate.PerSecond()
		}
	}
	return 0
}

func function(p Plan) FunctionPlan {
	if len(p.Functions) == 0 {
		return FunctionPlan{}
	}
	return p.Functions[0]
}

// TestKnownLoads holds the strategies against the published results: functions
// limited to 10, 20 and 30 req/s on nodes 1, 2 and 3.
func TestKnownLoads(t *testing.T) {
	tests := []struct {
		strategy string
		load     [3]float64
		out      [3][3]float64 // at least this from i to k, req/s
		most     [3]float64    // no more than this out of i in all
	}{
		{"recalc", [3]float64{50, 0, 0}, [3][3]float64{{0, 10, 15}}, [3]float64{25, 0, 0}},
		{"recalc", [3]float64{50, 10, 0}, [3][3]float64{{0, 5, 15}}, [3]float64{20, 0, 0}},
		{"recalc", [3]float64{50, 30, 0}, [3][3]float64{{0, 0, 15}, {0, 0, 15}}, [3]float64{15, 15, 0}},
		{"recalc", [3]float64{50, 50, 50}, [3][3]float64{}, [3]float64{}},
		{"headroom", [3]float64{50, 0, 0}, [3][3]float64{{0, 16, 24}}, [3]float64{50, 15, 10}},
		{"headroom", [3]float64{50, 10, 0}, [3][3]float64{{0, 10, 30}}, [3]float64{40, 0, 0}},
		{"headroom", [3]float64{50, 30, 0}, [3][3]float64{{0, 0, 23.5}, {0, 0, 6}}, [3]float64{24, 6.5, 0}},
		{"headroom", [3]float64{50, 50, 50}, [3][3]float64{}, [3]float64{}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.strategy, tt.load), func(t *testing.T) {
			s, err := New(tt.strategy)
			if err != nil {
				t.Fatal(err)
			}
			sites := []site{{10, tt.load[0]}, {20, tt.load[1]}, {30, tt.load[2]}}
			for i, p := range settle(s, sites) {
				f := function(p)
				sum := 0.0
				for k := range sites {
					got := flow(f.Out, id(k))
					sum += got
					if got < tt.out[i][k]-1e-9 {
						t.Errorf("node %d may send %.2f req/s to node %d, want at least %.2f", i+1, got, k+1, tt.out[i][k])
					}
				}
				if sum > tt.most[i]+1e-9 {
					t.Errorf("node %d may send %.2f req/s in all, want at most %.2f", i+1, sum, tt.most[i])
				}
			}
		})
	}
}

// TestHeadroomServesAStepAtOnce: at rest every node may already send away what
// its peers have lent it.
func TestHeadroomServesAStepAtOnce(t *testing.T) {
	for _, p := range settle(headroom{}, []site{{30, 0}, {30, 0}, {30, 0}}) {
		f := function(p)
		room := f.Local.Rate.PerSecond()
		for _, o := range f.Out {
			room += o.Rate.PerSecond()
		}
		if room < 50 {
			t.Errorf("an idle node has room for %.1f req/s at once, want 50", room)
		}
	}
}

func randomSites(r *rand.Rand) []site {
	sites := make([]site, 1+r.IntN(12))
	for i := range sites {
		sites[i] = site{capacity: math.Floor(r.Float64() * 100), user: r.Float64() * 150}
		switch r.IntN(5) {
		case 0:
			sites[i].capacity = -1
		case 1:
			sites[i].user = 0
		}
	}
	return sites
}

// TestHeadroomFill checks the fill against what it is for, over random
// federations in which all announcements have arrived.
func TestHeadroomFill(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		sites := randomSites(r)
		plans := settle(headroom{}, sites)

		var need, spare, deployed float64
		for _, s := range sites {
			need += max(0, s.user-max(0, s.capacity))
			spare += max(0, s.capacity-s.user)
			if s.capacity >= 0 {
				deployed++
			}
		}
		for i, p := range plans {
			f := function(p)
			out := 0.0
			own := max(0, sites[i].capacity-sites[i].user)
			for k := range sites {
				send, admit := flow(f.Out, id(k)), flow(function(plans[k]).In, id(i))
				if send > admit+1e-6 {
					t.Fatalf("seed %d: %s may send %g to %s, which admits only %g", seed, id(i), send, id(k), admit)
				}
				if in := flow(f.In, id(k)); in > own*(1+admitMargin)+1e-6 {
					t.Fatalf("seed %d: %s admits %g of a spare of %g", seed, id(i), in, own)
				}
				out += send
			}
			if want := max(0, sites[i].user-max(0, sites[i].capacity)); need*(1+claimMargin)*3 < spare && deployed > 0 && out < want-1e-6 {
				t.Fatalf("seed %d: %s may send %g of its surplus %g although the federation has room", seed, id(i), out, want)
			}
		}
		// Nothing is left over while somebody is refused.
		if need >= spare {
			sent := 0.0
			for _, p := range plans {
				for _, o := range function(p).Out {
					sent += o.Rate.PerSecond()
				}
			}
			if sent < spare-1e-6 || sent > spare+1e-6 {
				t.Fatalf("seed %d: with too little room, %g of %g is used", seed, sent, spare)
			}
		}
	}
}

// TestPlansAreSane: whatever the peers announce, every strategy answers with
// finite weights, time limits within bounds, rows sorted, nobody named twice.
func TestPlansAreSane(t *testing.T) {
	wild := []float64{0, -1, 1e-300, 1, 30, 1e6, 1e300, math.Inf(1), math.Inf(-1), math.NaN()}
	names := []string{"a", "b", "c", "d"}
	for _, s := range all() {
		t.Run(s.Name(), func(t *testing.T) {
			for seed := range uint64(2000) {
				r := rand.New(rand.NewPCG(seed, 2))
				pick := func() float64 { return wild[r.IntN(len(wild))] }
				rate := func() limit.Rate { return limit.NearestRate(pick()) }
				o := Observation{Self: id(0), Sparse: seed%2 == 1}
				for _, n := range names {
					if r.IntN(2) == 0 {
						capacity := rate().Bound()
						if r.IntN(8) == 0 {
							capacity = limit.Unlimited()
						}
						o.Functions = append(o.Functions, Function{Name: testvalue.Name(n), Absent: r.IntN(3) == 0, Capacity: capacity, UserRate: rate()})
					}
				}
				for i := range r.IntN(6) {
					p := Peer{ID: id(i + 1)}
					for range r.IntN(5) {
						p.Offers = append(p.Offers, Offer{
							Name: testvalue.Name(names[r.IntN(len(names))]), Absent: r.IntN(3) == 0, Capacity: rate(), UserRate: rate(), Limit: rate(), Demand: rate(),
							TimeoutMillis: int64(r.Uint64()) >> r.IntN(64),
						})
					}
					p.Distrust, p.Unserved, p.Unused = pick(), map[funcname.Name]float64{testvalue.Name(names[r.IntN(len(names))]): pick()}, map[funcname.Name]float64{testvalue.Name(names[r.IntN(len(names))]): pick()}
					o.Peers = append(o.Peers, p)
				}
				checkPlan(t, o, s.Plan(o))
			}
		})
	}
}

func checkPlan(t *testing.T, o Observation, p Plan) {
	t.Helper()
	last := ""
	for _, f := range p.Functions {
		if f.Name.String() <= last {
			t.Fatalf("functions not sorted or twice: %q after %q", f.Name, last)
		}
		last = f.Name.String()
		if !(f.Unmet >= 0 && f.Unmet <= 1) {
			t.Fatalf("%s: %v of the surplus has no room", f.Name, f.Unmet)
		}
		for kind, flows := range map[string][]Flow{"out": f.Out, "in": f.In} {
			peer := ""
			for _, fl := range flows {
				if fl.Peer <= peer || fl.Peer == o.Self {
					t.Fatalf("%s %s: peer %q after %q", f.Name, kind, fl.Peer, peer)
				}
				peer = fl.Peer
				if fl.TimeoutMillis < 0 || fl.TimeoutMillis > limit.MaxTimeoutMillis {
					t.Fatalf("%s %s: %+v", f.Name, kind, fl)
				}
				if !(fl.Weight >= 0) || math.IsInf(fl.Weight, 1) {
					t.Fatalf("%s %s: %+v", f.Name, kind, fl)
				}
				if kind == "in" && (f.Local == nil || fl.Rate.Rate().Exceeds(f.Local.Rate)) {
					t.Fatalf("%s admits %v req/s with %+v", f.Name, fl.Rate, f.Local)
				}
			}
		}
	}
}

// TestTimeLimits: a node announces how long it lets a function take that it has,
// and knows of each flow how long the receiver does, room or not.
func TestTimeLimits(t *testing.T) {
	const slow, quick = 300_000, 50
	own := func(timeout int64, absent bool) Observation {
		return Observation{
			Self:      id(0),
			Functions: []Function{{Name: testvalue.Name(fn), Absent: absent, Capacity: testvalue.Bound(10), UserRate: testvalue.Rate(50), TimeoutMillis: timeout}},
			Peers: []Peer{
				{ID: id(1), Offers: []Offer{{Name: testvalue.Name(fn), Capacity: testvalue.Rate(30), Limit: testvalue.Rate(10), TimeoutMillis: slow}}},
				{ID: id(2), Offers: []Offer{{Name: testvalue.Name(fn), Absent: true, UserRate: testvalue.Rate(1), TimeoutMillis: slow}}},
				{ID: id(3), Offers: []Offer{{Name: testvalue.Name(fn), Capacity: testvalue.Rate(30), Limit: testvalue.Rate(10)}}},
				{ID: id(4), Offers: []Offer{{Name: testvalue.Name(fn), TimeoutMillis: quick}}},
			},
		}
	}
	for _, s := range all() {
		for _, absent := range []bool{false, true} {
			p := s.Plan(own(2000, absent))
			want := map[string]int64{id(1): slow, id(3): 0, id(4): quick}
			if s.Name() == "alllocal" {
				want = nil
			}
			out := function(p).Out
			for _, f := range out {
				if limit, known := want[f.Peer]; !known || f.TimeoutMillis != limit {
					t.Errorf("%s: %+v, want a limit of %d ms", s.Name(), f, limit)
				}
			}
			if len(out) != len(want) {
				t.Errorf("%s sends to %d peers, want %d", s.Name(), len(out), len(want))
			}
			announced := int64(2000)
			if absent {
				announced = 0
			}
			if got := p.Offers[0].TimeoutMillis; got != announced {
				t.Errorf("%s, absent %v: announces %d ms", s.Name(), absent, got)
			}
		}
	}
}

func TestAbsentFunctions(t *testing.T) {
	sites := []site{{-1, 5}, {-1, 0}, {30, 0}}
	for _, s := range all() {
		t.Run(s.Name(), func(t *testing.T) {
			plans := settle(s, sites)
			for i := range 2 {
				f := function(plans[i])
				if f.Local != nil {
					t.Errorf("node %d serves a function it does not have", i+1)
				}
				if s.Name() == "alllocal" {
					if len(plans[i].Functions) != 0 {
						t.Errorf("alllocal plans to forward: %+v", plans[i])
					}
					continue
				}
				if r := flow(f.Out, id(2)); r == 0 {
					t.Errorf("node %d may not send to the only node that has the function", i+1)
				}
				if r := flow(function(plans[2]).In, id(i)); r <= 0 {
					t.Errorf("node 3 admits nothing from node %d", i+1)
				}
			}
			if diff := cmp.Diff([]Offer{{Name: testvalue.Name(fn), Absent: true, UserRate: testvalue.Rate(5)}}, plans[0].Offers, testvalue.Comparable()); diff != "" {
				t.Errorf("the node that asks announces:\n%s", diff)
			}
			if len(plans[1].Offers) != 0 {
				t.Errorf("a node that neither has it nor asks announces %+v", plans[1].Offers)
			}
		})
	}
}

// TestFullPeersAreListed: without a row of rate 0 the SPOA could not tell
// "every node is full" from "nobody else has it".
func TestFullPeersAreListed(t *testing.T) {
	for _, name := range []string{"headroom", "recalc"} {
		s, err := New(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range settle(s, []site{{10, 50}, {20, 50}, {30, 50}}) {
			if out := function(p).Out; len(out) != 2 || out[0].Rate.PerSecond() != 0 || out[1].Rate.PerSecond() != 0 {
				t.Errorf("%s, node %d: %+v, want two peers with rate 0", name, i+1, out)
			}
		}
	}
}

// TestLent: a node without a surplus goes by what peers say that they lend, as far as
// they have it; one that has a surplus does not.
func TestLent(t *testing.T) {
	sent := func(user, says float64) float64 {
		sites := []site{{10, user}, {30, 10}, {10, 60}}
		return flow(function(headroom{}.Plan(observe(sites, 0, []float64{0, says, 0}))).Out, id(1))
	}
	for says, want := range map[float64]float64{0: 0, 4: 4, 1000: 20} {
		if got := sent(5, says); got < want-0.01 || got > want+0.01 {
			t.Errorf("%g/s are sent where the peer says that it lends %g/s, want %g/s", got, says, want)
		}
	}
	if none, much := sent(25, 0), sent(25, 1000); none != much {
		t.Errorf("a node with a surplus sends %g/s, and %g/s where the peer says that it lends much", none, much)
	}
}

// TestUnmet: all are told how much of the surplus has no room, whether they have any or not;
// and one node alone, which may lie, cannot say that there is none.
func TestUnmet(t *testing.T) {
	for _, test := range []struct{ first, second, want float64 }{
		{10, 10, 0}, {24, 24, 0}, {48, 48, 0.55}, {1000, 1000, 0.65}, {48, 10, 0.05}, {1e6, 10, 0.05},
	} {
		sites := []site{{10, test.first}, {10, test.second}, {20, 2}, {20, 2}} // 36/s are left
		for i := range sites {
			got := function(headroom{}.Plan(observe(sites, i, make([]float64, len(sites))))).Unmet
			if got < test.want-0.001 || got > test.want+0.001 {
				t.Errorf("%v and %v/s asked of 10/s each: %s is told that %v has no room, want %v", test.first, test.second, id(i), got, test.want)
			}
		}
	}
}

// TestWhoHasLimits: only who goes by limits announces them, and a node of recalc among
// peers that have none sends them what it would send its like.
func TestWhoHasLimits(t *testing.T) {
	sites := []site{{10, 50}, {20, 5}, {30, 10}, {-1, 5}, {15, 40}}
	limits := make([]float64, len(sites))
	for _, s := range all() {
		for i, p := range settle(s, sites) {
			for _, o := range p.Offers {
				if s.Name() == "recalc" {
					limits[i] = o.Limit.PerSecond()
				} else if s.Name() != "headroom" && o.Limit != (limit.Rate{}) {
					t.Errorf("%s announces a limit of %v", s.Name(), o.Limit)
				}
			}
		}
	}
	for i := range sites {
		among := recalc{}.Plan(observe(sites, i, limits))
		alone := recalc{}.Plan(observe(sites, i, make([]float64, len(sites))))
		if diff := cmp.Diff(among, alone, testvalue.Comparable()); diff != "" {
			t.Errorf("node %d, without its peers' limits:\n%s", i+1, diff)
		}
	}
	if limits[2] == 0 {
		t.Error("recalc announces no limit where there is room")
	}
}

func TestUnlimitedStaysHome(t *testing.T) {
	o := Observation{
		Self:      id(0),
		Functions: []Function{{Name: testvalue.Name(fn), Capacity: limit.Unlimited(), UserRate: testvalue.Rate(500)}},
		Peers:     []Peer{{ID: id(1)}},
	}
	for _, s := range all() {
		p := s.Plan(o)
		f := function(p)
		if f.Local == nil || f.Local.Rate != limit.Unlimited() || len(f.In) != 0 {
			t.Errorf("%s: %+v", s.Name(), f)
		}
		if p.Offers[0] != (Offer{Name: testvalue.Name(fn)}) {
			t.Errorf("%s offers, or claims room for, an unlimited function: %+v", s.Name(), p.Offers[0])
		}
	}
}

func TestBlindShares(t *testing.T) {
	sites := []site{{30, 10}, {30, 10}, {30, 10}}
	for name, want := range map[string]float64{"static": 0.6, "random": 1.0 / 3, "alllocal": 1} {
		s, err := New(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := function(settle(s, sites)[0]).Local.Share; got != want {
			t.Errorf("%s serves a share of %g here, want %g", name, got, want)
		}
		if got := function(settle(s, sites[:1])[0]).Local.Share; got != 1 {
			t.Errorf("%s alone serves a share of %g, want 1", name, got)
		}
	}
}

func TestNewNamesTheChoices(t *testing.T) {
	if _, err := New("best"); err == nil || !strings.Contains(err.Error(), "headroom") {
		t.Errorf("got %v, want an error that names the strategies", err)
	}
}

func BenchmarkPlan(b *testing.B) {
	const functions, peers = 1000, 100
	var o Observation
	for f := range functions {
		o.Functions = append(o.Functions, Function{Name: testvalue.Name(fmt.Sprintf("f%04d", f)), Capacity: testvalue.Bound(100), UserRate: testvalue.Rate(float64(f % 200))})
	}
	for p := range peers {
		peer := Peer{ID: id(p)}
		for f := range functions {
			peer.Offers = append(peer.Offers, Offer{Name: testvalue.Name(fmt.Sprintf("f%04d", f)), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(float64((f + p) % 200)), Limit: testvalue.Rate(1)})
		}
		o.Peers = append(o.Peers, peer)
	}
	for _, s := range all() {
		b.Run(s.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Plan(o)
			}
		})
	}
}

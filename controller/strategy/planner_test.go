package strategy

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestPlannerPlansTheSame: whatever changes from one observation to the next, a
// planner's plans are those of its strategy.
func TestPlannerPlansTheSame(t *testing.T) {
	for _, s := range all() {
		t.Run(s.Name(), func(t *testing.T) {
			for seed := range uint64(40) {
				r := rand.New(rand.NewPCG(seed, 3))
				p, o := NewPlanner(s), Observation{Self: id(0), Sparse: seed%2 == 1}
				var before Plan
				shared := 0
				for step := range 60 {
					o = changed(r, o)
					got := p.Plan(o)
					if want := s.Plan(o); !reflect.DeepEqual(want, got) {
						t.Fatalf("seed %d, step %d (-the whole +the planner's):\n%s", seed, step, cmp.Diff(want, got))
					}
					for i := range got.Functions {
						for j := range before.Functions {
							if got.Functions[i].Same(&before.Functions[j]) {
								shared++
								if !reflect.DeepEqual(got.Functions[i], before.Functions[j]) {
									t.Fatalf("seed %d, step %d: said to be the same: %+v and %+v", seed, step, got.Functions[i], before.Functions[j])
								}
							}
						}
					}
					before = got
				}
				if shared == 0 {
					t.Errorf("seed %d: everything was planned anew each time", seed)
				}
			}
		})
	}
}

// TestPlanUrgent: what is urgent is planned as in the strategy's plan, the rest is either
// so or as it was, and the next plan of everything is the strategy's.
func TestPlanUrgent(t *testing.T) {
	put := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 4))
		p, o := NewPlanner(headroom{}), Observation{Self: id(0), Sparse: seed%2 == 1}
		before := p.Plan(o)
		for step := range 30 {
			o = changed(r, o)
			urgent := map[funcname.Name]bool{testvalue.Name("a"): true, testvalue.Name("b"): true}
			got, left := p.PlanUrgent(o, func(name funcname.Name) bool { return urgent[name] })
			want := headroom{}.Plan(o)
			if different := !reflect.DeepEqual(got, want); different && !left {
				t.Fatalf("seed %d, step %d: nothing is left, and yet (-the whole +the planner's):\n%s", seed, step, cmp.Diff(want, got))
			} else if different {
				put++
			}
			for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
				f, whole, was := planOfOne(got, name), planOfOne(want, name), planOfOne(before, name)
				if !reflect.DeepEqual(f, whole) && (urgent[testvalue.Name(name)] || !reflect.DeepEqual(f, was)) {
					t.Fatalf("seed %d, step %d: %s is neither planned nor put off (-the whole +the planner's):\n%s", seed, step, name, cmp.Diff(whole, f))
				}
			}
			before = got
			if r.IntN(3) == 0 {
				if before = p.Plan(o); !reflect.DeepEqual(want, before) {
					t.Fatalf("seed %d, step %d: later (-the whole +the planner's):\n%s", seed, step, cmp.Diff(want, before))
				}
			}
		}
	}
	if put == 0 {
		t.Error("nothing was ever put off")
	}
}

// planOfOne is the plan of one function, nil if there is none.
func planOfOne(p Plan, name string) *FunctionPlan {
	for i := range p.Functions {
		if p.Functions[i].Name == testvalue.Name(name) {
			return &p.Functions[i]
		}
	}
	return nil
}

// TestDistrustOfOneFunction: it is one function that is planned anew, as if the peer
// were distrusted as a whole; the plans of all others stay as they are.
func TestDistrustOfOneFunction(t *testing.T) {
	offers := []Offer{{Name: testvalue.Name("a"), Capacity: testvalue.Rate(50)}, {Name: testvalue.Name("b"), Capacity: testvalue.Rate(50)}, {Name: testvalue.Name("c"), Capacity: testvalue.Rate(50)}}
	o := Observation{
		Self:      id(0),
		Functions: []Function{{Name: testvalue.Name("a"), Capacity: testvalue.Bound(10), UserRate: testvalue.Rate(40)}, {Name: testvalue.Name("b"), Capacity: testvalue.Bound(10), UserRate: testvalue.Rate(40)}, {Name: testvalue.Name("c"), Capacity: testvalue.Bound(10)}},
		Peers:     []Peer{{ID: id(1), Offers: offers}, {ID: id(2), Offers: offers}},
	}
	p := NewPlanner(headroom{})
	before := p.Plan(o)
	o.Peers = slices.Clone(o.Peers)
	o.Peers[0].Unserved = map[funcname.Name]float64{testvalue.Name("b"): 0.99}
	now := p.Plan(o)
	o.Peers[0].Unserved, o.Peers[0].Distrust = nil, 0.99
	whole := headroom{}.Plan(o)
	for i, name := range []string{"a", "b", "c"} {
		if same := now.Functions[i].Same(&before.Functions[i]); same != (name != "b") {
			t.Errorf("%s is planned as before: %v", name, same)
		}
	}
	if diff := cmp.Diff(whole.Functions[1], now.Functions[1], testvalue.Comparable()); diff != "" {
		t.Errorf("b is not planned as with a peer that is distrusted as a whole (-whole +now):\n%s", diff)
	}
	if weight := now.Functions[1].Out[0].Weight; weight > 0.03*now.Functions[1].Out[1].Weight {
		t.Errorf("who is distrusted has the weight %g, the other one %g", weight, now.Functions[1].Out[1].Weight)
	}
}

// changed returns the observation with one or a few things changed.
func changed(r *rand.Rand, o Observation) Observation {
	names := []string{"a", "b", "c", "d", "e", "f"}
	number := func() float64 { return []float64{0, 3, 10, 30, 1e6}[r.IntN(5)] }
	o.Functions, o.Peers = slices.Clone(o.Functions), slices.Clone(o.Peers)
	for range 1 + r.IntN(3) {
		name := names[r.IntN(len(names))]
		switch kind := r.IntN(12); {
		case kind == 0 || len(o.Peers) == 0: // somebody comes or goes
			peer := Peer{ID: fmt.Sprintf("peer-%d", r.IntN(8))}
			i, there := slices.BinarySearchFunc(o.Peers, peer, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
			if there {
				o.Peers = slices.Delete(o.Peers, i, i+1)
			} else {
				o.Peers = slices.Insert(o.Peers, i, peer)
			}
		case kind <= 3: // this node's users, or its functions
			f := Function{Name: testvalue.Name(name), Absent: r.IntN(4) == 0, Capacity: testvalue.Bound(number()), UserRate: testvalue.Rate(number()), Backup: r.IntN(5) == 0}
			if r.IntN(8) == 0 {
				f.Capacity = limit.Unlimited()
			}
			o.Functions = put(r, o.Functions, f, func(f Function) string { return f.Name.String() })
		default:
			p := &o.Peers[r.IntN(len(o.Peers))]
			switch kind {
			case 4:
				p.Down = !p.Down
			case 5:
				if p.Distrust = r.Float64(); r.IntN(2) == 0 {
					p.Distrust, p.Unserved = 0, map[funcname.Name]float64{testvalue.Name(name): r.Float64()}
				}
			case 6:
				p.Unused = map[funcname.Name]float64{testvalue.Name(name): r.Float64()}
			case 7:
				p.Unused = nil
			default:
				p.Offers = put(r, slices.Clone(p.Offers), Offer{
					Name: testvalue.Name(name), Absent: r.IntN(4) == 0, Capacity: testvalue.Rate(number()), UserRate: testvalue.Rate(number()), Limit: testvalue.Rate(number()), Backup: r.IntN(5) == 0,
				}, func(o Offer) string { return o.Name.String() })
			}
		}
	}
	return o
}

// put puts an element into a sorted list in place of that of the same name, or now and
// then takes that out.
func put[T any](r *rand.Rand, list []T, element T, name func(T) string) []T {
	i, there := slices.BinarySearchFunc(list, element, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	switch {
	case there && r.IntN(5) == 0:
		return slices.Delete(list, i, i+1)
	case there:
		list[i] = element
		return list
	}
	return slices.Insert(list, i, element)
}

// BenchmarkPlanner plans when one function's users have changed at one of many peers, and
// as a whole.
func BenchmarkPlanner(b *testing.B) {
	for _, size := range [][2]int{{10, 8}, {10, 49}, {100, 30}, {1000, 100}} {
		o := Observation{Self: id(0)}
		for f := range size[0] {
			o.Functions = append(o.Functions, Function{Name: testvalue.Name(fmt.Sprintf("f%04d", f)), Capacity: testvalue.Bound(10), UserRate: testvalue.Rate(float64(f % 20))})
		}
		for p := range size[1] {
			var offers []Offer
			for f := range size[0] {
				offers = append(offers, Offer{Name: testvalue.Name(fmt.Sprintf("f%04d", f)), Capacity: testvalue.Rate(10), UserRate: testvalue.Rate(float64((f + p) % 20))})
			}
			o.Peers = append(o.Peers, Peer{ID: fmt.Sprintf("peer-%04d", p), Offers: offers})
		}
		name := fmt.Sprintf("functions=%d/peers=%d", size[0], size[1])
		b.Run(name+"/whole", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				headroom{}.Plan(o)
			}
		})
		b.Run(name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			p := NewPlanner(headroom{})
			p.Plan(o)
			for i := 0; b.Loop(); i++ {
				next := o
				next.Functions = slices.Clone(o.Functions)
				f := &next.Functions[i%size[0]]
				f.UserRate = limit.NearestRate(f.UserRate.PerSecond() + 1 + float64(i%7))
				p.Plan(next)
				o = next
			}
		})
	}
}

package core

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

func peerID(n int) peerid.ID { return testtable.ID(n) }

func accepted(t *testing.T, tbl table.Table) {
	t.Helper()
	tbl.Version = 1
	if _, err := tbl.Validate(table.Limits{}); err != nil {
		t.Fatalf("the SPOA would refuse the table: %v", err)
	}
}

// TestPeersWordOnTime: what a peer announces is cut where the operator says, what
// this node's own label says is not.
func TestPeersWordOnTime(t *testing.T) {
	in := tableInput{
		self: peerID(0), maxPeerTimeout: 5 * time.Minute,
		plan: strategy.Plan{Functions: []strategy.FunctionPlan{{
			Name: testvalue.Name("long"), Local: &strategy.Local{Rate: testvalue.Bound(1), Share: 1, TimeoutMillis: 3_600_000},
			Out: []strategy.Flow{{Peer: peerID(1).String(), Weight: 1, Rate: testvalue.Bound(1), TimeoutMillis: 3_600_000}, {Peer: peerID(2).String(), Weight: 1, Rate: testvalue.Bound(1), TimeoutMillis: 1000}},
		}}},
		peers:  []tablePeer{{id: peerID(1), token: "t.o.k", usable: true}, {id: peerID(2), token: "t.o.k", usable: true}},
		limits: Limits{}.orDefaults(),
	}
	f := built(in).Functions[0]
	if f.Local.TimeoutMillis != 3_600_000 || f.Forward[0].TimeoutMillis != 300_000 || f.Forward[1].TimeoutMillis != 1000 {
		t.Errorf("here %d ms, at peers %d and %d ms", f.Local.TimeoutMillis, f.Forward[0].TimeoutMillis, f.Forward[1].TimeoutMillis)
	}
	in.maxPeerTimeout = 0
	if f := built(in).Functions[0]; f.Forward[0].TimeoutMillis != 3_600_000 {
		t.Errorf("without a bound %d ms", f.Forward[0].TimeoutMillis)
	}
}

func TestBuildTable(t *testing.T) {
	self, up, down, gone := peerID(0), peerID(1), peerID(2), peerID(3)
	got := built(tableInput{
		self: self, defaultNamespace: "openfaas-fn",
		plan: strategy.Plan{Functions: []strategy.FunctionPlan{
			{
				Name: testvalue.Name("cat"), Local: &strategy.Local{Rate: testvalue.Bound(10), Share: 1, TimeoutMillis: 500},
				Out: []strategy.Flow{{Peer: up.String(), Weight: 2, Rate: testvalue.Bound(5.00049)}, {Peer: down.String(), Weight: 1, Rate: testvalue.Bound(5)}, {Peer: gone.String(), Weight: 1, Rate: testvalue.Bound(1)}},
				In:  []strategy.Flow{{Peer: up.String(), Rate: testvalue.Bound(3)}, {Peer: down.String(), Rate: testvalue.Bound(0)}},
			},
			{Name: testvalue.Name("remote"), Out: []strategy.Flow{{Peer: up.String(), Weight: 1, Rate: limit.Unlimited(), TimeoutMillis: 300_000}}},
			{Name: testvalue.Name("alias.openfaas-fn"), Out: []strategy.Flow{{Peer: up.String(), Weight: 1, Rate: testvalue.Bound(1)}}},
		}},
		peers: []tablePeer{
			{id: up, token: "t.o.k", usable: true}, {id: down, token: "t.o.k"},
			{id: gone, lingering: &inbound{testvalue.Name("cat"): testvalue.Bound(4)}},
		},
		stranded: []funcname.Name{testvalue.Name("alone"), testvalue.Name("cat")},
		limits:   Limits{}.orDefaults(),
	})
	want := table.Table{
		NodeID: self, TTLMillis: tableTTL.Milliseconds(), DefaultNamespace: "openfaas-fn",
		Functions: []table.Function{
			{Name: testvalue.Name("alone"), Local: &table.Local{Rate: limit.Unlimited(), Share: 1}},
			{
				Name: testvalue.Name("cat"), Local: &table.Local{Rate: testvalue.Bound(10), Share: 1, TimeoutMillis: 500},
				Forward: []table.Forward{{Peer: up, Weight: 2, Rate: testvalue.Bound(5)}, {Peer: down}, {Peer: gone}},
				Admit:   []table.Admission{{Peer: up, Rate: testvalue.Bound(3)}, {Peer: gone, Rate: testvalue.Bound(4)}},
			},
			{Name: testvalue.Name("remote"), Forward: []table.Forward{{Peer: up, Weight: 1, Rate: limit.Unlimited(), TimeoutMillis: 300_000}}},
		},
		Peers: []table.Peer{
			{ID: down, Token: "t.o.k"}, {ID: gone}, {ID: up, Token: "t.o.k"},
		},
	}
	if diff := cmp.Diff(want, got, testvalue.Comparable()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	accepted(t, got)
}

// TestTablesAreAccepted builds tables from random and hostile plans.
func TestTablesAreAccepted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	odd := func() float64 {
		odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -5, -1, 0, 1e300, r.Float64() * 100}
		return odd[r.IntN(len(odd))]
	}
	rate := func() limit.Bound {
		if r.IntN(8) == 0 {
			return limit.Unlimited()
		}
		return limit.NearestRate(odd()).Bound()
	}
	ids := make([]peerid.ID, 20)
	for i := range ids {
		ids[i] = peerID(i + 1)
	}
	for range 300 {
		in := tableInput{self: peerID(0), defaultNamespace: "fn", limits: Limits{}.orDefaults()}
		for i, id := range ids[:r.IntN(len(ids))] {
			in.peers = append(in.peers, tablePeer{id: id, token: []string{"", "a.b.c"}[i%2], usable: r.IntN(2) == 0})
		}
		for range r.IntN(20) {
			p := strategy.FunctionPlan{Name: testvalue.Name([]string{"f", "f-1", "f.fn", "g.other", "bad"}[r.IntN(5)])}
			if r.IntN(2) == 0 {
				p.Local = &strategy.Local{Rate: rate(), Share: r.Float64()}
			}
			for _, id := range ids {
				p.Out = append(p.Out, strategy.Flow{Peer: id.String(), Weight: odd(), Rate: rate(), Spare: limit.NearestRate(odd()), TimeoutMillis: int64(r.Uint64())})
				p.In = append(p.In, strategy.Flow{Peer: id.String(), Rate: rate()})
			}
			in.plan.Functions = append(in.plan.Functions, p)
		}
		in.stranded = []funcname.Name{testvalue.Name("f"), testvalue.Name("h"), testvalue.Name("h"), testvalue.Name("h.fn")}
		table := built(in)
		accepted(t, table)
		accepted(t, finalTable(table, 0))
	}
}

// TestTableOfManyFits builds the largest federation that peers could announce.
func TestTableOfManyFits(t *testing.T) {
	in := tableInput{self: peerID(0), limits: Limits{}.orDefaults()}
	var flows []strategy.Flow
	for i := range 256 {
		id := peerID(i + 1)
		in.peers = append(in.peers, tablePeer{id: id, token: string(make([]byte, 330)), usable: true})
		flows = append(flows, strategy.Flow{Peer: id.String(), Weight: 123456.789, Rate: testvalue.Bound(123456.789), TimeoutMillis: limit.MaxTimeoutMillis})
	}
	for i := range 6000 {
		in.plan.Functions = append(in.plan.Functions, strategy.FunctionPlan{Name: testvalue.Name(fmt.Sprintf("a-function-%d.of-a-namespace", i)), Out: flows})
	}
	in.plan.Functions = append(in.plan.Functions, strategy.FunctionPlan{
		Name: testvalue.Name("zz-here"), Local: &strategy.Local{Rate: testvalue.Bound(1), Share: 1}, Out: flows, In: flows,
	})
	full := built(in)
	for i := range full.Peers {
		full.Peers[i].Token = "a.b.c"
	}
	accepted(t, full)
	data, err := json.Marshal(full)
	if err != nil || len(data) > table.MaxBytes {
		t.Errorf("%d bytes of at most %d, error %v", len(data), table.MaxBytes, err)
	}
	last := full.Functions[len(full.Functions)-1]
	if last.Name.String() != "zz-here" || len(last.Forward) != 256 {
		t.Errorf("the function deployed here gave way to those of peers: %s has %d routes", last.Name, len(last.Forward))
	}
}

// TestLivingPeersGoFirst: what peers that are gone were admitted to send takes no
// room that those alive need.
func TestLivingPeersGoFirst(t *testing.T) {
	alive, gone := peerID(1), peerID(2)
	in := tableInput{
		self: peerID(0), limits: Limits{Functions: 10, Peers: 10, Routes: 1},
		peers: []tablePeer{{id: gone, lingering: &inbound{testvalue.Name("cat"): testvalue.Bound(1), testvalue.Name("dog"): testvalue.Bound(1)}}, {id: alive, token: "t.o.k", usable: true}},
		plan: strategy.Plan{Functions: []strategy.FunctionPlan{
			{Name: testvalue.Name("cat"), Local: &strategy.Local{}}, {Name: testvalue.Name("dog"), Out: []strategy.Flow{{Peer: alive.String(), Weight: 1, Rate: testvalue.Bound(1)}}},
		}},
	}
	if f := built(in).Functions; len(f[1].Forward) != 1 || f[0].Admit != nil {
		t.Errorf("%d routes to the living, %v from those gone", len(f[1].Forward), f[0].Admit)
	}
}

// TestRoutesAreCounted: those of the newest table, however it was made, and those that it
// has no room for.
func TestRoutesAreCounted(t *testing.T) {
	in := tableInput{self: peerID(0), limits: Limits{Functions: 10, Peers: 10, Routes: 4}}
	for i := range 3 {
		in.peers = append(in.peers, tablePeer{id: peerID(1 + i), token: "t.o.k", usable: true})
	}
	var m tableMaker
	if got := m.routes(); got != (Routes{}) {
		t.Errorf("before the first table: %+v", got)
	}
	for names, want := range []Routes{{0, 0, 4}, {3, 0, 4}, {4, 2, 4}, {4, 5, 4}} {
		in.plan = strategy.Plan{}
		for i := range names {
			f := strategy.FunctionPlan{Name: testvalue.Name(string(rune('a' + i)))}
			for _, p := range in.peers {
				f.Out = append(f.Out, strategy.Flow{Peer: p.id.String(), Weight: 1, Rate: testvalue.Bound(1)})
			}
			in.plan.Functions = append(in.plan.Functions, f)
		}
		for range 2 { // the second one follows the first, if that had room for all
			if m.next(in); m.routes() != want {
				t.Errorf("%d functions at 3 peers: %+v, want %+v", names, m.routes(), want)
			}
		}
	}
}

func sameTable(a, b *table.Table) bool {
	return sameHead(a, b) && slices.EqualFunc(a.Functions, b.Functions, func(a, b table.Function) bool { return a.Equal(&b) })
}

func built(in tableInput) table.Table { t, _ := buildTable(in); return t }

// TestTablesFollow: whatever changes between two tables, what a tableMaker makes is what
// is built from nothing, it says so when that is what it was, and rows that it hands on
// are the same.
func TestTablesFollow(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		rule, err := strategy.New([]string{"headroom", "recalc", "static"}[seed%3])
		if err != nil {
			t.Fatal(err)
		}
		planner, o := strategy.NewPlanner(rule), strategy.Observation{Self: peerID(0).String()}
		in := tableInput{self: peerID(0), defaultNamespace: "fn", limits: Limits{}.orDefaults()}
		if seed%5 == 4 {
			in.limits = Limits{Functions: 4, Peers: 3, Routes: 9}
		}
		var m tableMaker
		var before table.Table
		handedOn := 0
		for step := range 80 {
			if step > 0 {
				change(r, &o, &in)
			}
			in.plan = planner.Plan(o)
			want := built(in)
			got, changed := m.next(in)
			if !sameTable(&want, got) {
				t.Fatalf("seed %d, step %d (-built +made):\n%s", seed, step, cmp.Diff(want, *got))
			}
			if is := step == 0 || !sameTable(&before, got); is != changed {
				t.Fatalf("seed %d, step %d: changed is %v, want %v", seed, step, changed, is)
			}
			for i := range got.Functions {
				if i < len(before.Functions) && got.Functions[i].Same(&before.Functions[i]) {
					handedOn++
				}
			}
			before = *got
		}
		if handedOn == 0 {
			t.Errorf("seed %d: all rows were made anew each time", seed)
		}
	}
}

// change changes one thing of what a table is made from.
func change(r *rand.Rand, o *strategy.Observation, in *tableInput) {
	names := []string{"a", "b", "c", "d", "e.fn", "f.ns"}
	o.Functions, o.Peers, in.peers = slices.Clone(o.Functions), slices.Clone(o.Peers), slices.Clone(in.peers)
	i, name := r.IntN(1+len(in.peers)), names[r.IntN(len(names))]
	switch kind := r.IntN(12); {
	case kind == 0 || i == len(in.peers) && kind > 6: // somebody comes
		id := peerID(1 + r.IntN(6))
		if slices.ContainsFunc(in.peers, func(p tablePeer) bool { return p.id.String() == id.String() }) {
			return
		}
		in.peers = append(in.peers, tablePeer{id: id, token: "t.o.k", usable: true})
		o.Peers = append(o.Peers, strategy.Peer{ID: id.String()})
		slices.SortFunc(o.Peers, func(a, b strategy.Peer) int { return strings.Compare(a.ID, b.ID) })
	case kind <= 5 || i == len(in.peers): // users ask for more or less, or a function comes
		f := strategy.Function{Name: testvalue.Name(name), Absent: r.IntN(4) == 0, Capacity: testvalue.Bound(10), UserRate: testvalue.Rate(float64(r.IntN(30)))}
		at, there := slices.BinarySearchFunc(o.Functions, name, func(f strategy.Function, name string) int { return strings.Compare(f.Name.String(), name) })
		if !there {
			o.Functions = slices.Insert(o.Functions, at, f)
		}
		o.Functions[at] = f
	case kind == 6:
		in.peers[i].token = []string{"", "t.o.k", "t.o.q"}[r.IntN(3)]
	case kind == 7:
		in.peers[i].usable = !in.peers[i].usable
	case kind == 8: // goes
		id := in.peers[i].id
		o.Peers = slices.DeleteFunc(o.Peers, func(p strategy.Peer) bool { return p.ID == id.String() })
		if in.peers[i].lingering != nil {
			in.peers = slices.Delete(in.peers, i, i+1)
		} else {
			in.peers[i] = tablePeer{id: id, lingering: &inbound{testvalue.Name(name): testvalue.Bound(3)}}
		}
	case kind == 9:
		in.stranded = [][]funcname.Name{nil, {testvalue.Name("a"), testvalue.Name("h")}}[r.IntN(2)]
	default:
		id := in.peers[i].id
		for p := range o.Peers {
			if o.Peers[p].ID == id.String() {
				o.Peers[p].Offers = []strategy.Offer{{Name: testvalue.Name(name), Capacity: testvalue.Rate(10), UserRate: testvalue.Rate(float64(r.IntN(20)))}}
			}
		}
	}
}

// TestSourceOf: identities at one address are one source, those of an experiment on
// one machine are not.
func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1:2:3:4": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
		"127.0.0.2": "", "::1": "",
	} {
		got := sourceOf(netip.MustParseAddr(address))
		if got != want || len(got) > table.MaxSourceLen {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	if got := sourceOf(netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

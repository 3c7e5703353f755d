package route

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// TestSharedRowsDecideTheSame: tables that share rows with the one before are decided by
// as if each had been compiled whole.
func TestSharedRowsDecideTheSame(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		tab := testtable.New(6, 4)
		var shared, whole *Snapshot
		var before table.Valid
		meters, handedOn := [2]*meter.Meter{meter.New(t0), meter.New(t0)}, 0
		for step := range 40 {
			now := t0.Add(time.Duration(step) * 200 * time.Millisecond)
			tab = changeTable(r, tab)
			valid, err := tab.ValidateAfter(before)
			if step == 0 {
				valid, err = tab.Validate(table.Limits{})
			}
			if _, whole := clone(tab).Validate(table.Limits{}); (err == nil) != (whole == nil) {
				t.Fatalf("seed %d, step %d: after the last table %v, by itself %v", seed, step, err, whole)
			}
			if err != nil {
				t.Fatal(err)
			}
			last := shared
			shared, whole, before = Compile(valid, shared, meters[0], now), Compile(testtable.Valid(t, clone(tab)), whole, meters[1], now), valid
			for i, f := range shared.functions {
				if last != nil && i < len(last.functions) && last.functions[i] == f {
					handedOn++
				}
			}
			for range 60 {
				now = now.Add(time.Duration(r.IntN(3)) * time.Millisecond)
				name, peer := fmt.Sprintf("f%d", r.IntN(7)), testtable.ID(r.IntN(6))
				decide := func(s *Snapshot) Decision {
					if c, known := s.Peer(peer.String()); known {
						return s.Admit(now, c, name, Call{})
					}
					return s.Admit(now, Caller{}, name, Call{})
				}
				a, b := decide(shared), decide(whole)
				if a != b {
					t.Fatalf("seed %d, step %d, %s by %s (-whole +shared):\n%s", seed, step, name, peer, cmp.Diff(b, a))
				}
				if a.Mark != 0 && r.IntN(2) == 0 {
					room, refused := int32(r.IntN(9)), r.IntN(4) == 0
					shared.Heard(now, a.Mark, room, refused)
					whole.Heard(now, a.Mark, room, refused)
				}
			}
			if !maps.Equal(whole.missed, shared.missed) {
				t.Fatalf("seed %d, step %d: %v are missed, %v by the whole", seed, step, shared.missed, whole.missed)
			}
		}
		if handedOn == 0 {
			t.Errorf("seed %d: all rows were compiled each time", seed)
		}
	}
}

// TestTakenOverRowsSayTheSame: what a row takes over from the table before is what it would
// be if there had been none.
func TestTakenOverRowsSayTheSame(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 10))
		tab := testtable.New(6, 4)
		var s *Snapshot
		for step := range 40 {
			tab = changeTable(r, tab)
			s = compile(t, clone(tab), s, t0)
			for i, want := range compile(t, clone(tab), nil, t0).functions {
				got := s.functions[i]
				if diff := cmp.Diff(said(want), said(got)); diff != "" {
					t.Fatalf("seed %d, step %d, %s (-from nothing +after others):\n%s", seed, step, want.row.Name, diff)
				}
			}
		}
	}
}

// said is what a row says of peers, but for what they have used up.
func said(f *function) (all []string) {
	bucket := func(b bucket) string { return fmt.Sprint(b.usedUntil != nil, b.interval, b.burst) }
	for _, fw := range f.forwards {
		all = append(all, fmt.Sprint("to ", fw.peer, fw.weight, fw.spare, fw.rate, fw.timeout, bucket(fw.bucket), fw.usedUntil == nil || fw.usedUntil == &fw.state.used))
	}
	for _, a := range f.admits {
		all = append(all, fmt.Sprint("from ", a.peer, bucket(a.bucket), a.sender == &a.state.sender, slices.Sorted(maps.Keys(f.bySource))))
	}
	return append(all, fmt.Sprint(f.overcommit, f.perCall, f.owed, f.weight, f.upTo, f.refusal))
}

// clone is a table that shares nothing with the other.
func clone(t *table.Table) *table.Table {
	c := *t
	c.Functions, c.Peers = slices.Clone(t.Functions), slices.Clone(t.Peers)
	for i := range c.Functions {
		f := &c.Functions[i]
		if f.Local != nil {
			local := *f.Local
			f.Local = &local
		}
		f.Forward, f.Admit = slices.Clone(f.Forward), slices.Clone(f.Admit)
	}
	return &c
}

// changeTable is the next table: one or two things are other than in the last one, with
// which it shares the rest.
func changeTable(r *rand.Rand, t *table.Table) *table.Table {
	next := *t
	next.Version++
	next.Functions = slices.Clone(t.Functions)
	for range 1 + r.IntN(2) {
		i := r.IntN(len(next.Functions))
		f := &next.Functions[i]
		switch kind := r.IntN(12); {
		case kind == 0 && len(next.Functions) > 1:
			next.Functions = slices.Delete(next.Functions, i, i+1)
		case kind == 1:
			if f := (table.Function{Name: testvalue.Name("f6"), Local: &table.Local{Rate: testvalue.Bound(5), Share: 1}}); !slices.ContainsFunc(next.Functions, func(g table.Function) bool { return g.Name == f.Name }) {
				next.Functions = append(next.Functions, f)
			}
		case kind == 2:
			next.Peers = slices.Clone(next.Peers)
			p := &next.Peers[r.IntN(len(next.Peers))]
			p.Token, p.Source = []string{"", "a.b.c", "d.e.f"}[r.IntN(3)], []string{"", "here"}[r.IntN(2)]
		case kind == 3: // it leaves, or one comes
			next.Peers = slices.Clone(next.Peers)
			gone := next.Peers[len(next.Peers)-1].ID
			if len(next.Peers) > 2 {
				next.Peers = next.Peers[:len(next.Peers)-1]
				for i := range next.Functions {
					f := &next.Functions[i]
					f.Forward = slices.DeleteFunc(slices.Clone(f.Forward), func(fw table.Forward) bool { return fw.Peer == gone })
					f.Admit = slices.DeleteFunc(slices.Clone(f.Admit), func(a table.Admission) bool { return a.Peer == gone })
				}
			} else {
				next.Peers = append(next.Peers, table.Peer{ID: testtable.ID(len(next.Peers) + 1), Token: "g.h.i"})
			}
		case kind == 4:
			f.Elastic, f.Unmet = !f.Elastic, float64(r.IntN(5))/4
		case kind <= 6:
			f.Local = nil
			if r.IntN(3) > 0 {
				f.Local = &table.Local{Rate: testvalue.Bound(float64(r.IntN(20))), Share: []float64{0, 0.5, 1}[r.IntN(3)], TimeoutMillis: int64(r.IntN(2))}
			}
		case kind <= 8:
			f.Admit = nil
			for _, p := range next.Peers {
				if r.IntN(3) > 0 {
					f.Admit = append(f.Admit, table.Admission{Peer: p.ID, Rate: testvalue.Bound(float64(r.IntN(9)))})
				}
			}
		default:
			f.Forward = nil
			for _, p := range next.Peers {
				if r.IntN(3) > 0 {
					f.Forward = append(f.Forward, table.Forward{Peer: p.ID, Weight: float64(r.IntN(4)), Rate: testvalue.Bound(float64(r.IntN(9))), Spare: testvalue.Rate(float64(r.IntN(3)))})
				}
			}
		}
	}
	return &next
}

// BenchmarkCompileOne compiles a large table of which one function is another than in the
// last.
func BenchmarkCompileOne(b *testing.B) {
	tab := large(10, 10)
	valid := testtable.Valid(b, tab)
	s := Compile(valid, nil, meter.New(t0), t0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		next := *tab
		next.Functions = slices.Clone(tab.Functions)
		f := &next.Functions[i%len(next.Functions)]
		f.Forward = slices.Clone(f.Forward)
		f.Forward[0].Rate = testvalue.Bound(float64(i % 10))
		var err error
		if valid, err = next.ValidateAfter(valid); err != nil {
			b.Fatal(err)
		}
		s, tab = Compile(valid, s, s.meter, t0), &next
	}
}

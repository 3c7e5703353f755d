package table_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// inOrder returns a table with functions and peers in the order of their names.
func inOrder(t *table.Table) *table.Table {
	c := *t
	c.Functions, c.Peers = slices.Clone(t.Functions), slices.Clone(t.Peers)
	slices.SortFunc(c.Functions, func(a, b table.Function) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	slices.SortFunc(c.Peers, func(a, b table.Peer) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return &c
}

// next is another table, of which most is as it was.
func next(r *rand.Rand, t *table.Table) *table.Table {
	n := inOrder(t)
	n.Version++
	for range 1 + r.IntN(3) {
		switch kind := r.IntN(9); {
		case kind == 0:
			n.TTLMillis, n.ClockOffsetMillis, n.UnknownLocal = 1+r.Int64N(9), r.Int64N(9), !n.UnknownLocal
		case kind == 1 && len(n.Functions) > 0:
			n.Functions = n.Functions[1:]
		case kind == 2:
			if f := (table.Function{Name: testvalue.Name(fmt.Sprintf("f%d", r.IntN(20))), Elastic: true}); !slices.ContainsFunc(n.Functions, func(g table.Function) bool { return f.Name == g.Name }) {
				n.Functions = append(n.Functions, f)
			}
		case kind == 3:
			for i := range n.Peers {
				n.Peers[i].Token = fmt.Sprintf("t.%d", r.IntN(100))
			}
		case kind == 4 && len(n.Peers) > 0:
			gone := n.Peers[r.IntN(len(n.Peers))].ID
			n.Peers = slices.DeleteFunc(n.Peers, func(p table.Peer) bool { return p.ID == gone })
			for i := range n.Functions {
				f := &n.Functions[i]
				f.Forward = slices.DeleteFunc(slices.Clone(f.Forward), func(w table.Forward) bool { return w.Peer == gone })
				f.Admit = slices.DeleteFunc(slices.Clone(f.Admit), func(a table.Admission) bool { return a.Peer == gone })
			}
		case kind == 5:
			if p := (table.Peer{ID: testtable.ID(1 + r.IntN(9)), Source: "here"}); !slices.ContainsFunc(n.Peers, func(q table.Peer) bool { return p.ID == q.ID }) {
				n.Peers = append(n.Peers, p)
			}
		case len(n.Functions) > 0:
			f := &n.Functions[r.IntN(len(n.Functions))]
			f.Forward, f.Admit, f.Async = nil, nil, nil
			for _, p := range n.Peers {
				if r.IntN(2) == 0 {
					f.Forward = append(f.Forward, table.Forward{Peer: p.ID, Weight: float64(r.IntN(3)), Rate: testvalue.Bound(float64(r.IntN(5))), Spare: testvalue.Rate(1)})
					f.Admit = append(f.Admit, table.Admission{Peer: p.ID, Rate: testvalue.Bound(float64(r.IntN(5)))})
				}
			}
			f.Local = &table.Local{Rate: testvalue.Bound(float64(r.IntN(5))), Share: 1}
			f.Unmet = float64(r.IntN(5)) / 4
		}
	}
	return inOrder(n)
}

// patched is what becomes of a table that is changed into another by what is sent.
func patched(t testing.TB, base table.Valid, patch *table.Patch) (table.Valid, error) {
	t.Helper()
	data, err := table.EncodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	read, unknown, err := table.ReadPatch(bytes.NewReader(data), nil)
	if err != nil || unknown != "" {
		t.Fatal(unknown, err)
	}
	return read.Apply(base)
}

// TestDiffAndApply: what is sent of the difference makes the next table, in which all that
// is not other is shared with the one before.
func TestDiffAndApply(t *testing.T) {
	patches := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		base := testtable.Valid(t, inOrder(testtable.New(8, 5)))
		for range 20 {
			want := next(r, base.Table)
			patch := table.Diff(base.Table, want)
			if patch == nil {
				base = testtable.Valid(t, want)
				continue
			}
			patches++
			got, err := patched(t, base, patch)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			want.Speaks, want.Needs = table.Newest(), table.Oldest
			if diff := cmp.Diff(want, got.Table, cmpopts.EquateEmpty(), testvalue.Comparable()); diff != "" {
				t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
			}
			testtable.Valid(t, want)
			for i := range got.Functions {
				f := &got.Functions[i]
				for j := range base.Functions {
					if before := &base.Functions[j]; before.Equal(f) && !before.Same(f) {
						t.Fatalf("seed %d: %s is what it was, and not shared", seed, f.Name)
					}
				}
			}
			base = got
		}
	}
	if patches < 2000 {
		t.Errorf("%d patches of 4000 tables", patches)
	}
}

// TestDiffOfMuch: what is mostly new, or in no order, is sent whole.
func TestDiffOfMuch(t *testing.T) {
	base := inOrder(testtable.New(4, 3))
	change := func(n int) *table.Table {
		c := inOrder(base)
		for i := range n {
			c.Functions[i].Forward = slices.Clone(c.Functions[i].Forward)
			c.Functions[i].Forward[0].Rate = testvalue.Bound(5)
		}
		return c
	}
	if p := table.Diff(base, change(2)); p == nil || len(p.Functions) != 2 || len(p.Peers)+len(p.PeersGone)+len(p.FunctionsGone) != 0 {
		t.Errorf("half: %+v", p)
	}
	if p := table.Diff(base, change(3)); p != nil {
		t.Errorf("three of four: %+v", p)
	}
	reversed := inOrder(base)
	slices.Reverse(reversed.Peers)
	if table.Diff(base, reversed) != nil || table.Diff(reversed, base) != nil {
		t.Error("there is a patch of what is in no order")
	}
}

// TestPatchRefuses: a patch whose result would be refused as a whole table is.
func TestPatchRefuses(t *testing.T) {
	id := testtable.ID
	for want, change := range map[string]func(*table.Patch){
		"version: must":       func(p *table.Patch) { p.Head.Version = 0 },
		"node_id":             func(p *table.Patch) { p.Head.NodeID = peerid.ID{} },
		"is this node itself": func(p *table.Patch) { p.Head.NodeID = id(1) },
		"cannot be gone":      func(p *table.Patch) { p.FunctionsGone = []string{"f9"} },
		"in the order":        func(p *table.Patch) { p.FunctionsGone = []string{"f1", "f0"} },
		"functions: \"f1\" is changed, and gone": func(p *table.Patch) {
			p.Functions, p.FunctionsGone = []table.Function{{Name: testvalue.Name("f1")}}, []string{"f1"}
		},
		"is changed, and gone": func(p *table.Patch) {
			p.Peers, p.PeersGone = []table.Peer{{ID: id(1)}}, []string{id(1).String()}
		},
		"each once": func(p *table.Patch) {
			p.Functions = []table.Function{{Name: testvalue.Name("a")}, {Name: testvalue.Name("a")}}
		},
		"peers: \"x\" cannot": func(p *table.Patch) { p.PeersGone = []string{"x"} },
		"one of the table's":  func(p *table.Patch) { p.PeersGone = []string{id(1).String()} },
		"functions of the def": func(p *table.Patch) {
			p.Head.DefaultNamespace, p.Functions = "b", []table.Function{{Name: testvalue.Name("a.b")}}
		},
		"token: has characters": func(p *table.Patch) { p.Peers = []table.Peer{{ID: id(1), Token: "\n"}} },
		"number 1: id":          func(p *table.Patch) { p.Peers = []table.Peer{{}} },
		"local: share": func(p *table.Patch) {
			p.Functions = []table.Function{{Name: testvalue.Name("f0"), Local: &table.Local{Share: 2}}}
		},
		"function f0: admit": func(p *table.Patch) {
			p.Functions = []table.Function{{Name: testvalue.Name("f0"), Admit: []table.Admission{{Peer: id(7)}}}}
		},
		"4097 of them": func(p *table.Patch) {
			for i := range table.MaxFunctions - 1 {
				p.Functions = append(p.Functions, table.Function{Name: testvalue.Name(fmt.Sprintf("g%05d", i))})
			}
		},
		"forward: over 262144": func(p *table.Patch) {
			p.Peers = make([]table.Peer, 510)
			for i := range p.Peers {
				p.Peers[i].ID = id(i + 3)
			}
			slices.SortFunc(p.Peers, func(a, b table.Peer) int { return strings.Compare(a.ID.String(), b.ID.String()) })
			for i := range 515 {
				f := table.Function{Name: testvalue.Name(fmt.Sprintf("g%05d", i))}
				for j := range p.Peers {
					f.Forward = append(f.Forward, table.Forward{Peer: p.Peers[j].ID})
				}
				p.Functions = append(p.Functions, f)
			}
		},
	} {
		base := testtable.Valid(t, inOrder(testtable.New(2, 2)))
		p := table.Patch{Head: *base.Table}
		p.Head.Functions, p.Head.Peers = nil, nil
		change(&p)
		if got, err := p.Apply(base); err == nil || !strings.Contains(err.Error(), want) || got.Table != nil {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestPatchIsReadWithinBounds: of what is gone, no more is kept than a table may have.
func TestPatchIsReadWithinBounds(t *testing.T) {
	many := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("%05d", i))
		}
		return names
	}
	for _, test := range []struct {
		functions, peers []string
		want             string // in the error; "": none
	}{
		{many(table.MaxFunctions), many(table.MaxPeers), ""},
		{many(table.MaxFunctions + 1), nil, "functions_gone: number 4097: at most 4096"},
		{nil, many(table.MaxPeers + 1), "peers_gone: number 513: at most 512"},
		{[]string{strings.Repeat("f", table.MaxNameLen)}, []string{strings.Repeat("p", peerid.Len)}, ""},
		{[]string{strings.Repeat("f", table.MaxNameLen+1)}, nil, "functions_gone: number 1: \"fff"},
		{nil, []string{strings.Repeat("p", peerid.Len+1)}, "peers_gone: number 1: \"ppp"},
	} {
		data, err := table.EncodePatch(&table.Patch{Head: table.Table{Version: 1, NodeID: testtable.ID(0)}, FunctionsGone: test.functions, PeersGone: test.peers})
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := table.ReadPatch(bytes.NewReader(data), nil)
		if test.want != "" {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %.300v, want one with %q", err, test.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d functions and %d peers gone: %v", len(test.functions), len(test.peers), err)
			continue
		}
		if !slices.Equal(p.FunctionsGone, test.functions) || !slices.Equal(p.PeersGone, test.peers) {
			t.Errorf("read %d functions and %d peers gone, want %d and %d", len(p.FunctionsGone), len(p.PeersGone), len(test.functions), len(test.peers))
		}
	}
}

// FuzzPatch: whatever a patch makes of a table is valid as a whole, and the same as the
// whole when it is sent; what is refused is refused in one short line.
func FuzzPatch(f *testing.F) {
	base := testtable.New(6, 2)
	base.DefaultNamespace = "main"
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		if p := table.Diff(inOrder(base), next(r, base)); p != nil {
			data, err := table.EncodePatch(p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(`{"speaks":9,"needs":2,"version":7,"node_id":"` + testtable.ID(0).String() + `","ttl_ms":5,"functions_gone":["f0"],"later":[{}],` +
		`"functions":[{"name":"g","later":1,"admit":[{"peer":"` + testtable.ID(1).String() + `","rate":-1}]}],"peers":[{"id":"` + testtable.ID(4).String() + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		valid := testtable.Valid(t, base)
		p, _, err := table.ReadPatch(bytes.NewReader(data), nil)
		var got table.Valid
		if err == nil {
			got, err = p.Apply(valid)
		}
		if err != nil {
			if got.Table != nil || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("refused with %+v, %q", got, err)
			}
			return
		}
		if err := validate(got.Table); err != nil {
			t.Errorf("accepted out of bounds: %v", err)
		}
		if diff := cmp.Diff(testtable.New(6, 2).Functions, base.Functions, testvalue.Comparable()); diff != "" {
			t.Fatalf("the base was changed:\n%s", diff)
		}
		whole, _, err := table.Decode(encode(t, got.Table))
		if err != nil {
			t.Fatalf("refused as a whole: %v", err)
		}
		if diff := cmp.Diff(encode(t, whole.Table), encode(t, got.Table)); diff != "" {
			t.Errorf("another table as a whole:\n%s", diff)
		}
		if again := table.Diff(valid.Table, got.Table); again != nil {
			if _, err := patched(t, testtable.Valid(t, inOrder(base)), again); err != nil {
				t.Errorf("the difference is refused: %v", err)
			}
		}
	})
}

// BenchmarkPatch is what one changed function of a large table takes: to find it, to write
// and read it, and to make the next table.
func BenchmarkPatch(b *testing.B) {
	base := testtable.Valid(b, inOrder(testtable.New(1000, 100)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		next := *base.Table
		next.Version++
		next.Functions = slices.Clone(next.Functions)
		f := &next.Functions[i%len(next.Functions)]
		f.Forward = slices.Clone(f.Forward)
		f.Forward[0].Rate = testvalue.Bound(float64(i%10 + 20))
		var err error
		if base, err = patched(b, base, table.Diff(base.Table, &next)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPatchRates: what is no rate is refused before there is a patch with it.
func TestPatchRates(t *testing.T) {
	tab := testtable.New(1, 1)
	data, err := table.EncodePatch(&table.Patch{Head: *tab, Functions: tab.Functions})
	if err != nil {
		t.Fatal(err)
	}
	for old, news := range map[string]map[string]string{
		`"local":{"rate":10`:   {`"local":{"rate":-2`: "f0: local: rate: -2 is not within 0 and 1e+06 requests/s, nor -1 for unlimited", `"local":{"rate":-1`: ""},
		`"weight":1,"rate":10`: {`"weight":1,"rate":1e7`: "rate: 1e+07 is not within", `"weight":1,"rate":10,"spare":-1`: "spare: -1 is not within"},
		`"rate":10}]}]`:        {`"rate":-0.5}]}]`: "admit: " + testtable.ID(1).String() + ": rate: -0.5 is not within", `"rate":-1}]}]`: ""},
	} {
		for with, want := range news {
			doc := strings.Replace(string(data), old, with, 1)
			if doc == string(data) {
				t.Fatalf("the patch has no %s: %s", old, data)
			}
			if _, _, err := table.ReadPatch(strings.NewReader(doc), nil); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", with, err, want)
			}
		}
	}
}

// fill sets everything to something.
func fill(v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[funcname.Name]():
		v.Set(reflect.ValueOf(testvalue.Name("x")))
		return
	case reflect.TypeFor[peerid.ID]():
		v.Set(reflect.ValueOf(testvalue.Peer("x")))
		return
	case reflect.TypeFor[limit.Rate]():
		v.Set(reflect.ValueOf(testvalue.Rate(0.5)))
		return
	case reflect.TypeFor[limit.Bound]():
		v.Set(reflect.ValueOf(testvalue.Bound(0.5)))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint64:
		v.SetUint(3)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// TestNothingIsForgotten: whatever a table has is sent, whole and as a patch.
func TestNothingIsForgotten(t *testing.T) {
	var want, got table.Table
	fill(reflect.ValueOf(&want).Elem())
	if err := got.UnmarshalJSON(encode(t, &want)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, testvalue.Comparable()); diff != "" {
		t.Errorf("whole (-want +got):\n%s", diff)
	}
	var patch table.Patch
	fill(reflect.ValueOf(&patch).Elem())
	patch.Head.Functions, patch.Head.Peers = nil, nil
	patch.Head.Speaks, patch.Head.Needs = table.Newest(), table.Oldest
	data, err := table.EncodePatch(&patch)
	if err != nil {
		t.Fatal(err)
	}
	read, unknown, err := table.ReadPatch(bytes.NewReader(data), nil)
	if err != nil || unknown != "" {
		t.Fatal(unknown, err)
	}
	if diff := cmp.Diff(&patch, read, testvalue.Comparable()); diff != "" {
		t.Errorf("as a patch (-want +got):\n%s", diff)
	}
}

package route

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// sorted is a table in the order that patches need.
func sorted(t *table.Table) *table.Table {
	c := clone(t)
	slices.SortFunc(c.Functions, func(a, b table.Function) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	slices.SortFunc(c.Peers, func(a, b table.Peer) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return c
}

// FuzzPatchedTablesDecideTheSame: a router that is sent patches decides as one that is sent
// each table whole, in the form in which both are sent, whatever changes.
func FuzzPatchedTablesDecideTheSame(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint8(30))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		r := rand.New(rand.NewPCG(seed, 11))
		patched, whole := NewRouter(meter.New(t0)), NewRouter(meter.New(t0))
		tab := testtable.New(6, 4)
		generation, patches := uint64(0), 0
		for step := range int(steps % 64) {
			now := t0.Add(time.Duration(step) * 200 * time.Millisecond)
			next := changeTable(r, tab)
			if step == 0 {
				next = tab
			}
			tab = next
			patch := (*table.Patch)(nil)
			if step > 0 {
				patch = table.Diff(patched.current.Load().table.Table, sorted(next))
			}
			if patch == nil {
				generation = patched.Swap(arrived(t, sorted(next)), now)
			} else {
				patches++
				generation = sendPatch(t, patched, generation, patch, now)
			}
			whole.Swap(arrived(t, sorted(next)), now)
			for range 40 {
				now = now.Add(time.Duration(r.IntN(3)) * time.Millisecond)
				name, peer := fmt.Sprintf("f%d", r.IntN(7)), testtable.ID(r.IntN(6))
				decide := func(s *Snapshot) Decision {
					c, _ := s.Peer(peer.String())
					return s.Admit(now, c, name, Call{})
				}
				if a, b := decide(patched.current.Load()), decide(whole.current.Load()); a != b {
					t.Fatalf("step %d after %d patches, %s by %s (-whole +patched):\n%s", step, patches, name, peer, cmp.Diff(b, a))
				}
			}
		}
	})
}

// arrived is a table as it arrives when it is sent whole.
func arrived(t *testing.T, tab *table.Table) table.Valid {
	t.Helper()
	data, err := table.Encode(tab, table.Newest())
	if err != nil {
		t.Fatal(err)
	}
	v, unknown, err := table.Decode(data)
	if err != nil || unknown != "" {
		t.Fatal(unknown, err)
	}
	return v
}

func sendPatch(t *testing.T, r *Router, base uint64, p *table.Patch, now time.Time) uint64 {
	t.Helper()
	data, err := table.EncodePatch(p)
	if err != nil {
		t.Fatal(err)
	}
	read, unknown, err := table.ReadPatch(bytes.NewReader(data), nil)
	if err != nil || unknown != "" {
		t.Fatal(unknown, err)
	}
	generation, err := r.Patch(base, read, now)
	if err != nil || generation != base+1 {
		t.Fatalf("generation %d after %d: %v", generation, base, err)
	}
	return generation
}

// TestPatchOfAnotherTable: it is not applied, nor is one whose result is not valid.
func TestPatchOfAnotherTable(t *testing.T) {
	r := NewRouter(meter.New(t0))
	patch := func() *table.Patch {
		return &table.Patch{Head: table.Table{Version: 7, NodeID: testtable.ID(0), TTLMillis: 9}}
	}
	for base := range uint64(2) {
		if _, err := r.Patch(base, patch(), t0); !errors.Is(err, ErrOtherBase) || r.current.Load() != nil {
			t.Errorf("generation %d of none: %v", base, err)
		}
	}
	first := r.Swap(testtable.Valid(t, testtable.New(2, 2)), t0)
	second := r.Swap(testtable.Valid(t, testtable.New(2, 2)), t0)
	is := r.current.Load()
	for _, base := range []uint64{0, first, second + 1} {
		if _, err := r.Patch(base, patch(), t0); !errors.Is(err, ErrOtherBase) {
			t.Errorf("generation %d while there is %d: %v", base, second, err)
		}
	}
	wrong := patch()
	wrong.Head.TTLMillis = 0
	if _, err := r.Patch(second, wrong, t0); err == nil || errors.Is(err, ErrOtherBase) || r.current.Load() != is {
		t.Errorf("an invalid result: %v", err)
	}
	if third, err := r.Patch(second, patch(), t0); err != nil || third != second+1 || r.Status(t0).Generation != third || r.Status(t0).Table.Version != 7 {
		t.Errorf("generation %d, %v", third, err)
	}
}

// TestRouterPaces: others get their turn after each row that was made ready.
func TestRouterPaces(t *testing.T) {
	r := NewRouter(meter.New(t0))
	pieces, pauses := 0, 0
	r.Pace = func() func() {
		pieces++
		return func() { pauses++ }
	}
	generation := r.Swap(testtable.Valid(t, sorted(testtable.New(5, 2))), t0)
	if pieces != 1 || pauses != 5 {
		t.Errorf("%d pauses in %d pieces of work", pauses, pieces)
	}
	patch := &table.Patch{Head: *r.Status(t0).Table, Functions: []table.Function{{Name: testvalue.Name("f3")}}}
	if _, err := r.Patch(generation, patch, t0); err != nil || pieces != 2 || pauses != 6 {
		t.Errorf("%d pauses in %d pieces of work, %v", pauses, pieces, err)
	}
}

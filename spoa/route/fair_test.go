package route

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/table"
)

// contend has peers 1, 2, ... send so many calls a second each, at random times, and
// returns how many a second of each were served, after a second to begin.
func contend(s *Snapshot, perSecond ...int) []float64 {
	const warm, seconds = 1, 10
	r, served, callers := rand.New(rand.NewPCG(1, 2)), make([]float64, len(perSecond)), make([]Caller, len(perSecond))
	for i := range callers {
		callers[i], _ = s.Peer(testtable.ID(i + 1).String())
	}
	for ms := range (warm + seconds) * 1000 {
		now := t0.Add(time.Duration(ms) * time.Millisecond)
		for _, i := range r.Perm(len(perSecond)) {
			for calls := r.Float64() * 2 * float64(perSecond[i]) / 1000; r.Float64() < calls; calls-- {
				if s.Admit(now, callers[i], "f0", Call{}).Action == Local && ms >= warm*1000 {
					served[i] += 1 / float64(seconds)
				}
			}
		}
	}
	return served
}

// TestPeersShareFairly: who asks ten times as often as the others gets no more than
// an equal part, and what they leave.
func TestPeersShareFairly(t *testing.T) {
	for _, test := range []struct {
		name      string
		rate      float64
		perSecond []int
		least     []float64 // parts of what they ask for, or of an equal part if that is less
		all       float64   // part of the rate that is used at least
	}{
		{"one of many asks for more than there is", 100, []int{1000, 30, 30, 10}, []float64{0.9, 0.85, 0.85, 0.85}, 0.95},
		{"all do", 100, []int{1000, 100, 100, 100, 100}, []float64{0.85, 0.85, 0.85, 0.85, 0.85}, 0.95},
		{"two", 100, []int{1000, 100}, []float64{0.85, 0.85}, 0.95},
		{"one alone", 100, []int{1000}, []float64{0.95}, 0.95},
		{"there is enough", 1000, []int{500, 50, 50}, []float64{0.95, 0.95, 0.95}, 0},
		{"few calls", 10, []int{100, 5}, []float64{0.7, 0.6}, 0.9},
		{"hardly any calls", 4, []int{40, 2}, []float64{0.5, 0.15}, 0.6},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := len(test.perSecond)
			served, all, asked := contend(compile(t, elastic(n, test.rate), nil, t0), test.perSecond...), 0.0, 0
			for i, got := range served {
				all, asked = all+got, asked+test.perSecond[i]
				want := min(float64(test.perSecond[i]), test.rate/float64(n)) * test.least[i]
				if got < want {
					t.Errorf("peer %d asks for %d/s, is served %.1f/s, want %.1f/s", i+1, test.perSecond[i], got, want)
				}
			}
			if want := min(float64(asked), test.rate*test.all); all < want*0.95 {
				t.Errorf("%.1f/s served in all, want %.1f/s: %.1f", all, want, served)
			}
		})
	}
}

// TestIdentitiesOfOneSource share one part: one more identity is worth nothing.
func TestIdentitiesOfOneSource(t *testing.T) {
	const identities = 20
	tab := elastic(identities+2, 100)
	perSecond := make([]int, identities+2)
	for i := range perSecond {
		perSecond[i] = 50
		if i >= 2 {
			tab.Peers[i].Source = "192.0.2.7"
		}
	}
	s := compile(t, tab, nil, t0)
	served := contend(s, perSecond...)
	one := 0.0
	for _, got := range served[2:] {
		one += got
	}
	if served[0] < 28 || served[1] < 28 || one > 45 {
		t.Errorf("two peers are served %.1f/s and %.1f/s of 100, one with %d identities %.1f/s", served[0], served[1], identities, one)
	}
	// It goes on with the next table.
	next := *tab
	next.Version++
	again := compile(t, &next, s, t0)
	if row, before := again.row("f0"), s.row("f0"); row.bySource["192.0.2.7"] != before.bySource["192.0.2.7"] || len(row.bySource) != 1 {
		t.Error("what a source has had is forgotten with a table")
	}
}

// TestUsersShareFairly: an address that calls ten times as often as others does not
// push them out; where no addresses are known, who comes first is served.
func TestUsersShareFairly(t *testing.T) {
	tab := testtable.New(1, 1)
	tab.TTLMillis = table.MaxTTL.Milliseconds()
	tab.Functions[0].Local.Rate, tab.Functions[0].Forward = testvalue.Bound(100), nil
	for _, known := range []bool{true, false} {
		s, r := compile(t, tab, nil, t0), rand.New(rand.NewPCG(3, 4))
		served, perSecond := [4]float64{}, [4]int{1000, 20, 20, 20}
		const warm, seconds = 1, 10
		for ms := range (warm + seconds) * 1000 {
			now := t0.Add(time.Duration(ms) * time.Millisecond)
			for _, i := range r.Perm(len(perSecond)) {
				for calls := r.Float64() * 2 * float64(perSecond[i]) / 1000; r.Float64() < calls; calls-- {
					req := Request{Path: "/function/f0"}
					if known {
						req.Source = uint64(i+1) * 0x123456789abcdef1
					}
					if s.Route(now, req).Action == Local && ms >= warm*1000 {
						served[i] += 1 / float64(seconds)
					}
				}
			}
		}
		quiet := served[1] + served[2] + served[3]
		if all := quiet + served[0]; known && quiet < 50 || !known && quiet > 15 || all < 95 {
			t.Errorf("addresses known: %v: %.1f/s served", known, served)
		}
	}
}

// TestLately: what happened is forgotten within two turns, evenly.
func TestLately(t *testing.T) {
	var l lately
	at := 100 * int64(fairTime)
	for range 10 {
		l.add(at)
	}
	for after, want := range map[time.Duration]string{0: "10", fairTime - 1: "10", fairTime: "10", fairTime * 3 / 2: "5", 2 * fairTime: "0", 9 * fairTime: "0"} {
		one := lately{}
		one.turn.Store(l.turn.Load())
		one.now.Store(l.now.Load())
		if got := fmt.Sprint(one.count(at + int64(after))); got != want {
			t.Errorf("after %v: %s, want %s", after, got, want)
		}
	}
}

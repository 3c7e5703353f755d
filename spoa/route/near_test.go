package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/meter"
)

// Whoever knows places gets what whoever knows names gets, also if the place is wrong.
func TestPlaces(t *testing.T) {
	tab := testtable.New(4, 3)
	named, placed := Compile(testtable.Valid(t, tab), nil, meter.New(t0), t0), Compile(testtable.Valid(t, tab), nil, meter.New(t0), t0)
	peers := make(map[int]int) // calls that went to each
	for i := range 2000 {
		f := &tab.Functions[i%4]
		now := t0.Add(time.Duration(i) * time.Millisecond)
		want := named.Admit(now, Caller{}, f.Name.String(), Call{})
		got := placed.AdmitNear(i%7, now, Caller{}, f.Name.String(), Call{})
		if got != want {
			t.Fatalf("call %d: %+v, want %+v", i, got, want)
		}
		if got.Action == Peer {
			peers[int(got.Place)]++
			if id := tab.Peers[got.Place].ID; id != got.Target {
				t.Fatalf("call %d goes to %s, which is not at place %d", i, got.Target, got.Place)
			}
		}
		at := i % len(tab.Peers)
		by, known := named.Peer(tab.Peers[at].ID.String())
		if !known {
			t.Fatalf("peer %d is not known", at)
		}
		want = named.Admit(now, by, f.Name.String(), Call{})
		if got := placed.AdmitNear(i%4, now, placed.PeerAt(at), f.Name.String(), Call{}); got != want {
			t.Fatalf("call %d of peer %d: %+v, want %+v", i, at, got, want)
		}
	}
	if len(peers) != 3 {
		t.Errorf("calls went to peers at %v", peers)
	}
	if got := placed.AdmitNear(99, t0, Caller{}, "nobody", Call{}); got != named.Admit(t0, Caller{}, "nobody", Call{}) {
		t.Errorf("of a function that nobody has: %+v", got)
	}
}

package route

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// async makes an asynchronous call of a request.
func async(r Request) Request {
	r.Path = strings.Replace(r.Path, "/function/", "/async-function/", 1)
	return r
}

// asyncTable has f0 here and at peers 1 to 3, all at rate 0, with queues at 2 and 3;
// f1 only at the peers, and f2 nowhere but here, without any queue.
func asyncTable(queue string) *table.Table {
	tab := testtable.New(3, 3)
	tab.Queue = queue
	for i := range tab.Functions {
		f := &tab.Functions[i]
		f.Local.Rate = testvalue.Bound(0)
		for j := range f.Forward {
			f.Forward[j] = table.Forward{Peer: f.Forward[j].Peer}
		}
		f.Async = []peerid.ID{testtable.ID(2), testtable.ID(3)}
	}
	tab.Functions[1].Local = nil
	tab.Functions[2].Forward, tab.Functions[2].Async = nil, nil
	return tab
}

// TestAsyncGoesToAQueue: the node's own, whatever the function can serve, or one of
// those peers that have one; else 501.
func TestAsyncGoesToAQueue(t *testing.T) {
	deny := func(status int32) Decision { return Decision{Action: Deny, Status: status} }
	for _, test := range []struct {
		queue, name string
		peers       bool // goes to peers 2 and 3 by turns
		want        Decision
	}{
		{queue: table.QueueHere, name: "f0"},
		{queue: table.QueueHere, name: "f2"},
		{queue: table.QueueHere, name: "f1", peers: true},
		{queue: table.QueueNone, name: "f0", peers: true},
		{queue: table.QueueNone, name: "f2", want: deny(http.StatusNotImplemented)},
		{queue: table.QueueDown, name: "f0", peers: true},
		{queue: table.QueueDown, name: "f2", want: deny(http.StatusServiceUnavailable)},
		{queue: table.QueueNone, name: "nobody", want: Decision{Status: http.StatusNotFound}}, // the gateway is asked
		// A controller that knows of no queues: as other calls of a function at rate 0.
		{queue: table.QueueUnknown, name: "f0", want: deny(http.StatusServiceUnavailable)},
	} {
		s := compile(t, asyncTable(test.queue), nil, t0)
		got := map[string]int{}
		for range 20 {
			d := s.Route(t0, async(call(test.name)))
			if !test.peers {
				if d != test.want {
					t.Fatalf("queue %q, %s: %+v", test.queue, test.name, d)
				}
				continue
			}
			if d.Action != Peer || d.Status != http.StatusServiceUnavailable || d.Mark != 0 || d.Token == "" {
				t.Fatalf("queue %q, %s: %+v", test.queue, test.name, d)
			}
			got[d.Target.String()]++
		}
		if want := map[string]int{testtable.ID(2).String(): 10, testtable.ID(3).String(): 10}; test.peers && !cmp.Equal(got, want) {
			t.Errorf("queue %q, %s: %v", test.queue, test.name, got)
		}
	}
}

// TestAsyncIsNoDemand: asynchronous calls neither use up what the function can serve
// nor count as calls of it.
func TestAsyncIsNoDemand(t *testing.T) {
	tab := testtable.New(1, 1)
	tab.Queue = table.QueueHere
	s := compile(t, tab, nil, t0)
	for range 1000 {
		s.Route(t0, async(call("f0")))
	}
	for range 5 { // all that the bucket holds
		if d := s.Route(t0, call("f0")); d.Action != Local {
			t.Fatalf("%+v", d)
		}
	}
	f := s.meter.Report(t0).Functions[0]
	if f.User != (meter.User{Local: 5}) || *f.Async != (meter.Async{Local: 1000}) || s.meter.Totals().Async.Local != 1000 {
		t.Errorf("counted: %+v %+v", f.User, f.Async)
	}
}

// TestAsyncOfPeers: who has proved to be a peer may send so many, also if nothing is
// admitted of synchronous calls; who keeps to what is sent is never refused.
func TestAsyncOfPeers(t *testing.T) {
	tab := asyncTable(table.QueueHere)
	for i := range tab.Functions {
		tab.Functions[i].Admit = nil
	}
	s := compile(t, tab, nil, t0)
	if d := s.Route(t0, async(Request{Path: "/function/f0", Claimed: true, Node: testtable.ID(1).String(), Token: "x.y.z"})); d.Status != http.StatusForbidden {
		t.Fatalf("forged: %+v", d)
	}
	if d := s.Route(t0, async(callFrom(t, 1, "f1", t0))); d.Status != http.StatusServiceUnavailable {
		t.Errorf("not here: %+v", d)
	}
	admitted := 0
	for i := range 2000 { // 200/s for 10 s, also over a new table
		now := t0.Add(time.Duration(i) * 5 * time.Millisecond)
		if i == 1000 {
			s = compile(t, tab, s, now)
		}
		switch d := s.Route(now, async(callFrom(t, 1, "f0", now))); {
		case d == Decision{}:
			admitted++
		case d != Decision{Action: Deny, Status: http.StatusTooManyRequests}:
			t.Fatalf("%+v", d)
		}
	}
	if least, most := 10*asyncAdmitted, 10*asyncAdmitted+asyncAdmitted/2+1; admitted < least || admitted > most {
		t.Errorf("%d admitted, %d to %d expected", admitted, least, most)
	}
	// The other peer is not kept out by the first.
	if d := s.Route(t0.Add(10*time.Second), async(callFrom(t, 2, "f0", t0.Add(10*time.Second)))); d != (Decision{}) {
		t.Errorf("another peer: %+v", d)
	}

	sender := compile(t, asyncTable(table.QueueNone), nil, t0)
	sent, limited := 0, 0
	for i := range 10_000 { // 1000/s for 10 s, to two peers
		switch d := sender.Route(t0.Add(time.Duration(i)*time.Millisecond), async(call("f0"))); {
		case d.Action == Peer:
			sent++
		case d == Decision{Action: Deny, Status: http.StatusTooManyRequests}:
			limited++
		default:
			t.Fatalf("%+v", d)
		}
	}
	if most := 2 * (10*asyncSent + asyncSent/2 + 1); sent > most || sent < 2*10*asyncSent || sent+limited != 10_000 {
		t.Errorf("%d sent, at most %d expected; %d limited", sent, most, limited)
	}

	none := compile(t, asyncTable(table.QueueNone), nil, t0)
	if d := none.Route(t0, async(callFrom(t, 1, "f0", t0))); d != (Decision{Action: Deny, Status: http.StatusServiceUnavailable}) {
		t.Errorf("without a queue: %+v", d)
	}
}

package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// within is a table of one function that is served here at that rate, and that so
// many peers take at rate 100.
func within(peers int, local float64) *table.Table {
	t := elastic(peers, local)
	for i := range t.Functions[0].Forward {
		t.Functions[0].Forward[i].Rate = testvalue.Bound(100)
	}
	return t
}

// TestRefusedCallGoesOn: to another peer, never to one that has refused it, as long
// as questions are asked; after the last one it is refused where it comes back to.
func TestRefusedCallGoesOn(t *testing.T) {
	s := compile(t, within(3, 0), nil, t0)
	tried := make(map[string]bool)
	c := Call{}
	for question := 1; question <= MaxQuestions; question++ {
		d := s.Admit(t0, Caller{}, "f0", c)
		if d.Action != Peer || tried[d.Target.String()] || d.Mark == 0 {
			t.Fatalf("question %d: %+v, after %v", question, d, tried)
		}
		if last := question == MaxQuestions; (d.Status == 429) != last {
			t.Errorf("question %d: %+v, where nobody is asked any more it is refused", question, d)
		}
		tried[d.Target.String()] = true
		c = Call{Question: question + 1, Mark: d.Mark}
	}
	if d := s.Admit(t0, Caller{}, "f0", Call{Question: 3, Mark: c.Mark}); d.Action != Deny || d.Status != 429 {
		t.Errorf("all have refused: %+v", d)
	}
	m := s.meter.Totals()
	if m.User != (meter.User{Forwarded: 1}) || m.Returned != (meter.User{Forwarded: 2, Limited: 1}) {
		t.Errorf("counted %+v, returned %+v: one call, however often it is decided on", m.User, m.Returned)
	}
}

// TestRefusedCallIsServedHere: if there is room by then.
func TestRefusedCallIsServedHere(t *testing.T) {
	tab := within(2, 10)
	tab.Functions[0].Local.Share = 0
	s := compile(t, tab, nil, t0)
	d := s.Admit(t0, Caller{}, "f0", Call{})
	if d.Action != Peer {
		t.Fatalf("%+v, want peers first", d)
	}
	if d := s.Admit(t0, Caller{}, "f0", Call{Question: 2, Mark: d.Mark}); d.Action != Local {
		t.Errorf("%+v, want it served here", d)
	}
}

// TestGatewayDown: users go to peers first, as far as these can take them, and are
// never refused for it; peers are refused.
func TestGatewayDown(t *testing.T) {
	for name, c := range map[string]Call{"known": {GatewayDown: true}, "not taken": {Question: 2}} {
		tab := within(2, 10)
		s := compile(t, tab, nil, t0)
		if d := s.Admit(t0, Caller{}, "f0", c); d.Action != Peer {
			t.Errorf("%s: %+v, want a peer", name, d)
		}
		for i := range tab.Functions[0].Forward {
			tab.Functions[0].Forward[i].Rate = testvalue.Bound(0)
		}
		// Without rate, without word of room and without credit a peer is tried.
		tab.Version++
		s = compile(t, tab, nil, t0)
		if d := s.Admit(t0, Caller{}, "f0", c); d.Action != Peer {
			t.Errorf("%s: %+v, want a peer to be tried", name, d)
		}
		tab = testtable.New(1, 0)
		s = compile(t, tab, nil, t0)
		if d := s.Admit(t0, Caller{}, "f0", c); d.Action != Local {
			t.Errorf("%s: %+v, want it left to the gateway", name, d)
		}
	}
	s := compile(t, within(1, 10), nil, t0)
	peer, _ := s.Peer(testtable.ID(1).String())
	if d := s.Admit(t0, peer, "f0", Call{GatewayDown: true}); d.Action != Deny || d.Status != 503 {
		t.Errorf("a peer's call: %+v", d)
	}
}

// TestReturnedCallOfNobody: it is neither counted nor guessed at again.
func TestReturnedCallOfNobody(t *testing.T) {
	s := compile(t, testtable.New(0, 1), nil, t0)
	if d := s.Admit(t0, Caller{}, "nobody", Call{Question: 2}); !d.Open || d.Action != Local {
		t.Errorf("%+v", d)
	}
	if m := s.meter.Totals(); m.NotFound != 0 {
		t.Errorf("counted %+v", m)
	}
}

// TestCallThatComesBackInVain: nobody has room for what comes back from a peer. It is
// served here beyond the rate, since the peer may be lost, and later calls pay for it.
func TestCallThatComesBackInVain(t *testing.T) {
	s := compile(t, within(1, 2), nil, t0)
	var forwarded []Decision
	for len(forwarded) < 5 {
		switch d := s.Admit(t0, Caller{}, "f0", Call{}); d.Action {
		case Peer:
			forwarded = append(forwarded, d)
		case Deny:
			t.Fatalf("refused after %d were forwarded", len(forwarded))
		}
	}
	for _, d := range forwarded {
		if d := s.Admit(t0, Caller{}, "f0", Call{Question: 2, Mark: d.Mark}); d.Action != Local {
			t.Errorf("%+v, want it served here", d)
		}
	}
	served := 0
	for at := t0; at.Before(t0.Add(2 * time.Second)); at = at.Add(10 * time.Millisecond) {
		if s.Admit(at, Caller{}, "f0", Call{}).Action == Local {
			served++
		}
	}
	if served > 2 {
		t.Errorf("%d more were served within 2 s, at a rate of 2/s that five calls have used up", served)
	}
}

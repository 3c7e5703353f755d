package estimate

import (
	"fmt"
	"testing"
	"time"
)

// watched is a trust that sees, second by second, what becomes of calls.
type watched struct {
	*Trust
	now     time.Time
	total   map[Offered]Answers
	gateway Answers
}

func newWatched() *watched {
	s := &watched{NewTrust(t0, 0), t0, make(map[Offered]Answers), Answers{}}
	s.second(nil, Answers{}) // of what was counted before there is nothing to learn
	return s
}

func (s *watched) second(calls map[Offered]Answers, gateway Answers) {
	s.now = s.now.Add(time.Second)
	sent := make(map[Offered]Answers)
	for o, a := range s.total {
		sent[o] = a
	}
	for o, a := range calls {
		sent[o] = sent[o].Plus(a)
	}
	s.total, s.gateway = sent, s.gateway.Plus(gateway)
	s.JudgeAnswers(s.now, sent, s.gateway)
}

func of(peer, function string) Offered { return Offered{Peer: peer, Function: function} }

// TestFunctionsThatFail: what fails at this node's own gateway as well is no lie.
// But failures here, which a liar may have caused, excuse only so much.
func TestFunctionsThatFail(t *testing.T) {
	for _, test := range []struct {
		served, gateway int64
		distrusted      bool
	}{
		{80, 82, false}, {75, 60, false}, {100, 100, false},
		{80, 100, true}, {10, 100, true}, {10, 10, true}, {0, 0, true},
	} {
		s := newWatched()
		for range 10 { // of 100 requests a second each
			s.second(map[Offered]Answers{of("p", "f"): {Served: test.served, Lost: 100 - test.served}}, Answers{Served: test.gateway, Lost: 100 - test.gateway})
		}
		if got := s.Unserved(of("p", "f")); (got > 0) != test.distrusted {
			t.Errorf("%d %% served there, %d %% here: distrust %g", test.served, test.gateway, got)
		}
	}
}

// TestDistrustIsOfFunctions: what a peer leaves unserved counts where that is, and for
// the peer as a whole only if it serves nothing.
func TestDistrustIsOfFunctions(t *testing.T) {
	good, lost, left := Answers{Served: 10}, Answers{Lost: 10}, Answers{Left: 10}
	f, g, queue, other := of("p", "f"), of("p", "g"), Offered{"p", "f", true}, of("q", "f")
	for _, test := range []struct {
		name     string
		calls    map[Offered]Answers
		distrust []Offered // those that are disbelieved
		whole    bool
	}{
		{"all is served", map[Offered]Answers{f: good, g: good, other: good}, nil, false},
		{"one function is not", map[Offered]Answers{f: lost, g: good}, []Offered{f}, false},
		{"nor is there another one that was asked for", map[Offered]Answers{f: lost}, []Offered{f}, false},
		{"none is", map[Offered]Answers{f: lost, g: lost}, []Offered{f, g}, true},
		{"one is, of many", map[Offered]Answers{f: lost, g: lost, of("p", "h"): {Served: 1, Lost: 9}}, []Offered{f, g, of("p", "h")}, false},
		{"a queue", map[Offered]Answers{f: good, queue: lost}, []Offered{queue}, false},
		{"another peer", map[Offered]Answers{f: good, other: lost}, []Offered{other}, false},
		{"it is silent", map[Offered]Answers{f: left, g: left}, []Offered{f, g}, true},
		{"one function is silent", map[Offered]Answers{f: left, g: good}, []Offered{f}, false},
		{"its users leave now and then", map[Offered]Answers{f: {Served: 1, Left: 100}, g: good}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newWatched()
			for range 2 {
				s.second(test.calls, Answers{})
			}
			if s.AnyUnserved() || s.Distrust("p") > 0 {
				t.Error("two periods are too few")
			}
			s.second(test.calls, Answers{})
			want := make(map[Offered]bool)
			for _, o := range test.distrust {
				want[o] = true
			}
			for _, o := range []Offered{f, g, queue, other, of("p", "h"), of("p", "never called")} {
				if got := s.Unserved(o); (got > 0.8) != want[o] || got != 0 && !want[o] {
					t.Errorf("%+v is distrusted by %g", o, got)
				}
			}
			if got := s.Distrust("p"); (got > 0) != test.whole || s.Distrust("q") > 0 {
				t.Errorf("p is distrusted by %g, q by %g", got, s.Distrust("q"))
			}
			if s.AnyUnserved() != (len(want) > 0) {
				t.Error("AnyUnserved", s.AnyUnserved())
			}
			// And it can be believed again.
			for o := range test.calls {
				test.calls[o] = good
			}
			for range 30 {
				s.second(test.calls, Answers{})
			}
			if s.AnyUnserved() || s.Distrust("p") > 0 {
				t.Error("not believed again")
			}
		})
	}
}

// TestSlowIsNotSilent: callers that leave say nothing of a function of which the peer
// answers a call now and then.
func TestSlowIsNotSilent(t *testing.T) {
	s := newWatched()
	f := of("p", "f")
	for n := range 60 {
		calls := Answers{Left: 20}
		if n%int(slow/time.Second) == 0 {
			calls.Served = 1
		}
		s.second(map[Offered]Answers{f: calls}, Answers{})
	}
	if got := s.Unserved(f); got != 0 {
		t.Errorf("a slow function is distrusted by %g", got)
	}
	seconds := 0
	for ; s.Unserved(f) == 0 && seconds < 60; seconds++ {
		s.second(map[Offered]Answers{f: {Left: 20}}, Answers{})
	}
	if seconds > 15 {
		t.Errorf("who has ceased to answer is noticed after %d s", seconds)
	}
}

// TestUnusedClaims: a surplus that is not used is disbelieved after three periods,
// and believed at once when half of it is.
func TestUnusedClaims(t *testing.T) {
	trust := NewTrust(t0, 0)
	period := func(asked float64) float64 {
		trust.Expect("p", "f", 10)
		trust.JudgeUse(map[string]FunctionRates{"f": {Asked: map[string]float64{"p": asked}}}, 1)
		return trust.Unused("p", "f")
	}
	for n, want := range []bool{false, false, true, true} {
		if got := period(0); (got > 0) != want {
			t.Errorf("after %d periods: %g", n+1, got)
		}
	}
	if got := period(5); got != 0 {
		t.Errorf("half of the claim is used: %g", got)
	}
	trust.Expect("p", "f", 10)
	trust.JudgeUse(nil, 0)
	if got := period(0); got != 0 {
		t.Errorf("a period in which nobody counted was held against the peer: %g", got)
	}
}

func TestAnswersSince(t *testing.T) {
	if got := (Answers{5, 7, 9}).since(Answers{2, 3, 4}); got != (Answers{3, 4, 5}) {
		t.Errorf("%+v", got)
	}
	if got := (Answers{5, 0, 0}).since(Answers{2, 3, 0}); got != (Answers{5, 0, 0}) {
		t.Errorf("a new server: %+v", got)
	}
}

// TestAnswersAreSummedUp: whatever HAProxy forgets meanwhile, since the first look.
func TestAnswersAreSummedUp(t *testing.T) {
	trust := NewTrust(t0, 0)
	judge := func(sent map[Offered]Answers) { trust.JudgeAnswers(t0.Add(time.Second), sent, Answers{}) }
	judge(map[Offered]Answers{of("p", "f"): {Served: 100}})
	judge(map[Offered]Answers{of("p", "f"): {Served: 101, Left: 2}, of("p", "g"): {Lost: 3}})
	first := trust.Answers()
	judge(map[Offered]Answers{of("p", "f"): {Served: 5}})
	if got := first["p"]; got != (Answers{1, 3, 2}) {
		t.Errorf("%+v", got)
	}
	if got := trust.Answers()["p"]; got != (Answers{6, 3, 2}) {
		t.Errorf("%+v", got)
	}
}

// TestTrustIsBounded: whoever comes and goes, memory does not grow, and what there was
// nothing to judge of for long is forgotten.
func TestTrustIsBounded(t *testing.T) {
	const most = 100
	trust := NewTrust(t0, most)
	sent := make(map[Offered]Answers)
	for n := range 2 * most {
		id := fmt.Sprint(n)
		sent[of(id, "f")], sent[of(id, "g")] = Answers{Lost: 10}, Answers{Left: 10}
		trust.Expect(id, "f", 10)
	}
	trust.JudgeAnswers(t0.Add(time.Second), map[Offered]Answers{}, Answers{})
	trust.JudgeAnswers(t0.Add(2*time.Second), sent, Answers{})
	trust.JudgeUse(nil, 10)
	if len(trust.spare) > most || len(trust.whole) > most || len(trust.surplus) > most || len(trust.totals) > most {
		t.Errorf("%d, %d and %d claims, %d totals", len(trust.spare), len(trust.whole), len(trust.surplus), len(trust.totals))
	}
	trust.JudgeAnswers(t0.Add(time.Hour), sent, Answers{})
	if len(trust.spare) > 0 || len(trust.whole) > 0 {
		t.Errorf("%d and %d claims after an hour", len(trust.spare), len(trust.whole))
	}
}

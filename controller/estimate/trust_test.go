package estimate

import (
	"fmt"
	"testing"
	"time"
)

// TestFunctionsThatFail: what fails at this node's own gateway as well is no lie.
// But failures here, which a liar may have caused, excuse only so much.
func TestFunctionsThatFail(t *testing.T) {
	distrust := func(served, gateway int64) float64 { // of 100 requests a second each
		trust, now := NewTrust(t0, 0), t0
		for n := range int64(10) {
			now = now.Add(time.Second)
			trust.JudgeAnswers(now, map[string]Answers{"p": {served * n, (100 - served) * n}}, Answers{gateway * n, (100 - gateway) * n})
		}
		return trust.Distrust("p")
	}
	for _, test := range []struct {
		served, gateway int64
		distrusted      bool
	}{
		{80, 82, false}, {75, 60, false}, {100, 100, false},
		{80, 100, true}, {10, 100, true}, {10, 10, true}, {0, 0, true},
	} {
		if got := distrust(test.served, test.gateway); (got > 0) != test.distrusted {
			t.Errorf("%d %% served there, %d %% here: distrust %g", test.served, test.gateway, got)
		}
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
	if got := (Answers{5, 7}).since(Answers{2, 3}); got != (Answers{3, 4}) {
		t.Errorf("%+v", got)
	}
	if got := (Answers{5, 0}).since(Answers{2, 3}); got != (Answers{5, 0}) {
		t.Errorf("a new server: %+v", got)
	}
}

// TestTrustIsBounded: whoever comes and goes, memory does not grow.
func TestTrustIsBounded(t *testing.T) {
	const most = 100
	trust := NewTrust(t0, most)
	peers := make(map[string]Answers)
	for n := range 2 * most {
		id := fmt.Sprint(n)
		peers[id] = Answers{0, 10}
		trust.Expect(id, "f", 10)
	}
	trust.JudgeAnswers(t0.Add(time.Second), map[string]Answers{}, Answers{})
	trust.JudgeAnswers(t0.Add(2*time.Second), peers, Answers{})
	trust.JudgeUse(nil, 10)
	if len(trust.spare) > most || len(trust.surplus) > most {
		t.Errorf("%d and %d claims", len(trust.spare), len(trust.surplus))
	}
}

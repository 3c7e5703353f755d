package estimate

import "testing"

func TestClaim(t *testing.T) {
	observe := func(d *Claim, seconds, want, got float64, times int) float64 {
		for range times {
			d.Observe(seconds, want, got)
		}
		return d.Distrust()
	}
	slow, quick := SpareClaim(), SurplusClaim()
	for _, d := range []*Claim{&slow, &quick} {
		if v := observe(d, 1, 100, 10, 2); v != 0 {
			t.Errorf("%g after two bad periods: it may be a change under way", v)
		}
		if v := observe(d, 1, 100, 10, 1); v < 0.89 || v > 0.91 {
			t.Errorf("%g after three bad periods, want 0.9", v)
		}
	}
	if v := observe(&quick, 1, 100, 100, 1); v != 0 {
		t.Errorf("%g is left of quick distrust", v)
	}
	if v := observe(&slow, 1, 100, 100, 3); v < 0.4 {
		t.Errorf("%g is left of slow distrust after 3 good periods", v)
	}
	if v := observe(&slow, 1, 100, 10, 1); v < 0.89 {
		t.Errorf("%g after one bad period of who is distrusted anyway", v)
	}
	if v := observe(&slow, 1, 100, 100, 18); v != 0 {
		t.Errorf("%g is left after 18 good periods", v)
	}
	if v := observe(&slow, 1, 100, 10, 3); observe(&slow, 1, 0, 0, 1000) != v {
		t.Error("a peer that is sent nothing is trusted again")
	}
	observe(&quick, 1, 100, 10, 3)
	if v := observe(&quick, 1, 0, 0, 3); v < 0.4 {
		t.Errorf("%g after three seconds without a claim", v)
	}
	if v := observe(&quick, 1, 0, 0, 80); v != 0 {
		t.Errorf("%g after 83 seconds without a claim", v)
	}
	back := SpareClaim()
	observe(&back, 1, 100, 10, 2)
	observe(&back, 1, 0, 0, outdated)
	if v := observe(&back, 1, 100, 10, 1); v == 0 {
		t.Error("the evidence is forgotten within the minute")
	}
	back = SpareClaim()
	observe(&back, 1, 100, 10, 2)
	observe(&back, 1, 0, 0, outdated+1)
	if v := observe(&back, 1, 100, 10, 2); v != 0 {
		t.Errorf("%g after two bad periods of who was away", v)
	}
	for name, honest := range map[string][3]float64{
		"a bit short":          {1, 100, 92},
		"nothing wanted":       {1, 0, 100},
		"hardly any evidence":  {1, 0.1, 0},
		"hardly any time":      {0.01, 100, 0},
		"more than was wanted": {1, 100, 1000},
	} {
		d := SurplusClaim()
		if v := observe(&d, honest[0], honest[1], honest[2], 50); v != 0 {
			t.Errorf("%s: %g is disbelieved", name, v)
		}
	}
}

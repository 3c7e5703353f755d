package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestThrift: with many peers, one call at least may be sent to each at once, which is
// more than all of them give; but not if part of what is sent by plan was in vain.
func TestThrift(t *testing.T) {
	const peers = 50
	tab := elastic(peers, 0)
	for i := range tab.Functions[0].Forward {
		tab.Functions[0].Forward[i].Rate = testvalue.Bound(0.8)
	}
	half := plannedPart * 0.8 * peers * depthTime.Seconds()
	for wasted, want := range map[float64]float64{0: peers, 1.0 / wastedCost: half, 1: half / mostCost} {
		s := compile(t, tab, nil, t0)
		f := s.function("f0")
		f.thrift.wasted.Store(int64(wasted * wholly))
		sent := 0.0
		for f.draw(0) != nil {
			sent++
		}
		if sent < want-1 || sent > want+1 {
			t.Errorf("%v in vain: %v calls sent at once, want %v", wasted, sent, want)
		}
		if sent = 0; wasted == 1 {
			for at := time.Second; at < 61*time.Second; at += 10 * time.Millisecond {
				if f.draw(int64(at)) != nil {
					sent++
				}
			}
			if want := 60 * 2 * half / mostCost; sent < 0.9*want || sent > 1.1*want {
				t.Errorf("all in vain: %v calls in a minute, want %v", sent, want)
			}
		}
	}
}

// TestThriftGoesByThePlan: what was sent by plan counts, trials do not; and it is soon
// made good.
func TestThriftGoesByThePlan(t *testing.T) {
	s := compile(t, elastic(1, 0), nil, t0)
	f := s.function("f0")
	hear := func(why why, refused bool, times int) float64 {
		for range times {
			s.heard(1, s.sent.note(0, f.functionState, f.forwards[0].state, why), 0, refused)
		}
		return float64(f.thrift.wasted.Load()) / wholly
	}
	if part := hear(onTrial, true, 100); part != 0 {
		t.Errorf("trials in vain count as %v", part)
	}
	if part := hear(asPlanned, true, wastedOver); part < 0.5 || part > 0.8 {
		t.Errorf("%v in vain after %d calls that were", part, wastedOver)
	}
	if part := hear(asPlanned, false, 5*wastedOver); part > 0.01 {
		t.Errorf("%v in vain after %d calls that were not", part, 5*wastedOver)
	}
}

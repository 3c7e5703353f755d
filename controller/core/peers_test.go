package core

import (
	"maps"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestTwoNamesAreOneFunction: what was counted of a function by its name with the
// default namespace counts for the one without.
func TestTwoNamesAreOneFunction(t *testing.T) {
	of := func(function string, async bool) estimate.Offered {
		return estimate.Offered{Peer: peerID(1).String(), Function: function, Async: async}
	}
	got := newWorld(t, nil).c.ofFunctions(map[estimate.Offered]estimate.Answers{
		of("cat", false): {Served: 1, Lost: 2, Left: 3}, of("cat.openfaas-fn", false): {Served: 10, Lost: 20, Left: 30},
		of("cat.other", false): {Lost: 4}, of("cat.openfaas-fn", true): {Lost: 5},
	})
	want := map[estimate.Offered]estimate.Answers{
		of("cat", false): {Served: 11, Lost: 22, Left: 33}, of("cat.other", false): {Lost: 4}, of("cat", true): {Lost: 5},
	}
	if !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestWhatMatters at once of what a member offers, and what by the end of the period.
func TestWhatMatters(t *testing.T) {
	const capacity = 100.0
	for _, test := range []struct {
		name        string
		own         float64 // users' rate here, of as much capacity
		before, now strategy.Offer
		want        bool
	}{
		{"noise", 0, strategy.Offer{UserRate: testvalue.Rate(50)}, strategy.Offer{UserRate: testvalue.Rate(53)}, false},
		{"room that nobody needs", 50, strategy.Offer{UserRate: testvalue.Rate(50)}, strategy.Offer{UserRate: testvalue.Rate(20)}, false},
		{"room that this node needs", 120, strategy.Offer{UserRate: testvalue.Rate(50)}, strategy.Offer{UserRate: testvalue.Rate(20)}, true},
		{"noise where this node needs room", 120, strategy.Offer{UserRate: testvalue.Rate(50)}, strategy.Offer{UserRate: testvalue.Rate(53)}, false},
		{"surplus begins", 50, strategy.Offer{UserRate: testvalue.Rate(99)}, strategy.Offer{UserRate: testvalue.Rate(101)}, true},
		{"surplus ends", 50, strategy.Offer{UserRate: testvalue.Rate(101)}, strategy.Offer{UserRate: testvalue.Rate(99)}, true},
		{"surplus grows", 50, strategy.Offer{UserRate: testvalue.Rate(110)}, strategy.Offer{UserRate: testvalue.Rate(150)}, true},
		{"a backup", 50, strategy.Offer{}, strategy.Offer{Backup: true}, true},
		{"the member counts surplus", 50, strategy.Offer{}, strategy.Offer{Demand: testvalue.Rate(1)}, true},
		{"it counts more", 50, strategy.Offer{Demand: testvalue.Rate(10)}, strategy.Offer{Demand: testvalue.Rate(20)}, false},
		{"it counts more than it has room for", 50, strategy.Offer{Demand: testvalue.Rate(90)}, strategy.Offer{Demand: testvalue.Rate(120)}, true},
		{"it counts more of what this node claims, too", 120, strategy.Offer{Demand: testvalue.Rate(10)}, strategy.Offer{Demand: testvalue.Rate(20)}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newWorld(t, nil).c
			c.observed.Functions = []strategy.Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(capacity), UserRate: testvalue.Rate(test.own)}}
			for _, o := range []*strategy.Offer{&test.before, &test.now} {
				o.Name, o.Capacity = testvalue.Name("cat"), testvalue.Rate(capacity)
			}
			if got := c.matters([]strategy.Offer{test.before}, []strategy.Offer{test.now}); got != test.want {
				t.Errorf("matters is %v", got)
			}
		})
	}
}

// TestWhatMattersIsPlannedAlone: the other functions of the same announcement wait for the
// end of the period.
func TestWhatMattersIsPlannedAlone(t *testing.T) {
	s := newStepped(t, nil)
	s.step(Tick{})
	names := []string{"cat", "wc"}
	var functions []Function
	for _, name := range names {
		functions = append(functions, Function{Name: testvalue.Name(name), Capacity: testvalue.Bound(100)})
	}
	s.step(Gateway{Functions: functions})
	hear := func(rates ...float64) {
		var offers []strategy.Offer
		for i, name := range names {
			offers = append(offers, strategy.Offer{Name: testvalue.Name(name), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(rates[i])})
		}
		s.seq++
		s.step(Heard{From: peerID(1), Announcement: wire.Announcement{
			V: 2, Epoch: 1, Seq: s.seq, HTTP: "127.0.0.1:8180", Strategy: "headroom", PeriodMillis: 60_000, SentAtMillis: s.now.UnixMilli(), Offers: offers,
		}, Via: membership.Via{Direct: true}})
	}
	hear(50, 50)
	s.pass(10 * time.Second)
	for s.c.periodAt.Sub(s.now) < maxTick { // not just before the end
		s.pass(10 * time.Millisecond)
	}
	before := s.c.plan
	same := func() (same [2]bool) {
		for i := range names {
			same[i] = s.c.plan.Functions[i].Same(&before.Functions[i])
		}
		return same
	}
	hear(20, 140)
	s.pass(2 * debounce)
	if got, want := same(), [2]bool{true, false}; got != want {
		t.Errorf("soon, the plan is the same: %v, want %v", got, want)
	}
	s.pass(s.c.o.Period)
	if got, want := same(), [2]bool{false, false}; got != want {
		t.Errorf("after the period, the plan is the same: %v, want %v", got, want)
	}
}

// TestRoomThatNobodyNeedsIsPlannedForByTheEndOfThePeriod, and what moves calls at once.
func TestRoomThatNobodyNeedsIsPlannedForByTheEndOfThePeriod(t *testing.T) {
	s := newStepped(t, nil)
	s.step(Tick{})
	s.step(Gateway{Functions: []Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(100)}}})
	hear := func(rate float64) {
		s.seq++
		s.step(Heard{From: peerID(1), Announcement: wire.Announcement{
			V: 2, Epoch: 1, Seq: s.seq, HTTP: "127.0.0.1:8180", Strategy: "headroom", PeriodMillis: 60_000,
			SentAtMillis: s.now.UnixMilli(), Offers: []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(rate)}},
		}, Via: membership.Via{Direct: true}})
	}
	hear(50)
	s.pass(10 * time.Second)
	plans := func(d time.Duration) (n int) {
		from := len(s.effects)
		s.pass(d)
		for _, fx := range s.effects[from:] {
			if fx.Planned {
				n++
			}
		}
		return n
	}
	for _, test := range []struct {
		rate        float64
		soon, atEnd int
	}{{20, 0, 1}, {60, 0, 1}, {140, 1, 0}} {
		for s.c.periodAt.Sub(s.now) < maxTick { // not just before the end
			s.pass(10 * time.Millisecond)
		}
		hear(test.rate)
		soon, later := plans(2*debounce), plans(s.c.o.Period)
		if soon != test.soon || later != test.atEnd {
			t.Errorf("%g/s: %d plans soon and %d by the end of the period, want %d and %d", test.rate, soon, later, test.soon, test.atEnd)
		}
	}
}

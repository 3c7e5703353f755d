package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
)

func TestSignificant(t *testing.T) {
	base := strategy.Offer{Name: "f", Capacity: 100, UserRate: 50, Limit: 25}
	for _, tc := range []struct {
		name   string
		change func(*strategy.Offer)
		want   bool
	}{
		{"nothing", func(o *strategy.Offer) {}, false},
		{"noise", func(o *strategy.Offer) { o.UserRate = 53 }, false},
		{"noise of little", func(o *strategy.Offer) { o.Limit = 25.4 }, false},
		{"rate", func(o *strategy.Offer) { o.UserRate = 56 }, true},
		{"rate falls", func(o *strategy.Offer) { o.UserRate = 44 }, true},
		{"limit", func(o *strategy.Offer) { o.Limit = 30 }, true},
		{"distrust begins", func(o *strategy.Offer) { o.Demand = 0.001 }, true},
		{"capacity", func(o *strategy.Offer) { o.Capacity = 101 }, true},
		{"time limit", func(o *strategy.Offer) { o.TimeoutMillis = 1 }, true},
		{"another function", func(o *strategy.Offer) { o.Name = "g" }, true},
		{"no longer deployed", func(o *strategy.Offer) { o.Absent = true }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := base
			tc.change(&changed)
			if got := new(announcer).significant([]strategy.Offer{base}, []strategy.Offer{changed}); got != tc.want {
				t.Errorf("significant is %v", got)
			}
		})
	}
	if !new(announcer).significant([]strategy.Offer{base}, nil) {
		t.Error("a function that went is not significant")
	}
	near := strategy.Offer{Name: "f", Capacity: 100, UserRate: 99}
	over := strategy.Offer{Name: "f", Capacity: 100, UserRate: 101}
	if !new(announcer).significant([]strategy.Offer{near}, []strategy.Offer{over}) {
		t.Error("crossing the capacity is not significant")
	}
}

func TestAnnouncer(t *testing.T) {
	const period = time.Second
	start := time.UnixMilli(1_700_000_000_000)
	a := newAnnouncer(period, false, start, rand.NewPCG(1, 2), overASecond)
	idle := []strategy.Offer{{Name: "f", Capacity: 10}}
	busy := []strategy.Offer{{Name: "f", Capacity: 10, UserRate: 50.00049}}

	if due := a.due(start, idle, false); due != start {
		t.Errorf("first announcement is due %v after the start", due.Sub(start))
	}
	first := a.next(start, start, idle)
	now := start.Add(10 * time.Millisecond)
	if due := a.due(now, busy, false); due != start.Add(announceGap) {
		t.Errorf("a change is due %v after the last announcement, want the gap", due.Sub(start))
	}
	if due := a.due(now, idle, true); due != start.Add(announceGap) {
		t.Errorf("a newcomer waits %v, want the gap", due.Sub(start))
	}
	if due := a.due(start.Add(500*time.Millisecond), busy, false); due != start.Add(500*time.Millisecond) {
		t.Error("a change after the gap is not due at once")
	}
	for range 100 {
		if wait := a.due(now, idle, false).Sub(a.at); wait < period*8/10 || wait > period {
			t.Fatalf("the next beat is %v after the last", wait)
		}
		a.next(start, start, idle)
	}
	last := a.next(now, now, busy)
	if last.Seq <= first.Seq || last.Epoch != first.Epoch || last.Epoch != start.UnixMilli() || last.SentAtMillis != now.UnixMilli() {
		t.Errorf("first %+v, last %+v", first, last)
	}
	if last.Offers[0].UserRate != 50 {
		t.Errorf("user rate %v is not rounded", last.Offers[0].UserRate)
	}
}

func overASecond(string) float64 { return 1 }

// TestAnnouncementsKeepToTheBudget: whatever changes, and however often, all members
// together send a node what the budget is, and what was saved, and nobody is silent for
// longer than promised.
func TestAnnouncementsKeepToTheBudget(t *testing.T) {
	for _, size := range []struct{ members, functions int }{{1, 1}, {9, 1}, {9, 10}, {24, 10}, {49, 10}, {60, 1}} {
		r := rand.New(rand.NewPCG(1, 4))
		a := newAnnouncer(time.Second, true, time.UnixMilli(1), rand.NewPCG(1, 2), overASecond)
		a.members = size.members
		offers := make([]strategy.Offer, size.functions)
		for f := range offers {
			offers[f] = strategy.Offer{Name: fmt.Sprintf("f%d", f), Capacity: 100}
		}
		const lasting = 10 * time.Minute
		now, sent, promised := time.UnixMilli(1), 0.0, time.Duration(0)
		start := now
		for now.Sub(start) < lasting {
			if r.IntN(3) > 0 { // else it stays as it is
				offers = slices.Clone(offers)
				offers[r.IntN(len(offers))].UserRate = float64(r.IntN(200))
			}
			if due := a.due(now, offers, r.IntN(50) == 0); !now.Before(due) {
				if silent := now.Sub(a.at); !a.at.IsZero() && silent > promised+leastGap/2 {
					t.Fatalf("%+v: silent for %v, %v were promised", size, silent, promised)
				}
				promised = time.Duration(a.next(now, now, offers).PeriodMillis) * time.Millisecond
				sent += cost(offers)
			}
			now = now.Add(leastGap / 2)
		}
		heard, budget := sent/lasting.Seconds()*float64(size.members), 2.0*gossipBudget
		if size.members >= manyMembers-1 {
			budget = 1.05 * gossipBudget
		}
		budget += moveBudget
		if budget += 2 * saved * cost(offers) * float64(size.members) / lasting.Seconds(); heard > budget {
			t.Errorf("%+v: %.0f bytes/s, the budget is %.0f", size, heard, budget)
		}
	}
}

// TestMovesHaveABudgetOfTheirOwn: when noise has used up what there is for anything, a
// move is announced at once, and noise is not.
func TestMovesHaveABudgetOfTheirOwn(t *testing.T) {
	a := newAnnouncer(time.Second, true, time.UnixMilli(1), rand.NewPCG(1, 2), overASecond)
	a.members = 49
	at := func(rate float64) []strategy.Offer {
		return []strategy.Offer{{Name: "f", Capacity: 100, UserRate: rate}}
	}
	now := time.UnixMilli(1)
	a.next(now, now, at(50))
	for i := range 30 {
		noise := at(50 + 12*float64(i%2))
		due := a.due(now, noise, false)
		now = due
		a.next(now, now, noise)
	}
	noise, move := a.due(now, at(75), false), a.due(now, at(100), false)
	if wait := move.Sub(now); wait > leastGap {
		t.Errorf("a move waits for %v", wait)
	}
	if wait := noise.Sub(now); wait < time.Second {
		t.Errorf("noise waits for %v only", wait)
	}
}

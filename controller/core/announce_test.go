package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/testvalue"
)

func TestSignificant(t *testing.T) {
	base := strategy.Offer{Name: testvalue.Name("f"), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(50), Limit: testvalue.Rate(25)}
	for _, tc := range []struct {
		name   string
		change func(*strategy.Offer)
		want   bool
	}{
		{"nothing", func(o *strategy.Offer) {}, false},
		{"noise", func(o *strategy.Offer) { o.UserRate = testvalue.Rate(53) }, false},
		{"noise of little", func(o *strategy.Offer) { o.Limit = testvalue.Rate(25.4) }, false},
		{"rate", func(o *strategy.Offer) { o.UserRate = testvalue.Rate(56) }, true},
		{"rate falls", func(o *strategy.Offer) { o.UserRate = testvalue.Rate(44) }, true},
		{"limit", func(o *strategy.Offer) { o.Limit = testvalue.Rate(30) }, true},
		{"distrust begins", func(o *strategy.Offer) { o.Demand = testvalue.Rate(0.001) }, true},
		{"capacity", func(o *strategy.Offer) { o.Capacity = testvalue.Rate(101) }, true},
		{"time limit", func(o *strategy.Offer) { o.TimeoutMillis = 1 }, true},
		{"another function", func(o *strategy.Offer) { o.Name = testvalue.Name("g") }, true},
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
	near := strategy.Offer{Name: testvalue.Name("f"), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(99)}
	over := strategy.Offer{Name: testvalue.Name("f"), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(101)}
	if !new(announcer).significant([]strategy.Offer{near}, []strategy.Offer{over}) {
		t.Error("crossing the capacity is not significant")
	}
}

func TestAnnouncer(t *testing.T) {
	const period = time.Second
	start := time.UnixMilli(1_700_000_000_000)
	a := newAnnouncer(period, false, start, rand.NewPCG(1, 2), overASecond)
	idle := []strategy.Offer{{Name: testvalue.Name("f"), Capacity: testvalue.Rate(10)}}
	busy := []strategy.Offer{{Name: testvalue.Name("f"), Capacity: testvalue.Rate(10), UserRate: testvalue.Rate(50.00049)}}

	if due := a.due(start, idle, false); due != start {
		t.Errorf("first announcement is due %v after the start", due.Sub(start))
	}
	first, everybody := a.next(start, start, idle, false)
	if !everybody {
		t.Error("the first announcement is not for everybody")
	}
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
		if wait := a.due(now, idle, false).Sub(a.feed.at); wait < period*8/10 || wait > period {
			t.Fatalf("the next beat is %v after the last", wait)
		}
		a.next(start, start, idle, false)
	}
	last, _ := a.next(now, now, busy, false)
	if last.Seq <= first.Seq || last.Epoch != first.Epoch || last.Epoch != start.UnixMilli() || last.SentAtMillis != now.UnixMilli() {
		t.Errorf("first %+v, last %+v", first, last)
	}
	if last.Offers[0].UserRate.PerSecond() != 50 {
		t.Errorf("user rate %v is not rounded", last.Offers[0].UserRate)
	}
}

func overASecond(funcname.Name) float64 { return 1 }

// TestAnnouncementsKeepToTheBudget: whatever changes, and however often, all members
// together send a node what the budget is, and what was saved, and nobody is silent for
// longer than promised: by feeds nobody, and by gossip nobody whom feeds do not reach.
func TestAnnouncementsKeepToTheBudget(t *testing.T) {
	for _, size := range []struct{ members, functions, unfed int }{
		{1, 1, 0}, {9, 1, 0}, {9, 10, 0}, {24, 10, 0}, {49, 10, 0}, {60, 1, 0}, {29, 100, 0},
		{1, 1, 1}, {9, 1, 1}, {9, 10, 9}, {24, 10, 1}, {49, 10, 1}, {60, 1, 60},
	} {
		r := rand.New(rand.NewPCG(1, 4))
		a := newAnnouncer(time.Second, true, time.UnixMilli(1), rand.NewPCG(1, 2), overASecond)
		a.members, a.unfed = size.members, size.unfed
		offers := make([]strategy.Offer, size.functions)
		for f := range offers {
			offers[f] = strategy.Offer{Name: testvalue.Name(fmt.Sprintf("f%d", f)), Capacity: testvalue.Rate(100)}
		}
		const lasting = 10 * time.Minute
		now, fed, gossiped, promised := time.UnixMilli(1), 0.0, 0.0, time.Duration(0)
		start := now
		for now.Sub(start) < lasting {
			if r.IntN(3) > 0 { // else it stays as it is
				offers = slices.Clone(offers)
				offers[r.IntN(len(offers))].UserRate = testvalue.Rate(float64(r.IntN(200)))
			}
			urgent := r.IntN(50) == 0
			if due := a.due(now, offers, urgent); !now.Before(due) {
				if silent := now.Sub(a.feed.at); !a.feed.at.IsZero() && silent > promised+leastGap/2 {
					t.Fatalf("%+v: silent for %v, %v were promised", size, silent, promised)
				}
				fed += changeCosts(a.feed.offers, offers)
				before := a.gossip.at
				said, everybody := a.next(now, now, offers, urgent)
				if everybody {
					gossiped += cost(offers)
				}
				if silent := a.gossip.at.Sub(before); size.unfed > 0 && !before.IsZero() && silent > promised+leastGap/2 {
					t.Fatalf("%+v: silent for %v by gossip, %v were promised", size, silent, promised)
				}
				promised = time.Duration(said.PeriodMillis) * time.Millisecond
			}
			now = now.Add(leastGap / 2)
		}
		check := func(what string, sent, budget, moves, burst float64) {
			budget *= 2.1
			if size.members >= manyMembers-1 {
				budget /= 2
			}
			budget += moves
			heard := sent / lasting.Seconds() * float64(size.members)
			if budget += 2 * saved * burst * float64(size.members) / lasting.Seconds(); heard > budget {
				t.Errorf("%+v: %.0f bytes/s by %s, the budget is %.0f", size, heard, what, budget)
			}
		}
		all := changeCost + (numberCost+joinCost)*float64(size.functions)
		// What goes to everybody goes by feeds, too.
		also := gossiped / cost(offers) * all / lasting.Seconds() * float64(size.members)
		check("feeds", fed, feedBudget, feedMoves+also, cost(offers)+all)
		check("gossip", gossiped, gossipBudget, gossipMoves, cost(offers))
		// At first, after one beat, eight and sixty-four, then now and then.
		if rare := 4 + lasting/longestQuiet; size.unfed == 0 && gossiped > cost(offers)*float64(rare) {
			t.Errorf("%+v: %.0f bytes/s by gossip, which nobody needs", size, gossiped/lasting.Seconds())
		}
	}
}

// TestGossipGrowsQuiet: while feeds reach all, gossip has ever less of a node, until
// somebody comes, or there is anybody whom feeds do not reach.
func TestGossipGrowsQuiet(t *testing.T) {
	a := newAnnouncer(time.Second, true, time.UnixMilli(1), rand.NewPCG(1, 2), overASecond)
	a.members = 9
	idle := []strategy.Offer{{Name: testvalue.Name("f"), Capacity: testvalue.Rate(10)}}
	now := time.UnixMilli(1)
	speak := func() time.Duration { // until the next by gossip
		before := now
		for {
			now = a.due(now, idle, false)
			if _, everybody := a.next(now, now, idle, false); everybody {
				return now.Sub(before)
			}
		}
	}
	speak()
	last := time.Duration(0)
	for last < longestQuiet-2*time.Second {
		quiet := speak()
		if quiet < last-time.Second || quiet > longestQuiet+time.Second {
			t.Fatalf("%v after %v", quiet, last)
		}
		last = quiet
	}
	if a.reach(10, 0, true); speak() > time.Second {
		t.Error("gossip is quiet although somebody came")
	}
	speak()
	a.reach(10, 1, false)
	if wait := a.due(now, idle, false).Sub(now); wait > leastGap {
		t.Errorf("who is not reached by feeds waits for %v", wait)
	}
	for range 20 {
		if quiet := speak(); quiet > time.Second {
			t.Errorf("gossip is quiet for %v while somebody needs it", quiet)
		}
	}
}

// TestUrgentIsNotForgotten: who urgently needs to hear of this node, and by gossip, does,
// although feeds have been told at once.
func TestUrgentIsNotForgotten(t *testing.T) {
	a := newAnnouncer(time.Second, true, time.UnixMilli(1), rand.NewPCG(1, 2), overASecond)
	a.members, a.unfed = 60, 1
	offers := make([]strategy.Offer, 30)
	for f := range offers {
		offers[f] = strategy.Offer{Name: testvalue.Name(fmt.Sprintf("f%02d", f)), Capacity: testvalue.Rate(100)}
	}
	now := time.UnixMilli(1)
	for range saved { // gossip has nothing left then
		now = a.due(now, offers, true)
		a.next(now, now, offers, true)
	}
	now = a.due(now, offers, true)
	if _, everybody := a.next(now, now, offers, true); everybody {
		t.Fatal("gossip has something left")
	}
	beat := now.Add(a.gossip.beat)
	for everybody := false; !everybody; {
		now = a.due(now, offers, false)
		_, everybody = a.next(now, now, offers, false)
	}
	if !now.Before(beat) {
		t.Error("said with the beat only")
	}
}

// TestMovesHaveABudgetOfTheirOwn: when noise has used up what there is for anything, a
// move is announced at once, and noise is not.
func TestMovesHaveABudgetOfTheirOwn(t *testing.T) {
	a := newAnnouncer(time.Second, true, time.UnixMilli(1), rand.NewPCG(1, 2), overASecond)
	a.members = 49
	at := func(rate float64) []strategy.Offer {
		return []strategy.Offer{{Name: testvalue.Name("f"), Capacity: testvalue.Rate(100), UserRate: testvalue.Rate(rate)}}
	}
	now := time.UnixMilli(1)
	a.next(now, now, at(50), false)
	for i := range 30 {
		noise := at(50 + 12*float64(i%2))
		due := a.due(now, noise, false)
		now = due
		a.next(now, now, noise, false)
	}
	noise, move := a.due(now, at(75), false), a.due(now, at(100), false)
	if wait := move.Sub(now); wait > leastGap {
		t.Errorf("a move waits for %v", wait)
	}
	if wait := noise.Sub(now); wait < time.Second {
		t.Errorf("noise waits for %v only", wait)
	}
}

package route

import (
	"math"
	"sync/atomic"
	"time"
)

// Where peers' answers say nothing, a sender tries, on credit. Calls that are not served here
// at once earn a little, and a trial that is served earns more than it costs. So it goes on
// where two of three trials are served, and else what is in vain stays a small part of all
// calls, whatever the peers do. The plan knows of how much surplus there is no room for
// anywhere (table.Function.Unmet): the more, the less is tried.
const (
	// trial is what a trial costs, and each refusal by a peer, whatever the call was sent
	// for; served is what a trial earns that is served.
	trial, served = 1000, 2 * trial
	// perCall is what a call earns that is not served here at once.
	perCall = 50
	// maxTrials is the most credit that is kept, minTrials the most that can be owed.
	maxTrials, minTrials = 10 * trial, -50 * trial
	// Users who come all at once find peers of which nothing was heard lately, and no
	// credit, since nothing was to be earned. So who has not had to try for calmTime may
	// owe owedByPeer for each peer but one, owedTrials at most, during the surgeTime that
	// follows; what is owed is earned as ever. As many peers count as would have the same
	// spare each: where one has nearly all of it, there is nothing to try.
	calmTime, surgeTime    = time.Second, 500 * time.Millisecond
	owedByPeer, owedTrials = 2 * trial, 40 * trial
	// What was refused in an overload says nothing of the time after it, and where users
	// call seldom, it would take them minutes to earn what is owed. So once the plan has had
	// room for all surplus for anewTime again, there is credit of anewTrials at least.
	anewTime, anewTrials = time.Second, 3 * trial
)

// trials is what a function's senders may still try.
type trials struct {
	credit atomic.Int64
	// wantedAt is when a trial was wanted last, surgeUntil when trials have to be paid
	// for again.
	wantedAt, surgeUntil atomic.Int64
	// shortAt is when a trial was wanted last while the plan had no room for some surplus;
	// 0 if that was before it was begun anew.
	shortAt atomic.Int64
}

// earn adds to the credit, lose takes from it; neither beyond its bound. Two at a
// time may exceed the bound by what one of them adds.
func (t *trials) earn(credit int64) {
	if t.credit.Load() < maxTrials {
		t.credit.Add(credit)
	}
}

func (t *trials) lose(credit int64) {
	if t.credit.Load() > minTrials {
		t.credit.Add(-credit)
	}
}

// perCallFor is what a call earns where there is no room for that part of all surplus.
func perCallFor(unmet float64) int64 { return int64(perCall * math.Pow(1-unmet, 2)) }

// owedFor is how many trials may be owed, as credit, where there is no room for that part of
// all surplus. They are all under way before the first of them is answered, so little is
// owed where many of them would be in vain.
func owedFor(forwards []forward, unmet float64) int64 {
	sum, squares := 0.0, 0.0
	for i := range forwards {
		sum += forwards[i].spare
		squares += forwards[i].spare * forwards[i].spare
	}
	if squares == 0 {
		return 0
	}
	return int64(min(owedTrials*math.Pow(1-unmet, 4), owedByPeer*(sum*sum/squares-1)))
}

// want reports whether there may be a trial now; so much may be owed. The plan is short if
// it has no room for some surplus.
func (t *trials) want(at, owed int64, short bool) bool {
	if short {
		t.shortAt.Store(at)
	} else if since := t.shortAt.Load(); since != 0 && at-since > int64(anewTime) {
		t.shortAt.Store(0)
		t.credit.Store(max(t.credit.Load(), anewTrials))
	}
	if at-t.wantedAt.Swap(at) > int64(calmTime) {
		t.surgeUntil.Store(at + int64(surgeTime))
	}
	credit := t.credit.Load()
	return credit >= trial || credit >= trial-owed && at < t.surgeUntil.Load()
}

package estimate

import "time"

// Calls is what became of calls of a function at this node's gateway, as HAProxy has
// counted them. The numbers only grow, until it starts anew.
type Calls struct {
	Ended  int64 // answered or given up
	Failed int64 // of these, a status from 500 on but 501, a broken answer, or none in time
}

// since is what was counted since before; all, if HAProxy has started anew.
func (c Calls) since(before Calls) Calls {
	if c.Ended < before.Ended || c.Failed < before.Failed {
		return c
	}
	return Calls{c.Ended - before.Ended, c.Failed - before.Failed}
}

// Condition is whether a function fails here.
type Condition int

const (
	Healthy Condition = iota
	Failing           // calls are better served elsewhere
	Trial             // a few calls are to show whether it still fails
)

const (
	// A function begins to fail when half of its calls do, and has ceased to when no
	// more than a tenth does.
	failingFrom, healthyTo = 0.5, 0.1
	// trialCalls is how many calls end a trial: at first, few are sent.
	trialCalls = 2
	// callsAge is how long calls are kept until there are enough to judge by.
	callsAge = time.Minute
	// firstPause is how long a function that has begun to fail is left alone, maxPause
	// one that has failed in all trials since: each time a quarter longer, so that one
	// that works again is left alone for about a quarter of the time for which it failed.
	firstPause, maxPause = time.Second, time.Minute
	// trialTime is how long a trial lasts if hardly anybody calls: then nobody knows
	// that the function fails.
	trialTime = 10 * time.Second
)

// Health tells by the calls of a function whether it fails. The zero value has seen
// none.
type Health struct {
	known    bool // there was a look before
	counted  Calls
	fresh    Calls // not judged yet
	begun    time.Time
	is       Condition
	until    time.Time     // of Failing and Trial
	pause    time.Duration // the last one
	wellFrom time.Time     // Healthy since
}

// Observe takes in what HAProxy has counted by now.
func (h *Health) Observe(now time.Time, total Calls) {
	got := total.since(h.counted)
	first := !h.known
	h.known, h.counted = true, total
	if first || got.Ended <= 0 {
		return
	}
	if h.fresh.Ended == 0 || now.Sub(h.begun) > callsAge {
		h.fresh, h.begun = Calls{}, now
	}
	h.fresh = Calls{h.fresh.Ended + got.Ended, h.fresh.Failed + got.Failed}
	h.judge(now)
}

// judge judges by the calls that were not judged yet, if they are enough.
func (h *Health) judge(now time.Time) {
	enough := int64(Enough)
	if h.is == Trial {
		enough = trialCalls
	}
	if h.fresh.Ended < enough {
		return
	}
	failed := float64(h.fresh.Failed) / float64(h.fresh.Ended)
	h.fresh = Calls{}
	switch {
	case failed >= failingFrom && h.is != Failing:
		h.fail(now)
	case failed <= healthyTo && h.is != Healthy:
		h.is, h.wellFrom = Healthy, now
	}
}

func (h *Health) fail(now time.Time) {
	switch {
	case h.is == Healthy && now.Sub(h.wellFrom) > maxPause:
		h.pause = firstPause
	default:
		h.pause = min(max(firstPause, h.pause+h.pause/4), maxPause)
	}
	h.is, h.until = Failing, now.Add(h.pause)
}

// Condition returns whether the function fails. It is to be asked at least every
// second or so.
func (h *Health) Condition(now time.Time) Condition {
	switch {
	case h.is == Failing && !now.Before(h.until):
		h.is, h.until, h.fresh = Trial, now.Add(trialTime), Calls{}
	case h.is == Trial && !now.Before(h.until):
		h.is, h.wellFrom = Healthy, now
	}
	return h.is
}

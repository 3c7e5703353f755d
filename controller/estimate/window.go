package estimate

import (
	"slices"
	"time"
)

const (
	// WindowSpan is how much of the past a rate is taken from at most.
	WindowSpan = 3 * time.Second
	// windowSigmas is how many standard deviations apart the rates before and after
	// a moment must be for a change to have happened then.
	windowSigmas = 3.5
	// windowNoise is added to the variance, in requests/s: a few requests after a
	// silence are no change yet.
	windowNoise = 1.0
)

// Window estimates the rate of requests that arrive at random from counts of
// short intervals. It is the mean over the longest stretch of the recent past, 3 s
// at most, throughout which the rate may have been the same. The past ends where
// the mean before a moment and the mean after it differ by more than three and a half
// standard deviations of what Poisson arrivals explain: after A. Bifet and
// R. Gavaldà, Learning from Time-Changing Data with Adaptive Windowing, 2007, with
// the variance of counts in place of a bound for any distribution.
//
// So a rate that stays is known ever better, and one that changes is followed as
// soon as it can be told from noise: a jump from 10 to 100 requests/s within 0.1 s,
// a silence after 30 requests/s within 0.5 s.
//
// The zero value is ready for use. It belongs to one goroutine.
type Window struct{ counts []interval }

// interval is a stretch of time and what was counted in it.
type interval struct {
	requests uint64
	seconds  float64
}

// Add takes in what was counted during so many seconds, > 0, and returns the
// estimate in requests/s and whether it no longer goes by all that it went by
// before: the rate has changed.
func (w *Window) Add(requests uint64, seconds float64) (rate float64, changed bool) {
	w.counts = append(w.counts, interval{requests, seconds})
	all := w.forget()
	if i := w.change(all); i > 0 {
		w.counts = slices.Delete(w.counts, 0, i)
		all, changed = w.sum(), true
	}
	return all.rate(), changed
}

// Rate is the estimate in requests/s, 0 without any counts.
func (w *Window) Rate() float64 { return w.sum().rate() }

func (i interval) rate() float64 {
	if i.seconds == 0 {
		return 0
	}
	return float64(i.requests) / i.seconds
}

func (w *Window) sum() (all interval) {
	for i := range w.counts {
		all.requests += w.counts[i].requests
		all.seconds += w.counts[i].seconds
	}
	return all
}

// forget drops what is older than the span; the newest stays however long it is. It
// returns the sum of what is left.
func (w *Window) forget() interval {
	all, drop := w.sum(), 0
	for drop < len(w.counts)-1 && all.seconds-w.counts[drop].seconds >= WindowSpan.Seconds() {
		all.requests -= w.counts[drop].requests
		all.seconds -= w.counts[drop].seconds
		drop++
	}
	w.counts = slices.Delete(w.counts, 0, drop)
	return all
}

// change returns the index of the first interval after the latest change, 0 if
// there was none. all is the sum of all intervals.
//
// With a requests in x seconds after a moment and b in y before it, and m the mean of
// the whole, there was a change then if
//
//	|a/x - b/y| > sigmas * sqrt((m + noise) * (1/x + 1/y))
//
// which, squared and multiplied by (xy)^2, is what is computed: counts are looked at
// ten times a second for each function, and roots and quotients would take most of that.
func (w *Window) change(all interval) int {
	bound := windowSigmas * windowSigmas * (all.rate() + windowNoise) * all.seconds
	a, x := uint64(0), 0.0
	for i := len(w.counts) - 1; i >= 1; i-- {
		a += w.counts[i].requests
		x += w.counts[i].seconds
		y := all.seconds - x
		difference := float64(a)*y - float64(all.requests-a)*x
		if difference*difference > bound*x*y {
			return i
		}
	}
	return 0
}

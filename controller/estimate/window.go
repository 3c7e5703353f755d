package estimate

import (
	"math"
	"slices"
	"time"
)

const (
	// windowSpan is how much of the past a rate is taken from at most.
	windowSpan = 3 * time.Second
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
	w.forget()
	if i := w.change(); i > 0 {
		w.counts, changed = slices.Delete(w.counts, 0, i), true
	}
	return w.Rate(), changed
}

// Rate is the estimate in requests/s, 0 without any counts.
func (w *Window) Rate() float64 {
	all := w.sum()
	if all.seconds == 0 {
		return 0
	}
	return float64(all.requests) / all.seconds
}

func (w *Window) sum() (all interval) {
	for _, c := range w.counts {
		all.requests += c.requests
		all.seconds += c.seconds
	}
	return all
}

// forget drops what is older than the span; the newest stays however long it is.
func (w *Window) forget() {
	all, drop := w.sum(), 0
	for drop < len(w.counts)-1 && all.seconds-w.counts[drop].seconds >= windowSpan.Seconds() {
		all.seconds -= w.counts[drop].seconds
		drop++
	}
	w.counts = slices.Delete(w.counts, 0, drop)
}

// change returns the index of the first interval after the latest change, 0 if
// there was none.
func (w *Window) change() int {
	all := w.sum()
	mean := float64(all.requests) / all.seconds
	var after interval
	for i := len(w.counts) - 1; i >= 1; i-- {
		after.requests += w.counts[i].requests
		after.seconds += w.counts[i].seconds
		before := interval{all.requests - after.requests, all.seconds - after.seconds}
		difference := float64(after.requests)/after.seconds - float64(before.requests)/before.seconds
		variance := (mean + windowNoise) * (1/after.seconds + 1/before.seconds)
		if math.Abs(difference) > windowSigmas*math.Sqrt(variance) {
			return i
		}
	}
	return 0
}

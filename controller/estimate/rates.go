package estimate

import (
	"math"
	"time"
)

// The estimate of a user rate follows samples by an exponentially weighted
// moving average with a time constant of smoothing periods,
//
//	estimate += (1 - exp(-seconds/constant)) * (rate - estimate)
//
// but follows a sharp rise at once: a sample that exceeds the estimate by more
// than noise can explain becomes the estimate. Noise is three standard
// deviations of a Poisson count of that rate (plus one, so that the first
// request after a silence is noise too), and at least a fifth of the estimate.
// Falling behind a rise means refusing users while peers idle; falling behind a
// decline only keeps room reserved a little longer.
//
// A rise mostly begins in the middle of a sample, which then shows a part of it
// only. So the sample after a sharp rise, if greater, becomes the estimate too.
const (
	smoothing  = 1.5  // periods
	sigmas     = 3.0  // standard deviations
	sharp      = 0.2  // of the estimate
	negligible = 0.01 // requests/s; below it a rate counts as 0
)

// follow returns the next estimate of a rate after n requests in that many
// seconds, and whether it was a sharp rise. The constant is in seconds.
func follow(estimate float64, n uint64, seconds, constant float64) (next float64, rise bool) {
	rate := float64(n) / seconds
	noise := sigmas * math.Sqrt(estimate*seconds+1) / seconds
	if rate-estimate > max(noise, sharp*estimate) {
		return rate, true
	}
	next = estimate + (1-math.Exp(-seconds/constant))*(rate-estimate)
	if next < negligible && n == 0 {
		return 0, false
	}
	return next, false
}

// FunctionRates are the rates of one function in requests/s: means over the
// last whole period.
type FunctionRates struct {
	User, Here, Refused float64
	In, Out             map[string]float64 // by peer id
	Asked               map[string]float64 // by peer id: In, and what was refused
}

// Served is the rate of requests served for peers, requests/s.
func (r FunctionRates) Served() float64 { return sum(r.In) }

// Sent is the rate of requests sent to peers, requests/s.
func (r FunctionRates) Sent() float64 { return sum(r.Out) }

// Rates turns samples into rates. It is owned by one goroutine.
type Rates struct {
	constant float64            // of the moving average, seconds
	smooth   map[string]float64 // user rates, by function
	windows  map[string]*Window // that smooth goes by; nil: the moving average
	rose     map[string]bool    // functions whose last sample was a sharp rise
	period   Sample             // what has happened in the period under way
	last     map[string]FunctionRates
	whole    bool // last is of a period
}

// NewRates returns an estimator for plans that are made once a period. With
// windows, Smooth is of estimate.Window, else the moving average.
func NewRates(period time.Duration, windows bool) *Rates {
	r := &Rates{
		constant: smoothing * period.Seconds(),
		smooth:   map[string]float64{},
		rose:     map[string]bool{},
		period:   Sample{Functions: map[string]Counts{}},
		last:     map[string]FunctionRates{},
	}
	if windows {
		r.windows = map[string]*Window{}
	}
	return r
}

// Total is the sum of what users ask for now, requests/s. It is exact to a millionth,
// so that it does not depend on the order in which rates are added up.
func (r *Rates) Total() float64 {
	total := int64(0)
	for _, rate := range r.smooth {
		total += int64(rate * 1e6)
	}
	return float64(total) / 1e6
}

// Smooth is the estimate of what users ask for now, in requests/s by function.
// It is the estimator's own and changes with the next sample.
func (r *Rates) Smooth() map[string]float64 { return r.smooth }

// Span is over how much of the longest time that there is Smooth is the mean, 0 to 1, of a
// function that users ask for; 0 without windows.
func (r *Rates) Span(name string) float64 {
	if w := r.windows[name]; w != nil {
		return min(1, w.sum().seconds/WindowSpan.Seconds())
	}
	return 0
}

// Last is what was measured over the last whole period, by function; those that
// nobody asked for are left out. What was returned once is never changed.
func (r *Rates) Last() map[string]FunctionRates { return r.last }

// Whole reports whether there has been a whole period.
func (r *Rates) Whole() bool { return r.whole }

// Add takes in a sample, which is the estimator's from then on, and reports
// whether any user rate rose sharply or, with windows, has changed.
func (r *Rates) Add(s Sample) (rise bool) {
	for name := range r.smooth {
		if _, counted := s.Functions[name]; !counted {
			rise = r.follow(name, 0, s.Seconds) || rise
		}
	}
	for name, c := range s.Functions {
		rise = r.follow(name, c.User, s.Seconds) || rise
		r.period.Functions[name] = r.period.Functions[name].plus(c)
	}
	r.period.Seconds += s.Seconds
	return rise
}

// follow takes in what was counted of one function's users.
func (r *Rates) follow(name string, n uint64, seconds float64) (rise bool) {
	var next float64
	if r.windows != nil {
		next, rise = r.window(name, n, seconds)
	} else {
		next, rise = r.average(name, n, seconds)
	}
	if next == 0 {
		delete(r.smooth, name)
	} else {
		r.smooth[name] = next
	}
	return rise
}

// average is the moving average after one more sample.
func (r *Rates) average(name string, n uint64, seconds float64) (next float64, rise bool) {
	next, sharply := follow(r.smooth[name], n, seconds, r.constant)
	if rate := float64(n) / seconds; r.rose[name] && rate > next {
		next, rise = rate, true
	}
	delete(r.rose, name)
	if sharply {
		r.rose[name], rise = true, true
	}
	return next, rise
}

// window is the mean since the last change after one more sample.
func (r *Rates) window(name string, n uint64, seconds float64) (next float64, changed bool) {
	w := r.windows[name]
	if w == nil {
		if n == 0 {
			return 0, false
		}
		w, changed = new(Window), true
		r.windows[name] = w
	}
	next, since := w.Add(n, seconds)
	if next == 0 {
		delete(r.windows, name)
	}
	return next, changed || since
}

// EndPeriod makes the means over what was added since the last call the ones
// that Last returns, and tells how many seconds that was. Without any sample they
// stay as they were.
func (r *Rates) EndPeriod() (seconds float64) {
	seconds = r.period.Seconds
	if seconds == 0 {
		return 0
	}
	r.last, r.whole = make(map[string]FunctionRates, len(r.period.Functions)), true
	for name, c := range r.period.Functions {
		if c.idle() {
			continue
		}
		r.last[name] = FunctionRates{
			User: float64(c.User) / seconds, Here: float64(c.Here) / seconds, Refused: float64(c.Refused) / seconds,
			In: perSecond(c.In, seconds), Out: perSecond(c.Out, seconds), Asked: perSecond(c.Asked, seconds),
		}
	}
	clear(r.period.Functions)
	r.period.Seconds = 0
	return seconds
}

func (c Counts) idle() bool {
	return c.User == 0 && c.Here == 0 && c.Refused == 0 && len(c.Asked) == 0 && len(c.Out) == 0
}

func (c Counts) plus(d Counts) Counts {
	return Counts{
		User: c.User + d.User, Here: c.Here + d.Here, Refused: c.Refused + d.Refused,
		In: plusEach(c.In, d.In), Asked: plusEach(c.Asked, d.Asked), Out: plusEach(c.Out, d.Out),
	}
}

// plusEach adds b to a, in place where there is an a.
func plusEach(a, b map[string]uint64) map[string]uint64 {
	if a == nil {
		return b
	}
	for id, n := range b {
		a[id] += n
	}
	return a
}

func perSecond(counts map[string]uint64, seconds float64) map[string]float64 {
	if len(counts) == 0 {
		return nil
	}
	out := make(map[string]float64, len(counts))
	for id, n := range counts {
		out[id] = float64(n) / seconds
	}
	return out
}

func sum(m map[string]float64) float64 {
	total := 0.0
	for _, x := range m {
		total += x
	}
	return total
}

package node

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

// functionRates are the rates of one function in requests/s: means over the
// last whole period.
type functionRates struct {
	user, refused float64
	in, out       map[string]float64 // by peer id
	asked         map[string]float64 // by peer id: in, and what was refused
}

func (r functionRates) inRate() float64  { return sum(r.in) }
func (r functionRates) outRate() float64 { return sum(r.out) }

// rates turns samples into rates. It is owned by one goroutine; what last
// returns is never changed afterwards.
type rates struct {
	constant float64            // of the moving average, seconds
	smooth   map[string]float64 // user rates, by function
	rose     map[string]bool    // functions whose last sample was a sharp rise
	period   sample             // what has happened in the period under way
	last     map[string]functionRates
	whole    bool // last is of a period
}

func newRates(period time.Duration) *rates {
	return &rates{
		constant: smoothing * period.Seconds(),
		smooth:   map[string]float64{},
		rose:     map[string]bool{},
		period:   sample{functions: map[string]counts{}},
		last:     map[string]functionRates{},
	}
}

// add takes in a sample and reports whether any user rate rose sharply.
func (r *rates) add(s sample) (rise bool) {
	for name := range r.smooth {
		if _, counted := s.functions[name]; !counted {
			s.functions[name] = counts{}
		}
	}
	for name, c := range s.functions {
		next, sharply := follow(r.smooth[name], c.user, s.seconds, r.constant)
		if rate := float64(c.user) / s.seconds; r.rose[name] && rate > next {
			next, rise = rate, true
		}
		delete(r.rose, name)
		if sharply {
			r.rose[name], rise = true, true
		}
		if next == 0 {
			delete(r.smooth, name)
		} else {
			r.smooth[name] = next
		}
		r.period.functions[name] = r.period.functions[name].plus(c)
	}
	r.period.seconds += s.seconds
	return rise
}

// endPeriod makes the means over what was added since the last call the ones
// that last returns, and tells how many seconds that was. Without any sample they
// stay as they were.
func (r *rates) endPeriod() (seconds float64) {
	seconds = r.period.seconds
	if seconds == 0 {
		return 0
	}
	r.last, r.whole = make(map[string]functionRates, len(r.period.functions)), true
	for name, c := range r.period.functions {
		if c.idle() {
			continue
		}
		r.last[name] = functionRates{
			user: float64(c.user) / seconds, refused: float64(c.refused) / seconds,
			in: perSecond(c.in, seconds), out: perSecond(c.out, seconds), asked: perSecond(c.asked, seconds),
		}
	}
	r.period = sample{functions: map[string]counts{}}
	return seconds
}

func (c counts) idle() bool { return c.user == 0 && len(c.asked) == 0 && len(c.out) == 0 }

func (c counts) plus(d counts) counts {
	return counts{
		user: c.user + d.user, refused: c.refused + d.refused,
		in: plusEach(c.in, d.in), asked: plusEach(c.asked, d.asked), out: plusEach(c.out, d.out),
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

package faults

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// window says when a fault was, after t = 0 of the load.
type window struct{ began, ended time.Duration }

// Impact is what one group of users saw of a fault.
type Impact struct {
	// Sent counts the requests sent since the fault, Errors those of them that
	// were not answered with 200, by status; "0" got no response.
	Sent   int            `json:"sent"`
	Errors map[string]int `json:"errors"`
	// InFlight counts the errors of requests under way when it happened.
	InFlight map[string]int `json:"errors_in_flight"`
	// BeforeErrors counts the errors that had nothing to do with the fault.
	BeforeErrors int `json:"errors_before"`
	// The time to the response in milliseconds, before the fault and from its
	// begin on.
	BeforeP99 float64 `json:"before_p99_ms"`
	BeforeMax float64 `json:"before_max_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	// Delay is the most that a request from the fault's begin on took longer than
	// the slowest one before, and than the slowest of the bystander's at the same
	// time, in milliseconds: what the machine delays, it delays for these too.
	Delay float64 `json:"delay_ms"`
	// Calm is how long after the fault's end the last quarter of a second was
	// over in which there was an error or one in ten requests was slow; 0: there
	// was none.
	Calm float64 `json:"calm_after_s"`
}

// AddedP99 and AddedMax are the delay in milliseconds that came with the fault.
func (i Impact) AddedP99() float64 { return max(0, i.P99-i.BeforeP99) }

// AddedMax compares the slowest requests.
func (i Impact) AddedMax() float64 { return max(0, i.Max-i.BeforeMax) }

// errorCount is the number of errors of requests sent after the fault began.
func (i Impact) errorCount() int { return total(i.Errors) }

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

const (
	// strike is how long it may take from a fault's begin until it has happened
	// to all of the node's parts. What was sent before was under way then.
	strike = 100 * time.Millisecond
	// calmWindow is the time over which service is held to be normal or not.
	calmWindow = 250 * time.Millisecond
	// slow is what nine of ten requests of such a window may take longer than
	// 99 of 100 did before the fault.
	slow = maxAdded
)

// measure tells what a group of users saw. The samples, and those of the
// bystander's users at the same time, are in any order.
func measure(samples, bystander []summary.Sample, w window) Impact {
	i := Impact{Errors: map[string]int{}, InFlight: map[string]int{}}
	var before, since []time.Duration
	for _, s := range samples {
		bad := s.Status != 200
		if s.At >= w.began {
			since = append(since, s.Latency)
		}
		switch status := strconv.Itoa(s.Status); {
		case s.At >= w.began+strike:
			i.Sent++
			if bad {
				i.Errors[status]++
			}
		case s.At+s.Latency >= w.began:
			if bad {
				i.InFlight[status]++
			}
		default:
			before = append(before, s.Latency)
			if bad {
				i.BeforeErrors++
			}
		}
	}
	i.BeforeP99, i.BeforeMax = quantile(before, 0.99), quantile(before, 1)
	i.P99, i.Max = quantile(since, 0.99), quantile(since, 1)
	i.Calm = calmAfter(samples, w.ended, i.BeforeP99).Seconds()
	i.Delay = delay(samples, bystander, w, slices.Max(append(before, 0)))
	return i
}

// around is how near in time two requests are that the machine treats alike.
const around = 100 * time.Millisecond

// delay is described at Impact.Delay.
func delay(samples, bystander []summary.Sample, w window, normal time.Duration) float64 {
	most := time.Duration(0)
	for _, s := range samples {
		if s.At < w.began || s.Latency-normal <= most {
			continue
		}
		machine := normal
		for _, b := range bystander {
			// Under way at the same time, or nearly.
			if b.At < s.At+s.Latency+around && b.At+b.Latency > s.At-around {
				machine = max(machine, b.Latency)
			}
		}
		most = max(most, s.Latency-machine)
	}
	return milliseconds(most)
}

// calmAfter is how long after the fault's end service was last disturbed.
func calmAfter(samples []summary.Sample, ended time.Duration, normal float64) time.Duration {
	type count struct{ all, slow, bad int }
	windows := make(map[int]*count)
	last := -1
	for _, s := range samples {
		if s.At < ended {
			continue
		}
		k := int((s.At - ended) / calmWindow)
		c := windows[k]
		if c == nil {
			c = &count{}
			windows[k] = c
		}
		c.all++
		if s.Status != 200 {
			c.bad++
		}
		if milliseconds(s.Latency) > normal+milliseconds(slow) {
			c.slow++
		}
	}
	for k, c := range windows {
		if c.bad > 0 || 10*c.slow > c.all {
			last = max(last, k)
		}
	}
	return time.Duration(last+1) * calmWindow
}

// quantile is in milliseconds; 0 without a value.
func quantile(values []time.Duration, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return milliseconds(sorted[max(1, int(math.Ceil(q*float64(len(sorted)))))-1])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// look is one look at a condition: nil when it held.
type look struct {
	at  time.Duration
	err error
}

// heldSince tells from when on the condition held until the last look, and
// whether it held at that.
func heldSince(looks []look) (since time.Duration, ok bool) {
	for _, l := range looks {
		switch {
		case l.err != nil:
			ok = false
		case !ok:
			since, ok = l.at, true
		}
	}
	return since, ok
}

// lastError is the condition's last complaint; "" if it had none.
func lastError(looks []look) string {
	for _, l := range slices.Backward(looks) {
		if l.err != nil {
			return l.err.Error()
		}
	}
	return ""
}

package strategy

import "math"

// Doubt is how far a claim is disbelieved, by what was seen of it: that a peer
// serves what it has room for, or that it uses the room that it claims. It takes
// three periods of the same evidence to arise. In fewer, it may be a change that
// the announcements have not caught up with, or a fault that HAProxy's health
// checks are about to find.
type Doubt struct {
	held, idle         float64    // what is left of it after a second in which the claim held, or nothing was claimed
	seconds, want, got float64    // not judged yet
	quiet              float64    // seconds since there was anything to judge
	seen               [2]float64 // the evidence before
	value              float64
}

const (
	// tolerated is the fraction that a claim may fall short by: rates are
	// estimates, and functions fail, too.
	tolerated = 0.1
	// enough is how many requests, and shortest how many seconds, are evidence.
	enough, shortest = 5, 1
	// mostDoubt leaves a claim a trial, so that belief can come back.
	mostDoubt = 0.99
	// slowly makes distrust outlast 17 s of honest service, very slowly an unused
	// claim 76 s without one: claims may come and go.
	slowly, verySlowly = 0.8, 0.95
	// outdated is after how many seconds without a claim the evidence before says
	// nothing about what comes.
	outdated = 60
	// forgotten is the doubt that is as good as none.
	forgotten = 0.02
)

// NewDistrust is doubt in a peer's spare. It outlasts a few seconds of honesty.
func NewDistrust() Doubt { return Doubt{held: slowly, idle: 1} }

// NewUnused is doubt in a peer's surplus. It ends as soon as the claim is used,
// of which half is enough.
func NewUnused() Doubt { return Doubt{held: 0, idle: verySlowly} }

// Value is the fraction of the claim that is disbelieved, 0 to 1.
func (d *Doubt) Value() float64 { return d.value }

// Observe takes in how many requests there should have been in so many seconds
// if the claim were true, and how many there were.
func (d *Doubt) Observe(seconds, want, got float64) {
	if want == 0 {
		d.set(d.value * math.Pow(d.idle, seconds))
		if d.quiet += seconds; d.quiet > outdated {
			d.seconds, d.want, d.got, d.seen = 0, 0, 0, [2]float64{}
		}
		return
	}
	d.quiet = 0
	d.seconds, d.want, d.got = d.seconds+seconds, d.want+want, d.got+got
	if d.seconds < shortest || d.want < enough {
		return
	}
	evidence := 0.0
	if d.got < d.want*(1-tolerated) {
		evidence = min(mostDoubt, 1-d.got/d.want)
	}
	raised := evidence
	if d.value == 0 {
		raised = min(evidence, d.seen[0], d.seen[1])
	}
	d.set(max(raised, d.value*d.held))
	d.seen = [2]float64{evidence, d.seen[0]}
	d.seconds, d.want, d.got = 0, 0, 0
}

func (d *Doubt) set(value float64) {
	if value < forgotten {
		value = 0
	}
	d.value = value
}

package estimate

import "math"

// Enough is how many requests are evidence.
const Enough = 5

// Claim is one claim of a peer's, and how far it is believed by what was seen of
// it: that the peer serves what it has room for, or that it uses the room that it
// claims. It takes three periods of the same evidence for distrust to arise. In
// fewer, it may be a change that the announcements have not caught up with, or a
// fault that HAProxy's health checks are about to find.
type Claim struct {
	held, idle         float64    // what is left of distrust after a second in which the claim held, or nothing was claimed
	seconds, want, got float64    // not judged yet
	quiet              float64    // seconds since there was anything to judge
	seen               [2]float64 // the evidence before
	distrust           float64
}

const (
	// tolerated is the fraction that a claim may fall short by: rates are
	// estimates, and functions fail, too.
	tolerated = 0.1
	// shortest is how many seconds it takes for evidence.
	shortest = 1
	// mostDistrust leaves a claim a trial, so that trust can come back.
	mostDistrust = 0.99
	// slowly makes distrust in a spare outlast 17 s of honest service, very slowly
	// that in a surplus 76 s without one: claims may come and go.
	slowly, verySlowly = 0.8, 0.95
	// outdated is after how many seconds without a claim the evidence before says
	// nothing about what comes.
	outdated = 60
	// forgotten is the distrust that is as good as none.
	forgotten = 0.02
)

// SpareClaim is that a peer has spare, believed. Distrust in it outlasts a few
// seconds of honesty.
func SpareClaim() Claim { return Claim{held: slowly, idle: 1} }

// SurplusClaim is that a peer has surplus, believed. Distrust in it ends as soon
// as it is used, of which half is enough.
func SurplusClaim() Claim { return Claim{held: 0, idle: verySlowly} }

// Distrust is the fraction of the claim that is disbelieved, 0 to 1.
func (c *Claim) Distrust() float64 { return c.distrust }

// Outdated reports whether there has been nothing to judge for so long that nothing
// is known any more but the distrust.
func (c *Claim) Outdated() bool { return c.quiet > outdated }

// Observe takes in how many requests there should have been in so many seconds
// if the claim were true, and how many there were.
func (c *Claim) Observe(seconds, want, got float64) {
	if want == 0 {
		c.set(c.distrust * math.Pow(c.idle, seconds))
		if c.quiet += seconds; c.quiet > outdated {
			c.seconds, c.want, c.got, c.seen = 0, 0, 0, [2]float64{}
		}
		return
	}
	c.quiet = 0
	c.seconds, c.want, c.got = c.seconds+seconds, c.want+want, c.got+got
	if c.seconds < shortest || c.want < Enough {
		return
	}
	evidence := 0.0
	if c.got < c.want*(1-tolerated) {
		evidence = min(mostDistrust, 1-c.got/c.want)
	}
	raised := evidence
	if c.distrust == 0 {
		raised = min(evidence, c.seen[0], c.seen[1])
	}
	c.set(max(raised, c.distrust*c.held))
	c.seen = [2]float64{evidence, c.seen[0]}
	c.seconds, c.want, c.got = 0, 0, 0
}

func (c *Claim) set(distrust float64) {
	if distrust < forgotten {
		distrust = 0
	}
	c.distrust = distrust
}

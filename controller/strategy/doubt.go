package strategy

// What a node sees of its peers, period by period, becomes doubt in their
// claims. Doubt needs the same evidence in several periods in a row: in one, it
// may be a change that the announcements have not caught up with.

const (
	// tolerated is the fraction of requests that a peer may leave unserved
	// without any doubt: rates are estimates, and functions fail, too.
	tolerated = 0.1
	// enough is how many requests it takes to judge a peer.
	enough = 5
	// mostDistrust leaves a peer some of our surplus to prove itself with.
	mostDistrust = 0.98
	// forgiveness is what is left of distrust after a period of good service.
	forgiveness = 0.8
	// forgotten is the distrust that is as good as none.
	forgotten = 0.02
	// leastClaim is the claim, in requests/s, that can be told from none.
	leastClaim = 1
)

// Distrust is how far a peer's spare is disbelieved: quick to rise, slow to fall.
// The zero value knows nothing of the peer.
type Distrust struct {
	served, failed float64    // not judged yet
	evidence       [2]float64 // of the two periods before
	value          float64
}

// Value is the fraction of the peer's spare that is disbelieved, 0 to 1.
func (d *Distrust) Value() float64 { return d.value }

// Observe takes in how many of a period's requests to the peer were served and
// how many were not. reference is the fraction that this node itself serves of
// what it takes on, 0 to 1: functions that fail here are no lie of the peer's.
func (d *Distrust) Observe(served, failed, reference float64) {
	d.served += served
	d.failed += failed
	all := d.served + d.failed
	if all < enough {
		return
	}
	evidence := 0.0
	if expected := all * reference; d.served < expected*(1-tolerated) {
		evidence = 1 - d.served/expected
	}
	d.value = max(min(evidence, d.evidence[0], d.evidence[1], mostDistrust), d.value*forgiveness)
	if d.value < forgotten {
		d.value = 0
	}
	d.evidence[0], d.evidence[1] = evidence, d.evidence[0]
	d.served, d.failed = 0, 0
}

// Unused is how far a peer's claim of our spare is disbelieved. It falls at once
// when the claim is used. The zero value knows nothing of the peer.
type Unused struct{ evidence, value float64 }

// Value is the fraction of the peer's surplus that is disbelieved, 0 to 1.
func (u *Unused) Value() float64 { return u.value }

// Observe takes in what the peer should have sent in a period if its claim were
// true, and what it sent, served or not, both in requests/s. Half of the claim
// is enough.
func (u *Unused) Observe(expected, sent float64) {
	if expected < leastClaim {
		return
	}
	evidence := max(0, 1-2*sent/expected)
	u.value = min(evidence, u.evidence)
	u.evidence = evidence
}

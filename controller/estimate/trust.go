package estimate

import "time"

// MaxClaims is how many peers, and how many of their claims, are remembered
// unless NewTrust is told otherwise. Members that leave are remembered, too: they
// may come back.
const MaxClaims = 10_000

// leastReference is the part that a peer has to serve even if this node's own
// gateway fails more. Or else a liar could have bad calls made here, and so
// refuse what it is sent without being seen. If all fail alike, all are
// distrusted alike, which changes nothing.
const leastReference = 0.8

// Answers is what became of requests to a server, as HAProxy counts them.
//
// A peer's answers are told apart by the mark that HAProxy puts to errors of the
// function: those may be its user's doing, and count as served. A refusal without
// the mark, a broken answer or none is a request not served, and is held against
// what this node's own gateway makes of its requests, whatever is to blame there. A
// liar could mark what it refuses; it could as well answer 200.
type Answers struct{ Served, Lost int64 }

// since is what was counted since before; all, if the server is a new one.
func (a Answers) since(before Answers) Answers {
	if a.Served < before.Served || a.Lost < before.Lost {
		return a
	}
	return Answers{a.Served - before.Served, a.Lost - before.Lost}
}

// good is the fraction served, 1 if there was nothing to serve.
func (a Answers) good() float64 {
	if a.Served+a.Lost == 0 {
		return 1
	}
	return float64(a.Served) / float64(a.Served+a.Lost)
}

// claimed is one peer's claim of one function.
type claimed struct{ peer, function string }

// Trust is how far a node believes its peers' claims, by what it has seen of
// them.
type Trust struct {
	most    int
	changes uint64
	unused  int               // surplus claims that are not wholly believed
	spare   map[string]*Claim // by peer id
	surplus map[claimed]*Claim

	expected map[claimed]float64 // requests in this period, if the claims are true
	judged   time.Time           // when answers were judged last
	answers  map[string]Answers
	gateway  Answers
}

// NewTrust returns trust in everybody. It remembers at most that many claims; 0
// means MaxClaims.
func NewTrust(now time.Time, most int) *Trust {
	if most == 0 {
		most = MaxClaims
	}
	return &Trust{
		most: most, spare: make(map[string]*Claim), surplus: make(map[claimed]*Claim),
		expected: make(map[claimed]float64), judged: now,
	}
}

// Expect notes how many requests for a function the peer had to send in this
// period, if it has the surplus that it claims.
func (t *Trust) Expect(peer, function string, requests float64) {
	if requests > 0 && len(t.expected) < t.most {
		t.expected[claimed{peer, function}] += requests
	}
}

// JudgeUse ends a period of so many seconds in which peers asked for what they
// did, requests/s. Without any seconds nobody has counted, and so nothing was
// seen.
func (t *Trust) JudgeUse(last map[string]FunctionRates, seconds float64) {
	defer clear(t.expected)
	if seconds == 0 {
		return
	}
	for c := range t.expected {
		if t.surplus[c] == nil {
			forgetSome(t.surplus, t.most)
			claim := SurplusClaim()
			t.surplus[c] = &claim
		}
	}
	for c, claim := range t.surplus {
		// Half of the claim is enough to be believed.
		t.observe(claim, seconds, t.expected[c], 2*last[c.function].Asked[c.peer]*seconds)
		if t.expected[c] == 0 && claim.Distrust() == 0 {
			delete(t.surplus, c)
		}
	}
	t.countUnused()
}

// JudgeAnswers ends a period for which HAProxy has these counters, of the peers'
// servers and of this node's gateway; peers is nil if it does not answer.
func (t *Trust) JudgeAnswers(now time.Time, peers map[string]Answers, gateway Answers) {
	if peers == nil {
		return
	}
	seconds, reference := now.Sub(t.judged).Seconds(), max(leastReference, gateway.since(t.gateway).good())
	served := make(map[string]Answers)
	for id, total := range peers {
		got := total.since(t.answers[id])
		if t.answers == nil || got == (Answers{}) {
			continue
		}
		served[id] = got
		if t.spare[id] == nil {
			forgetSome(t.spare, t.most)
			claim := SpareClaim()
			t.spare[id] = &claim
		}
	}
	for id, claim := range t.spare {
		got := served[id]
		t.observe(claim, seconds, float64(got.Served+got.Lost)*reference, float64(got.Served))
	}
	t.answers, t.gateway, t.judged = peers, gateway, now
}

func (t *Trust) observe(c *Claim, seconds, want, got float64) {
	before := c.Distrust()
	if c.Observe(seconds, want, got); c.Distrust() != before {
		t.changes++
	}
}

// countUnused notes how many surplus claims are not wholly believed: mostly none.
func (t *Trust) countUnused() {
	t.unused = 0
	for _, claim := range t.surplus {
		if claim.Distrust() > 0 {
			t.unused++
		}
	}
}

// Judgements is a number that changes whenever anybody is believed more or less
// than before.
func (t *Trust) Judgements() uint64 { return t.changes }

// Distrust is how far the peer's spare is disbelieved, 0 to 1.
func (t *Trust) Distrust(peer string) float64 {
	if claim := t.spare[peer]; claim != nil {
		return claim.Distrust()
	}
	return 0
}

// AnyUnused reports whether Unused is other than 0 for anybody.
func (t *Trust) AnyUnused() bool { return t.unused > 0 }

// Unused is how far the peer's surplus of a function is disbelieved, 0 to 1.
func (t *Trust) Unused(peer, function string) float64 {
	if t.unused == 0 {
		return 0
	}
	if claim := t.surplus[claimed{peer, function}]; claim != nil {
		return claim.Distrust()
	}
	return 0
}

// forgetSome makes room for one more in a map that is full.
func forgetSome[K comparable, V any](m map[K]V, most int) {
	for key := range m {
		if len(m) < most {
			return
		}
		delete(m, key)
	}
}

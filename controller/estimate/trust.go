package estimate

import (
	"maps"
	"time"
)

// MaxClaims is how many peers, and how many of their claims, are remembered
// unless NewTrust is told otherwise. Members that leave are remembered, too: they
// may come back.
const MaxClaims = 10_000

const (
	// leastReference is the part that a peer has to serve even if this node's own
	// gateway fails more. Or else a liar could have bad calls made here, and so
	// refuse what it is sent without being seen. If all fail alike, all are
	// distrusted alike, which changes nothing.
	leastReference = 0.8
	// slow is for how long a peer that has answered a call of a function is taken for
	// slow, and not for silent, when callers of the function leave.
	slow = 10 * time.Second
)

// Offered is a function as one peer has it; Async: the queue for its calls.
type Offered struct {
	Peer, Function string
	Async          bool
}

// Answers is what became of requests to a server, as HAProxy counts them.
//
// A peer's answers are told apart by the mark that HAProxy puts to errors of the
// function: those may be its user's doing, and count as served. A refusal without
// the mark, a broken answer or none is a request not served, and is held against
// what this node's own gateway makes of its requests, whatever is to blame there. A
// liar could mark what it refuses; it could as well answer 200.
//
// Left are requests whose callers left after a while without an answer. Users may
// leave whenever they like; so these count as not served only where nobody gets an
// answer.
type Answers struct{ Served, Lost, Left int64 }

// since is what was counted since before; all, if the server is a new one.
func (a Answers) since(before Answers) Answers {
	if a.Served < before.Served || a.Lost < before.Lost || a.Left < before.Left {
		return a
	}
	return Answers{a.Served - before.Served, a.Lost - before.Lost, a.Left - before.Left}
}

// Plus is both together.
func (a Answers) Plus(b Answers) Answers {
	return Answers{a.Served + b.Served, a.Lost + b.Lost, a.Left + b.Left}
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

// spare is a peer's claim that it has room for a function.
type spare struct {
	Claim
	answered time.Time // a call, last; zero: never
	fresh    Answers   // in this period
}

// Trust is how far a node believes its peers' claims, by what it has seen of
// them.
type Trust struct {
	most     int
	changes  uint64
	unused   int // surplus claims that are not wholly believed
	unserved int // spare claims that are not wholly believed
	spare    map[Offered]*spare
	whole    map[string]*Claim // by peer: that it serves anything at all
	surplus  map[claimed]*Claim

	expected map[claimed]float64 // requests in this period, if the claims are true
	judged   time.Time           // when answers were judged last
	answers  map[Offered]Answers
	totals   map[string]Answers // by peer
	gateway  Answers
}

// NewTrust returns trust in everybody. It remembers at most that many claims; 0
// means MaxClaims.
func NewTrust(now time.Time, most int) *Trust {
	if most == 0 {
		most = MaxClaims
	}
	return &Trust{
		most: most, spare: make(map[Offered]*spare), whole: make(map[string]*Claim), surplus: make(map[claimed]*Claim),
		expected: make(map[claimed]float64), totals: make(map[string]Answers), judged: now,
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
	t.unused = 0
	for _, claim := range t.surplus {
		if claim.Distrust() > 0 {
			t.unused++
		}
	}
}

// JudgeAnswers ends a period for which HAProxy has these counters, of what peers were
// sent and of this node's gateway; sent is nil if it does not answer. From then on it
// is the trust's.
//
// A function that a peer leaves unserved counts for that function. For the peer as a
// whole counts only that it has served nothing at all, of more than one function:
// nobody reaches it, or it refuses everybody, or is silent.
func (t *Trust) JudgeAnswers(now time.Time, sent map[Offered]Answers, gateway Answers) {
	if sent == nil {
		return
	}
	seconds, reference := now.Sub(t.judged).Seconds(), max(leastReference, gateway.since(t.gateway).good())
	peers, totals := make(map[string]*period), maps.Clone(t.totals)
	for o, total := range sent {
		got := total.since(t.answers[o])
		if t.answers == nil || got == (Answers{}) {
			continue
		}
		s := t.spare[o]
		if s == nil {
			forgetSome(t.spare, t.most)
			s = &spare{Claim: SpareClaim()}
			t.spare[o] = s
		}
		if got.Served > 0 {
			s.answered = now
		}
		forgetSome(totals, t.most)
		totals[o.Peer] = totals[o.Peer].Plus(got)
		lost := got.Lost
		if now.Sub(s.answered) > slow {
			lost += got.Left
		}
		s.fresh = Answers{Served: got.Served, Lost: lost}
		p := peers[o.Peer]
		if p == nil {
			p = new(period)
			peers[o.Peer] = p
		}
		p.add(s.fresh)
	}
	t.judgeSpare(seconds, reference)
	t.judgeWhole(seconds, peers)
	t.answers, t.totals, t.gateway, t.judged = sent, totals, gateway, now
}

// period is what became of all calls to a peer.
type period struct {
	Answers
	functions int
}

func (p *period) add(a Answers) {
	if a != (Answers{}) {
		p.Served, p.Lost, p.functions = p.Served+a.Served, p.Lost+a.Lost, p.functions+1
	}
}

func (t *Trust) judgeSpare(seconds, reference float64) {
	t.unserved = 0
	for o, s := range t.spare {
		a := s.fresh
		s.fresh = Answers{}
		t.observe(&s.Claim, seconds, float64(a.Served+a.Lost)*reference, float64(a.Served))
		switch {
		case s.Distrust() > 0:
			t.unserved++
		case s.Outdated():
			delete(t.spare, o)
		}
	}
}

func (t *Trust) judgeWhole(seconds float64, peers map[string]*period) {
	for id, p := range peers {
		if t.whole[id] == nil && p.Served == 0 && p.functions > 1 {
			forgetSome(t.whole, t.most)
			claim := SpareClaim()
			t.whole[id] = &claim
		}
	}
	for id, claim := range t.whole {
		switch p := peers[id]; {
		case p == nil || p.Served == 0 && p.functions == 1: // that says nothing of the whole
			t.observe(claim, seconds, 0, 0)
		case p.Served > 0:
			t.observe(claim, seconds, float64(p.Served), float64(p.Served))
		default:
			t.observe(claim, seconds, float64(p.Lost), 0)
		}
		if claim.Distrust() == 0 && claim.Outdated() {
			delete(t.whole, id)
		}
	}
}

func (t *Trust) observe(c *Claim, seconds, want, got float64) {
	before := c.Distrust()
	if c.Observe(seconds, want, got); c.Distrust() != before {
		t.changes++
	}
}

// Judgements is a number that changes whenever anybody is believed more or less
// than before.
func (t *Trust) Judgements() uint64 { return t.changes }

// Answers is what became of all calls to each peer since the first judgement. It is not
// changed any more.
func (t *Trust) Answers() map[string]Answers { return t.totals }

// Distrust is how far the peer is disbelieved to have any spare, 0 to 1.
func (t *Trust) Distrust(peer string) float64 {
	if claim := t.whole[peer]; claim != nil {
		return claim.Distrust()
	}
	return 0
}

// AnyUnserved reports whether Unserved is other than 0 for anything.
func (t *Trust) AnyUnserved() bool { return t.unserved > 0 }

// Unserved is how far the peer's spare of a function is disbelieved, 0 to 1, by what
// became of the calls of that function. Distrust of the peer comes on top.
func (t *Trust) Unserved(o Offered) float64 {
	if t.unserved == 0 {
		return 0
	}
	if s := t.spare[o]; s != nil {
		return s.Distrust()
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

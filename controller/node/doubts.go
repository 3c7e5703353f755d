package node

import (
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/haproxy"
)

// maxDoubts bounds how many peers, and how many of their claims, are remembered.
// Members that leave are remembered, too: they may come back.
const maxDoubts = 10_000

// leastReference is the part that a peer has to serve even if this node's own
// gateway fails more. Or else a liar could have bad calls made here, and so
// refuse what it is sent without being seen. If all fail alike, all are doubted
// alike, which changes nothing.
const leastReference = 0.8

// answers is what became of requests to a server, as HAProxy counts them.
//
// HAProxy counts answers per server by class of status only. Among 4xx, it cannot
// tell a peer's 429 from a function's own 404, nor could it be trusted to: a liar
// would answer 404. So every answer but 1xx to 3xx is a request not served, and
// is held against what this node's own gateway makes of its requests. A function
// that fails at a peer only is then taken for a refusal. That does no harm: such
// a peer gets less where others have room, and the same where they have none.
type answers struct{ served, lost int64 }

func answersOf(s haproxy.Server) answers { return answers{s.Good, s.Lost} }

func (a answers) plus(b answers) answers { return answers{a.served + b.served, a.lost + b.lost} }

// since is what was counted since before; all, if the server is a new one.
func (a answers) since(before answers) answers {
	if a.served < before.served || a.lost < before.lost {
		return a
	}
	return answers{a.served - before.served, a.lost - before.lost}
}

// good is the fraction served, 1 if there was nothing to serve.
func (a answers) good() float64 {
	if a.served+a.lost == 0 {
		return 1
	}
	return float64(a.served) / float64(a.served+a.lost)
}

// claim is one peer's of one function.
type claim struct{ peer, function string }

// doubts is what this node has seen of its peers' claims, and so how far it
// believes them. It is owned by one goroutine.
type doubts struct {
	distrust map[string]*strategy.Doubt // by peer id
	unused   map[claim]*strategy.Doubt

	expected map[claim]float64 // requests in this period, if the claims are true
	judged   time.Time         // when answers were judged last
	answers  map[string]answers
	gateway  answers
}

func newDoubts(now time.Time) *doubts {
	return &doubts{
		distrust: make(map[string]*strategy.Doubt), unused: make(map[claim]*strategy.Doubt),
		expected: make(map[claim]float64), judged: now,
	}
}

// expect notes what peers had to send while the plan was in use, if they have the
// surplus that they claim.
func (d *doubts) expect(p strategy.Plan, seconds float64) {
	for _, f := range p.Functions {
		for _, in := range f.In {
			if in.Weight > 0 && len(d.expected) < maxDoubts {
				d.expected[claim{in.Peer, f.Name}] += in.Weight * seconds
			}
		}
	}
}

// judgeUse ends a period of so many seconds in which peers sent what they did.
// Without any seconds nobody has counted, and so nothing was seen.
func (d *doubts) judgeUse(last map[string]functionRates, seconds float64) {
	expected := d.expected
	d.expected = make(map[claim]float64, len(expected))
	if seconds == 0 {
		return
	}
	for c := range expected {
		if d.unused[c] == nil {
			forgetSome(d.unused)
			unused := strategy.NewUnused()
			d.unused[c] = &unused
		}
	}
	for c, unused := range d.unused {
		// Half of the claim is enough to be believed.
		unused.Observe(seconds, expected[c], 2*last[c.function].asked[c.peer]*seconds)
		if expected[c] == 0 && unused.Value() == 0 {
			delete(d.unused, c)
		}
	}
}

// judgeAnswers ends a period for which HAProxy has these counters.
func (d *doubts) judgeAnswers(now time.Time, peers map[string]answers, gateway answers) {
	if peers == nil {
		return // HAProxy does not answer
	}
	seconds, reference := now.Sub(d.judged).Seconds(), max(leastReference, gateway.since(d.gateway).good())
	served := make(map[string]answers)
	for id, total := range peers {
		got := total.since(d.answers[id])
		if d.answers == nil || got == (answers{}) {
			continue
		}
		served[id] = got
		if d.distrust[id] == nil {
			forgetSome(d.distrust)
			distrust := strategy.NewDistrust()
			d.distrust[id] = &distrust
		}
	}
	for id, distrust := range d.distrust {
		got := served[id]
		distrust.Observe(seconds, float64(got.served+got.lost)*reference, float64(got.served))
	}
	d.answers, d.gateway, d.judged = peers, gateway, now
}

// about puts what is doubted of a peer into what the strategy sees of it.
func (d *doubts) about(p *strategy.Peer) {
	if distrust := d.distrust[p.ID]; distrust != nil {
		p.Distrust = distrust.Value()
	}
	for _, o := range p.Offers {
		if unused := d.unused[claim{p.ID, o.Name}]; unused != nil && unused.Value() > 0 {
			if p.Unused == nil {
				p.Unused = make(map[string]float64)
			}
			p.Unused[o.Name] = unused.Value()
		}
	}
}

// forgetSome makes room for one more in a map that is full.
func forgetSome[K comparable, V any](m map[K]V) {
	for key := range m {
		if len(m) < maxDoubts {
			return
		}
		delete(m, key)
	}
}

package node

import (
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/haproxy"
)

const (
	// maxDoubts bounds how many peers, and how many functions of a peer, are
	// remembered.
	maxDoubts = 2048
	// pardonEvery is how often the failures of a peer that was down and is up
	// again are forgotten at most. A fault must not be punished after its end,
	// but nor may being down for a moment be a way to lie again.
	pardonEvery = time.Minute
)

// answers counts what became of the requests to a server of HAProxy's.
type answers struct{ served, failed int64 }

func answersOf(s haproxy.Server) answers { return answers{s.Good, s.Bad + s.Errors} }

// since returns what came after; all of it if the server is another than before.
func (a answers) since(before answers) answers {
	if a.served < before.served || a.failed < before.failed {
		return a
	}
	return answers{a.served - before.served, a.failed - before.failed}
}

// doubts is how far peers' claims are disbelieved, from what HAProxy has
// counted of what they were sent, and the SPOA of what they sent. It is owned by
// one goroutine. Peers that leave are remembered, lest a liar start anew by
// leaving.
type doubts struct {
	answers  map[string]answers // as of the last look, by peer id
	gateway  answers
	distrust map[string]*strategy.Distrust          // by peer id
	unused   map[string]map[string]*strategy.Unused // by peer id and function
	pardoned map[string]time.Time                   // by peer id
}

func newDoubts() *doubts {
	return &doubts{
		distrust: make(map[string]*strategy.Distrust), unused: make(map[string]map[string]*strategy.Unused),
		pardoned: make(map[string]time.Time),
	}
}

// pardon forgets the failures of a peer whose server is up again.
func (d *doubts) pardon(now time.Time, id string) {
	if before, ever := d.pardoned[id]; d.distrust[id] == nil || ever && now.Sub(before) < pardonEvery {
		return
	}
	forgetSome(d.pardoned)
	d.pardoned[id] = now
	delete(d.distrust, id)
}

// observeAnswers takes in HAProxy's counters at the end of a period.
func (d *doubts) observeAnswers(peers map[string]answers, gateway answers) {
	if peers == nil {
		return // HAProxy does not answer
	}
	reference := 1.0
	if own := gateway.since(d.gateway); own.served+own.failed > 0 {
		reference = float64(own.served) / float64(own.served+own.failed)
	}
	for id, now := range peers {
		got := now.since(d.answers[id])
		if d.answers == nil || got == (answers{}) {
			continue
		}
		if d.distrust[id] == nil {
			forgetSome(d.distrust)
			d.distrust[id] = new(strategy.Distrust)
		}
		d.distrust[id].Observe(float64(got.served), float64(got.failed), reference)
	}
	d.answers, d.gateway = peers, gateway
}

// observeClaims takes in what peers asked for in the period that the plan was
// for.
func (d *doubts) observeClaims(p strategy.Plan, last map[string]functionRates) {
	for _, f := range p.Functions {
		for _, in := range f.In {
			if in.Weight == 0 {
				continue
			}
			of := d.unused[in.Peer]
			if of == nil {
				of = make(map[string]*strategy.Unused)
				forgetSome(d.unused)
				d.unused[in.Peer] = of
			}
			if of[f.Name] == nil {
				forgetSome(of)
				of[f.Name] = new(strategy.Unused)
			}
			of[f.Name].Observe(in.Weight, last[f.Name].asked[in.Peer])
		}
	}
}

// about puts what is doubted of a peer into what the strategy sees of it.
func (d *doubts) about(p *strategy.Peer) {
	if distrust := d.distrust[p.ID]; distrust != nil {
		p.Distrust = distrust.Value()
	}
	for function, u := range d.unused[p.ID] {
		if u.Value() == 0 {
			continue
		}
		if p.Unused == nil {
			p.Unused = make(map[string]float64)
		}
		p.Unused[function] = u.Value()
	}
}

// forgetSome makes room for one more in a map that is full.
func forgetSome[V any](m map[string]V) {
	for key := range m {
		if len(m) < maxDoubts {
			return
		}
		delete(m, key)
	}
}

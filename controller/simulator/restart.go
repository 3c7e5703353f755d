package simulator

import (
	"errors"
	"time"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// errDead is what a core hears of a part that was killed or hangs.
var errDead = errors.New("it does not answer")

// meter is what reading the SPOA's meter shows.
func (p *production) meter(at time.Time) core.Metered {
	if p.world.silent(p.self, spoaPart) {
		return core.Metered{Err: errDead}
	}
	report := p.router.Report(at)
	return core.Metered{Report: &report}
}

// swap gives the SPOA a table.
func (p *production) swap(t *table.Table, at time.Time) error {
	if p.world.silent(p.self, spoaPart) {
		return errDead
	}
	valid, err := p.valid, error(nil)
	if valid.Table == nil {
		valid, err = t.Validate(table.Limits{Peers: maxNodes, Forwards: maxNodes * maxFunctions})
	} else {
		valid, err = t.ValidateAfter(valid)
	}
	if err == nil {
		p.valid = valid
		p.router.Swap(valid, at)
		p.noteNodes()
	}
	return err
}

// checked tells the core which of its servers HAProxy has found to be up.
func (p *production) checked(now time.Duration) {
	servers := make(map[string]core.Server, len(p.servers))
	for _, s := range p.servers {
		servers[s.ID.String()] = core.Server{Up: p.world.healthy(p.self, p.world.index[s.ID])}
	}
	p.step(now, core.HAProxy{Servers: servers})
	if p.world.afflictions == nil {
		return
	}
	for range looks { // one in vain is not believed
		p.step(now, p.gateway())
	}
}

// looks at a gateway are made while HAProxy notices that a server is down.
const looks = 2

// killed notes that parts have died. What a controller or an SPOA knew dies with it
// when it starts anew.
func (p *production) killed(now time.Duration, dead parts) {
	if dead&spoaPart != 0 {
		p.heard.peer = -1
	}
}

// restarted starts parts anew that were dead or have just been ended.
func (p *production) restarted(now time.Duration, anew, wereDead parts) {
	if anew&^wereDead&controllerPart != 0 {
		p.step(now, core.Leave{}) // it was there, and is asked to stop
	}
	if anew&spoaPart != 0 {
		p.router = route.NewRouter(meter.New(epoch.Add(now)))
		p.heard.peer = -1
	}
	switch {
	case anew&controllerPart != 0:
		p.start(now)
	case anew&providerPart != 0 && !p.world.silent(p.self, controllerPart):
		p.step(now, p.gateway())
	}
}

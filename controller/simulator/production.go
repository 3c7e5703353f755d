package simulator

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// epoch is the wall clock at virtual time 0.
var epoch = time.Unix(1_700_000_000, 0)

// network is where all simulated nodes have their addresses.
var network = netip.MustParsePrefix("10.0.0.0/8")

// address is that of a node's HAProxy.
func address(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 8180)
}

// peerID is a node's id, which looks like any other to what checks it.
func peerID(n int) peerid.ID {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(n)+1)
	return peerid.FromKey(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

// tokens are not checked here: a simulator knows who calls.
type tokens struct{}

func (tokens) Token(time.Time, peerid.ID) (string, error) { return "simulated", nil }

// production is a node that runs what nodes run: the controller's core and the
// SPOA's decision. Between them, and between nodes, stands nothing but the world.
type production struct {
	world  *world
	self   int
	rule   strategy.Strategy
	core   *core.Core
	router *route.Router
	valid  table.Valid  // the SPOA's table
	peers  []table.Peer // of that, which nodes is of
	nodes  []int32      // by place in the table: which node a peer is
	// heard is the latest answer of a peer, of which HAProxy tells the SPOA with its
	// next question; peer is -1 where there is none to tell.
	heard answer
	told  *wire.Announcement // by feeds, last; nil: nothing
	// servers are those that HAProxy was asked for last.
	servers []core.Peer
}

func newProduction(w *world, self int) (node, error) {
	rule, err := strategy.New(w.specs[self].name)
	if err != nil {
		return nil, err
	}
	return newProductionBy(rule, w, self), nil
}

func newProductionBy(rule strategy.Strategy, w *world, self int) *production {
	// Nodes do not start in step.
	start := time.Duration(float64(core.TickOf(w.specs[self].period)) * float64(self) / float64(len(w.capacity)))
	p := &production{world: w, self: self, rule: rule, router: route.NewRouter(meter.New(epoch)), heard: answer{peer: -1}}
	p.start(start)
	return p
}

// start starts the controller.
func (p *production) start(now time.Duration) {
	w, self := p.world, p.self
	p.servers, p.told = nil, nil
	p.core = core.New(core.Options{
		Self: w.ids[self], Strategy: p.rule, Period: w.specs[self].period, HTTP: address(self), Seed: w.config.Seed<<16 ^ uint64(self),
		Members:    membership.New(membership.Options{Self: w.ids[self], Allowed: []netip.Prefix{network}, MaxMembers: maxNodes}),
		Neighbours: w.neighbourIDs(self),
		Tokens:     tokens{}, Limits: core.Limits{Peers: maxNodes, Routes: maxNodes * maxFunctions},
	}, epoch.Add(now))
	p.step(now, p.gateway())
}

// neighbourIDs are the ids of those to whom a node may forward, nil where whoever it hears
// of is one.
func (w *world) neighbourIDs(n int) map[peerid.ID]bool {
	if w.reach == nil {
		return nil
	}
	ids := make(map[peerid.ID]bool)
	w.neighbours(n, func(other int) { ids[w.ids[other]] = true })
	return ids
}

// gateway is what a look at the node's gateway shows.
func (p *production) gateway() core.Gateway {
	w, self := p.world, p.self
	if w.silent(self, providerPart) {
		return core.Gateway{Err: errDead}
	}
	var functions []core.Function
	for f, name := range w.names {
		if capacity := w.capacity[self][f]; capacity > 0 {
			functions = append(functions, core.Function{Name: name, Capacity: limit.NearestRate(capacity).Bound(), Soft: w.soft[self][f]})
		}
	}
	return core.Gateway{Functions: functions}
}

// step tells the core what has happened and does what it asks for.
func (p *production) step(now time.Duration, e core.Event) {
	at := epoch.Add(now)
	fx := p.core.Step(at, e)
	if fx.ReadMeter {
		p.step(now, p.meter(at))
	}
	if fx.Table != nil {
		p.step(now, core.TablePut{Err: p.swap(fx.Table, at)})
	}
	if fx.Servers != nil {
		p.servers = fx.Servers
		p.checked(now)
	}
	if fx.Announce != nil {
		p.step(now, p.announce(fx.Announce, fx.Everybody))
	}
}

// announce tells others by feeds, of which all have heard the same before, and by gossip.
func (p *production) announce(a *wire.Announcement, everybody bool) core.Announced {
	next, left, err := wire.Fit(*a)
	if err != nil {
		return core.Announced{Left: left, Err: err}
	}
	frames, err := wire.AppendFeed(nil, p.told, &next)
	if err != nil {
		return core.Announced{Left: left, Err: err}
	}
	bytes := len(frames) + feedOverhead
	if everybody {
		messages, _, err := wire.Split(next)
		if err != nil {
			return core.Announced{Left: left, Err: err}
		}
		for _, m := range messages {
			bytes += len(m) + gossipOverhead
		}
	}
	p.told = &next
	p.world.announce(p.self, &next, bytes)
	return core.Announced{Left: left}
}

func (p *production) due() time.Duration { return p.core.Next().Sub(epoch) }

func (p *production) wake(now time.Duration) { p.step(now, core.Tick{}) }

func (p *production) hear(now time.Duration, from int, a *wire.Announcement) {
	p.step(now, core.Heard{From: p.world.ids[from], Announcement: *a, Via: membership.Via{Direct: true}})
}

func (p *production) user(now time.Duration, fn int) decision {
	s := p.router.Fresh(epoch.Add(now))
	if s == nil {
		return decision{verdict: serve} // nobody says otherwise: fail open
	}
	if p.heard.peer >= 0 {
		s.Heard(epoch.Add(now), p.heard.mark, int32(p.heard.room), !p.heard.served)
		p.heard.peer = -1
	}
	return p.decisionOf(p.admit(s, now, fn, route.Caller{}, route.Call{}))
}

// admit asks the SPOA what becomes of a call.
func (p *production) admit(s *route.Snapshot, now time.Duration, fn int, from route.Caller, c route.Call) route.Decision {
	return s.AdmitNear(p.world.ranks[fn], epoch.Add(now), from, p.world.names[fn].String(), c)
}

func (p *production) decisionOf(d route.Decision) decision {
	switch d.Action {
	case route.Local:
		return decision{verdict: serve}
	case route.Peer:
		return decision{verdict: forward, peer: int(p.nodes[d.Place]), mark: d.Mark, status: int16(d.Status)}
	}
	return decision{status: int16(d.Status)}
}

// again is asked by HAProxy about calls with a mark only.
func (p *production) again(now time.Duration, fn, question int, mark int32) (decision, bool) {
	s := p.router.Fresh(epoch.Add(now))
	if s == nil || mark == 0 {
		return decision{}, false
	}
	if question > route.MaxQuestions {
		p.heard = answer{mark: mark}
		return decision{}, false
	}
	return p.decisionOf(p.admit(s, now, fn, route.Caller{}, route.Call{Question: question, Mark: mark})), true
}

func (p *production) elsewhere(now time.Duration, fn, question int) decision {
	s := p.router.Fresh(epoch.Add(now))
	if s == nil || question > route.MaxQuestions {
		return decision{verdict: serve}
	}
	return p.decisionOf(p.admit(s, now, fn, route.Caller{}, route.Call{Question: question}))
}

func (p *production) peer(now time.Duration, fn, from int) (bool, int) {
	s := p.router.Fresh(epoch.Add(now))
	if s == nil {
		return true, untold
	}
	caller, known := p.caller(s, from)
	if !known {
		return false, untold
	}
	d := p.admit(s, now, fn, caller, route.Call{})
	room := untold
	if d.TellRoom {
		room = int(d.Room)
	}
	return d.Action == route.Local, room
}

// caller is a node as the snapshot knows it.
func (p *production) caller(s *route.Snapshot, from int) (route.Caller, bool) {
	if len(p.nodes) > fewPeers {
		return s.Peer(p.world.ids[from].String())
	}
	if place := slices.Index(p.nodes, int32(from)); place >= 0 {
		return s.PeerAt(place), true
	}
	return route.Caller{}, false
}

// fewPeers are looked through one after the other sooner than looked up.
const fewPeers = 64

// noteNodes notes which nodes the peers of the SPOA's table are.
func (p *production) noteNodes() {
	now := p.valid.Peers
	if len(now) == len(p.peers) && (len(now) == 0 || &now[0] == &p.peers[0]) {
		return // tables share what is the same
	}
	p.peers, p.nodes = now, make([]int32, len(now))
	for i := range now {
		p.nodes[i] = int32(p.world.index[now[i].ID])
	}
}

func (p *production) answered(_ time.Duration, a answer) {
	if a.room != untold && a.served {
		p.heard = a
	}
}

// check reports a table that the SPOA did not take, which would be a fault of the
// core's.
func (p *production) check() error {
	for _, c := range p.core.View(epoch.Add(p.world.now)).Components {
		if c.Name == "spoa" && c.Err != nil {
			return fmt.Errorf("%s: %w", p.world.config.Instance.Nodes[p.self].Name, c.Err)
		}
	}
	return nil
}

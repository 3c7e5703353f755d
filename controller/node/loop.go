package node

import (
	"context"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// clockStep is how far this machine's clock has to go ahead or behind at once to
// count as set.
const clockStep = 50 * time.Millisecond

// loop steps a node's core: it tells the core what happens, and passes on what is
// to be done. It never waits for those who do it. One goroutine owns it.
type loop struct {
	node    *Node
	o       Options
	core    *core.Core
	spoa    *spoaKeeper
	haproxy *haproxyKeeper
	voice   *publisher

	wall      time.Duration // this machine's clock minus the node's time
	connected int
	unfed     int                      // members that feeds do not reach
	servers   map[string]haproxy.State // by peer id, as HAProxy said last
	limits    limits                   // as logged last
}

func newLoop(n *Node, spoa *spoaKeeper, proxy *haproxyKeeper, voice *publisher) *loop {
	now := n.now()
	l := &loop{node: n, o: n.options, spoa: spoa, haproxy: proxy, voice: voice, wall: wallOf(now)}
	l.core = core.New(core.Options{
		Self: l.o.Self, Name: l.o.Name, Strategy: l.o.Strategy, Period: l.o.Period, MaxPeerTimeout: l.o.MaxPeerTimeout, HTTP: l.o.HTTP, PeerTLS: l.o.Certificates != nil,
		DefaultNamespace: l.o.DefaultNamespace, HasBootstrap: l.o.HasBootstrap, Neighbours: l.o.Neighbours,
		Seed: l.o.Seed, Wall: l.wall, Members: l.o.Members, Tokens: l.o.Minter,
	}, now)
	return l
}

// wallOf is this machine's clock minus the node's time, which is now.
func wallOf(now time.Time) time.Duration { return time.Now().Round(0).Sub(now.Round(0)) }

// run steps the core until the context ends.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	gateway, messages := l.o.Gateway, l.o.Overlay.Messages()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-l.spoa.events:
			l.step(e)
			if put, ok := e.(core.TablePut); ok && put.Err == nil {
				l.o.Systemd.Ready()
			}
		case e := <-l.voice.events:
			l.step(e)
		case e := <-l.haproxy.events:
			if e.states != nil {
				l.servers = e.states
			}
			l.step(e.HAProxy)
		case s, open := <-gateway:
			if !open {
				gateway = nil // it ends with the context, like this loop
				continue
			}
			l.step(lookOf(s, l.o.DefaultMaxrate))
		case m, open := <-messages:
			if !open {
				messages = nil
				continue
			}
			l.step(heard(m))
		case <-timer.C:
			l.hear(messages)
			l.look()
			l.step(core.Tick{})
		}
		l.o.Systemd.Alive()
		wait := l.core.Next().Sub(l.node.now())
		if every := l.o.Systemd.Every(); every > 0 {
			wait = min(wait, every)
		}
		timer.Reset(wait)
	}
}

// hear takes in all announcements that are waiting, so that a controller that
// was stopped for a while does not take everybody for dead when it goes on.
func (l *loop) hear(messages <-chan overlay.Message) {
	for {
		select {
		case m, open := <-messages:
			if !open {
				return
			}
			l.step(heard(m))
		default:
			return
		}
	}
}

// look tells the core what nobody else tells it.
func (l *loop) look() {
	l.readClock(l.node.now())
	view := &l.node.snapshot.Load().View
	l.o.Overlay.Refuse(refusedLately(view))
	l.limits.log(l.o.Log, view)
	if unfed := l.o.Overlay.Unfed(); unfed != l.unfed {
		l.unfed = unfed
		l.step(core.Unfed{Members: unfed})
	}
	if !l.o.HasBootstrap || len(view.Alive) > 0 {
		return // whom one hears, one has reached
	}
	if connected := len(l.o.Overlay.Peers()); connected != l.connected {
		l.connected = connected
		l.step(core.Connected{Peers: connected})
	}
}

// readClock tells the core when this machine's clock was set. Whatever it is told
// next may make a table, which says by how much that clock is wrong: so it is read
// each time.
func (l *loop) readClock(now time.Time) {
	if wall := wallOf(now); (wall - l.wall).Abs() >= clockStep {
		l.wall = wall
		l.do(l.core.Step(now, core.ClockSet{Wall: wall}))
	}
}

// step tells the core what has happened, and does what it asks for.
func (l *loop) step(e core.Event) {
	now, begun := l.node.now(), time.Now()
	l.readClock(now)
	fx := l.core.Step(now, e)
	took := time.Since(begun)
	l.do(fx)
	if fx.Planned {
		l.node.metrics.planned(took)
		l.o.Log.Debug().Dur("took", took).Msg("planned")
		l.do(l.core.Step(now, core.PlanTook{Time: took}))
	}
	if shows(e, &fx) {
		l.publish(now)
	}
}

// shows reports whether the view is made anew: not for what others announce, which comes
// often, nor before a look at the meter, after which it is.
func shows(e core.Event, fx *core.Effects) bool {
	switch e.(type) {
	case core.Heard:
		return fx.Planned
	case core.Tick:
		return fx.Planned || !fx.ReadMeter
	}
	return true
}

// do passes on what is to be done.
func (l *loop) do(fx core.Effects) {
	if fx.ReadMeter {
		l.spoa.looks.put(struct{}{})
	}
	if fx.Table != nil {
		l.spoa.tables.put(fx.Table)
	}
	if fx.Servers != nil {
		l.haproxy.desired.put(serversOf(fx.Servers))
	}
	if fx.Announce != nil {
		l.node.metrics.announcements.Inc()
		l.voice.say(*fx.Announce, fx.Everybody)
	}
	for i := range fx.Logs {
		l.write(&fx.Logs[i])
	}
}

// leave returns the last effects, which the loop's helpers have no part in.
func (l *loop) leave() core.Effects {
	now := l.node.now()
	l.readClock(now)
	fx := l.core.Step(now, core.Leave{})
	l.publish(now)
	return fx
}

func heard(m overlay.Message) core.Heard {
	return core.Heard{
		From: m.From, Announcement: m.Announcement, Via: membership.Via{RemoteIPs: m.RemoteIPs, Direct: m.Direct},
	}
}

func lookOf(s faasd.Snapshot, defaultMaxrate limit.Rate) core.Gateway {
	if s.Err != nil {
		return core.Gateway{Err: explainGateway(s.Err)}
	}
	return core.Gateway{Functions: deployed(s.Functions, defaultMaxrate), Async: s.Async, Refused: s.Refused}
}

func serversOf(peers []core.Peer) []haproxy.Peer {
	servers := make([]haproxy.Peer, len(peers))
	for i, p := range peers {
		servers[i] = haproxy.Peer{ID: p.ID.String(), Address: p.Address}
	}
	return servers
}

// write logs what the core has to say. Where that is of a peer, its name is added.
func (l *loop) write(line *core.Log) {
	levels := [...]zerolog.Level{
		core.Debug: zerolog.DebugLevel, core.Info: zerolog.InfoLevel, core.Warn: zerolog.WarnLevel, core.Error: zerolog.ErrorLevel,
	}
	e := l.o.Log.WithLevel(levels[line.Level])
	if !e.Enabled() {
		return
	}
	for _, f := range line.Fields {
		switch v := f.Value.(type) {
		case string:
			e = e.Str(f.Key, v)
		case peerid.ID:
			e = e.Stringer(f.Key, v)
			if name := l.core.NameOf(v); name != "" {
				e = e.Str("peer_name", name)
			}
		case []string:
			e = e.Strs(f.Key, v)
		case error:
			e = e.AnErr(f.Key, v)
		case time.Duration:
			e = e.Stringer(f.Key, v)
		case netip.AddrPort:
			e = e.Stringer(f.Key, v)
		default:
			e = e.Interface(f.Key, v)
		}
	}
	e.Msg(line.Message)
}

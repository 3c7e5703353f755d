package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

const (
	// debounce is how long a change waits for others before a plan is made
	// for all of them together.
	debounce = 50 * time.Millisecond
	// planShare bounds the time spent on plans for changes: after a plan that
	// took d, the next change waits for planShare x d.
	planShare = 20
	// maxSettle is how long a node that starts listens before it applies
	// anything: what an earlier run left in the SPOA and in HAProxy is better
	// than what one knows before the first peer was heard.
	maxSettle = 2 * time.Second
	// maxReunion is how long a node that starts listens for the peers that the
	// SPOA knows from an earlier run. Without their rows they would be refused.
	maxReunion = 5 * time.Second
	// grace is how long a peer that is gone is still recognised and keeps its
	// server, for the requests under way.
	grace = 15 * time.Second
	// stall is how long nothing comes in only when this process stands still,
	// be it that the SPOA or the gateway hangs.
	stall = 3 * maxTick
	// lonely is how long bootstrap members may be out of reach before that is
	// shown as a fault.
	lonely = 10 * time.Second
)

// departed is a peer that is gone, within grace.
type departed struct {
	server  haproxy.Peer
	until   time.Time
	inbound map[string]float64 // what it was admitted to send
}

// loop is the state of a running node. One goroutine owns it.
type loop struct {
	node    *Node
	o       Options
	log     zerolog.Logger
	tables  mailbox[table.Table]
	desired mailbox[[]haproxy.Peer]
	outbox  mailbox[wire.Announcement]

	start      time.Time
	ran        time.Time // when something came in last
	resumed    time.Time // when something came in after the last stall
	nextPeriod time.Time
	planTimer  *time.Timer
	planSoon   bool // planTimer will fire within the debounce
	planCost   time.Duration
	speakTimer *time.Timer

	spoa, haproxy, gatewayUp, overlay *component

	report     *meter.Report // the last one read
	measured   bool          // what users ask for is known, or cannot be
	earlier    []string      // peers in the table of an earlier run
	rates      *rates
	gateway    gateway
	alive      []membership.Member // as of the last plan, sorted by id
	gone       map[string]departed
	clocks     clocks
	offset     time.Duration            // of the federation's time, as logged last
	strategies map[string]string        // of peers, to warn once of another than ours
	servers    map[string]haproxy.State // nil: never read
	answers    map[string]answers       // of the same servers; nil: not read lately
	ofGateway  answers
	doubts     *doubts
	warned     map[string]string // warning logged, by function

	plan       strategy.Plan
	planned    time.Time // when that was
	announcer  *announcer
	publishErr error        // of the last announcement
	newcomers  bool         // somebody joined who has not heard of this node
	applied    *table.Table // given to the SPOA last, nil before the first
	appliedAt  time.Time
	wanted     []haproxy.Peer // told to HAProxy's keeper last
	version    uint64         // of the last table accepted
}

func newLoop(n *Node, tables mailbox[table.Table], desired mailbox[[]haproxy.Peer], outbox mailbox[wire.Announcement],
	now time.Time,
) *loop {
	o := n.options
	return &loop{
		node: n, o: o, log: o.Log, tables: tables, desired: desired, outbox: outbox,
		start: now, ran: now, planned: now, nextPeriod: now.Add(o.Period),
		planTimer: time.NewTimer(settle(o.Period)), speakTimer: time.NewTimer(settle(o.Period)),
		spoa: newComponent("spoa", now), haproxy: newComponent("haproxy", now),
		gatewayUp: newComponent("gateway", now), overlay: newComponent("overlay", now),
		rates: newRates(o.Period), doubts: newDoubts(now), announcer: newAnnouncer(o.Period, now),
		gone: make(map[string]departed), clocks: make(clocks),
		strategies: make(map[string]string),
	}
}

// settle is how long a node that starts listens before it applies anything.
func settle(period time.Duration) time.Duration { return min(maxSettle, 2*period) }

// run observes, plans and applies until the context ends.
func (l *loop) run(ctx context.Context, spoa <-chan spoaEvent, haproxy <-chan haproxyEvent, published <-chan publishEvent) {
	defer l.planTimer.Stop()
	defer l.speakTimer.Stop()
	gateway, messages := l.o.Gateway, l.o.Overlay.Messages()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-spoa:
			l.hear(messages)
			l.onSPOA(e, time.Now())
		case e := <-haproxy:
			l.onHAProxy(e, time.Now())
		case e := <-published:
			l.onPublished(e, time.Now())
		case s, open := <-gateway:
			if !open {
				gateway = nil // it ends with the context, like this loop
				continue
			}
			l.onGateway(s, time.Now())
		case m, open := <-messages:
			if !open {
				messages = nil
				continue
			}
			l.onMessage(m, time.Now())
		case <-l.planTimer.C:
			l.replan(time.Now())
		case <-l.speakTimer.C:
			l.speak(time.Now())
		}
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
			l.onMessage(m, time.Now())
		default:
			return
		}
	}
}

// onSPOA takes in a look at the meter. It is also the loop's clock, since the
// SPOA's keeper looks every tick whether or not there is an answer: plans are
// made when the counters for them are fresh.
func (l *loop) onSPOA(e spoaEvent, now time.Time) {
	l.note(l.spoa, now, e.err)
	l.version = e.version
	l.node.metrics.tableVersion.Set(float64(e.version))
	if e.report == nil && e.err == nil {
		l.publish(now) // a table was accepted between two looks
		return
	}
	rise, before := false, l.measured
	if e.earlier != nil {
		l.earlier = e.earlier
	}
	l.measured = l.measured || e.err != nil
	if e.report != nil {
		if s, ok := difference(l.report, e.report); ok {
			l.measured = true
			rise = l.rates.add(s)
			l.report = e.report
		} else if l.report == nil || restarted(l.report, e.report) {
			l.report = e.report
		}
	}
	l.checkOverlay(now)
	gone := l.expire(now)
	switch {
	case !now.Add(tickOf(l.o.Period) / 2).Before(l.nextPeriod):
		l.doubt(now, l.rates.endPeriod())
		l.nextPeriod = later(l.nextPeriod.Add(l.o.Period), now.Add(l.o.Period/2))
		l.replan(now)
	case rise && !plansOnMeans(l.o.Strategy.Name()), gone, l.measured && !before:
		l.replan(now)
	case l.applied != nil && now.Sub(l.appliedAt) >= refresh:
		l.apply(now)
	}
	l.publish(now)
}

// doubt takes in what the period that ends has shown of the peers' claims.
// seconds is how much of it the SPOA has counted.
func (l *loop) doubt(now time.Time, seconds float64) {
	l.doubts.expect(l.plan, now.Sub(l.planned).Seconds())
	l.planned = now
	l.doubts.judgeUse(l.rates.last, seconds)
	l.doubts.judgeAnswers(now, l.answers, l.ofGateway)
}

// expire lets go of members that fell silent and reports whether there were any.
// After this process stood still, whoever seems silent is given until the next
// tick to be heard.
func (l *loop) expire(now time.Time) bool {
	l.awake(now)
	return now.Sub(l.resumed) >= tickOf(l.o.Period) && len(l.o.Members.Expire(now)) > 0
}

// awake notes that this process runs. What comes in often calls it.
func (l *loop) awake(now time.Time) {
	if now.Sub(l.ran) > stall {
		l.resumed = now
	}
	l.ran = now
}

// plansOnMeans reports whether the strategy wants the plain mean of the last whole
// period rather than an estimate of now.
func plansOnMeans(strategy string) bool { return strategy == "recalc" }

// checkOverlay notes whether announcements go out, and whether anybody can be
// reached when members are named.
func (l *loop) checkOverlay(now time.Time) {
	err := l.publishErr
	if err == nil && len(l.alive) == 0 && l.o.HasBootstrap && now.Sub(l.start) >= lonely && len(l.o.Overlay.Peers()) == 0 {
		err = errLonely
	}
	l.note(l.overlay, now, err)
}

var errLonely = errors.New("connected to nobody: none of the bootstrap members can be reached; " +
	"check their addresses, the firewall and the federation key")

// note follows a component and its metric.
func (l *loop) note(c *component, now time.Time, err error) {
	c.report(now, err, l.log)
	l.node.metrics.component(c)
}

func (l *loop) onHAProxy(e haproxyEvent, now time.Time) {
	l.note(l.haproxy, now, e.err)
	l.answers, l.ofGateway = e.answers, e.gateway
	if e.servers != nil && !maps.Equal(l.servers, e.servers) {
		l.servers = e.servers
		l.soon()
	}
	l.publish(now)
}

func (l *loop) onPublished(e publishEvent, now time.Time) {
	l.publishErr = e.err
	l.checkOverlay(now)
	if e.dropped > 0 {
		l.log.Debug().Int("dropped", e.dropped).Msg("not all functions fit into the announcement")
	}
}

func (l *loop) onGateway(s faasd.Snapshot, now time.Time) {
	l.awake(now)
	before := l.gateway
	l.gateway.looked = true
	if s.Err != nil {
		l.gateway.failures++
		l.note(l.gatewayUp, now, explainGateway(s.Err))
	} else {
		l.gateway.failures, l.gateway.read = 0, true
		l.gateway.functions = deployed(s.Functions, l.o.DefaultMaxrate)
		l.note(l.gatewayUp, now, nil)
		l.warnFunctions(s.Refused)
	}
	if before.up() == l.gateway.up() && before.looked && slices.Equal(before.functions, l.gateway.functions) {
		return
	}
	l.log.Info().Int("functions", len(l.gateway.functions)).Bool("gateway", l.gateway.up()).Msg("functions of this node")
	l.node.metrics.functions.Set(float64(len(l.local())))
	l.soon()
}

// warnFunctions logs what is wrong with functions, each fault once.
func (l *loop) warnFunctions(refused []string) {
	warned := make(map[string]string)
	for _, f := range l.gateway.functions {
		if f.warning == "" {
			continue
		}
		if f.warning != l.warned[f.name] {
			l.log.Warn().Str("function", f.name).Msg(f.warning)
		}
		warned[f.name] = f.warning
	}
	l.warned = warned
	if text := fmt.Sprint(refused); text != l.gateway.refused {
		l.gateway.refused = text
		if len(refused) > 0 {
			l.log.Warn().Strs("reasons", refused).Msg("functions of the gateway are left out")
		}
	}
}

// local returns the functions that this node can serve now.
func (l *loop) local() []function {
	if !l.gateway.up() {
		return nil
	}
	return l.gateway.functions
}

func (l *loop) onMessage(m overlay.Message, now time.Time) {
	l.awake(now)
	changed, err := l.o.Members.Apply(now, m.From, m.Announcement, membership.Via{RemoteIPs: m.RemoteIPs, Direct: m.Direct})
	if err != nil {
		l.log.Debug().Str("peer", m.From).Err(err).Msg("announcement refused")
		return
	}
	// What waited while this process stood still, or came from nobody knows where,
	// says nothing of the time.
	timely := now.Sub(l.resumed) >= tickOf(l.o.Period) && (m.Direct || len(m.RemoteIPs) > 0)
	if !m.Announcement.Leaving && timely {
		l.clocks.read(m.From, m.Announcement.SentAtMillis, now)
	}
	if changed {
		l.soon()
	}
}

// soon has a plan made within the debounce.
func (l *loop) soon() {
	if l.planSoon {
		return
	}
	l.planSoon = true
	l.planTimer.Reset(max(debounce, planShare*l.planCost))
}

// replan makes a plan from all that is known now, applies it, and sees to it
// that it is announced.
func (l *loop) replan(now time.Time) {
	l.planSoon = false
	l.planTimer.Stop()
	begun := time.Now()
	l.followMembers(now)
	l.doubts.expect(l.plan, now.Sub(l.planned).Seconds())
	l.planned = now
	l.plan = l.o.Strategy.Plan(l.observation())
	switch wait := l.start.Add(settle(l.o.Period)).Sub(now); {
	case l.settled(now):
		l.apply(now)
	case wait > 0:
		l.planTimer.Reset(wait)
	default:
		l.soon()
	}
	l.planCost = time.Since(begun)
	l.node.metrics.planned(l.planCost)
	l.log.Debug().Dur("took", l.planCost).Int("functions", len(l.plan.Functions)).Int("peers", len(l.alive)).Msg("planned")
	// Peers would take a node that does not know yet what its users ask for to
	// have no surplus, and refuse what its SPOA goes on sending.
	if l.gateway.looked && l.measured || l.settled(now) {
		l.speakTimer.Reset(l.announcer.due(now, l.plan.Offers, l.newcomers).Sub(now))
	}
	l.publish(now)
}

// settled reports whether the node has listened long enough to apply what it
// knows.
func (l *loop) settled(now time.Time) bool {
	listened := now.Sub(l.start)
	return listened >= settle(l.o.Period) && (listened >= maxReunion || !slices.ContainsFunc(l.earlier, l.isMissing))
}

func (l *loop) isMissing(id string) bool {
	_, alive := find(l.alive, id)
	return !alive
}

// followMembers takes in who is alive now and says who came and who went.
func (l *loop) followMembers(now time.Time) {
	before := l.alive
	l.alive = l.o.Members.Alive()
	for _, m := range l.alive {
		delete(l.gone, m.ID)
		if _, known := find(before, m.ID); !known {
			l.newcomers = true
			l.log.Info().Str("peer", m.ID).Stringer("http", m.HTTP).Msg("peer joined")
		}
		if m.Strategy != l.strategies[m.ID] && m.Strategy != l.o.Strategy.Name() {
			l.log.Warn().Str("peer", m.ID).Str("strategy", m.Strategy).Str("ours", l.o.Strategy.Name()).
				Msg("a peer plans by another strategy: set the same on all nodes")
		}
		l.strategies[m.ID] = m.Strategy
	}
	for _, m := range before {
		if _, still := find(l.alive, m.ID); !still {
			l.gone[m.ID] = departed{haproxy.Peer{ID: m.ID, Address: m.HTTP}, now.Add(grace), l.inboundOf(m.ID)}
			delete(l.strategies, m.ID)
			l.log.Info().Str("peer", m.ID).Msg("peer is gone")
		}
	}
	// Whoever came and went between two plans has no say either.
	maps.DeleteFunc(l.clocks, func(id string, _ reading) bool {
		_, alive := find(l.alive, id)
		return !alive
	})
}

// find returns the member of that id from a list sorted by id.
func find(members []membership.Member, id string) (int, bool) {
	return slices.BinarySearchFunc(members, id, func(m membership.Member, id string) int { return strings.Compare(m.ID, id) })
}

// inboundOf returns what the table in use admits from the peer.
func (l *loop) inboundOf(id string) map[string]float64 {
	if l.applied == nil {
		return nil
	}
	for i := range l.applied.Peers {
		if l.applied.Peers[i].ID == id {
			return l.applied.Peers[i].Inbound
		}
	}
	return nil
}

// observation is what the strategy gets to see.
func (l *loop) observation() strategy.Observation {
	o := strategy.Observation{Self: l.o.Self}
	here := make(map[string]bool)
	for _, f := range l.local() {
		here[f.name] = true
		o.Functions = append(o.Functions, strategy.Function{
			Name: f.name, Capacity: f.capacity, Soft: f.soft, UserRate: l.userRate(f.name), TimeoutMillis: f.timeoutMillis,
		})
	}
	for _, name := range l.demanded() {
		if !here[name] {
			o.Functions = append(o.Functions, strategy.Function{Name: name, Absent: true, UserRate: l.userRate(name)})
		}
	}
	slices.SortFunc(o.Functions, func(a, b strategy.Function) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range l.alive {
		p := strategy.Peer{ID: m.ID, Offers: l.offers(m)}
		l.doubts.about(&p)
		o.Peers = append(o.Peers, p)
	}
	return o
}

// usesMeans reports whether plans are based on the last whole period, once there is
// one: a node that starts goes by what it has seen so far.
func (l *loop) usesMeans() bool { return plansOnMeans(l.o.Strategy.Name()) && l.rates.whole }

// userRate is the demand that plans are based on, requests/s.
func (l *loop) userRate(name string) float64 {
	if l.usesMeans() {
		return l.rates.last[name].user
	}
	return l.rates.smooth[name]
}

// demanded returns the functions that users asked for lately.
func (l *loop) demanded() []string {
	if l.usesMeans() {
		return slices.Collect(maps.Keys(l.rates.last))
	}
	return slices.Collect(maps.Keys(l.rates.smooth))
}

// offers returns what a peer offers this node: while HAProxy cannot reach it,
// nothing but the surplus of its users.
func (l *loop) offers(m membership.Member) []strategy.Offer {
	if l.usable(m.ID) {
		return m.Offers
	}
	offers := slices.Clone(m.Offers)
	for i := range offers {
		offers[i].Capacity, offers[i].Limit = min(offers[i].Capacity, offers[i].UserRate), 0
	}
	return offers
}

// usable reports whether HAProxy could and may send requests to the peer: not if
// its server is missing or down, nor if the operator drains it. While HAProxy
// does not answer, what it said last is believed.
func (l *loop) usable(id string) bool { return l.servers[id] == haproxy.Up }

// apply hands the plan to those who act on it.
func (l *loop) apply(now time.Time) {
	maps.DeleteFunc(l.gone, func(_ string, d departed) bool { return now.After(d.until) })
	l.applyTable(now)
	l.applyServers()
}

// applyTable gives the SPOA a table if it differs from the one it has, or is
// due.
func (l *loop) applyTable(now time.Time) {
	offset := l.followClock(now)
	t := buildTable(tableInput{
		self: l.o.Self, peerTLS: l.o.Certificates != nil, clockOffset: offset, defaultNamespace: l.o.DefaultNamespace,
		unknownLocal: !l.gateway.read, plan: l.plan, peers: l.tablePeers(now.Add(offset)), stranded: l.stranded(),
	})
	if l.applied != nil && now.Sub(l.appliedAt) < refresh && reflect.DeepEqual(*l.applied, t) {
		return
	}
	l.applied, l.appliedAt = &t, now
	l.tables.put(t)
}

// followClock returns the offset of the federation's time and says when this
// node's clock is wrong and when it is right again.
func (l *loop) followClock(now time.Time) time.Duration {
	offset := l.clocks.offset(now)
	switch {
	case offset != 0 && (l.offset == 0 || (offset-l.offset).Abs() > tolerance):
		l.log.Warn().Stringer("wrong_by", -offset).
			Msg("this node's clock is not the federation's: tokens go by that of most members; set it right")
		l.offset = offset
	case offset == 0 && l.offset != 0:
		l.log.Info().Msg("this node's clock is right again")
		l.offset = 0
	}
	return offset
}

// tablePeers lists the peers that the SPOA should know, by id. The time is the
// federation's.
func (l *loop) tablePeers(now time.Time) []tablePeer {
	peers := make([]tablePeer, 0, len(l.alive)+len(l.gone))
	for _, m := range l.alive {
		token, err := l.o.Minter.Token(now, m.ID)
		if err != nil {
			l.log.Error().Str("peer", m.ID).Err(err).Msg("no token: nothing is forwarded to this peer")
		}
		peers = append(peers, tablePeer{id: m.ID, token: token, usable: l.usable(m.ID)})
	}
	for _, id := range slices.Sorted(maps.Keys(l.gone)) {
		peers = append(peers, tablePeer{id: id, lingering: l.gone[id].inbound})
	}
	return peers
}

// stranded returns the functions of a gateway that is down.
func (l *loop) stranded() []string {
	if l.gateway.up() {
		return nil
	}
	names := make([]string, 0, len(l.gateway.functions))
	for _, f := range l.gateway.functions {
		names = append(names, f.name)
	}
	return names
}

// applyServers tells HAProxy's keeper which servers there should be.
func (l *loop) applyServers() {
	wanted := make([]haproxy.Peer, 0, len(l.alive)+len(l.gone))
	for _, m := range l.alive {
		wanted = append(wanted, haproxy.Peer{ID: m.ID, Address: m.HTTP})
	}
	for _, id := range slices.Sorted(maps.Keys(l.gone)) {
		wanted = append(wanted, l.gone[id].server)
	}
	if l.wanted == nil || !slices.Equal(l.wanted, wanted) {
		l.wanted = wanted
		l.desired.put(wanted)
	}
}

// speak announces this node.
func (l *loop) speak(now time.Time) {
	a := l.announcer.next(now, l.plan.Offers)
	a.HTTP, a.TLS, a.Strategy = l.o.HTTP.String(), l.o.Certificates != nil, l.o.Strategy.Name()
	l.newcomers = false
	l.outbox.put(a)
	l.node.metrics.announcements.Inc()
	l.speakTimer.Reset(l.announcer.due(now, l.plan.Offers, false).Sub(now))
}

// farewell is the last announcement.
func (l *loop) farewell(now time.Time) wire.Announcement {
	a := l.announcer.next(now, nil)
	a.HTTP, a.Strategy, a.Leaving = l.o.HTTP.String(), l.o.Strategy.Name(), true
	return a
}

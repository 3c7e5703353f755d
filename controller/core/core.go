// Package core is what a controller decides, from what it has heard, seen and
// been told, in the order in which that happened: what the SPOA's table says, which
// servers HAProxy has, what other nodes are told.
//
// A Core is stepped. Whoever owns it, a node or a simulator of thousands, says what
// has happened and when, and does what the answer asks for. A Core has no goroutine
// and no clock, does no I/O, logs nothing and counts nothing: the same events at the
// same times have the same effects. A caller does this, over and over:
//
//	fx := c.Step(now, event) // or, at c.Next() at the latest, Tick{}
//	...                      // do what fx asks for; its answers are events, too
//
// No answer is waited for: whatever hangs, plans are made and announced.
package core

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// Options is all that a core is made of.
type Options struct {
	Self             peerid.ID // this node
	Name             string    // announced to peers; "": none
	Strategy         strategy.Strategy
	Period           time.Duration  // planning period, 50 ms at least
	MaxPeerTimeout   time.Duration  // of a call, by the peer's word; 0: what peers may announce
	HTTP             netip.AddrPort // of this node's HAProxy, announced to peers
	PeerTLS          bool           // requests between peers go over TLS
	DefaultNamespace string         // of the gateway
	HasBootstrap     bool           // members to connect to are configured
	// Neighbours are the only members with which calls are exchanged, by id; nil: all
	// are. It belongs to the core from then on.
	Neighbours map[peerid.ID]bool
	// Seed is for the times of announcements, which should differ from node to
	// node.
	Seed uint64
	// Wall is this machine's clock minus the time that New is given.
	Wall time.Duration
	// Members is handed over to the core, which alone uses it from then on.
	Members *membership.Members
	Tokens  Tokens
	Limits  Limits
}

// Tokens are what is shown to peers.
type Tokens interface {
	// Token returns a token for the peer that is good for at least ten seconds
	// from now. It is called often, and keeps what it has made.
	Token(now time.Time, peer peerid.ID) (string, error)
}

// Limits bound what is kept and made. 0 means the default.
type Limits struct {
	Functions int // in a table; default table.MaxFunctions
	Peers     int // in a table; default table.MaxPeers
	Routes    int // entries of a table; default 100,000
	Claims    int // of peers that are remembered; default estimate.MaxClaims
}

func (l Limits) orDefaults() Limits {
	set := func(limit *int, otherwise int) {
		if *limit == 0 {
			*limit = otherwise
		}
	}
	set(&l.Functions, table.MaxFunctions)
	set(&l.Peers, table.MaxPeers)
	set(&l.Routes, maxRoutes)
	set(&l.Claims, estimate.MaxClaims)
	return l
}

const (
	// debounce is how long a change waits for others before a plan is made
	// for all of them together.
	debounce = 20 * time.Millisecond
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
	// maxTick is the longest time between two looks at the meter.
	maxTick = 500 * time.Millisecond
	// busyTick is that time where the strategy follows changes, while users ask for
	// busyRate requests/s or more.
	busyTick = 100 * time.Millisecond
	busyRate = 2.0
	// lonely is how long bootstrap members may be out of reach before that is
	// shown as a fault.
	lonely = 10 * time.Second
)

// Core is the state of a node. It is owned by one goroutine.
type Core struct {
	o    Options
	tick time.Duration // time between two looks at the meter
	fx   Effects       // of the step under way

	start     time.Time
	resumed   time.Time // last step that came too late
	planCost  time.Duration
	connected int // nodes this one is connected to
	unfed     int // members that feeds do not reach
	stopped   bool

	// Times at which something is due; zero where nothing is.
	tickAt   time.Time
	periodAt time.Time // end of the period
	closeBy  time.Time // the period has ended, and its last counters are waited for
	planAt   time.Time
	planSoon bool // planAt is within the debounce
	speakAt  time.Time

	spoa, haproxy, gatewayUp, overlay Component

	report   *meter.Report // the last one read
	measured bool          // what users ask for is known, or cannot be
	earlier  []peerid.ID   // peers in the table of an earlier run
	rates    *estimate.Rates
	demands  map[string]demand // by function, as they were planned for
	clocks   *estimate.Clocks
	trust    *estimate.Trust

	gateway    gateway
	warned     map[string]string           // warning logged, by function
	standings  map[string]Standing         // as logged, of those that are not ready
	calls      map[string]estimate.Calls   // at this node's gateway, as HAProxy said last
	health     map[string]*estimate.Health // of functions deployed here
	alive      []membership.Member
	known      []known              // of these
	leaving    map[peerid.ID]leaver // of these, those that have said that they stop
	gone       map[peerid.ID]departed
	strategies map[peerid.ID]string // of peers, to warn once of another than ours
	servers    map[string]Server    // nil: never read
	answers    map[estimate.Offered]estimate.Answers
	ofGateway  estimate.Answers

	planner     *strategy.Planner
	plan        strategy.Plan
	since       []time.Time            // by the plan's functions: from when on nothing was expected of peers yet
	observed    strategy.Observation   // that the plan is of
	judgements  uint64                 // of trust, by then
	changed     bool                   // peers or servers, of which it is not
	whole       bool                   // the next plan is of everything
	urgent      map[funcname.Name]bool // or else of these functions, those that users lack here, and what is other here
	membersNew  bool                   // somebody came, left or moved, since followMembers
	offersNew   []peerid.ID            // members that offer something else, since then
	announcer   announcer
	publishErr  error    // of the last announcement
	unannounced []string // functions that not all members are told of
	newcomers   bool     // somebody joined who has not heard of this node
	maker       tableMaker
	tables      tables
	serversNew  bool   // somebody came, left or moved, since applyServers
	wanted      []Peer // servers, as asked for last
	clockWrong  time.Duration
	clocksLied  time.Duration
}

// New returns a core that starts now. Its first Step is due at once.
func New(o Options, now time.Time) *Core {
	o.Limits = o.Limits.orDefaults()
	c := &Core{
		o: o, tick: TickOf(o.Period), start: now,
		tickAt: now, periodAt: now.Add(o.Period), planAt: now.Add(settle(o.Period)), speakAt: now.Add(settle(o.Period)),
		spoa: newComponent("spoa", now), haproxy: newComponent("haproxy", now),
		gatewayUp: newComponent("gateway", now), overlay: newComponent("overlay", now),
		rates: estimate.NewRates(o.Period, o.Strategy.Demand() == strategy.DemandChanging), clocks: estimate.NewClocks(now, o.Wall), trust: estimate.NewTrust(now, o.Limits.Claims),
		planner: strategy.NewPlanner(o.Strategy), serversNew: true,
		leaving: make(map[peerid.ID]leaver), gone: make(map[peerid.ID]departed), strategies: make(map[peerid.ID]string),
		health: make(map[string]*estimate.Health), demands: make(map[string]demand),
		urgent: make(map[funcname.Name]bool),
	}
	c.announcer = newAnnouncer(o.Period, o.Strategy.Demand() == strategy.DemandChanging, c.clocks.Wall(now), rand.NewPCG(o.Seed, uint64(now.UnixNano())), c.measuredOver)
	return c
}

// settle is how long a node that starts listens before it applies anything.
func settle(period time.Duration) time.Duration { return min(maxSettle, 2*period) }

// TickOf is the time between two looks at the meter: at most half a second, such
// that a period is a whole number of ticks.
func TickOf(period time.Duration) time.Duration {
	return period / time.Duration((period+maxTick-1)/maxTick)
}

// Next returns when Step has to be called next, whatever else happens or not; the
// zero time after Leave.
func (c *Core) Next() time.Time {
	if c.stopped {
		return time.Time{}
	}
	next := c.tickAt
	for _, at := range [...]time.Time{c.closeBy, c.planAt, c.speakAt} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// Step takes in what has happened by now and returns what is to be done. Times
// never go backwards, and go on evenly: clocks are set by the event ClockSet.
func (c *Core) Step(now time.Time, e Event) Effects {
	if c.stopped {
		return Effects{}
	}
	c.awake(now)
	c.take(now, e)
	if !c.stopped {
		c.due(now)
	}
	fx := c.fx
	c.fx = Effects{}
	return fx
}

// take takes in an event.
func (c *Core) take(now time.Time, e Event) {
	switch e := e.(type) {
	case Metered:
		c.onMetered(now, e)
	case TablePut:
		c.onTablePut(now, e)
	case HAProxy:
		c.onHAProxy(now, e)
	case Gateway:
		c.onGateway(now, e)
	case Heard:
		c.onHeard(now, e)
	case Announced:
		c.onAnnounced(now, e)
	case Connected:
		c.connected = e.Peers
	case Unfed:
		c.onUnfed(now, e)
	case ClockSet:
		c.clocks.SetWall(e.Wall)
		if c.tables.newest != nil {
			c.apply(now)
		}
	case PlanTook:
		c.planCost = e.Time
	case Leave:
		c.leave(now)
	}
}

// due does what the time has come for.
func (c *Core) due(now time.Time) {
	reached := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	if reached(c.tickAt) {
		c.onTick(now)
	}
	if reached(c.closeBy) {
		c.endPeriod(now)
	}
	if reached(c.planAt) {
		c.replan(now)
	}
	if reached(c.speakAt) {
		c.speak(now)
	}
}

// onTick has the meter read, and looks at what time alone changes. The period
// ends with what the meter says now, but does not wait for it long.
func (c *Core) onTick(now time.Time) {
	tick := c.tick
	if c.followsChanges() && c.rates.Total() >= busyRate {
		tick = min(tick, busyTick)
	}
	c.tickAt = later(c.tickAt.Add(tick), now.Add(tick/2))
	c.fx.ReadMeter = true
	c.checkOverlay(now)
	c.noteStandings(now)
	if c.closeBy.IsZero() && !now.Add(tick/2).Before(c.periodAt) {
		c.closeBy = now.Add(tick / 4)
	}
	switch {
	case c.expire(now) || c.endLeaving(now):
		c.membersNew = true
		c.replan(now)
	case c.tables.newest != nil && now.Sub(c.tables.at) >= refresh:
		c.apply(now)
	}
}

// endPeriod judges by what the period has shown, and makes a plan if anything is
// other than when the last one was made.
func (c *Core) endPeriod(now time.Time) {
	c.closeBy = time.Time{}
	c.periodAt = later(c.periodAt.Add(c.o.Period), now.Add(c.o.Period/2))
	seconds := c.rates.EndPeriod()
	maps.DeleteFunc(c.demands, func(name string, _ demand) bool { return c.rates.Smooth()[name] == 0 })
	c.expect(now)
	c.trust.JudgeUse(c.rates.Last(), seconds)
	c.trust.JudgeAnswers(now, c.answers, c.ofGateway)
	if c.stale() {
		c.whole = true
		c.replan(now)
	}
}

// expect notes what peers had to send by the plan that is in use.
func (c *Core) expect(now time.Time) {
	for i := range c.plan.Functions {
		c.expectOf(i, now)
		c.since[i] = now
	}
}

// expectOf is expect of one function.
func (c *Core) expectOf(i int, now time.Time) {
	f, seconds := &c.plan.Functions[i], now.Sub(c.since[i]).Seconds()
	for _, in := range f.In {
		c.trust.Expect(in.Peer, f.Name.String(), in.Weight*seconds)
	}
}

// follow goes by another plan from now on.
func (c *Core) follow(now time.Time, plan strategy.Plan) {
	since, before := make([]time.Time, len(plan.Functions)), 0
	for i := range plan.Functions {
		f := &plan.Functions[i]
		since[i] = now
		for ; before < len(c.plan.Functions) && c.plan.Functions[before].Name.Compare(f.Name) <= 0; before++ {
			if f.Same(&c.plan.Functions[before]) {
				since[i] = c.since[before]
			} else {
				c.expectOf(before, now)
			}
		}
	}
	for ; before < len(c.plan.Functions); before++ {
		c.expectOf(before, now)
	}
	c.plan, c.since = plan, since
}

// awake notes whether this process runs when it should. One that comes a whole tick too
// late stood still, or has too little processor time; so the others' words may be late
// as well.
func (c *Core) awake(now time.Time) {
	if now.Sub(c.Next()) > c.tick {
		c.resumed = now
	}
}

// attentive reports whether this process has run for long enough to have heard whoever
// spoke while it did not.
func (c *Core) attentive(now time.Time) bool { return now.Sub(c.resumed) >= c.tick }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

package core

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

const (
	// announceGap is the least time between two announcements, leastGap with a strategy
	// that follows changes.
	announceGap, leastGap = 250 * time.Millisecond, 100 * time.Millisecond
	// feedBudget and gossipBudget are how many bytes a second a node hears from all
	// members together, by feeds and by gossip, where there are manyMembers or more; where
	// there are fewer, up to twice as much. Each sends a part, so that the budget holds
	// however many they are, and saves what it has not used, for saved announcements at
	// most: changes come in bursts.
	feedBudget   = 2 << 10
	gossipBudget = 4 << 10
	manyMembers  = 50
	saved        = 6
	// feedMoves and gossipMoves are what there is besides for moves: demand that changes by
	// more than movedFraction of the capacity or of what it was, and by more than
	// movedSigmas standard deviations of what was counted. Chance makes few moves, so that
	// this is spent only while users come and go.
	feedMoves     = 3 << 10
	gossipMoves   = 4 << 10
	movedFraction = 0.33
	movedSigmas   = 2.5
	// beatShare is the part of the budget of gossip that is for announcements when nothing
	// changes. longestBeat is the longest time between two of them, unless the period
	// is longer: in a federation so large that they would have to be rarer, they take
	// more of the budget, or more than that.
	beatShare   = 0.5
	longestBeat = 6 * time.Second
	// longestQuiet is how long gossip has nothing of a node, unless the beat is longer,
	// while feeds reach all members. When somebody comes, it begins with a beat, and is
	// quietGrowth times as long each time: what was said then is repeated only in case it
	// was lost, before gossip had found its ways to the newcomer.
	longestQuiet = 5 * time.Minute
	quietGrowth  = 8
	// headCost is what an announcement takes on the wire by gossip, in bytes, with what
	// gossipsub puts around it; offerCost, with the name, what each function does.
	headCost, offerCost = 256, 16
	// changeCost is what a change takes on a feed, with what libp2p, TCP and IP put around
	// it, and that it has come; numberCost is what each function that is other does. Each
	// after the first counts joinCost more: where users move, they are seen to in one
	// function after the other, and are told of in fewer announcements for it.
	changeCost, numberCost, joinCost = 140, 5, 5
	// A rate has changed when it differs by more than this fraction, and by
	// more than that many requests/s.
	changedFraction = 0.1
	changedRate     = 0.5
	// keptFraction is by how much a limit may differ from the one that was announced for
	// that to stand, where changes are followed: it changes with what others announce.
	keptFraction = 0.25
)

// announcer decides when to announce, and to whom: by feeds, to those whom they reach, or
// to everybody. What is announced to everybody goes by feeds, too.
type announcer struct {
	chance *rand.PCG
	period time.Duration
	gap    time.Duration
	// changing is that the strategy follows changes, members how many peers there are,
	// unfed how many of them feeds do not reach, seconds over how many a function's rate
	// was measured.
	changing     bool
	members      int
	unfed        int
	seconds      func(function funcname.Name) float64
	epoch        int64 // Unix ms
	seq          uint64
	feed, gossip spoken
	quiet        time.Duration // until the next by gossip, while feeds reach all
	owes         bool          // somebody urgently needs to hear of this node by gossip
}

// spoken is what was announced, one way.
type spoken struct {
	offers []strategy.Offer // last
	at     time.Time        // when; zero before the first
	left   funds            // what was left then
	beat   time.Duration    // time from it to the next that needs no change
}

// newAnnouncer begins an epoch at that time of the machine's clock.
func newAnnouncer(period time.Duration, changing bool, start time.Time, chance *rand.PCG, seconds func(function funcname.Name) float64) announcer {
	gap := min(announceGap, period/4)
	if changing {
		gap = min(leastGap, period)
	}
	return announcer{chance: chance, period: period, changing: changing, gap: gap, epoch: start.UnixMilli(), seconds: seconds}
}

// way is how announcements go out, and what there is for it.
type way struct {
	budget, moves float64 // bytes/s
	cost          func(before, now []strategy.Offer) float64
}

func byFeed() way   { return way{feedBudget, feedMoves, changeCosts} }
func byGossip() way { return way{gossipBudget, gossipMoves, wholeCosts} }

// cost is what announcing the offers to everybody takes, in bytes.
func cost(offers []strategy.Offer) float64 {
	bytes := headCost
	for i := range offers {
		bytes += offerCost + len(offers[i].Name.String())
	}
	return float64(bytes)
}

func wholeCosts(_, now []strategy.Offer) float64 { return cost(now) }

// changeCosts is what it takes to tell what is other by now, in bytes.
func changeCosts(before, now []strategy.Offer) float64 {
	bytes, join := changeCost, 0
	if len(before) != len(now) {
		return cost(now)
	}
	for i := range now {
		if before[i].Name != now[i].Name {
			return cost(now)
		}
		if before[i] != now[i] {
			bytes, join = bytes+join+numberCost, joinCost
		}
	}
	return float64(bytes)
}

// rate is how many bytes a second this node may send to each.
func (a *announcer) rate(w way) float64 {
	members := float64(max(1, a.members))
	return w.budget * min(2, max(1, manyMembers/members)) / members
}

// moveRate is how many bytes a second more that may be for moves.
func (a *announcer) moveRate(w way) float64 { return w.moves / float64(max(1, a.members)) }

// interval is the time between two announcements in which nothing changes, at most:
// the period, or so long that their part of the budget suffices if they go to everybody.
func (a *announcer) interval(offers []strategy.Offer) time.Duration {
	const early = 0.9 // on average, see next
	affordable := time.Duration(cost(offers) / a.rate(byGossip()) / beatShare / early * float64(time.Second))
	return max(a.period, min(affordable, longestBeat).Round(time.Millisecond))
}

// funds are bytes that may be sent: for anything, and for moves only.
type funds struct{ any, moves float64 }

// funds is what there is at that time for what takes so many bytes. It is never 0 for
// long: what comes with the beat is sent anyway.
func (a *announcer) funds(now time.Time, s *spoken, w way, bytes float64) funds {
	most := saved * bytes
	if s.at.IsZero() {
		return funds{most, most}
	}
	since := now.Sub(s.at).Seconds()
	return funds{min(s.left.any+since*a.rate(w), most), min(s.left.moves+since*a.moveRate(w), most)}
}

func (f funds) less(bytes float64) funds {
	rest := max(0, bytes-f.any)
	return funds{max(0, f.any-bytes), max(0, f.moves-rest)}
}

// due returns when the offers should be announced: as soon as gap and budget allow if
// they differ from those announced last, or if somebody urgently needs to hear
// of this node, else with the next beat.
func (a *announcer) due(now time.Time, offers []strategy.Offer, urgent bool) time.Time {
	if a.feed.at.IsZero() {
		return now
	}
	due := a.dueBy(byFeed(), &a.feed, now, offers, urgent)
	if a.unfed == 0 {
		return due // gossip has what is due there with it
	}
	if gossip := a.gossipDue(now, offers, urgent); gossip.Before(due) {
		return gossip
	}
	return due
}

// gossipDue is due, of what goes to everybody.
func (a *announcer) gossipDue(now time.Time, offers []strategy.Offer, urgent bool) time.Time {
	if a.unfed > 0 {
		return a.dueBy(byGossip(), &a.gossip, now, offers, urgent || a.owes)
	}
	return later(now, a.gossip.at.Add(a.quiet))
}

func (a *announcer) dueBy(w way, s *spoken, now time.Time, offers []strategy.Offer, urgent bool) time.Time {
	wait := s.beat
	if urgent || a.significant(s.offers, offers) {
		short := w.cost(s.offers, a.kept(s.offers, offers)) - s.left.any
		missing := max(0, short) / a.rate(w)
		if a.changing && a.moves(s.offers, offers) {
			missing = min(missing, max(0, short-s.left.moves)/(a.rate(w)+a.moveRate(w)))
		}
		wait = min(wait, max(a.gap, time.Duration(missing*float64(time.Second))))
	}
	return later(now, s.at.Add(wait))
}

// reach takes in whom there is to reach. If somebody came, all are told of this node
// again, soon and then ever more seldom.
func (a *announcer) reach(members, unfed int, newcomers bool) {
	if newcomers {
		a.quiet = min(a.quiet, a.gossip.beat)
	}
	a.owes = a.owes || unfed > a.unfed
	a.members, a.unfed = members, unfed
}

// next returns the announcement to publish now, wall by the machine's clock, and whether
// it goes to everybody. Whether it is urgent is as it was for due.
func (a *announcer) next(now, wall time.Time, offers []strategy.Offer, urgent bool) (announcement wire.Announcement, everybody bool) {
	offers = a.kept(a.feed.offers, offers)
	a.seq++
	everybody = a.gossip.at.IsZero() || !now.Before(a.gossipDue(now, offers, urgent))
	a.owes = !everybody && (a.owes || urgent)
	// Up to a fifth early, never late, and not in step with the others.
	interval := a.interval(offers)
	beat := time.Duration(float64(interval) * (0.8 + 0.2*rand.New(a.chance).Float64()))
	speak := func(w way, s *spoken) {
		bytes := w.cost(s.offers, offers)
		*s = spoken{offers, now, a.funds(now, s, w, bytes).less(bytes), beat}
	}
	speak(byFeed(), &a.feed)
	if everybody {
		speak(byGossip(), &a.gossip)
		a.quiet = max(beat, min(quietGrowth*a.quiet, longestQuiet))
	}
	rounded := make([]strategy.Offer, len(offers))
	for i, o := range offers {
		o.Capacity, o.UserRate, o.Limit, o.Demand = o.Capacity.Rounded(), o.UserRate.Rounded(), o.Limit.Rounded(), o.Demand.Rounded()
		rounded[i] = o
	}
	return wire.Announcement{
		V: wire.Version, Epoch: a.epoch, Seq: a.seq, SentAtMillis: wall.UnixMilli(),
		PeriodMillis: interval.Milliseconds(), Offers: rounded,
	}, everybody
}

// kept is what there is to announce: limits that are hardly others stay as they were.
func (a *announcer) kept(before, now []strategy.Offer) []strategy.Offer {
	if !a.changing || len(before) != len(now) {
		return now
	}
	now = slices.Clone(now)
	for i := range now {
		b, n := &before[i], &now[i]
		was, is := b.Limit.PerSecond(), n.Limit.PerSecond()
		if b.Name == n.Name && (was == 0) == (is == 0) && math.Abs(is-was) <= keptFraction*was {
			n.Limit = b.Limit
		}
	}
	return now
}

// significant reports whether peers should hear of the change before the next
// beat: functions that came or went, a capacity or a time limit that is another,
// a rate that differs noticeably or has crossed the capacity.
func (a *announcer) significant(before, now []strategy.Offer) bool {
	if len(before) != len(now) {
		return true
	}
	for i := range now {
		if b, n := &before[i], &now[i]; a.differently(b, n) || a.moved(b, n) || counted(b, n) {
			return true
		}
	}
	return false
}

// differently reports whether something but rates of users is noticeably another, or
// that rate has crossed the capacity. Where changes are followed, the limit does not
// count: it changes with what others announce, and all would speak whenever one does.
func (a *announcer) differently(b, n *strategy.Offer) bool {
	return b.Name != n.Name || b.Absent != n.Absent || b.Backup != n.Backup || b.Capacity != n.Capacity || b.TimeoutMillis != n.TimeoutMillis ||
		b.Overloaded() != n.Overloaded() ||
		(b.Demand == limit.Rate{}) != (n.Demand == limit.Rate{}) ||
		!a.changing && differs(b.Limit, n.Limit, limit.Rate{})
}

// moves reports whether users ask for much more or less of a function than before,
// or for others.
func (a *announcer) moves(before, now []strategy.Offer) bool {
	if len(before) != len(now) {
		return true
	}
	for i := range now {
		b, n := &before[i], &now[i]
		was, is := b.UserRate.PerSecond(), n.UserRate.PerSecond()
		if b.Name != n.Name || math.Abs(is-was) > max(changedRate, movedFraction*max(was, n.Capacity.PerSecond()), movedSigmas*math.Sqrt(max(was, is)/a.seconds(n.Name))) {
			return true
		}
	}
	return false
}

// moved reports whether users ask for noticeably more or less than before; where
// changes are followed, which are told from noise, noticeably for the capacity.
func (a *announcer) moved(before, now *strategy.Offer) bool {
	if a.changing {
		return differs(before.UserRate, now.UserRate, now.Capacity)
	}
	return differs(before.UserRate, now.UserRate, limit.Rate{})
}

// counted reports whether the sum of surplus that is counted is noticeably another.
func counted(before, now *strategy.Offer) bool {
	return differs(before.Demand, now.Demand, limit.Rate{})
}

// differs reports whether a rate is noticeably another than before, where a part of
// the capacity is not noticeable either; 0 for one that does not matter.
func differs(before, now, capacity limit.Rate) bool {
	was := before.PerSecond()
	return math.Abs(now.PerSecond()-was) > max(changedRate, changedFraction*max(was, capacity.PerSecond()))
}

func (c *Core) onAnnounced(now time.Time, e Announced) {
	c.publishErr = e.Err
	c.checkOverlay(now)
	if len(e.Left) > 0 && !slices.Equal(e.Left, c.unannounced) {
		c.log(Warn, "functions are not announced to all members: there are too many, or members of an older version do not know such names",
			Field{"functions", len(e.Left)}, Field{"first", e.Left[0]})
	}
	c.unannounced = e.Left
}

func (c *Core) onUnfed(now time.Time, e Unfed) {
	c.unfed = e.Members
	if !c.speakAt.IsZero() && !c.announcer.feed.at.IsZero() {
		c.announcer.reach(c.announcer.members, c.unfed, false)
		c.speakAt = c.announcer.due(now, c.plan.Offers, c.newcomers)
	}
}

// speak announces this node.
func (c *Core) speak(now time.Time) {
	a, everybody := c.announcer.next(now, c.clocks.Wall(now), c.plan.Offers, c.newcomers)
	a.Name, a.Async = c.o.Name, c.gateway.takesAsync()
	a.HTTP, a.TLS, a.Strategy = c.o.HTTP.String(), c.o.PeerTLS, c.o.Strategy.Name()
	c.newcomers = false
	c.fx.Announce, c.fx.Everybody = &a, everybody
	c.speakAt = c.announcer.due(now, c.plan.Offers, false)
}

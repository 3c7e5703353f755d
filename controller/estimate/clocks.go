package estimate

import (
	"slices"
	"time"
)

const (
	// ClockTolerance is how far this node's clock may be from the federation's time
	// and is still used as it is: half of what tokens tolerate, since another node
	// may be as far off to the other side.
	ClockTolerance = 5 * time.Second
	// maxClockStep is how far the others may move the time that a node goes by: as
	// far as tokens tolerate, so that whom it agreed with still understands it.
	maxClockStep = 2 * ClockTolerance
	// maxDrift is by how much two clocks that nobody sets can drift apart.
	maxDrift = 100e-6 // seconds per second
	// agreement is how many clocks it takes for one of them to be outvoted.
	agreement = 3
	// maxAhead bounds what a peer may say, so that no sum overflows.
	maxAhead = 200 * 365 * 24 * time.Hour
)

// Clocks tells what time it is in the federation by what its members say when
// they announce themselves: the median of all clocks, this node's among them.
// Tokens are made and checked by it, so a node whose clock is wrong neither
// refuses others nor is refused. Only once it differs from this node's clock by
// more than ClockTolerance is it used at all.
//
// More than half of all identities have to lie to be believed, and identities may
// be cheap. So that goes for a node that starts only. The time that it has agreed
// on with two others goes on evenly; nobody moves it by more than tokens tolerate,
// unless this machine's clock is set, or the node started anew. In a tie, too, it
// stays what it was.
//
// The times that methods are given go on evenly, whatever becomes of the
// machine's clock: that is SetWall's. What was read is carried on by them.
type Clocks struct {
	wall    time.Duration            // this machine's clock, minus the time given
	ahead   map[string]time.Duration // the same of peers' clocks, by id
	agreed  bool                     // with enough of them
	trusted time.Duration            // the same of the time gone by so far
	at      time.Time                // when that was
}

// NewClocks returns clocks as a node knows them that starts now: its own, which
// is that much ahead of the time that methods are given.
func NewClocks(now time.Time, wall time.Duration) *Clocks {
	return &Clocks{wall: wall, ahead: make(map[string]time.Duration), trusted: wall, at: now}
}

// SetWall notes how much this machine's clock is ahead of the time that methods
// are given.
func (c *Clocks) SetWall(wall time.Duration) { c.wall = wall }

// Wall is the time by this machine's clock.
func (c *Clocks) Wall(now time.Time) time.Time { return now.Round(0).Add(c.wall) }

// Read takes in what a peer's clock said, in Unix ms.
func (c *Clocks) Read(now time.Time, peer string, saidMillis int64) {
	c.ahead[peer] = clampDuration(time.UnixMilli(saidMillis).Sub(now.Round(0)), maxAhead)
}

// Keep forgets all peers but those wanted.
func (c *Clocks) Keep(wanted func(peer string) bool) {
	for peer := range c.ahead {
		if !wanted(peer) {
			delete(c.ahead, peer)
		}
	}
}

// Skew is a peer's clock minus this machine's, 0 for a peer that was never heard.
func (c *Clocks) Skew(peer string) time.Duration {
	ahead, heard := c.ahead[peer]
	if !heard {
		return 0
	}
	return ahead - c.wall
}

// Skews are those of all peers.
func (c *Clocks) Skews() map[string]time.Duration {
	all := make(map[string]time.Duration, len(c.ahead))
	for peer := range c.ahead {
		all[peer] = c.Skew(peer)
	}
	return all
}

// Offset is the federation's time minus this machine's clock, in whole seconds; 0
// within ClockTolerance. refused is the offset that most members' clocks have, if
// it is not followed; 0 otherwise.
func (c *Clocks) Offset(now time.Time) (offset, refused time.Duration) {
	most := c.near(c.median())
	switch {
	case !c.agreed:
		if c.agreed = len(c.ahead)+1 >= agreement; c.agreed {
			c.trusted = most
		}
	case (most - c.trusted).Abs() <= maxClockStep:
		drift := time.Duration(maxDrift * float64(now.Sub(c.at)))
		c.trusted += clampDuration(most-c.trusted, max(0, drift))
	case (most - c.wall).Abs() <= maxClockStep:
		c.trusted = c.wall // this machine's clock was set, and the others agree
	default:
		refused = most - c.wall
		most = c.near(c.trusted)
	}
	c.at = now
	return (most - c.wall).Round(time.Second), refused.Round(time.Second)
}

// median is the middle one of all clocks. Of two in the middle, it is what lies
// between them and nearest to the time gone by so far.
func (c *Clocks) median() time.Duration {
	all := make([]time.Duration, 1, len(c.ahead)+1)
	all[0] = c.wall
	for _, ahead := range c.ahead {
		all = append(all, ahead)
	}
	slices.Sort(all)
	return min(max(c.trusted, all[(len(all)-1)/2]), all[len(all)/2])
}

// near is this machine's clock in place of a time within tolerance of it.
func (c *Clocks) near(t time.Duration) time.Duration {
	if (t - c.wall).Abs() <= ClockTolerance {
		return c.wall
	}
	return t
}

func clampDuration(d, most time.Duration) time.Duration { return min(max(d, -most), most) }

package node

import (
	"slices"
	"time"
)

// tolerance is how far this node's clock may be from the federation's time and is
// still used as it is: half of what tokens tolerate, since another node may be
// as far off to the other side.
const tolerance = 5 * time.Second

// clocks tells what time it is in the federation by what its members say when
// they announce themselves: the median of all clocks, this node's among them, of
// two in the middle the earlier. Tokens are made and checked by it, so a node
// whose clock is wrong neither refuses others nor is refused, and as long as most
// clocks are right, nobody can move it. Only once it differs from this node's
// clock by more than tolerance is it used at all.
//
// What was read is carried on by the monotonic clock: when this machine's clock
// jumps, the others' stay where they are.
type clocks map[string]reading // by peer id

type reading struct {
	said time.Time // by the peer's clock
	at   time.Time // when that came
}

func (c clocks) read(peer string, sentAtMillis int64, now time.Time) {
	c[peer] = reading{time.UnixMilli(sentAtMillis), now}
}

// skew is a peer's clock minus this node's, 0 for a peer that was never heard.
func (c clocks) skew(peer string, now time.Time) time.Duration {
	r, heard := c[peer]
	if !heard {
		return 0
	}
	return r.said.Add(now.Sub(r.at)).Sub(now.Round(0))
}

// skews are those of all peers.
func (c clocks) skews(now time.Time) map[string]time.Duration {
	all := make(map[string]time.Duration, len(c))
	for peer := range c {
		all[peer] = c.skew(peer, now)
	}
	return all
}

// offset is the federation's time minus this node's clock, in whole seconds; 0
// within tolerance.
func (c clocks) offset(now time.Time) time.Duration {
	all := make([]time.Duration, 1, len(c)+1) // one is this node's own
	for peer := range c {
		all = append(all, c.skew(peer, now))
	}
	slices.Sort(all)
	median := all[(len(all)-1)/2]
	if median.Abs() <= tolerance {
		return 0
	}
	return median.Round(time.Second)
}

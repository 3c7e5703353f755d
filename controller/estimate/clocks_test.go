package estimate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var t0 = time.Unix(1_700_000_000, 0)

// seen is what a node whose clock is off by own knows of others whose clocks are
// off by those.
func seen(own time.Duration, others ...time.Duration) *Clocks {
	c := NewClocks(t0, own)
	c.hear(t0, others...)
	return c
}

func (c *Clocks) hear(now time.Time, others ...time.Duration) {
	for i, off := range others {
		c.Read(now, fmt.Sprint(i), now.Add(off).UnixMilli())
	}
}

func TestClockOffset(t *testing.T) {
	const years = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		own    time.Duration
		others []time.Duration
		want   time.Duration
	}{
		"alone":                      {time.Hour, nil, 0},
		"all right":                  {0, []time.Duration{10 * time.Millisecond, -time.Second}, 0},
		"within tolerance":           {0, []time.Duration{5 * time.Second, 5 * time.Second}, 0},
		"ahead of all":               {time.Hour, []time.Duration{0, 0}, -time.Hour},
		"behind all":                 {-time.Hour, []time.Duration{0, 0}, time.Hour},
		"one peer is wrong":          {0, []time.Duration{0, time.Hour}, 0},
		"one of two, ahead":          {time.Hour, []time.Duration{0}, 0},
		"the other of two, ahead":    {0, []time.Duration{time.Hour}, 0},
		"the other of two, behind":   {0, []time.Duration{-time.Hour}, 0},
		"half are ahead":             {0, []time.Duration{0, time.Hour, time.Hour}, 0},
		"half are behind":            {0, []time.Duration{0, -time.Hour, -time.Hour}, 0},
		"half are behind, and it":    {-time.Hour, []time.Duration{0, -time.Hour, 0}, 0},
		"never set":                  {-55 * years, []time.Duration{0, 0, 0}, 55 * years},
		"of two honest, both behind": {0, []time.Duration{-time.Minute, -time.Hour}, -time.Minute},
	} {
		if got, refused := seen(test.own, test.others...).Offset(t0); got != test.want || refused != 0 {
			t.Errorf("%s: offset %v, refused %v, want %v", name, got, refused, test.want)
		}
	}
}

// TestClockIsSet follows a node that has agreed with others on the time, while
// clocks are set.
func TestClockIsSet(t *testing.T) {
	now := t0
	c := seen(0, 0, 0)
	for _, step := range []struct {
		what            string
		own, others     time.Duration
		offset, refused time.Duration
	}{
		{"all right", 0, 0, 0, 0},
		{"its own clock jumps", time.Hour, 0, -time.Hour, 0},
		{"and back", 0, 0, 0, 0},
		{"all others jump", 0, -time.Hour, 0, -time.Hour},
		{"all others creep", 0, 11 * time.Second, 0, 11 * time.Second},
		{"no further than tokens tolerate", 0, 9 * time.Second, 9 * time.Second, 0},
		{"all jump, it first", time.Hour, 0, -time.Hour, 0},
		{"and the others after it", time.Hour, time.Hour, 0, 0},
		{"which is the time from then on", time.Hour, 0, 0, -time.Hour},
	} {
		now = now.Add(time.Second)
		c.SetWall(step.own)
		c.hear(now, step.others, step.others)
		if offset, refused := c.Offset(now); offset != step.offset || refused != step.refused {
			t.Errorf("%s: offset %v, refused %v, want %v, %v", step.what, offset, refused, step.offset, step.refused)
		}
	}
}

// TestClocksDrift: nodes whose clocks nobody sets may drift apart by seconds a
// day, and go on understanding each other.
func TestClocksDrift(t *testing.T) {
	c, now := seen(0, 0, 0), t0
	c.Offset(now)
	for hours := range 24 * 30 {
		now = t0.Add(time.Duration(hours) * time.Hour)
		drift := time.Duration(50e-6 * float64(now.Sub(t0)))
		c.hear(now, drift, drift)
		offset, refused := c.Offset(now)
		if refused != 0 || (drift-offset).Abs() > 2*ClockTolerance {
			t.Fatalf("after %v: offset %v, refused %v; the others are %v ahead", now.Sub(t0), offset, refused, drift)
		}
	}
}

// TestAllAgreeOnTheTime: as long as the honest clocks are about right, half of all
// identities may lie as they like: all honest nodes go by times within what tokens
// tolerate.
func TestAllAgreeOnTheTime(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 2 + r.IntN(9)
		liars := r.IntN(n/2 + 1)
		off := make([]time.Duration, n)
		for i := range off {
			if off[i] = time.Duration(r.Int64N(int64(2*ClockTolerance))) - ClockTolerance; i < liars {
				off[i] = time.Duration(r.Int64N(int64(20*time.Hour))) - 10*time.Hour
			}
		}
		var first time.Duration
		for i := liars; i < n; i++ {
			var others []time.Duration
			for j := range off {
				if j != i {
					others = append(others, off[j])
				}
			}
			offset, _ := seen(off[i], others...).Offset(t0)
			federation := off[i] + offset
			if i == liars {
				first = federation
			}
			if (federation-first).Abs() > maxClockStep+time.Second || federation.Abs() > ClockTolerance+time.Second {
				t.Fatalf("seed %d: node %d goes by %v, node %d by %v; %d liars, clocks %v", seed, i, federation, liars, first, liars, off)
			}
		}
	}
}

// TestMajorityOfLiars: once a node has agreed with honest ones, even a majority
// that lies moves its time no further than tokens tolerate.
func TestMajorityOfLiars(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		c, now := seen(0, 0, 0), t0
		c.Offset(now)
		for range 3600 {
			now = now.Add(time.Second)
			lie := time.Duration(r.Int64N(int64(time.Minute))) - 30*time.Second
			if r.IntN(2) == 0 { // just within what is believed
				lie = c.trusted + maxClockStep
			}
			c.hear(now, 0, 0, lie, lie, lie, lie)
			if offset, _ := c.Offset(now); offset.Abs() > maxClockStep+time.Second {
				t.Fatalf("seed %d: moved by %v", seed, offset)
			}
		}
	}
}

func TestClocksOfAnyNumber(t *testing.T) {
	c := NewClocks(t0, 0)
	for i, said := range []int64{math.MinInt64, math.MaxInt64, 0, -1} {
		c.Read(t0, fmt.Sprint(i), said)
		c.SetWall(maxAhead)
		c.Offset(t0)
		c.SetWall(-maxAhead)
		c.Offset(t0)
	}
	c.Keep(func(peer string) bool { return peer == "0" })
	if skews := c.Skews(); len(skews) != 1 || c.Skew("1") != 0 {
		t.Errorf("%v", skews)
	}
}

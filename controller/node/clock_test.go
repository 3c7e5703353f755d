package node

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/spoa/table"
)

// seen is what a node whose clock is off by own reads of others whose clocks are
// off by those.
func seen(own time.Duration, others ...time.Duration) clocks {
	c := make(clocks)
	for i, off := range others {
		c[peerID(i+2)] = reading{t0.Add(off), t0.Add(own)}
	}
	return c
}

var t0 = time.Unix(1_700_000_000, 0)

func TestClockOffset(t *testing.T) {
	for name, test := range map[string]struct {
		own    time.Duration
		others []time.Duration
		want   time.Duration
	}{
		"alone":                        {time.Hour, nil, 0},
		"all right":                    {0, []time.Duration{10 * time.Millisecond, -time.Second}, 0},
		"within tolerance":             {0, []time.Duration{5 * time.Second, 5 * time.Second}, 0},
		"ahead of all":                 {time.Hour, []time.Duration{0, 0}, -time.Hour},
		"behind all":                   {-time.Hour, []time.Duration{0, 0}, time.Hour},
		"one peer is wrong":            {0, []time.Duration{0, time.Hour}, 0},
		"one of two, ahead":            {time.Hour, []time.Duration{0}, -time.Hour},
		"one of two, the other ahead":  {0, []time.Duration{time.Hour}, 0},
		"one of two, the other behind": {0, []time.Duration{-time.Hour}, -time.Hour},
		"never set":                    {-55 * 365 * 24 * time.Hour, []time.Duration{0, 0, 0}, 55 * 365 * 24 * time.Hour},
	} {
		if got := seen(test.own, test.others...).offset(t0.Add(test.own)); got != test.want {
			t.Errorf("%s: offset %v, want %v", name, got, test.want)
		}
	}
}

// Whatever most clocks say, all nodes arrive at the same time, give or take what
// tokens tolerate; and a minority of liars cannot move it out of the others' range.
func TestAllAgreeOnTheTime(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 2 + r.IntN(9)
		liars := r.IntN((n + 1) / 2)
		off := make([]time.Duration, n)
		low, high := time.Duration(1<<62), -time.Duration(1<<62)
		for i := range off {
			off[i] = time.Duration(r.Int64N(int64(20*time.Minute))) - 10*time.Minute
			if i < liars {
				off[i] *= 1000
				continue
			}
			low, high = min(low, off[i]), max(high, off[i])
		}
		first := time.Time{}
		for i := range off {
			var others []time.Duration
			for j := range off {
				if j != i {
					others = append(others, off[j])
				}
			}
			mine := t0.Add(off[i])
			federation := mine.Add(seen(off[i], others...).offset(mine))
			if i == 0 {
				first = federation
			}
			if d := federation.Sub(first).Abs(); d > 2*tolerance {
				t.Fatalf("seed %d: two nodes differ by %v; clocks %v", seed, d, off)
			}
			if at := federation.Sub(t0); at < low-2*tolerance || at > high+2*tolerance {
				t.Fatalf("seed %d: node %d goes by %v, honest clocks are from %v to %v", seed, i, at, low, high)
			}
		}
	}
}

// stranger is a member that is nothing but what it announces.
type stranger struct {
	*fakeOverlay
	a wire.Announcement
}

func newStranger(net *fakeNet, n int) *stranger {
	return &stranger{net.join(peerID(n)), wire.Announcement{
		V: wire.Version, Epoch: 1, HTTP: "127.0.0.1:1", Strategy: "headroom", PeriodMillis: 1000,
		Offers: []strategy.Offer{{Name: "cat", Capacity: 10}},
	}}
}

// announce says that its clock is off by that.
func (s *stranger) announce(t *testing.T, off time.Duration) {
	t.Helper()
	s.a.Seq++
	s.a.SentAtMillis = time.Now().Add(off).UnixMilli()
	if _, err := s.Publish(t.Context(), s.a); err != nil {
		t.Fatal(err)
	}
}

// announceFor4s has them say once a second that their clocks are off by that.
func announceFor4s(t *testing.T, off time.Duration, all ...*stranger) {
	t.Helper()
	for range 4 {
		for _, s := range all {
			s.announce(t, off)
		}
		pass(time.Second)
	}
	synctest.Wait()
}

// A node whose clock is wrong makes and checks tokens by that of the others.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, minter := newFakeNet(), &timedMinter{}
		n := startNode(t, net, 1, func(o *Options, _ *testNode) { o.Minter = minter })
		n.gateway.set(nil, fn("cat", "10"))
		others := []*stranger{newStranger(net, 2), newStranger(net, 3)}
		for _, off := range []time.Duration{0, -time.Hour, time.Hour, 0} {
			announceFor4s(t, off, others...)
			if got := n.spoa.clockOffset(); got != off {
				t.Errorf("the others' clocks are %v off: the SPOA goes by %v", off, got)
			}
			if got := minter.asked.Load().Sub(time.Now()).Round(time.Minute); got != off {
				t.Errorf("the others' clocks are %v off: tokens are made by %v", off, got)
			}
			if peers := n.Peers(); len(peers) != 2 || peers[0].ClockSkewMillis != off.Milliseconds() {
				t.Errorf("peers %+v", peers)
			}
		}
	})
}

// Members that come and go between two plans leave no vote behind.
func TestClocksOfPassersBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		n := startNode(t, net, 1)
		n.gateway.set(nil, fn("cat", "10"))
		pass(formed)
		for i := range 3 {
			passer := newStranger(net, 10+i)
			passer.announce(t, time.Hour)
			passer.a.Leaving = true
			passer.announce(t, time.Hour)
		}
		pass(2 * refresh)
		if got := n.spoa.clockOffset(); got != 0 {
			t.Errorf("the SPOA goes by a clock %v off", got)
		}
	})
}

// The table that a node leaves behind goes by the clock as it is then.
func TestClockOfTheLastTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		n := startNode(t, net, 1)
		n.gateway.set(nil, fn("cat", "10"))
		others := []*stranger{newStranger(net, 2), newStranger(net, 3)}
		announceFor4s(t, 0, others...)
		pass(200 * time.Millisecond) // between two plans
		for _, other := range others {
			other.announce(t, time.Hour)
		}
		synctest.Wait()
		if got := n.spoa.clockOffset(); got != 0 {
			t.Fatalf("already by a clock %v off: this tests nothing", got)
		}
		n.stop()
		if got := n.spoa.clockOffset(); got != time.Hour {
			t.Errorf("left behind with a clock %v off, want an hour", got)
		}
	})
}

// timedMinter remembers for what time it made the last token.
type timedMinter struct{ asked atomic.Pointer[time.Time] }

func (m *timedMinter) Token(now time.Time, peer string) (string, error) {
	m.asked.Store(&now)
	return "token.for." + peer, nil
}

func (s *fakeSPOA) clockOffset() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table == nil {
		return 0
	}
	return s.table.ClockOffset()
}

// A controller that starts again leaves the table of its earlier run alone until
// it has heard the peers in it, or has waited long enough.
func TestRestartAwaitsPeers(t *testing.T) {
	for _, speaks := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			net := newFakeNet()
			n := startNode(t, net, 1, func(_ *Options, n *testNode) {
				n.spoa.table = &table.Table{
					Version: 7, NodeID: n.id, TTLMillis: tableTTL.Milliseconds(), Peers: []table.Peer{{ID: peerID(2), Token: "a.b.c"}},
				}
				n.spoa.got = time.Now()
				n.gateway.set(nil, fn("cat", "10"))
			})
			pass(maxReunion - time.Second)
			synctest.Wait()
			if n.spoa.count() != 0 {
				t.Fatal("it forgot a peer that it has not heard yet")
			}
			if speaks {
				other := newStranger(net, 2)
				other.announce(t, 0)
				within(t, time.Second/2, "a table with the peer", func() bool { return n.spoa.forwards("cat", peerID(2)) > 0 })
				return
			}
			within(t, 2*time.Second, "a table without the peer", func() bool { return n.serves("cat") })
		})
	}
}

// Nor does it announce itself before it knows what its users ask for.
func TestFirstAnnouncementHasRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1, func(_ *Options, n *testNode) {
			n.spoa.load("cat", 50)
			n.gateway.set(nil, fn("cat", "10")) // before the first look
		})
		pass(3 * time.Second)
		synctest.Wait()
		n.overlay.net.mu.Lock()
		defer n.overlay.net.mu.Unlock()
		if first := n.overlay.sent[0]; len(first.Offers) != 1 || first.Offers[0].UserRate < 45 {
			t.Errorf("first announced: %+v", first)
		}
	})
}

package node

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// stranger is a member that is nothing but what it announces.
type stranger struct {
	*fakeOverlay
	a wire.Announcement
}

func newStranger(net *fakeNet, n int) *stranger {
	return &stranger{net.join(peerID(n)), wire.Announcement{
		V: wire.Version, Epoch: 1, HTTP: "127.0.0.1:1", Strategy: "headroom", PeriodMillis: 1000,
		Offers: []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(10)}},
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

// A node that starts by a wrong clock makes and checks tokens by that of the
// others, and goes on by it even if they move.
func TestWrongClock(t *testing.T) {
	for _, off := range []time.Duration{0, -time.Hour, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			net, minter := newFakeNet(), &timedMinter{}
			n := startNode(t, net, 1, func(o *Options, _ *testNode) { o.Minter = minter })
			n.gateway.set(nil, fn("cat", "10"))
			others := []*stranger{newStranger(net, 2), newStranger(net, 3)}
			for _, now := range []time.Duration{off, off + 2*time.Hour, off - 2*time.Hour} {
				announceFor4s(t, now, others...)
				if got := n.spoa.clockOffset(); got != off {
					t.Errorf("the others' clocks were %v off, now %v: the SPOA goes by %v", off, now, got)
				}
				if got := minter.asked.Load().Sub(time.Now()).Round(time.Minute); got != off {
					t.Errorf("the others' clocks were %v off, now %v: tokens are made by %v", off, now, got)
				}
				if peers := n.Peers(); len(peers) != 2 || peers[0].ClockSkewMillis != now.Milliseconds() {
					t.Errorf("peers %+v", peers)
				}
			}
		})
	}
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

// timedMinter remembers for what time it made the last token.
type timedMinter struct{ asked atomic.Pointer[time.Time] }

func (m *timedMinter) Token(now time.Time, peer peerid.ID) (string, error) {
	m.asked.Store(&now)
	return "token.for." + peer.String(), nil
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
					Version: 7, NodeID: testvalue.Peer(n.id), TTLMillis: (15 * time.Second).Milliseconds(), Peers: []table.Peer{{ID: testvalue.Peer(peerID(2)), Token: "a.b.c"}},
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
		if first := n.overlay.sent[0]; len(first.Offers) != 1 || first.Offers[0].UserRate.PerSecond() < 45 {
			t.Errorf("first announced: %+v", first)
		}
	})
}

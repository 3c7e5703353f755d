package node

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// announce says once a second, until the test ends, what a liar wants.
func announce(t *testing.T, o *fakeOverlay, http string, offers ...strategy.Offer) {
	go func() {
		for seq := uint64(1); ; seq++ {
			_, err := o.Publish(t.Context(), wire.Announcement{
				V: 1, Epoch: time.Now().UnixMilli(), Seq: seq, HTTP: http, Strategy: "headroom", PeriodMillis: 1000, Offers: offers,
			})
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

// answer makes HAProxy count, each second, 40 answers by each peer for each of the
// functions: all good, but for those of cat by one.
func (h *fakeHAProxy) answer(t *testing.T, refuses string, functions ...string) {
	go func() {
		for {
			h.set(func(h *fakeHAProxy) {
				for i := range h.servers {
					s := &h.servers[i]
					answers := maps.Clone(s.Answers) // the last one was given away
					if answers == nil {
						answers = make(map[haproxy.Function]haproxy.Answers)
					}
					for _, name := range functions {
						a := answers[haproxy.Function{Name: name}]
						if s.Name == refuses && name == "cat" {
							a.Lost += 40
						} else {
							a.Served += 40
						}
						answers[haproxy.Function{Name: name}] = a
					}
					s.Answers = answers
				}
			})
			select {
			case <-t.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

// weight is the part of what a forwards that goes to the peer while all have
// rate left.
func (n *testNode) weight(function, peer string) float64 {
	all, to := 0.0, 0.0
	if row := n.spoa.row(function); row != nil {
		for _, f := range row.Forward {
			all += f.Weight
			if f.Peer.String() == peer {
				to = f.Weight
			}
		}
	}
	return to / max(all, 1e-9)
}

func TestInfiniteSpareIsSeenThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a, b := startNode(t, net, 1), startNode(t, net, 2)
		liar := net.join(peerID(3))
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "50"))
		a.spoa.load("cat", 50)
		b.spoa.load("cat", 0)
		b.spoa.ask(a.id, 40)
		announce(t, liar, "127.0.0.1:8003", strategy.Offer{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(1e6)})
		within(t, formed, "the liar draws surplus", func() bool { return a.weight("cat", liar.id) > 0.5 })
		a.haproxy.answer(t, liar.id, "cat")
		within(t, 5*time.Second, "the honest peer gets the surplus, the liar a trial", func() bool {
			toLiar := a.weight("cat", liar.id)
			return toLiar > 0 && toLiar < 0.03 && a.spoa.forwards("cat", b.id) > 39
		})
		pass(20 * time.Second)
		if toLiar := a.weight("cat", liar.id); toLiar > 0.03 {
			t.Errorf("the liar gets %g of the surplus again", toLiar)
		}
		a.haproxy.answer(t, "nobody", "cat")
		within(t, 40*time.Second, "half of its answers are good, so half is believed", func() bool { return a.weight("cat", liar.id) > 0.2 })
	})
}

// TestDistrustOfOneFunction: what a peer leaves unserved of one function costs it
// nothing of what it is sent of others.
func TestDistrustOfOneFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a, b := startNode(t, net, 1), startNode(t, net, 2)
		other := net.join(peerID(3))
		a.gateway.set(nil, fn("cat", "10"), fn("dog", "10"))
		b.gateway.set(nil, fn("cat", "50"), fn("dog", "50"))
		a.spoa.load("cat", 50)
		a.spoa.load("dog", 50)
		announce(t, other, "127.0.0.1:8003", strategy.Offer{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(50)}, strategy.Offer{Name: testvalue.Name("dog"), Capacity: testvalue.Rate(50)})
		within(t, formed, "both get half of each", func() bool { return a.weight("cat", other.id) > 0.4 && a.weight("dog", other.id) > 0.4 })
		a.haproxy.answer(t, other.id, "cat", "dog")
		within(t, 5*time.Second, "one is hardly sent any cat", func() bool { return a.weight("cat", other.id) < 0.03 })
		pass(5 * time.Second)
		if cat, dog := a.weight("cat", other.id), a.weight("dog", other.id); cat > 0.03 || dog < 0.4 {
			t.Errorf("it gets %g of cat, and %g of dog", cat, dog)
		}
	})
}

func TestInfiniteDemandIsSeenThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a, b := startNode(t, net, 1), startNode(t, net, 2)
		liar := net.join(peerID(3))
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "50"))
		a.spoa.load("cat", 50)
		b.spoa.load("cat", 0)
		b.spoa.ask(a.id, 25)
		announce(t, liar, "127.0.0.1:8003", strategy.Offer{Name: testvalue.Name("cat"), Absent: true, UserRate: testvalue.Rate(1e6)})
		within(t, formed, "the liar's claim counts", func() bool {
			rate := a.spoa.forwards("cat", b.id)
			return rate > 0 && rate < 39
		})
		within(t, 6*time.Second, "the room that the liar does not use is given to who needs it", func() bool {
			offers := b.overlay.last().Offers
			return len(offers) == 1 && offers[0].Demand.PerSecond() > 0 && a.spoa.forwards("cat", b.id) > 39
		})
		if p := b.spoa.peer(a.id); p == nil || b.spoa.admits("cat", a.id) < 39 {
			t.Errorf("b's table has of a: %+v", p)
		}
		b.spoa.ask(liar.id, 25)
		within(t, 3*time.Second, "who uses what it claims is believed", func() bool { return a.spoa.forwards("cat", b.id) < 39 })
	})
}

// TestGatewayIsReadForPeers: the answers of this node's gateway are read to judge
// the peers' by, as often as those change, and again if they could not be read.
func TestGatewayIsReadForPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cat := haproxy.Function{Name: "cat"}
		counted := func(n int64) map[haproxy.Function]haproxy.Answers {
			return map[haproxy.Function]haproxy.Answers{cat: {Served: n, Lost: 5, Left: 6}, {Name: "cat", Async: true}: {Lost: 7}}
		}
		of := func(e haproxyEvent) estimate.Answers {
			return e.Answers[estimate.Offered{Peer: peerID(1), Function: "cat"}]
		}
		h := &fakeHAProxy{good: 4, lost: 5, servers: []haproxy.Server{{Name: peerID(1), State: haproxy.Up, Answers: counted(1)}}}
		k := newHAProxyKeeper(h, nil)
		go k.run(t.Context())
		if e := <-k.events; len(e.Servers) != 1 || len(e.Answers) != 2 || of(e) != (estimate.Answers{Served: 1, Lost: 5, Left: 6}) ||
			e.Answers[estimate.Offered{Peer: peerID(1), Function: "cat", Async: true}] != (estimate.Answers{Lost: 7}) ||
			e.Gateway != (estimate.Answers{Served: 4, Lost: 5}) {
			t.Errorf("%+v", e)
		}
		h.set(func(h *fakeHAProxy) { h.good = 40 })
		pass(10 * haproxyPoll)
		if h.gatewayReads != 1 {
			t.Errorf("the gateway was read %d times although no peer had answered", h.gatewayReads)
		}
		h.set(func(h *fakeHAProxy) { h.servers[0].Answers, h.gatewayErr = counted(2), haproxy.ErrTimeout })
		if e := <-k.events; of(e) != (estimate.Answers{Served: 2, Lost: 5, Left: 6}) || e.Gateway != (estimate.Answers{Served: 4, Lost: 5}) || e.Err == nil {
			t.Errorf("while it cannot be read: %+v", e)
		}
		h.set(func(h *fakeHAProxy) { h.gatewayErr = nil })
		if e := <-k.events; e.Gateway != (estimate.Answers{Served: 40, Lost: 5}) || e.Err != nil {
			t.Errorf("read again: %+v", e)
		}
	})
}

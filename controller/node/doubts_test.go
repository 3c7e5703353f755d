package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/federation"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/haproxy"
)

// announce says once a second, until the test ends, what a liar wants.
func announce(t *testing.T, o *fakeOverlay, http string, offers ...strategy.Offer) {
	go func() {
		for seq := uint64(1); ; seq++ {
			_, err := o.Publish(t.Context(), federation.Announcement{
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

// refuseAll makes HAProxy count, each second, 40 refusals by a peer and
// as many good answers by the others.
func (h *fakeHAProxy) refuseAll(t *testing.T, liar string) {
	go func() {
		for {
			h.set(func(h *fakeHAProxy) {
				for i := range h.servers {
					if h.servers[i].Name == liar {
						h.servers[i].Bad += 40
					} else {
						h.servers[i].Good += 40
					}
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

func TestInfiniteSpareIsSeenThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a, b := startNode(t, net, 1), startNode(t, net, 2)
		liar := net.join(peerID(3))
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "50"))
		a.spoa.load("cat", 50)
		announce(t, liar, "127.0.0.1:8003", strategy.Offer{Name: "cat", Capacity: 1e6})
		within(t, formed, "the liar draws the surplus", func() bool {
			return a.spoa.forwards("cat", liar.id) > 30 && a.spoa.forwards("cat", b.id) < 30
		})
		a.haproxy.refuseAll(t, liar.id)
		within(t, 8*time.Second, "the honest peer gets the surplus, the liar a trial", func() bool {
			toLiar := a.spoa.forwards("cat", liar.id)
			return toLiar > 0 && toLiar < 2 && a.spoa.forwards("cat", b.id) > 39
		})
		pass(10 * time.Second)
		if toLiar := a.spoa.forwards("cat", liar.id); toLiar > 2 {
			t.Errorf("the liar gets %g req/s again", toLiar)
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
		announce(t, liar, "127.0.0.1:8003", strategy.Offer{Name: "cat", Absent: true, UserRate: 1e6})
		within(t, 12*time.Second, "the room that the liar does not use is given to who needs it", func() bool {
			offers := b.overlay.last().Offers
			return len(offers) == 1 && offers[0].Demand > 0 && a.spoa.forwards("cat", b.id) > 39
		})
	})
}

// TestFloodOfFunctions: as many functions as an announcement may have
// do not push out those that are deployed here, and more are refused.
func TestFloodOfFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a := startNode(t, net, 1)
		a.gateway.set(nil, fn("zzz", "10"))
		var offers []strategy.Offer
		for i := range federation.MaxOffers {
			offers = append(offers, strategy.Offer{Name: fmt.Sprintf("f%04d", i), Capacity: 1e6, UserRate: 0})
		}
		for n := range 5 {
			announce(t, net.join(peerID(2+n)), fmt.Sprintf("127.0.0.1:%d", 9000+n), offers...)
		}
		within(t, formed, "functions of the flood", func() bool { return a.spoa.row("f0000") != nil })
		pass(2 * time.Second)
		if !a.serves("zzz") {
			t.Error("a function deployed here was pushed out")
		}
	})
}

func TestPardon(t *testing.T) {
	d, now := newDoubts(), time.Now()
	look := func(good, bad int64) strategy.Peer {
		d.observeAnswers(map[string]answers{"p": {good, bad}}, answers{})
		p := strategy.Peer{ID: "p"}
		d.about(&p)
		return p
	}
	lie := func() {
		t.Helper()
		d.answers = nil
		for n := range int64(4) {
			look(0, n*100)
		}
		if p := look(0, 500); p.Distrust < 0.9 {
			t.Fatalf("distrust %g of a peer that refuses all", p.Distrust)
		}
	}
	lie()
	d.pardon(now, "p")
	if p := look(0, 500); p.Distrust != 0 {
		t.Errorf("distrust %g although the fault is over", p.Distrust)
	}
	lie()
	d.pardon(now.Add(time.Second), "p")
	if p := look(0, 500); p.Distrust == 0 {
		t.Error("pardoned twice within a minute")
	}
	d.pardon(now.Add(pardonEvery), "p")
	if p := look(0, 500); p.Distrust != 0 {
		t.Error("never pardoned again")
	}
}

func TestAnswersSince(t *testing.T) {
	if got := (answers{5, 7}).since(answers{2, 3}); got != (answers{3, 4}) {
		t.Errorf("%+v", got)
	}
	if got := (answers{5, 0}).since(answers{2, 3}); got != (answers{5, 0}) {
		t.Errorf("a new server: %+v", got)
	}
	e := seen([]haproxy.Server{{Name: haproxy.ServerLocal, Good: 9}, {Name: peerID(1), Good: 1, Bad: 2, Errors: 3}},
		[]haproxy.Server{{Name: "gateway", Good: 4, Bad: 5}})
	if len(e.answers) != 1 || e.answers[peerID(1)] != (answers{1, 5}) || e.gateway != (answers{4, 5}) {
		t.Errorf("%+v", e)
	}
}

package node

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/limit"
)

// What package core promises.
const (
	maxSettle  = 2 * time.Second
	maxReunion = 5 * time.Second
	grace      = 15 * time.Second
	refresh    = 5 * time.Second
	lonely     = 10 * time.Second

	formed = 4 * time.Second // by then nodes started together know each other
)

func (n *testNode) serves(function string) bool {
	f := n.spoa.row(function)
	return f != nil && f.Local != nil
}

func (n *testNode) component(name string) api.Component {
	for _, c := range n.Status().Components {
		if c.Name == name {
			return c
		}
	}
	return api.Component{}
}

// pair starts two nodes that both have cat, and waits until they would forward
// to each other.
func pair(t *testing.T) (a, b *testNode) {
	t.Helper()
	net := newFakeNet()
	a, b = startNode(t, net, 1), startNode(t, net, 2)
	a.gateway.set(nil, fn("cat", "10"))
	b.gateway.set(nil, fn("cat", "20"))
	within(t, formed, "two nodes that lend each other their spare", func() bool {
		return a.spoa.forwards("cat", b.id) == 20 && b.spoa.forwards("cat", a.id) == 10
	})
	return a, b
}

func TestAloneServesLocally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1)
		n.gateway.set(nil, fn("cat", "10"))
		within(t, maxSettle+time.Second, "a table", func() bool { return n.serves("cat") })
		if row := n.spoa.row("cat"); row.Local.Rate.PerSecond() != 10 || len(row.Forward) > 0 {
			t.Errorf("row %+v", row)
		}
		for _, name := range []string{"spoa", "haproxy", "gateway", "overlay"} {
			if c := n.component(name); !c.OK {
				t.Errorf("component %+v", c)
			}
		}
	})
}

func TestPairForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		if p := b.spoa.peer(a.id); p == nil || p.Token != "token.for."+a.id || b.spoa.admits("cat", a.id) == 0 {
			t.Errorf("b's table has of a: %+v", p)
		}
		if a.haproxy.state(b.id) != haproxy.Up {
			t.Error("a's HAProxy has no server for b")
		}

		b.spoa.restart() // its counters begin with the load
		b.spoa.load("cat", 50)
		took := within(t, time.Second, "b's surplus claimed", func() bool { return b.overlay.last().Offers[0].UserRate.PerSecond() > 45 })
		t.Logf("announced after %v", took)
		within(t, time.Second, "b without spare for a", func() bool { return a.spoa.forwards("cat", b.id) == 0 })

		rows := a.Peers()
		if len(rows) != 1 || rows[0].State != "alive" || rows[0].Server != "up" || rows[0].HTTP != "127.0.0.1:8002" || rows[0].RTTMicros != 1000 {
			t.Errorf("peers %+v", rows)
		}
		functions := b.Functions()
		if len(functions) != 1 || functions[0].UserRate < 45 || functions[0].Peers != 1 || !functions[0].Local {
			t.Errorf("functions %+v", functions)
		}
		kinds := map[string]bool{}
		for _, r := range b.Routes("cat") {
			kinds[r.Kind] = true
		}
		if !kinds["local"] || !kinds["out"] || b.Routes("other") != nil {
			t.Errorf("routes %+v", b.Routes(""))
		}
	})
}

// TestMemberLeaves: a peer that stops is used for as long as what it leaves behind
// goes on serving, since it may only be started anew.
func TestMemberLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		b.stop()
		if !b.overlay.last().Leaving {
			t.Error("b did not say that it leaves")
		}
		for range 9 {
			pass(time.Second)
			synctest.Wait()
			if got := a.spoa.forwards("cat", b.id); got != 20 {
				t.Fatalf("a forwards %v", got)
			}
			if got := b.spoa.forwards("cat", a.id); got != 10 {
				t.Fatalf("b, which may only be restarting, forwards %v", got)
			}
		}
		if report, err := b.spoa.Meter(t.Context()); err != nil || !report.TableFresh {
			t.Error("b serves by no table any more, and a does not know")
		}
		if got := a.Peers(); len(got) != 1 || got[0].State != "expired" || got[0].Reason != "has left" {
			t.Errorf("peers %+v", got)
		}
		within(t, 2*time.Second, "no route to a peer that has left", func() bool { return a.spoa.forwards("cat", b.id) == 0 })
		if p := a.spoa.peer(b.id); p == nil || p.Token != "" || a.spoa.admits("cat", b.id) == 0 {
			t.Errorf("its last requests would be refused: %+v", p)
		}
		within(t, grace, "b serves everything itself", func() bool {
			report, err := b.spoa.Meter(t.Context())
			return err == nil && !report.TableFresh
		})
		if a.spoa.peer(b.id) == nil {
			t.Error("b still forwarded when a did not know it any more")
		}
		within(t, grace+2*refresh, "forgotten", func() bool { return a.spoa.peer(b.id) == nil && a.haproxy.state(b.id) == "" })
	})
}

// TestNodeStops: a peer that says that it stops, and whose HAProxy then cannot be
// reached, is gone for good.
func TestNodeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		b.stop()
		a.haproxy.set(func(h *fakeHAProxy) { h.servers[0].State = haproxy.Down })
		within(t, 500*time.Millisecond, "no route to it", func() bool { return a.spoa.forwards("cat", b.id) == 0 })
	})
}

// TestControllerRestarts: nobody notices that a controller is stopped and started
// anew, not even those who ask for a function that only its node has.
func TestControllerRestarts(t *testing.T) {
	for name, away := range map[string]time.Duration{"at once": 0, "after a while": 4 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t)
				b.gateway.set(nil, fn("cat", "20"), fn("only", "30"))
				within(t, 2*time.Second, "a route", func() bool { return a.spoa.forwards("only", b.id) == 30 })
				over := make(chan struct{})
				go func() {
					defer close(over)
					for range 1000 {
						pass(10 * time.Millisecond)
						synctest.Wait()
						if a.spoa.forwards("only", b.id) == 0 || a.spoa.row("only") == nil {
							t.Error("a forgot a function of a peer that only started anew")
							return
						}
						if b.spoa.forwards("cat", a.id) == 0 {
							t.Error("the node that started anew forgot its peer")
							return
						}
					}
				}()
				b.stop()
				pass(away)
				again := startNode(t, a.overlay.net, 2, func(o *Options, n *testNode) {
					n.spoa, n.haproxy, n.gateway = b.spoa, b.haproxy, b.gateway
					o.SPOA, o.HAProxy = b.spoa, b.haproxy
				})
				<-over
				if peers := a.Peers(); len(peers) != 1 || peers[0].State != "alive" {
					t.Errorf("peers %+v", peers)
				}
				if peers := again.Peers(); len(peers) != 1 || peers[0].State != "alive" {
					t.Errorf("peers of the new run %+v", peers)
				}
				if a.haproxy.deleted() > 0 {
					t.Error("HAProxy lost the server")
				}
			})
		})
	}
}

func TestMemberFallsSilentAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		b.overlay.setMute(true)
		within(t, 4*time.Second+core.TickOf(time.Second), "no route to a silent peer", func() bool { return a.spoa.forwards("cat", b.id) == 0 })
		b.overlay.setMute(false)
		within(t, 2*time.Second, "a route again", func() bool { return a.spoa.forwards("cat", b.id) > 0 })
		if a.haproxy.deleted() > 0 {
			t.Error("a blink made HAProxy lose the server")
		}
	})
}

func TestSPOARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		version := a.Status().TableVersion
		a.spoa.restart()
		within(t, 600*time.Millisecond, "a table again", func() bool { return a.spoa.forwards("cat", b.id) > 0 })
		pass(time.Second)
		synctest.Wait()
		if now := a.Status().TableVersion; now <= version {
			t.Errorf("version %d after %d", now, version)
		}
	})
}

func TestSPOAHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.spoa.hang(true)
		within(t, 2*time.Second, "failing", func() bool { return !a.component("spoa").OK })
		pass(20 * time.Second)
		synctest.Wait()
		if got := b.Peers(); len(got) != 1 || got[0].State != "alive" {
			t.Errorf("a fell silent with its SPOA: %+v", got)
		}
		a.spoa.hang(false)
		within(t, 3*time.Second, "well again", func() bool { return a.component("spoa").OK && a.spoa.forwards("cat", b.id) > 0 })
	})
}

// TestSPOARefuses checks that a table that is not wanted is not sent again and
// again, and that the fault shows until one is wanted.
func TestSPOARefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t)
		a.spoa.setPicky(true)
		before := a.spoa.count()
		within(t, 2*refresh, "failing", func() bool { return !a.component("spoa").OK })
		for range 40 {
			pass(250 * time.Millisecond)
			synctest.Wait()
			if a.component("spoa").OK {
				t.Fatal("the fault is hidden")
			}
		}
		if n := a.spoa.count() - before; n > 5 {
			t.Errorf("%d tables", n)
		}
		a.spoa.setPicky(false)
		within(t, 2*refresh, "well again", func() bool { return a.component("spoa").OK })
	})
}

// TestTableIsRefreshed checks that a table neither expires nor shows old tokens
// although nothing changes.
func TestTableIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startNode(t, newFakeNet(), 1, func(o *Options, _ *testNode) { o.Period = 10 * time.Minute })
		a.gateway.set(nil, fn("cat", "10"))
		within(t, formed, "a table", func() bool { return a.serves("cat") })
		before := a.spoa.count()
		pass(time.Minute)
		synctest.Wait()
		if puts := a.spoa.count() - before; puts < 10 || puts > 13 {
			t.Errorf("%d tables in a quiet minute, want one every %v", puts, refresh)
		}
	})
}

func TestHAProxyReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.haproxy.set(func(h *fakeHAProxy) { h.servers = nil })
		took := within(t, time.Second, "restored", func() bool { return a.haproxy.state(b.id) == haproxy.Up })
		t.Logf("restored after %v", took)
		within(t, time.Second, "a route", func() bool { return a.spoa.forwards("cat", b.id) > 0 })
	})
}

func TestHAProxyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.haproxy.set(func(h *fakeHAProxy) { h.hung = true })
		within(t, 5*time.Second, "failing", func() bool { return !a.component("haproxy").OK })
		// Everything else goes on.
		a.gateway.set(nil, fn("cat", "10"), fn("dog", "5"))
		within(t, 2*time.Second, "a new function", func() bool { return a.serves("dog") })
		if a.spoa.forwards("cat", b.id) == 0 {
			t.Error("an HAProxy whose runtime API hangs still forwards, but it is no longer told to")
		}
		a.haproxy.set(func(h *fakeHAProxy) { h.hung, h.servers = false, nil })
		within(t, 4*time.Second, "restored", func() bool { return a.component("haproxy").OK && a.haproxy.state(b.id) == haproxy.Up })
	})
}

func TestNoHAProxyNoForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a := startNode(t, net, 1, func(_ *Options, n *testNode) { n.haproxy.err = haproxy.ErrPermission })
		b := startNode(t, net, 2)
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "20"))
		within(t, formed, "peers in the table", func() bool { return a.spoa.peer(b.id) != nil })
		pass(5 * time.Second)
		synctest.Wait()
		if a.spoa.forwards("cat", b.id) != 0 {
			t.Error("forwards to a peer that HAProxy has no server for")
		}
		if c := a.component("haproxy"); c.OK || c.Error == "" {
			t.Errorf("component %+v", c)
		}
		a.haproxy.set(func(h *fakeHAProxy) { h.err = nil })
		within(t, 2*time.Second, "a route", func() bool { return a.spoa.forwards("cat", b.id) > 0 })
	})
}

// TestDownPeer checks that what a peer's health check says counts at once.
func TestDownPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.haproxy.set(func(h *fakeHAProxy) { h.servers[0].State = haproxy.Down })
		within(t, 500*time.Millisecond, "no route to a peer that is down", func() bool { return a.spoa.forwards("cat", b.id) == 0 })
		if p := a.spoa.peer(b.id); p == nil || a.spoa.admits("cat", b.id) == 0 {
			t.Error("a peer that we cannot reach may still send to us")
		}
		a.haproxy.set(func(h *fakeHAProxy) { h.servers[0].State = haproxy.Up })
		within(t, 500*time.Millisecond, "a route again", func() bool { return a.spoa.forwards("cat", b.id) == 20 })
	})
}

// TestRestartTouchesNothingTooSoon starts a controller beside an HAProxy that
// has servers already, as after a crash of the controller.
func TestRestartTouchesNothingTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		b := startNode(t, net, 2)
		b.gateway.set(nil, fn("cat", "20"))
		pass(formed)
		a := startNode(t, net, 1, func(o *Options, n *testNode) {
			n.haproxy.servers = []haproxy.Server{
				{Name: b.id, Address: b.options.HTTP, State: haproxy.Up, Checked: true},
				{Name: peerID(9), Address: b.options.HTTP, State: haproxy.Up, Checked: true},
			}
		})
		a.gateway.set(nil, fn("cat", "10"))
		within(t, formed, "one server kept and one removed", func() bool {
			return a.spoa.forwards("cat", b.id) > 0 && a.haproxy.state(peerID(9)) == ""
		})
		if a.haproxy.deleted() != 1 {
			t.Errorf("%d servers were deleted, want the stale one only", a.haproxy.deleted())
		}
		if first := a.spoa.count(); first > 3 {
			t.Errorf("%d tables while it still listened", first)
		}
	})
}

func TestGatewayDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.gateway.set(nil, fn("cat", "10"), fn("own", "5"))
		within(t, 2*time.Second, "a function that only a has", func() bool { return a.serves("own") })
		fault := errors.New("connection refused")

		a.gateway.set(fault)
		within(t, 2*time.Second, "failing", func() bool { return !a.component("gateway").OK })
		a.gateway.set(nil, fn("cat", "10"), fn("own", "5"))
		pass(500 * time.Millisecond)
		synctest.Wait()
		if !a.serves("cat") {
			t.Error("one look in vain made the functions disappear")
		}
		within(t, 2*time.Second, "well again", func() bool { return a.component("gateway").OK })

		a.gateway.set(fault)
		within(t, 4*time.Second, "users sent to the peer", func() bool { return !a.serves("cat") && a.spoa.forwards("cat", b.id) > 0 })
		if f := a.spoa.row("own"); f == nil || f.Local == nil {
			t.Errorf("a function that nobody else has: %+v", f)
		}
		if a.spoa.open() {
			t.Error("the functions are known, yet unknown ones are served")
		}
		within(t, time.Second, "nothing offered", func() bool { return b.spoa.forwards("cat", a.id) == 0 })

		a.gateway.set(nil, fn("cat", "10"))
		within(t, 2*time.Second, "served again", func() bool { return a.serves("cat") && b.spoa.forwards("cat", a.id) > 0 })
	})
}

func TestGatewayNeverSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startNode(t, newFakeNet(), 1, func(_ *Options, n *testNode) { n.gateway.err = errors.New("connection refused") })
		within(t, formed, "a table that lets everything through", func() bool {
			return a.spoa.open()
		})
		a.gateway.set(nil, fn("cat", "10"))
		within(t, 2*time.Second, "the list known", func() bool { return a.serves("cat") && !a.spoa.open() })
	})
}

func TestDeployUpdateRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.gateway.set(nil, fn("cat", "10"), fn("figlet", "7"))
		within(t, 2*time.Second, "deployed", func() bool { return a.serves("figlet") && b.spoa.forwards("figlet", a.id) == 7 })
		a.gateway.set(nil, fn("cat", "10"), fn("figlet", "8"))
		within(t, 2*time.Second, "updated", func() bool { return b.spoa.forwards("figlet", a.id) == 8 })
		a.gateway.set(nil, fn("cat", "10"))
		within(t, 2*time.Second, "removed", func() bool { return a.spoa.row("figlet") == nil && b.spoa.row("figlet") == nil })
	})
}

// TestAbsentDemand checks that demand for a function that is not deployed here
// is heard of by those who have it.
func TestAbsentDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		b.gateway.set(nil, fn("cat", "20"), fn("dog", "30"))
		within(t, 2*time.Second, "a route", func() bool { return a.spoa.forwards("dog", b.id) > 0 })
		a.spoa.restart()
		a.spoa.load("dog", 25)
		within(t, 2*time.Second, "demand announced", func() bool {
			offers := a.overlay.last().Offers
			return len(offers) == 2 && offers[1].Name.String() == "dog" && offers[1].Absent && offers[1].UserRate.PerSecond() > 22
		})
		within(t, time.Second, "room for it", func() bool { return a.spoa.forwards("dog", b.id) >= 25 })
	})
}

// TestQuietWhenNothingChanges counts what an idle federation says and does.
func TestQuietWhenNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t)
		pass(3 * time.Second)
		said, put := a.overlay.said(), a.spoa.count()
		pass(time.Minute)
		synctest.Wait()
		if n := a.overlay.said() - said; n < 58 || n > 76 {
			t.Errorf("%d announcements in an idle minute", n)
		}
		if n := a.spoa.count() - put; n > 14 {
			t.Errorf("%d tables in an idle minute", n)
		}
	})
}

// TestRecalcPlansOnMeans checks that recalc acts at the end of its period, on
// the mean over exactly that period.
func TestRecalcPlansOnMeans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1, func(o *Options, _ *testNode) {
			o.Strategy, o.Period = strategyOf(t, "recalc"), 2*time.Second
		})
		n.gateway.set(nil, fn("cat", "10"))
		pass(4100 * time.Millisecond) // 100 ms into a period
		n.spoa.restart()
		n.spoa.load("cat", 40)
		within(t, 3*time.Second, "announced", func() bool {
			offers := n.overlay.last().Offers
			return len(offers) == 1 && offers[0].UserRate.PerSecond() > 0
		})
		if got := n.overlay.last().Offers[0].UserRate; got.PerSecond() < 39 || got.PerSecond() > 41 {
			t.Errorf("user rate %v, want the mean of 40", got)
		}
	})
}

// TestRecalcBegins: until its first period is over, a node goes by what its users
// ask for now, not by nothing.
func TestRecalcBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1, func(o *Options, n *testNode) {
			o.Strategy, o.Period = strategyOf(t, "recalc"), 20*time.Second
			n.gateway.set(nil, fn("cat", "10"))
			n.spoa.load("cat", 40)
		})
		within(t, maxReunion+time.Second, "announced", func() bool { return len(n.overlay.last().Offers) == 1 })
		if got := n.overlay.last().Offers[0].UserRate; got.PerSecond() < 35 || got.PerSecond() > 45 {
			t.Errorf("user rate %v before the first period is over, want about 40", got)
		}
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		s := a.Status()
		if s.NodeID != a.id || s.Peers != 1 || s.Functions != 1 || s.PeriodMillis != 1000 || s.HTTPAddress != "127.0.0.1:8001" ||
			s.Strategy != "headroom" || s.TableVersion == 0 || len(s.Components) != 4 || len(s.Addresses) != 1 {
			t.Errorf("status %+v", s)
		}
		if err := a.Join(t.Context(), "not an address"); !errors.Is(err, api.ErrBadAddress) {
			t.Errorf("joining nonsense: %v", err)
		}
		if err := a.Join(t.Context(), "/ip4/127.0.0.1/tcp/1/p2p/"+b.id); err == nil || errors.Is(err, api.ErrBadAddress) {
			t.Errorf("joining in vain: %v", err)
		}
	})
}

func TestLonelyNodeSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1, func(o *Options, _ *testNode) { o.HasBootstrap = true })
		pass(lonely / 2)
		synctest.Wait()
		if c := n.component("overlay"); !c.OK {
			t.Errorf("too soon: %+v", c)
		}
		within(t, lonely, "failing", func() bool { return !n.component("overlay").OK })
	})
}

// TestUnlimitedStaysHere checks a function whose label cannot be read.
func TestUnlimitedStaysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		a.gateway.set(nil, fn("cat", "10"), fn("odd", "lots"))
		within(t, 2*time.Second, "served without limit", func() bool {
			return a.serves("odd") && a.spoa.row("odd").Local.Rate == limit.Unlimited()
		})
		pass(2 * time.Second)
		synctest.Wait()
		if got := b.spoa.forwards("odd", a.id); got != 0 {
			t.Errorf("offered at rate %v", got)
		}
		rows := a.Functions()
		if i := slices.IndexFunc(rows, func(f api.Function) bool { return f.Name == "odd" }); i < 0 || rows[i].Warning == "" {
			t.Errorf("no warning: %+v", rows)
		}
	})
}

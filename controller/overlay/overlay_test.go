package overlay

import (
	"context"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-varint"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/wire"
)

func TestThreeNodesByBootstrap(t *testing.T) {
	first := run(t, config(t))
	others := runEach(t, 2, func(_ int, c *Config) { c.Bootstrap = member(first.addr) })
	// Without a DHT the two others hear each other by way of the first, and do
	// not know where to dial.
	m := others[0].waitHears(others[1], false)
	if m.From.String() != others[1].ID() || len(m.RemoteIPs) != 0 {
		t.Errorf("relayed message says %+v", m)
	}
	waitMesh(t, first, others[0])
	waitMesh(t, first, others[1])
}

func TestThreeNodesByBootstrapAndDHT(t *testing.T) {
	c := config(t)
	c.DHT = true
	first := run(t, c)
	others := runEach(t, 2, func(_ int, c *Config) { c.DHT, c.Bootstrap = true, member(first.addr) })
	waitMesh(t, first, others[0], others[1])
}

func TestPeersOfPeersByDHT(t *testing.T) {
	nodes := runEach(t, 3, func(_ int, c *Config) { c.DHT = true })
	nodes[0].join(nodes[1])
	nodes[1].join(nodes[2])
	// Nobody has announced anything: only the DHT can tell.
	waitFor(t, "the ends of the chain connect", func() bool {
		return nodes[0].isConnected(nodes[2]) && nodes[2].isConnected(nodes[0])
	})
}

func TestFederationsStayApart(t *testing.T) {
	nodes := runEach(t, 2, func(i int, c *Config) { c.Federation = []string{"one", "two"}[i] })
	third := runEach(t, 1, func(_ int, c *Config) { c.Federation = "one" })[0]
	nodes[0].join(nodes[1])
	nodes[0].join(third)
	third.waitHears(nodes[0], true)
	if m, ok := nodes[1].heard(nodes[0]); ok {
		t.Errorf("heard of another federation: %+v", m)
	}
}

func TestPeerInfo(t *testing.T) {
	nodes := runEach(t, 2, func(int, *Config) {})
	began := time.Now()
	nodes[0].join(nodes[1])
	waitFor(t, "round trip is measured", func() bool {
		peers := nodes[0].Peers()
		return len(peers) == 1 && peers[0].RTT > 0
	})
	p := nodes[0].Peers()[0]
	if p.ID != nodes[1].ID() || p.RTT > patience || p.Since.Before(began) || p.Since.After(time.Now()) {
		t.Errorf("peer: %+v", p)
	}
	if want, _, _ := strings.Cut(nodes[1].addr, "/p2p/"); !slices.Equal(p.Addrs, []string{want}) {
		t.Errorf("addresses %v, want %s", p.Addrs, want)
	}
}

func TestWrongFederationKey(t *testing.T) {
	for name, key := range map[string][]byte{"other": slices.Repeat([]byte{8}, 32), "none": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each side may wait in vain for the other's first word
			inside := run(t, config(t))
			c := config(t)
			c.PSK = key
			outside := run(t, c)
			var joins sync.WaitGroup
			for _, pair := range [][2]*node{{outside, inside}, {inside, outside}} {
				joins.Go(func() {
					_, err := pair[0].Join(t.Context(), pair[1].addr)
					if err == nil || !strings.Contains(err.Error(), "federation key") {
						t.Errorf("join: %v", err)
					}
				})
			}
			joins.Wait()
			if len(inside.Peers()) != 0 || len(outside.Peers()) != 0 {
				t.Errorf("connected: %v, %v", inside.Peers(), outside.Peers())
			}
			if got := inside.refusal(outside.ID()); !strings.Contains(got, "federation key") {
				t.Errorf("dialled peer: refused because %q", got)
			}
			inside.gate.sweep(time.Now().Add(2 * handshakeTimeout))
			if got := inside.refusal("127.0.0.1"); got != failedInbound {
				t.Errorf("inbound: refused because %q", got)
			}
		})
	}
}

func TestAllowList(t *testing.T) {
	friend, stranger := config(t), config(t)
	c := config(t)
	c.AllowPeers = []peer.ID{friend.Identity.ID()}
	guarded := run(t, c)
	f, s := run(t, friend), run(t, stranger)

	f.join(guarded)
	guarded.waitHears(f, true)

	// The stranger's half of the handshake succeeds before it is turned away.
	s.Join(t.Context(), guarded.addr)
	waitFor(t, "stranger is refused", func() bool { return guarded.refusal(s.ID()) == notAllowed && !s.isConnected(guarded) })
	waitFor(t, "stranger understands", func() bool { return strings.Contains(s.refusal(guarded.ID()), "allow_peers") })
	if _, err := guarded.Join(t.Context(), s.addr); err == nil || !strings.Contains(err.Error(), "allow_peers") {
		t.Errorf("dialling a stranger: %v", err)
	}

	// By way of the friend the stranger is not heard either.
	s.join(f)
	f.waitHears(s, true)
	waitFor(t, "stranger's gossip is dropped", func() bool {
		s.announce()
		return testutil.ToFloat64(guarded.metrics.refused.WithLabelValues(reasonAllow)) > 0
	})
	if m, ok := guarded.heard(s); ok {
		t.Errorf("stranger heard: %+v", m)
	}
	guarded.waitHears(f, true) // the friend is not blamed
}

// publish sends anything as gossip, past the checks of Publish.
func (n *node) publish(data []byte) {
	n.t.Helper()
	if err := n.first.Publish(n.t.Context(), data); err != nil {
		n.t.Fatal(err)
	}
}

// A member that is gone soon after it came has not turned anybody away.
func TestPeerThatEndsIsNoRefusal(t *testing.T) {
	log := &lockedBuffer{}
	nodes := runEach(t, 2, func(i int, c *Config) {
		if i == 0 {
			c.Log = zerolog.New(log)
		}
	})
	nodes[0].join(nodes[1])
	waitMesh(t, nodes...)
	nodes[1].Close()
	waitFor(t, "the lost peer is dialled", func() bool { return strings.Contains(log.String(), "cannot connect to peer") })
	if reason := nodes[0].refusal(nodes[1].ID()); reason != "" {
		t.Errorf("listed as refused: %s", reason)
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestBadGossipIsDroppedAndItsAuthorScoredDown(t *testing.T) {
	nodes := runEach(t, 3, func(int, *Config) {})
	good, bad, friend := nodes[0], nodes[1], nodes[2]
	bad.join(good)
	friend.join(good)
	good.waitHears(bad, true)

	payloads := [][]byte{
		[]byte("not JSON"),
		[]byte(`{"v":1}`),
		[]byte(`{"v":1,"epoch":1,"seq":1,"http":"0.0.0.0:0","strategy":"static","period_ms":1000,"f":null}`),
		make([]byte, wire.MaxAnnouncement+1),
	}
	for i, payload := range payloads {
		waitFor(t, "bad gossip is counted", func() bool {
			if testutil.ToFloat64(good.metrics.refused.WithLabelValues(reasonMalformed)) > float64(i) {
				return true
			}
			bad.publish(payload)
			return false
		})
	}
	if got := good.refusal(bad.ID()); got == "" {
		t.Error("the author is not among the refused")
	}
	waitFor(t, "the author is not listened to any more", func() bool {
		bad.announce()
		last, _ := good.heard(bad)
		return bad.seq-last.Announcement.Seq > 20
	})
	// Others are, and nothing bad was passed on.
	friend.waitHears(good, true)
	if n := testutil.ToFloat64(friend.metrics.refused.WithLabelValues(reasonMalformed)); n != 0 {
		t.Errorf("%v bad messages were passed on", n)
	}
}

func TestEndlessFrameIsCounted(t *testing.T) {
	nodes := runEach(t, 2, func(int, *Config) {})
	good, bad := nodes[0], nodes[1]
	bad.join(good)
	good.waitHears(bad, true)
	waitFor(t, "frame is counted, and its sender listed", func() bool {
		// Gossipsub has one stream per peer: this one and the bad node's own
		// replace each other, so that one attempt may be lost. What the node had
		// announced before may be heard after the frame, and clear it once more.
		if s, err := bad.host.NewStream(t.Context(), good.host.ID(), pubsub.GossipSubID_v11); err == nil {
			s.Write(varint.ToUvarint(1 << 40))
			defer s.Reset()
		}
		return testutil.ToFloat64(good.metrics.refused.WithLabelValues(reasonTooLarge)) > 0 && strings.Contains(good.refusal(bad.ID()), "frame")
	})
}

func TestGarbageOnThePort(t *testing.T) {
	nodes := runEach(t, 2, func(int, *Config) {})
	addr, err := ma.NewMultiaddr(nodes[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := addr.ValueForProtocol(ma.P_TCP)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(slices.Repeat([]byte("GET / HTTP/1.1\r\n"), 100)); err != nil {
		t.Fatal(err)
	}
	nodes[1].join(nodes[0])
	waitMesh(t, nodes...)
}

func TestBootstrapPeerIsDialledUntilItIsThere(t *testing.T) {
	boot := run(t, config(t))
	addr := boot.addr
	boot.Close()
	c := config(t)
	c.Bootstrap = member(addr)
	n := run(t, c)
	again := boot.restart()
	waitMesh(t, n, again)
	again = again.restart()
	waitMesh(t, n, again)
}

func TestLostPeersFindBack(t *testing.T) {
	nodes := runEach(t, 2, func(int, *Config) {})
	nodes[0].join(nodes[1])
	waitMesh(t, nodes...)
	// A cut connection.
	if err := nodes[0].host.Network().ClosePeer(nodes[1].host.ID()); err != nil {
		t.Fatal(err)
	}
	waitMesh(t, nodes...)
	// A restart of the node that had not dialled, and does not know the other.
	nodes[1] = nodes[1].restart()
	waitFor(t, "connection is back", func() bool { return nodes[1].isConnected(nodes[0]) })
	waitMesh(t, nodes...)
}

// A federation split in two halves that both go on becomes one again.
func TestPartitionHeals(t *testing.T) {
	nodes := runEach(t, 4, func(_ int, c *Config) { c.DHT = true })
	nodes[1].join(nodes[0])
	nodes[2].join(nodes[1])
	nodes[3].join(nodes[2])
	waitMesh(t, nodes...)
	// Both nodes of one half go away, come back with no memory, and find only
	// each other.
	half := []*node{nodes[2].restart(), nodes[3].restart()}
	half[0].join(half[1])
	waitMesh(t, half...)
	waitMesh(t, append(half, nodes[:2]...)...)
}

func TestJoinRefusesBadAddresses(t *testing.T) {
	n := run(t, config(t))
	for _, addr := range []string{
		"", "127.0.0.1:4001", "/ip4/127.0.0.1/tcp/4001", "/p2p/" + n.ID(), "/ip4/127.0.0.1/tcp/1/p2p/abc", n.addr,
	} {
		if _, err := n.Join(t.Context(), addr); err == nil {
			t.Errorf("%q: accepted", addr)
		}
	}
}

// The peer is connected already: where nobody is, or somebody else, is an error all
// the same, and where the peer is, is none.
func TestJoinTriesTheAddress(t *testing.T) {
	nodes := runEach(t, 3, func(int, *Config) {})
	nodes[1].join(nodes[0]) // so that nodes[0] knows no address of its own to dial
	waitMesh(t, nodes[:2]...)
	opened := nodes[0].Peers()[0].Since
	elsewhere, _, _ := strings.Cut(nodes[2].addr, "/p2p/")
	for _, addr := range []string{"/ip4/127.0.0.1/tcp/1", elsewhere} {
		if _, err := nodes[0].Join(t.Context(), addr+"/p2p/"+nodes[1].ID()); err == nil || !strings.Contains(err.Error(), "cannot be reached at "+addr) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	nodes[0].join(nodes[1])
	if p := nodes[0].Peers(); len(p) != 1 || p[0].Since != opened {
		t.Errorf("the connection that there was is gone: %+v", p)
	}
	if reason := nodes[1].refusal(nodes[0].ID()); reason != "" {
		t.Errorf("taken for a refusal: %s", reason)
	}
}

func TestJoinSomebodyElse(t *testing.T) {
	nodes := runEach(t, 3, func(int, *Config) {})
	addr, _, _ := strings.Cut(nodes[1].addr, "/p2p/")
	if _, err := nodes[0].Join(t.Context(), addr+"/p2p/"+nodes[2].ID()); err == nil {
		t.Error("joined a node that is not who the address says")
	}
}

func TestPublishRefusesWhatNobodyWouldAccept(t *testing.T) {
	n := run(t, config(t))
	if _, err := n.Publish(t.Context(), wire.Announcement{V: 1}); err == nil {
		t.Error("published")
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	c := config(t)
	c.Registerer = reg
	n, other := run(t, c), run(t, config(t))
	n.join(other)
	waitMesh(t, n, other)
	n.metrics.refused.WithLabelValues(reasonRate).Inc()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		m := f.GetMetric()[0]
		values[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	if values["dfaas_overlay_peers"] != 1 || values["dfaas_gossip_sent_total"] < 1 ||
		values["dfaas_gossip_received_total"] < 1 || values["dfaas_gossip_refused_total"] != 1 {
		t.Errorf("metrics: %v", values)
	}
}

// stacks returns the stacks of the goroutines that an overlay may have started.
func stacks() []string {
	buf := make([]byte, 8<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	return slices.DeleteFunc(all, func(s string) bool {
		return strings.Contains(s, "testing.") || !strings.Contains(s, "libp2p") && !strings.Contains(s, "dfaas/controller")
	})
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := len(stacks())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var overlays []*Overlay
	for range 3 {
		c := config(t)
		c.DHT = true
		o, err := New(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		overlays = append(overlays, o)
	}
	for _, o := range overlays[1:] {
		if _, err := o.Join(ctx, overlays[0].Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	if len(stacks()) <= before {
		t.Fatal("the goroutines at work are not seen")
	}
	cancel()
	for _, o := range overlays {
		o.Close()
		for range o.Messages() { // closed
		}
	}
	waitFor(t, "goroutines end", func() bool { return len(stacks()) <= before })
}

func TestNewRefusesBadConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no federation":      func(c *Config) { c.Federation = "" },
		"federation":         func(c *Config) { c.Federation = "a/b" },
		"no identity":        func(c *Config) { c.Identity = nil },
		"listen elsewhere":   func(c *Config) { c.Listen = addresses("/ip4/192.0.2.77/tcp/0") },
		"listen, one of two": func(c *Config) { c.Listen = addresses("/ip4/127.0.0.1/tcp/0", "/ip4/192.0.2.77/tcp/0") },
		"key":                func(c *Config) { c.PSK = c.PSK[:31] },
	} {
		c := config(t)
		change(&c)
		if o, err := New(t.Context(), c); err == nil {
			o.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOwnAddressInBootstrapIsIgnored(t *testing.T) {
	c := config(t)
	c.Bootstrap = member("/ip4/127.0.0.1/tcp/1/p2p/" + c.Identity.String())
	if s, err := c.check(); err != nil || len(s.bootstrap) != 0 {
		t.Errorf("%v, %v", s.bootstrap, err)
	}
}

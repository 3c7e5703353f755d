package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

func addrOf(s string) ma.Multiaddr { return ma.StringCast(s) }

func TestWhereAPeerMayBeDialled(t *testing.T) {
	now := time.Unix(1000, 0)
	own, port, other := addrOf("/ip4/192.0.2.7/tcp/1"), addrOf("/ip4/192.0.2.7/tcp/2"), addrOf("/ip4/192.0.2.8/tcp/1")
	loopback := addrOf("/ip4/127.0.0.1/tcp/6379")
	for name, c := range map[string]struct {
		hearsay bool
		prepare func(*book)
		addr    ma.Multiaddr
		want    error
	}{
		"nothing known":                  {false, func(*book) {}, own, errUnvouched},
		"what others tell":               {true, func(*book) {}, own, nil},
		"what others tell of loopback":   {true, func(*book) {}, loopback, errUnvouched},
		"what others tell of link-local": {true, func(*book) {}, addrOf("/ip4/169.254.169.254/tcp/80"), errUnvouched},
		"unspecified":                    {true, func(*book) {}, addrOf("/ip4/0.0.0.0/tcp/80"), errUnvouched},
		"multicast":                      {true, func(*book) {}, addrOf("/ip4/224.0.0.1/tcp/80"), errUnvouched},
		"a name":                         {true, func(*book) {}, addrOf("/dns4/example.org/tcp/80"), errUnvouched},
		"what others tell of one met":    {true, func(b *book) { b.met(now, "p", other) }, own, errUnvouched},
		"of one met long ago":            {true, func(b *book) { b.met(now.Add(-2*seenFor), "p", other) }, own, nil},
		"where it was seen":              {false, func(b *book) { b.met(now, "p", own) }, own, nil},
		"where it was seen, other port":  {false, func(b *book) { b.met(now, "p", own) }, port, nil},
		"where another was seen":         {false, func(b *book) { b.met(now, "q", own) }, own, errUnvouched},
		"loopback of one seen elsewhere": {true, func(b *book) { b.met(now, "p", own) }, loopback, errUnvouched},
		"on the same machine":            {false, func(b *book) { b.met(now, "p", addrOf("/ip4/127.0.0.2/tcp/1")) }, loopback, nil},
		"named":                          {false, func(b *book) { b.name(loopback) }, loopback, nil},
		"vouched for":                    {false, func(b *book) { b.vouch(now, own) }, own, nil},
		"vouched for, long ago":          {false, func(b *book) { b.vouch(now.Add(-2*vouchedFor), own) }, own, errUnvouched},
	} {
		b := newBook(c.hearsay)
		c.prepare(b)
		if err := b.check(now, "p", c.addr); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want != nil {
			if _, err := b.begin(now, "p", c.addr); !errors.Is(err, c.want) {
				t.Errorf("%s: the dial begins: %v", name, err)
			}
		}
	}
}

// Whatever anybody tells, where nobody is found: dials in vain stay within the
// bounds, for each address, each IP address and together.
func TestDialsInVainAreBounded(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 1))
		vouch := seed > 0 // for what neighbours tell, or else for what the DHT does
		b := newBook(seed != 1)
		now := time.Unix(1000, 0)
		const minutes = 9 // within vainRest
		byAddr, byIP, total := make(map[string]int), make(map[string]int), 0
		for range minutes * 60 * 10 {
			now = now.Add(100 * time.Millisecond)
			ip := fmt.Sprintf("192.0.%d.%d", random.IntN(20), 1+random.IntN(200))
			addr := addrOf(fmt.Sprintf("/ip4/%s/tcp/%d", ip, 1+random.IntN(30)))
			if vouch {
				b.vouch(now, addr)
			}
			id := peer.ID(fmt.Sprint(random.IntN(100000)))
			if b.check(now, id, addr) != nil {
				continue
			}
			done, err := b.begin(now, id, addr)
			if err != nil {
				t.Fatalf("checked, but: %v", err)
			}
			done(now, false)
			byAddr[addr.String()]++
			byIP[ip]++
			total++
		}
		more := 0 // tries with ever longer rests between them
		for rest, at := neighbourFirst, time.Duration(0); at+rest <= minutes*time.Minute; rest *= 2 {
			at += rest
			more++
		}
		if !vouch {
			more = 0
		}
		for addr, n := range byAddr {
			if n > vainTries+more {
				t.Errorf("%s: %d", addr, n)
			}
		}
		for ip, n := range byIP {
			if n > vainTriesIP+more {
				t.Errorf("%s: %d", ip, n)
			}
		}
		if bound := vainBurst + vainRate*60*minutes; total > bound || total < bound*9/10 {
			t.Errorf("%d dials, want almost %d", total, bound)
		}
		if len(b.vain) > maxVain+2 || len(b.vouched) > maxVouched || len(b.peers) > 0 {
			t.Errorf("kept: %d in vain, %d vouched, %d peers", len(b.vain), len(b.vouched), len(b.peers))
		}
	}
}

// Peers that come, claim addresses of their own and go again, under one id after another, are
// dialled in vain wherever they were seen, and take no more memory for that than others.
func TestClaimsInVainAreBounded(t *testing.T) {
	b, now, dials := newBook(true), time.Unix(1000, 0), 0
	const peers = maxVain / 2 // each leaves three entries
	for i := range peers {
		id := peer.ID(fmt.Sprint("peer ", i))
		b.met(now, id, addrOf("/ip4/192.0.2.7/tcp/1"))
		for port := range 2 {
			if done, err := b.begin(now, id, addrOf(fmt.Sprintf("/ip4/192.0.2.7/tcp/%d", 1000+2*i+port))); err == nil {
				done(now, false)
				dials++
			}
		}
		now = now.Add(20 * time.Millisecond)
	}
	if dials < 2*peers || len(b.vain) > maxVain {
		t.Errorf("%d dials, of which %d are kept: want %d at most", dials, len(b.vain), maxVain)
	}
	if err := b.check(now, peer.ID(fmt.Sprint("peer ", peers-1)), addrOf(fmt.Sprintf("/ip4/192.0.2.7/tcp/%d", 1000+2*peers-1))); !errors.Is(err, errVain) {
		t.Errorf("what was dialled in vain last may be dialled again at once: %v", err)
	}
}

// Where a neighbour's own packet comes from, it is found soon however often it was dialled
// in vain before, while all started at once. What others tell is left alone.
func TestNeighboursAreTriedAgainSoon(t *testing.T) {
	addr := addrOf("/ip4/192.0.2.7/tcp/1")
	longest := func(vouch bool, busy time.Duration) (rest time.Duration) {
		b, began := newBook(true), time.Unix(1000, 0)
		last := began
		for now := began; now.Sub(began) < busy; now = now.Add(100 * time.Millisecond) {
			if vouch {
				b.vouch(now, addr)
			}
			if done, err := b.begin(now, "p", addr); err == nil {
				done(now, false)
				rest, last = max(rest, now.Sub(last)), now
			}
		}
		return max(rest, began.Add(busy).Sub(last))
	}
	const busy = 15 * time.Second
	if rest := longest(true, busy); rest > 9*time.Second {
		t.Errorf("a neighbour is left alone for %v", rest)
	}
	if rest := longest(false, vainRest); rest < vainRest-time.Second {
		t.Errorf("what others tell is left alone for %v only", rest)
	}
}

// A whole federation that others tell of is found at once: who is there costs
// nothing.
func TestDialsThatSucceedCostNothing(t *testing.T) {
	b := newBook(true)
	now := time.Unix(1000, 0)
	for i := range 1000 {
		id, addr := peer.ID(fmt.Sprint(i)), addrOf(fmt.Sprintf("/ip4/192.0.2.7/tcp/%d", i+1))
		done, err := b.begin(now, id, addr)
		if err != nil {
			t.Fatalf("peer %d: %v", i, err)
		}
		done(now, true)
		b.met(now, id, addr)
		// And again, however often it is lost.
		for range 100 {
			if done, err = b.begin(now, id, addr); err != nil {
				t.Fatalf("peer %d: %v", i, err)
			}
			done(now, false)
		}
	}
}

// What a peer gives for itself where it was seen is tried, but ever less often.
func TestUnprovenAddressesAreTriedEverLessOften(t *testing.T) {
	b := newBook(false)
	now := time.Unix(1000, 0)
	dials := func(until time.Duration, addrs ...ma.Multiaddr) (n int) {
		for end := now.Add(until); now.Before(end); now = now.Add(time.Second / 2) {
			b.met(now, "p", addrOf("/ip4/192.0.2.7/tcp/999")) // it comes and goes
			for _, addr := range addrs {
				if done, err := b.begin(now, "p", addr); err == nil {
					done(now, false)
					n++
				}
			}
		}
		return n
	}
	one := addrOf("/ip4/192.0.2.7/tcp/6379")
	if n := dials(20*time.Second, one); n < 2 || n > 4 {
		t.Errorf("%d dials in 20 s", n)
	}
	if n := dials(20*time.Minute, one); n < 4 || n > 12 {
		t.Errorf("%d dials in 20 min", n)
	}
	var many []ma.Multiaddr
	for i := range 100 {
		many = append(many, addrOf(fmt.Sprintf("/ip4/192.0.2.7/tcp/%d", i+1)))
	}
	if n := dials(20*time.Minute, many...); n < 20 || n > claimTries*21 {
		t.Errorf("%d dials to 100 addresses in 20 min", n)
	}
}

// hostile returns a member that is none of ours: it does what its makers want.
func hostile(t *testing.T, give ...ma.Multiaddr) host.Host {
	t.Helper()
	h, err := libp2p.New(
		libp2p.Identity(config(t).Identity.Key()), libp2p.PrivateNetwork(federationKey), libp2p.NoListenAddrs,
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New), libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return give }), libp2p.DisableMetrics(), libp2p.DisableRelay(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// TestIdentifyAimsNobody: a member gives others' addresses as its own, then goes
// away, again and again. Neither the node that it was connected to nor those that
// hear of it over the DHT dial there.
func TestIdentifyAimsNobody(t *testing.T) {
	t.Parallel()
	const third = "192.0.2.99"
	if !inNamespace(t, "192.0.2.1", third) {
		return
	}
	victim, local := countDials(t, third), countDials(t, "127.0.0.1")
	nodes := runEach(t, 3, func(_ int, c *Config) { c.DHT, c.Listen = true, addresses("/ip4/192.0.2.1/tcp/0") })
	nodes[0].join(nodes[1])
	attacker := hostile(t, addrOf("/ip4/"+third+"/tcp/"+victim.port), addrOf("/ip4/127.0.0.1/tcp/"+local.port))
	target := peer.AddrInfo{ID: nodes[0].host.ID(), Addrs: nodes[0].host.Addrs()}
	for i := range 3 {
		if err := attacker.Connect(t.Context(), target); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "identified", func() bool {
			_, err := nodes[0].host.Peerstore().GetProtocols(attacker.ID())
			return err == nil && nodes[0].host.Network().Connectedness(attacker.ID()) != 0
		})
		if i == 1 {
			nodes[2].join(nodes[1]) // looks around while the attacker is connected
			waitFor(t, "found by the DHT", func() bool { return nodes[2].isConnected(nodes[0]) })
		}
		if err := attacker.Network().ClosePeer(target.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "gone", func() bool { return nodes[0].host.Network().Connectedness(attacker.ID()) == 0 })
		// For as long as it takes to be dialled three times.
		<-time.After(3 * firstRetry)
	}
	if n := victim.dials.Load(); n > 0 {
		t.Errorf("a third party was dialled %d times", n)
	}
	if n := local.dials.Load(); n > 0 {
		t.Errorf("a service of the node's own machine was dialled %d times", n)
	}
}

package overlay

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// patience is how long a test waits for what must happen; a passing test never
// waits that long.
const patience = time.Minute

// waitFor polls until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// node is an overlay with somebody who reads its messages.
type node struct {
	*Overlay
	t      *testing.T
	addr   string // to dial it at
	config Config
	seq    uint64

	mu   sync.Mutex
	last map[string]Message // by author
}

var federationKey = pnet.PSK(bytes.Repeat([]byte{7}, 32))

// config returns the configuration of a new node with a new identity, that
// finds nobody by itself.
func config(t testing.TB) Config {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Federation: "test", Identity: id, PSK: federationKey, Listen: addresses("/ip4/127.0.0.1/tcp/0"), Log: zerolog.Nop(),
	}
}

func addresses(texts ...string) []ma.Multiaddr {
	addrs := make([]ma.Multiaddr, len(texts))
	for i, text := range texts {
		addrs[i] = ma.StringCast(text)
	}
	return addrs
}

// member is the one whose address ends in its peer id.
func member(text string) []peer.AddrInfo {
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		panic(err)
	}
	return []peer.AddrInfo{*info}
}

// run starts a node, which ends with the test.
func run(t *testing.T, c Config) *node {
	t.Helper()
	o, err := New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Overlay: o, t: t, addr: o.Addrs()[0], config: c, last: make(map[string]Message)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for m := range o.Messages() {
			n.mu.Lock()
			n.last[m.From.String()] = m
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		o.Close()
		<-read
	})
	return n
}

// runEach starts n nodes, each configured by change.
func runEach(t *testing.T, n int, change func(i int, c *Config)) []*node {
	t.Helper()
	var nodes []*node
	for i := range n {
		c := config(t)
		change(i, &c)
		nodes = append(nodes, run(t, c))
	}
	return nodes
}

// restart starts the node's like anew, at the address it had.
func (n *node) restart() *node {
	n.t.Helper()
	c := n.config
	addr, _, _ := strings.Cut(n.addr, "/p2p/")
	c.Listen = addresses(addr)
	n.Close()
	return run(n.t, c)
}

func (n *node) join(other *node) {
	n.t.Helper()
	if _, err := n.Join(n.t.Context(), other.addr); err != nil {
		n.t.Fatal(err)
	}
}

// announce publishes a valid announcement.
func (n *node) announce() {
	n.t.Helper()
	n.seq++
	_, err := n.Publish(n.t.Context(), wire.Announcement{
		V: 1, Epoch: 1, Seq: n.seq, HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000,
		Offers: []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(1)}},
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// heard returns the last message of the author.
func (n *node) heard(author *node) (Message, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, ok := n.last[author.ID()]
	return m, ok
}

// forget makes n wait for a new message of the author.
func (n *node) forget(author *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.last, author.ID())
}

func (n *node) isConnected(other *node) bool {
	return slices.ContainsFunc(n.Peers(), func(p PeerInfo) bool { return p.ID == other.ID() })
}

// waitHears waits until n has a message of the author, who keeps announcing,
// that came with direct connections if direct.
func (n *node) waitHears(author *node, direct bool) Message {
	n.t.Helper()
	var m Message
	looks := 0
	waitFor(n.t, "announcement arrives", func() bool {
		if looks++; looks%10 == 1 { // not so often that a busy machine does nothing else
			author.announce()
		}
		var ok bool
		m, ok = n.heard(author)
		return ok && (len(m.RemoteIPs) > 0 || !direct)
	})
	return m
}

// waitMesh waits until every node hears every other directly.
func waitMesh(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		for _, other := range nodes {
			if n == other {
				continue
			}
			m := n.waitHears(other, true)
			if m.From.String() != other.ID() || !slices.Contains(m.RemoteIPs, netip.MustParseAddr("127.0.0.1")) {
				t.Errorf("message of %s says %+v", other.ID(), m)
			}
		}
	}
}

// refusal returns what n remembers of turning the peer away.
func (n *node) refusal(peer string) string {
	for _, r := range n.Refused() {
		if r.Peer == peer {
			return r.Reason
		}
	}
	return ""
}

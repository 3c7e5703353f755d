package overlay

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

func TestMutesAreOverdue(t *testing.T) {
	const a, b = peer.ID("a"), peer.ID("b")
	m := make(mutes)
	start := time.Now()
	var cuts []time.Duration
	step := func(at time.Duration, connected []peer.ID, gossiping ...peer.ID) {
		t.Helper()
		for _, id := range m.overdue(start.Add(at), connected, func(id peer.ID) bool { return slices.Contains(gossiping, id) }) {
			if id != a {
				t.Errorf("after %v: %s is overdue", at, id)
			}
			cuts = append(cuts, at)
		}
	}
	both := []peer.ID{a, b}
	for at := range 8 {
		step(time.Duration(at)*10*time.Second, both, b) // at 10 s, 30 s and 70 s
	}
	// Not connected for as long as it was waited for: the next connection has its time.
	step(80*time.Second, []peer.ID{b}, b)
	step(170*time.Second, []peer.ID{b}, b)
	step(180*time.Second, both, b)
	step(249*time.Second, both, b)
	step(250*time.Second, both, b)
	// Gossip begins: all is forgotten.
	step(260*time.Second, both, a, b)
	step(270*time.Second, both, b)
	step(280*time.Second, both, b)
	want := []time.Duration{10 * time.Second, 30 * time.Second, 70 * time.Second, 250 * time.Second, 280 * time.Second}
	if !slices.Equal(cuts, want) {
		t.Errorf("cut after %v, want %v", cuts, want)
	}
	// Who stays away is forgotten.
	step(280*time.Second+muteAtMost+1, nil)
	if len(m) != 0 {
		t.Errorf("%d are kept", len(m))
	}
	for i := range 2 * maxMutes {
		step(time.Hour, []peer.ID{peer.ID(rune(i))})
	}
	if len(m) != maxMutes {
		t.Errorf("%d are kept, want %d", len(m), maxMutes)
	}
}

// Gossipsub gives a peer up that resets its streams five times, for as long as the
// connection lasts.
func TestPeerGivenUpByGossipsubIsConnectedAnew(t *testing.T) {
	nodes := runEach(t, 2, func(int, *Config) {})
	nodes[0].join(nodes[1])
	waitMesh(t, nodes...)
	resets := 0
	waitFor(t, "gossipsub gives up", func() bool {
		for _, conn := range nodes[0].host.Network().ConnsToPeer(nodes[1].host.ID()) {
			for _, s := range conn.GetStreams() {
				if s.Stat().Direction == network.DirOutbound && strings.HasPrefix(string(s.Protocol()), "/meshsub/") {
					s.Reset()
					resets++
				}
			}
		}
		return resets >= 5
	})
	nodes[0].forget(nodes[1])
	nodes[1].forget(nodes[0])
	waitMesh(t, nodes...)
}

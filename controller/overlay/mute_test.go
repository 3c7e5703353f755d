package overlay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What a mutes says in a course of events; times are in seconds since the start.
func TestMutesAreOverdue(t *testing.T) {
	type look struct {
		at      int
		opened  int // when the connection was, -1: there is none
		gossips bool
		overdue bool
	}
	for name, looks := range map[string][]look{
		"never any gossip":       {{0, 0, false, false}, {9, 0, false, false}, {10, 0, false, true}},
		"gossip begins":          {{0, 0, false, false}, {9, 0, true, false}, {10, 0, false, false}, {19, 0, false, false}, {20, 0, false, true}},
		"gossip ends":            {{0, 0, true, false}, {100, 0, false, false}, {109, 0, false, false}, {110, 0, false, true}},
		"cut by the other":       {{0, 0, false, false}, {9, 0, false, false}, {10, 9, false, false}, {18, 9, false, false}, {19, 9, false, true}},
		"again and again":        {{0, 0, false, false}, {10, 0, false, true}, {11, 11, false, false}, {30, 11, false, false}, {31, 11, false, true}, {70, 32, false, false}, {72, 32, false, true}},
		"parted for a while":     {{0, 0, false, false}, {10, 0, false, true}, {11, -1, false, false}, {100, 100, false, false}, {119, 100, false, false}, {120, 100, false, true}},
		"parted for a long time": {{0, 0, false, false}, {10, 0, false, true}, {611, -1, false, false}, {612, 612, false, false}, {621, 612, false, false}, {622, 612, false, true}},
		"gossip after a cut":     {{0, 0, false, false}, {10, 0, false, true}, {12, 12, true, false}, {13, 12, false, false}, {23, 12, false, true}},
	} {
		start, m := time.Now(), make(mutes)
		for _, l := range looks {
			connected := make(map[peer.ID]time.Time)
			if l.opened >= 0 {
				connected["p"] = start.Add(time.Duration(l.opened) * time.Second)
			}
			overdue := m.overdue(start.Add(time.Duration(l.at)*time.Second), connected, func(peer.ID) bool { return l.gossips })
			if (len(overdue) == 1) != l.overdue {
				t.Errorf("%s, after %d s: overdue %q", name, l.at, overdue)
			}
		}
	}
}

func TestMutesAreBounded(t *testing.T) {
	start, m := time.Now(), make(mutes)
	look := func(second int, ids ...peer.ID) {
		connected := make(map[peer.ID]time.Time)
		for _, id := range ids {
			connected[id] = start
		}
		m.overdue(start.Add(time.Duration(second)*time.Second), connected, func(peer.ID) bool { return false })
	}
	for i := range 2 * maxMutes {
		look(i/maxMutes, "stays", peer.ID(fmt.Sprint(i)))
	}
	if len(m) != maxMutes || m["stays"] == nil || m["0"] != nil {
		t.Errorf("%d are kept, among them who stays: %v, and the first: %v", len(m), m["stays"] != nil, m["0"] != nil)
	}
	look(int(muteAtMost/time.Second) + 3)
	if len(m) != 0 {
		t.Errorf("%d are kept for ever", len(m))
	}
}

// Gossipsub gives a peer up that resets its streams five times, for as long as the
// connection lasts.
func TestPeerGivenUpByGossipsubIsConnectedAnew(t *testing.T) {
	t.Parallel()
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

package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/rs/zerolog"
)

// world is what a keeper sees: who is connected, and whether dials succeed.
type world struct {
	dial   func(context.Context) error // replaces the answer to dials, if set
	addrs  []ma.Multiaddr              // of connected peers
	start  time.Time
	events chan any

	mu        sync.Mutex
	reachable bool
	connected map[peer.ID]bool
	dials     []time.Duration // since the start
	last      peer.AddrInfo   // dialled
	dropped   int
}

// keep runs a keeper in fake time until the test's context ends.
func keep(ctx context.Context, w *world, bootstrap ...peer.ID) *keeper {
	w.connected, w.start, w.events = make(map[peer.ID]bool), time.Now(), make(chan any, 16)
	k := &keeper{
		self:      "self",
		connected: w.isConnected,
		addrs:     func(peer.ID) []ma.Multiaddr { return w.addrs },
		source:    func(peer.ID) netip.Addr { return netip.MustParseAddr("192.0.2.1") },
		dropped:   w.drop,
		log:       zerolog.Nop(),
		targets:   make(map[peer.ID]*target),
		found:     make(chan found, 64),
		done:      make(chan dialled, maxDials),
		dial:      w.answer,
	}
	for _, id := range bootstrap {
		k.targets[id] = &target{info: peer.AddrInfo{ID: id}, bootstrap: true, since: time.Now()}
	}
	go k.run(ctx, w.events)
	return k
}

func (w *world) answer(ctx context.Context, info peer.AddrInfo) error {
	if w.dial != nil {
		return w.dial(ctx)
	}
	w.mu.Lock()
	w.dials, w.last = append(w.dials, time.Since(w.start)), info
	reachable := w.reachable
	w.mu.Unlock()
	if !reachable {
		return errors.New("nobody there")
	}
	w.connect(info.ID, true)
	return nil
}

func (w *world) connect(id peer.ID, is bool) {
	w.mu.Lock()
	w.connected[id] = is
	w.mu.Unlock()
	w.events <- event.EvtPeerConnectednessChanged{Peer: id}
}

func (w *world) isConnected(id peer.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connected[id]
}

func (w *world) drop(peer.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped++
}

func (w *world) allDials() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.dials)
}

func (w *world) lastDial() peer.AddrInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *world) allDropped() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

func (w *world) reach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reachable = true
}

func after(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func TestBootstrapPeerIsNeverGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		keep(t.Context(), w, "boot")
		after(24 * time.Hour)
		dials := w.allDials()
		for i := 1; i < len(dials); i++ {
			if pause := dials[i] - dials[i-1]; pause < firstRetry*3/4 || pause > lastRetry*5/4 {
				t.Fatalf("pause %d is %v", i, pause)
			}
		}
		if n := len(w.allDials()); n < 24*60 || n > 24*60*3 {
			t.Errorf("%d dials in a day", n)
		}
		w.reach()
		after(2 * lastRetry)
		n := len(w.allDials())
		after(time.Hour)
		if !w.isConnected("boot") || len(w.allDials()) != n {
			t.Errorf("connected %v, %d more dials while connected", w.isConnected("boot"), len(w.allDials())-n)
		}
		w.connect("boot", false)
		after(2 * firstRetry)
		if !w.isConnected("boot") {
			t.Error("not connected again after a loss")
		}
	})
}

// TestBootstrapPeersAreDialledFirst, however many peers that nobody can reach this
// node was told of; after them whoever waits longest.
func TestBootstrapPeersAreDialledFirst(t *testing.T) {
	now := time.Now()
	k := &keeper{targets: make(map[peer.ID]*target)}
	for i := range 4 * maxDials {
		id := peer.ID(fmt.Sprint("found-", i))
		k.targets[id] = &target{info: peer.AddrInfo{ID: id}, next: now.Add(-time.Duration(i) * time.Second)}
	}
	k.targets["boot"] = &target{info: peer.AddrInfo{ID: "boot"}, bootstrap: true, next: now}
	// Known by hearsay alone, however long it waits.
	k.targets["hearsay"] = &target{info: peer.AddrInfo{ID: "hearsay"}, hearsay: true, next: now.Add(-time.Hour)}
	due := k.due(now)
	if len(due) != maxDials || due[0].ID != "boot" || due[1].ID != peer.ID(fmt.Sprint("found-", 4*maxDials-1)) {
		t.Errorf("dialled: %q", due)
	}
	if more := k.due(now); len(more) != 0 {
		t.Errorf("%d dials too many", len(more))
	}
}

func TestFoundPeerIsGivenUpAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		k := keep(t.Context(), w)
		k.want(peer.AddrInfo{ID: "p"})
		after(time.Second / 4)
		if len(w.allDials()) != 1 {
			t.Fatalf("%d dials at first", len(w.allDials()))
		}
		after(forgetAfter + 2*lastRetry)
		n := len(w.allDials())
		after(24 * time.Hour)
		if len(w.allDials()) != n || len(k.targets) != 0 {
			t.Errorf("%d dials after it was given up, %d targets", len(w.allDials())-n, len(k.targets))
		}
		k.want(peer.AddrInfo{ID: "p"})
		after(time.Second / 4)
		if len(w.allDials()) != n+1 {
			t.Error("not dialled when heard of again")
		}
	})
}

func TestLostPeerIsDialledSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{reachable: true}
		keep(t.Context(), w)
		w.connect("p", true) // it dialled us
		after(time.Minute)
		if len(w.allDials()) != 0 {
			t.Fatal("dialled although connected")
		}
		w.connect("p", false)
		after(2 * firstRetry)
		if !w.isConnected("p") || w.allDropped() != 0 {
			t.Errorf("connected %v, dropped %d", w.isConnected("p"), w.allDropped())
		}
	})
}

// However long two peers were parted, they connect soon by that measure.
func TestPartedPeersConnectSoon(t *testing.T) {
	for _, parted := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{}
			keep(t.Context(), w)
			w.connect("p", true)
			after(time.Minute)
			w.connect("p", false)
			after(parted)
			w.reach()
			after(max(firstRetry, parted/retryShare) * 5 / 4)
			if !w.isConnected("p") {
				t.Errorf("parted for %v: not connected; dials %v", parted, w.allDials())
			}
		})
	}
}

// A peer that lets this node in and turns it away at once must not be dialled
// twice a second for ever.
func TestPeerThatTurnsAwayIsDialledSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{reachable: true}
		k := keep(t.Context(), w)
		k.want(peer.AddrInfo{ID: "p"})
		for range 600 {
			after(time.Second)
			if w.isConnected("p") {
				w.connect("p", false)
			}
		}
		if n := len(w.allDials()); n < 15 || n > 60 {
			t.Errorf("%d dials in 10 minutes", n)
		}
		if w.allDropped() == 0 {
			t.Error("nobody was told")
		}
	})
}

// A peer that refuses this node may do so before the keeper has looked.
func TestConnectionThatCameAndWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{dial: func(context.Context) error { return nil }}
		k := keep(t.Context(), w)
		k.want(peer.AddrInfo{ID: "p"})
		after(time.Second / 4)
		if n := w.allDropped(); n != 1 {
			t.Errorf("told of %d that were dropped, want 1", n)
		}
	})
}

var oldAddr, newAddr = ma.StringCast("/ip4/192.0.2.1/tcp/1"), ma.StringCast("/ip4/192.0.2.2/tcp/2")

// libp2p forgets where a lost peer was after a quarter of an hour.
func TestLostPeerIsDialledWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{addrs: []ma.Multiaddr{oldAddr}}
		keep(t.Context(), w)
		w.connect("p", true)
		after(time.Minute)
		w.connect("p", false)
		after(30 * time.Minute)
		if got := w.lastDial(); got.ID != "p" || !slices.EqualFunc(got.Addrs, w.addrs, ma.Multiaddr.Equal) {
			t.Errorf("dialled %v", got)
		}
	})
}

// All addresses of a network change: who is found anew is dialled there, soon, and
// where it was.
func TestPeerThatMovedIsDialledWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		k := keep(t.Context(), w, "boot")
		k.targets["boot"].info.Addrs = []ma.Multiaddr{oldAddr}
		for _, id := range []peer.ID{"p", "boot"} {
			k.want(peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{oldAddr}})
			after(30 * time.Minute)
			want := []ma.Multiaddr{newAddr, oldAddr}
			if id == "boot" {
				want = []ma.Multiaddr{oldAddr, newAddr}
			}
			k.want(peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{newAddr}})
			w.reach()
			after(2 * firstRetry)
			if got := k.targets[id].where(); !slices.EqualFunc(got.Addrs, want, ma.Multiaddr.Equal) {
				t.Errorf("%s is dialled at %v, want %v", id, got.Addrs, want)
			}
			if !w.isConnected(id) {
				t.Errorf("%s is not dialled soon", id)
			}
		}
		var many []ma.Multiaddr
		for i := range 2 * maxAddrs {
			many = append(many, ma.StringCast(fmt.Sprintf("/ip4/192.0.2.3/tcp/%d", i+1)))
		}
		k.want(peer.AddrInfo{ID: "p", Addrs: many})
		synctest.Wait()
		if n := len(k.targets["p"].where().Addrs); n != maxAddrs {
			t.Errorf("%d addresses", n)
		}
	})
}

// Members that come and go under ever new identities keep this node neither from a
// peer that was lost nor from one that is found.
func TestPassersByLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}}
		k := keep(t.Context(), w)
		w.connect("old friend", true)
		after(time.Minute)
		w.connect("old friend", false)
		for i := range 2 * maxTargets {
			id := peer.ID(fmt.Sprint("passer-by-", i))
			w.connect(id, true)
			synctest.Wait()
			w.connect(id, false)
			synctest.Wait()
		}
		k.want(peer.AddrInfo{ID: "found"})
		synctest.Wait()
		if n := len(k.targets); n > maxStrangers+2 || k.targets["old friend"] == nil || k.targets["found"] == nil {
			t.Errorf("%d targets, lost one kept: %v, found one added: %v", n, k.targets["old friend"] != nil, k.targets["found"] != nil)
		}
	})
}

func TestKeeperIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		k := keep(t.Context(), w)
		k.want(peer.AddrInfo{ID: "self"})
		for i := range 2 * maxTargets {
			k.want(peer.AddrInfo{ID: peer.ID(fmt.Sprint(i))})
			synctest.Wait()
		}
		if n := len(k.targets); n != maxTargets {
			t.Errorf("%d targets", n)
		}
		if k.targets["self"] != nil {
			t.Error("dials itself")
		}
	})
}

// TestHearsayLeavesRoom: however many peers are made up by whoever relays their
// announcements, those that were found, or connected, are kept and dialled first.
func TestHearsayLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		k := keep(t.Context(), w)
		for i := range 2 * maxTargets {
			k.wantHearsay(peer.ID(fmt.Sprint("phantom-", i)))
			synctest.Wait()
		}
		if n := len(k.targets); n != maxHearsay {
			t.Errorf("%d phantoms are dialled", n)
		}
		for i := range maxTargets - maxHearsay {
			k.want(peer.AddrInfo{ID: peer.ID(fmt.Sprint("real-", i))})
			synctest.Wait()
		}
		if n := len(k.targets); n != maxTargets {
			t.Errorf("no room for peers that were found: %d targets", n)
		}
		after(forgetHearsayAfter + 4*lastRetry)
		if n := k.hearsay(); n != 0 {
			t.Errorf("%d phantoms are still dialled", n)
		}
		if n := len(k.targets); n != maxTargets-maxHearsay {
			t.Errorf("%d of those that were found are left", n)
		}
	})
}

// A peer known by hearsay is an ordinary one as soon as it is found or connected.
func TestHearsayThatIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		k := keep(t.Context(), w)
		for _, id := range []peer.ID{"found", "connected", "neither"} {
			k.wantHearsay(id)
		}
		after(time.Second)
		k.want(peer.AddrInfo{ID: "found"})
		w.connect("connected", true)
		synctest.Wait()
		if n := k.hearsay(); n != 1 {
			t.Errorf("%d are known by hearsay, want 1", n)
		}
		after(stable)
		w.connect("connected", false)
		after(forgetHearsayAfter + 4*lastRetry)
		if k.targets["found"] == nil || k.targets["connected"] == nil || k.targets["neither"] != nil {
			t.Errorf("kept: %v", k.targets)
		}
	})
}

// Hundreds of identities are connected for a moment each, and never again. They are
// given up after two dials, and leave alone who was connected for longer.
func TestThrowAwayIdentitiesAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}}
		k := keep(t.Context(), w)
		w.connect("member", true)
		after(stable)
		const many = 500
		for i := range many {
			id := peer.ID(fmt.Sprint("throw-away-", i))
			w.connect(id, true)
			after(20 * time.Millisecond)
			w.connect(id, false)
			synctest.Wait()
			if n := len(k.targets); n > maxStrangers+2 {
				t.Fatalf("%d targets", n)
			}
		}
		w.connect("member", false)
		after(time.Minute)
		if k.targets["member"] == nil || len(k.targets) != 1 {
			t.Errorf("kept: %d targets, of them the member: %v", len(k.targets), k.targets["member"] != nil)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.dials); n > strangerTries*many+100 {
			t.Errorf("%d dials", n)
		}
	})
}

func TestKeeperEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{dial: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		k := keep(ctx, w, "a", "b")
		after(time.Minute)
		cancel()
		synctest.Wait()
		if k.dials != 0 {
			t.Errorf("%d dials outlived the keeper", k.dials)
		}
	})
}

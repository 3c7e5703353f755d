package overlay

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dfaas/dfaas/controller/membership"
)

// opener opens and closes connections within the limits of a host.
func opener(t *testing.T) func(network.Direction, string) (end func(), err error) {
	t.Helper()
	limits, err := newLimits()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { limits.Close() })
	return func(direction network.Direction, addr string) (func(), error) {
		scope, err := limits.OpenConnection(direction, true, ma.StringCast(addr))
		if err != nil {
			return nil, err
		}
		return scope.Done, nil
	}
}

// All members there may be are connected, with the streams that each has.
func TestStreamsOfAllMembers(t *testing.T) {
	limits, err := newLimits()
	if err != nil {
		t.Fatal(err)
	}
	defer limits.Close()
	for i := range membership.DefaultMaxMembers {
		addr := ma.StringCast(fmt.Sprintf("/ip4/192.0.2.%d/tcp/4001", i))
		conn, err := limits.OpenConnection([]network.Direction{network.DirInbound, network.DirOutbound}[i%2], true, addr)
		if err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		if err := conn.SetPeer(peer.ID(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		for stream := range 4 {
			span, err := conn.PeerScope().BeginSpan()
			if err != nil {
				t.Fatal(err)
			}
			if err := span.ReserveMemory(streamMemory, network.ReservationPriorityAlways); err != nil {
				t.Fatalf("stream %d of member %d: %v", stream, i, err)
			}
		}
	}
}

// TestMemoryIsBounded: peers that open streams without end hold what one may each, and all
// together what there is.
func TestMemoryIsBounded(t *testing.T) {
	limits, err := newLimits()
	if err != nil {
		t.Fatal(err)
	}
	defer limits.Close()
	held := 0
	for i := range 2 * memoryMax / peerMemory {
		conn, err := limits.OpenConnection(network.DirInbound, true, ma.StringCast(fmt.Sprintf("/ip4/192.0.2.%d/tcp/4001", i)))
		if err != nil {
			t.Fatalf("peer %d: %v", i, err)
		}
		if err := conn.SetPeer(peer.ID(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		of := 0
		for of <= peerMemory {
			span, err := conn.PeerScope().BeginSpan()
			if err != nil {
				t.Fatal(err)
			}
			if span.ReserveMemory(streamMemory, network.ReservationPriorityAlways) != nil {
				span.Done()
				break
			}
			of += streamMemory
		}
		if want := min(peerMemory, memoryMax-held); of != want {
			t.Fatalf("peer %d holds %d bytes, want %d, while others hold %d", i, of, want, held)
		}
		held += of
	}
	if held != memoryMax {
		t.Errorf("all hold %d bytes, want %d", held, memoryMax)
	}
}

// As many nodes may be behind one address as there may be connections from it.
func TestManyNodesBehindOneAddress(t *testing.T) {
	for _, addr := range []string{"/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001"} {
		synctest.Test(t, func(t *testing.T) {
			open := opener(t)
			for i := range connsPerIP {
				if _, err := open(network.DirInbound, addr); err != nil {
					t.Fatalf("%s: connection %d: %v", addr, i, err)
				}
			}
			if _, err := open(network.DirInbound, addr); err == nil {
				t.Errorf("%s: more than %d", addr, connsPerIP)
			}
		})
	}
}

// The address of many nodes is gone: each dial fails at once, as fast as the keeper
// goes on. When it is back all of them come at the same time.
func TestRetriesStayWithinTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const addr = "/ip4/192.0.2.1/tcp/4001"
		open := opener(t)
		lost := time.Now()
		next := make([]time.Time, connsPerIP)
		for time.Since(lost) < time.Minute {
			for i := range next {
				if now := time.Now(); !next[i].After(now) {
					end, err := open(network.DirOutbound, addr)
					if err != nil {
						t.Fatalf("dial after %v: %v", time.Since(lost), err)
					}
					end()
					next[i] = now.Add(max(firstRetry, now.Sub(lost)/retryShare))
				}
			}
			time.Sleep(firstRetry / 10)
		}
		for range connsPerIP {
			if _, err := open(network.DirInbound, addr); err != nil {
				t.Fatalf("back again: %v", err)
			}
		}
	})
}

// The protocols of libp2p's own have the limits that libp2p gives them.
func TestLimitsOfProtocolsAreThoseOfLibp2p(t *testing.T) {
	own, theirs := limitsOf(addServiceLimits).ToPartialLimitConfig(), limitsOf(libp2p.SetDefaultServiceLimits).ToPartialLimitConfig()
	if own.Service["none"] == theirs.Service[identify.ServiceName] {
		t.Fatal("libp2p has no limits for identify")
	}
	for _, service := range []string{identify.ServiceName, ping.ServiceName} {
		if diff := cmp.Diff(theirs.Service[service], own.Service[service]); diff != "" {
			t.Errorf("%s:\n%s", service, diff)
		}
		if diff := cmp.Diff(theirs.ServicePeer[service], own.ServicePeer[service]); diff != "" {
			t.Errorf("%s, each peer:\n%s", service, diff)
		}
	}
	for _, id := range []protocol.ID{identify.ID, identify.IDPush, ping.ID} {
		if diff := cmp.Diff(theirs.Protocol[id], own.Protocol[id]); diff != "" {
			t.Errorf("%s:\n%s", id, diff)
		}
		if diff := cmp.Diff(theirs.ProtocolPeer[id], own.ProtocolPeer[id]); diff != "" {
			t.Errorf("%s, each peer:\n%s", id, diff)
		}
	}
}

func TestConnectionFloodIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		addr  func(i int) string
		bound int
	}{
		"one IPv4 address": {func(int) string { return "/ip4/192.0.2.1/tcp/4001" }, dialsAtOnce + 60*dialsPerIP},
		"one IPv6 network": {func(i int) string { return fmt.Sprintf("/ip6/2001:db8::%x/tcp/4001", i%60000) }, 4*connsMax + 60*2*dialsPerIP},
	} {
		synctest.Test(t, func(t *testing.T) {
			open := opener(t)
			opened := 0
			for i := range 60 * 1000 {
				if end, err := open(network.DirInbound, c.addr(i)); err == nil {
					end()
					opened++
				}
				time.Sleep(time.Millisecond)
			}
			if opened > c.bound || opened < c.bound*9/10 {
				t.Errorf("%s: %d connections in a minute, want almost %d", name, opened, c.bound)
			}
		})
	}
}

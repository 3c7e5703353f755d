package haproxy_test

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestLostConnectionGoesOnAtOnce: HAProxy does not pause before it sends a call
// elsewhere whose peer refuses the connection.
func TestLostConnectionGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		// The pause would be a second.
		a := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Settings: map[string]string{haproxy.EnvPeerConnect: "5s"}})
		nobody := peerAt(t, idC, haproxytest.FreeAddr(t))
		end := time.Now().Add(time.Minute) // a busy machine has more tries
		for {
			a.addPeers(t, nobody)
			longest := time.Duration(0)
			for range 2 { // added just now, it counts as up until two checks have failed
				began := time.Now()
				got := call(t, "POST", "http://"+a.decided+"/function/f", strings.NewReader("hello"),
					"Test-Action", "peer", "Test-Target", idC, "Test-Token", tokenOf(idA))
				wantReply(t, got, 200, a.decided, idA)
				longest = max(longest, time.Since(began))
			}
			s, _ := a.server(t, idC)
			if s.State == haproxy.Up && longest < 900*time.Millisecond {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("a call whose peer refused the connection took %v, and then the peer's server is %s", longest, s.State)
			}
			eventually(t, "the peer's server is gone", func() bool {
				a.reconcile(t)
				_, there := a.server(t, idC)
				return !there
			})
		}
	})
}

// TestLostGatewayCostsNoPause: the first calls that a gateway does not take, after
// which it counts as gone, are served by a peer at once.
func TestLostGatewayCostsNoPause(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		all := startAsked(t, binary, 2)
		a, b := all[0], all[1]
		addr := a.gateway.addr()
		a.gateway.Close()
		const pause = 195 * time.Millisecond   // it would be 200 ms
		end := time.Now().Add(2 * time.Minute) // a busy machine has more tries
		least := [4]time.Duration{time.Hour, time.Hour, time.Hour, time.Hour}
		for {
			a.swap(t, hasRoom, b) // anew, since tokens expire
			b.swap(t, hasRoom, a)
			var l net.Listener
			// A process that is being started may hold what was closed for a moment.
			eventually(t, "the gateway's address is free", func() bool {
				var err error
				l, err = net.Listen("tcp", addr)
				return err == nil
			})
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served\n") })}
			done := make(chan struct{})
			go func() { defer close(done); _ = server.Serve(l) }()
			eventually(t, "the gateway is up", func() bool { return a.get(t, "f").header.Get(haproxy.HeaderNodeID) == a.id })
			server.Close()
			<-done
			awaitRefused(t, addr)
			for i := range least {
				began := time.Now()
				wantReply(t, a.get(t, "f"), 200, b.Addr, b.id)
				least[i] = min(least[i], time.Since(began))
			}
			if slices.Max(least[:]) < pause {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the first four calls took %v at least", least)
			}
		}
	})
}

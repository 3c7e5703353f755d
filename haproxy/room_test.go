package haproxy_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestRoom: what a peer says of its room is kept for the next question to
// dfaas-spoa, and is nobody else's; what is no room is not kept.
func TestRoom(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		here, there := startPatient(t, binary, idA), startPatient(t, binary, idB)
		refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}))
		defer refuses.Close()
		here.addPeers(t, peerAt(t, idB, there.decided))
		here.waitState(t, idB, haproxy.Up)
		heard := func() string { return call(t, "GET", "http://"+here.decided+"/heard", nil).body }
		forward := func(mark string, headers ...string) reply {
			headers = append(headers, "Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA), "Test-Mark", mark)
			r := call(t, "GET", "http://"+here.decided+"/function/f", nil, headers...)
			if got := r.header.Values("DFaaS-Room"); len(got) > 0 {
				t.Errorf("the user is told of %q", got)
			}
			return r
		}
		if got := heard(); got != "" {
			t.Errorf("at first %q", got)
		}
		if forward("7", "Room", "13"); heard() != "7 13" {
			t.Errorf("heard %q, want %q", heard(), "7 13")
		}
		if forward("8", "Room", "full"); heard() != "8 full" {
			t.Errorf("heard %q, want %q", heard(), "8 full")
		}
		for _, nonsense := range []string{"-1", "13 14", "12345", "Full", "1e3"} {
			if forward("9", "Room", nonsense); heard() != "8 full" {
				t.Errorf("a room of %q was kept: %q", nonsense, heard())
			}
		}
		forward("9") // says nothing
		here.addPeers(t, peerAt(t, idB, there.decided), peerAt(t, idC, refuses.Listener.Addr().String()))
		here.waitState(t, idC, haproxy.Up)
		call(t, "GET", "http://"+here.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", idC, "Test-Token", tokenOf(idA), "Test-Mark", "11")
		if heard() != "11 full" {
			t.Errorf("of a peer that refuses without a word, heard %q", heard())
		}
		forward("8", "Room", "full")
		// What is served here says nothing either, whatever the function answers.
		call(t, "GET", "http://"+here.decided+"/function/spoof", nil, "Test-Mark", "10")
		if heard() != "8 full" {
			t.Errorf("heard %q", heard())
		}
	})
}

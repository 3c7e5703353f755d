package haproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestMovedPeer: a peer is reached at its new address at once, also by those who
// keep their connections open, and a call under way to the old one ends there.
func TestMovedPeer(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startPatient(t, binary, idA)
		var calls counter
		release := make(chan struct{})
		serve := func(text string) *httptest.Server {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/function/long") {
					calls.add(1)
					<-release
				}
				io.WriteString(w, text)
			}))
			t.Cleanup(s.Close)
			return s
		}
		before, after := serve("before"), serve("after")
		end := sync.OnceFunc(func() { close(release) })
		t.Cleanup(end) // or the server would wait for its call
		headers := []string{"Test-Action", "peer", "Test-Target", idC, "Test-Token", tokenOf(idA), "Test-Timeout", "60000"}
		client := &http.Client{Transport: new(http.Transport)} // keeps connections open
		defer client.CloseIdleConnections()
		get := func() string {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.decided+"/function/f", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			return fmt.Sprint(string(text), err)
		}
		// fromPeer is get, once more where a busy machine's peer was late for its health checks
		// and is down: this node answers then.
		fromPeer := func() (text string) {
			eventually(t, "the peer answers", func() bool {
				text = get()
				return text != "served\n<nil>" || !strings.Contains(n.Log(), "Server be_dfaas_peers/"+idC+" is DOWN")
			})
			return text
		}

		n.addPeers(t, peerAt(t, idC, before.Listener.Addr().String()))
		n.waitState(t, idC, haproxy.Up)
		long := make(chan reply, 1)
		go func() { long <- call(t, "GET", "http://"+n.decided+"/function/long", nil, headers...) }()
		eventually(t, "a call is under way", func() bool { return calls.value() == 1 })
		for range 20 {
			if got := fromPeer(); got != "before<nil>" {
				t.Fatalf("before: %q", got)
			}
		}
		moved := peerAt(t, idC, after.Listener.Addr().String())
		n.addPeers(t, moved)
		for range 20 {
			if got := fromPeer(); got != "after<nil>" {
				t.Errorf("after: %q", got)
			}
		}
		eventually(t, "only the call at the old address is under way", func() bool {
			s, _ := n.server(t, idC)
			return s.Address == moved.Address && s.State == haproxy.Up && s.Sessions == 1
		})
		if steps, busy := n.reconcile(t, moved); len(steps)+len(busy) != 0 {
			t.Errorf("still to do: %v, busy %v", steps, busy)
		}
		end()
		if got := <-long; got.status != 200 || got.body != "before" {
			t.Errorf("the call under way: %d %q", got.status, got.body)
		}
	})
}

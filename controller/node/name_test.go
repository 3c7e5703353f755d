package node

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/api"
)

// lines is a log that a test reads while others write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// Operators see what nodes are called beside their ids: in the status, among the
// peers, in routes and in the log.
func TestNodesHaveNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, log := newFakeNet(), new(lines)
		a := startNode(t, net, 1, func(o *Options, _ *testNode) { o.Name, o.Log = "edge-1", zerolog.New(log) })
		b := startNode(t, net, 2, func(o *Options, _ *testNode) { o.Name = "edge-2" })
		nameless := startNode(t, net, 3)
		for _, n := range []*testNode{a, b, nameless} {
			n.gateway.set(nil, fn("cat", "10"))
		}
		names := func() map[string]string {
			rows := make(map[string]string)
			for _, p := range a.Peers() {
				if p.State == "alive" {
					rows[p.ID] = p.Name
				}
			}
			return rows
		}
		named := func(r api.Route) bool { return r.Peer == b.id && r.PeerName == "edge-2" }
		within(t, formed, "routes to a peer by its name", func() bool {
			rows := names()
			found := 0
			for _, r := range a.Routes("cat") {
				if named(r) {
					found++
				} else if r.PeerName != "" {
					t.Fatalf("%+v", r)
				}
			}
			return len(rows) == 2 && rows[b.id] == "edge-2" && rows[nameless.id] == "" && found == 2
		})
		if got := a.Status().NodeName; got != "edge-1" {
			t.Errorf("status says %q", got)
		}
		if !log.has(`"peer":"`+b.id+`","peer_name":"edge-2"`) || log.has(`"peer_name":""`) {
			t.Error("the log does not name the peer that joined")
		}
	})
}

package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
)

// fakeCertificates has an anchor for every peer, unless it fails.
type fakeCertificates struct {
	id  string
	err error // of the file
	all error // there are no anchors at all
}

func (f *fakeCertificates) Own(time.Time) (peercert.Certificate, error) {
	return peercert.Certificate{ID: f.id}, nil
}

func (f *fakeCertificates) Store(peers []string) ([]string, error) {
	if f.all != nil {
		return nil, f.all
	}
	anchors := []string{"anchor of " + f.id}
	for _, p := range peers {
		anchors = append(anchors, "anchor of "+p)
	}
	return anchors, f.err
}

func overTLS(change func(*fakeCertificates)) func(*Options, *testNode) {
	return func(o *Options, n *testNode) {
		c := &fakeCertificates{id: n.id}
		if change != nil {
			change(c)
		}
		o.Certificates = c
		o.Members = membership.New(membership.Options{Self: o.Self, TLS: true})
	}
}

func (h *fakeHAProxy) secured() (servers []haproxy.Server, letIn []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.servers), slices.Clone(h.letIn)
}

func TestPeersOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		full := errors.New("no space left on device")
		a, b := startNode(t, net, 1, overTLS(func(f *fakeCertificates) { f.err = full })), startNode(t, net, 2, overTLS(nil))
		plain := startNode(t, net, 3)
		for _, n := range []*testNode{a, b, plain} {
			n.gateway.set(nil, fn("cat", "10"))
		}
		within(t, formed, "forwarding both ways", func() bool {
			return a.spoa.forwards("cat", b.id) > 0 && b.spoa.forwards("cat", a.id) > 0
		})
		for n, other := range map[*testNode]*testNode{a: b, b: a} {
			servers, letIn := n.haproxy.secured()
			if len(servers) != 1 || servers[0].Name != other.id || !servers[0].TLS {
				t.Errorf("servers %+v", servers)
			}
			if want := []string{"anchor of " + n.id, "anchor of " + other.id}; !slices.Equal(letIn, want) {
				t.Errorf("let in: %v, want %v", letIn, want)
			}
			if n.spoa.forwards("cat", plain.id) > 0 || plain.spoa.forwards("cat", n.id) > 0 {
				t.Error("nodes with and without TLS forward to each other")
			}
		}
		// A file that cannot be written is shown, and keeps nobody out.
		if c := a.component("haproxy"); c.OK || !strings.Contains(c.Error, full.Error()) {
			t.Errorf("component %+v", c)
		}
		// After a reload the peer is let in again even if its server was all that was lost.
		a.haproxy.set(func(h *fakeHAProxy) { h.servers, h.letIn = nil, nil })
		within(t, time.Second, "restored", func() bool {
			_, letIn := a.haproxy.secured()
			return a.haproxy.state(b.id) == haproxy.Up && len(letIn) == 2
		})
		b.stop()
		within(t, 2*grace, "shut out once it is gone", func() bool {
			servers, letIn := a.haproxy.secured()
			return len(servers) == 0 && len(letIn) == 1
		})
	})
}

// TestNeverInPlain: without anchors there are no servers, rather than some
// without TLS.
func TestNeverInPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a := startNode(t, net, 1, overTLS(func(f *fakeCertificates) { f.all = errors.New("no anchors") }))
		b := startNode(t, net, 2, overTLS(nil))
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "20"))
		within(t, formed, "a peer in the table", func() bool { return a.spoa.peer(b.id) != nil })
		pass(5 * time.Second)
		synctest.Wait()
		if servers, _ := a.haproxy.secured(); len(servers) != 0 {
			t.Errorf("servers %+v", servers)
		}
		if c := a.component("haproxy"); c.OK || !strings.Contains(c.Error, "no anchors") {
			t.Errorf("component %+v", c)
		}
	})
}

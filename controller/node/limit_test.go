package node

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
)

// Who is refused for its address hears of it, and says so; who refuses goes on.
func TestRefusedNodeKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		a := startNode(t, net, 1)
		b := startNode(t, net, 2, func(o *Options, _ *testNode) {
			o.Members = membership.New(membership.Options{Self: o.Self, TLS: true}) // which nobody has here
		})
		within(t, 10*time.Second, "a is told", func() bool {
			by := a.Status().RefusedBy
			return len(by) == 1 && by[0].Peer == b.id && strings.Contains(by[0].Reason, "peer_tls")
		})
		if by := b.Status().RefusedBy; len(by) != 0 {
			t.Errorf("b is told, too: %v", by)
		}
	})
}

func TestMemberLimitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet()
		log := &lockedBuffer{}
		watch := func(o *Options, _ *testNode) {
			o.Log = zerolog.New(log)
			o.Members = membership.New(membership.Options{Self: o.Self, MaxMembers: 5})
		}
		a := startNode(t, net, 1, watch)
		warned := func(words string) func() bool {
			return func() bool {
				w := a.Status().Warnings
				return len(w) == 1 && strings.Contains(w[0], words) && strings.Count(log.String(), words) == 1
			}
		}
		for i := range 3 {
			startNode(t, net, 2+i)
		}
		within(t, 10*time.Second, "3 are alive", func() bool { return a.Status().Peers == 3 })
		if w := a.Status().Warnings; len(w) > 0 {
			t.Errorf("warned of 3 of 5: %v", w)
		}
		startNode(t, net, 5)
		within(t, 10*time.Second, "warned", warned("4 are alive, and 5 is the limit"))
		startNode(t, net, 6)
		within(t, 10*time.Second, "reported", warned("5 are alive, which is the limit"))
		startNode(t, net, 7)
		within(t, 10*time.Second, "one more is turned away", func() bool { return len(a.snapshot.Load().Refused) == 1 })
		if !warned("5 are alive, which is the limit")() {
			t.Errorf("said again: %v, log %s", a.Status().Warnings, log)
		}
	})
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

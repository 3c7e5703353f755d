package node

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/core"
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

// What a table has no room for is warned of before, said once when it is so, and not
// again while it is nearly so.
func TestRouteLimitIsTold(t *testing.T) {
	log := &lockedBuffer{}
	var l limits
	for _, step := range []struct {
		routes    core.Routes
		told, log string
	}{
		{core.Routes{Used: 79, Max: 100}, "", ""},
		{core.Routes{Used: 80, Max: 100}, "make 80, and 100 is the limit", "make 80, and 100"},
		{core.Routes{Used: 90, Max: 100}, "make 90, and 100 is the limit", ""},
		{core.Routes{Used: 100, Max: 100}, "make 100, and 100 is the limit", ""},
		{core.Routes{Used: 100, Omitted: 7, Max: 100}, "more than 100, which is the limit: 7 are left out", "7 are left out"},
		{core.Routes{Used: 75, Max: 100}, "", ""},
		{core.Routes{Used: 100, Omitted: 8, Max: 100}, "8 are left out", ""},
		{core.Routes{Used: 60, Max: 100}, "", ""},
		{core.Routes{Used: 100, Omitted: 9, Max: 100}, "9 are left out", "9 are left out"},
	} {
		v, before := &core.View{Routes: step.routes}, len(log.String())
		all := boundedIn(v)
		told := all[1].warning()
		if (told == "") != (step.told == "") || !strings.Contains(told, step.told) {
			t.Errorf("%+v: told %q, want %q", step.routes, told, step.told)
		}
		l.log(zerolog.New(log), v)
		if said := log.String()[before:]; (said == "") != (step.log == "") || !strings.Contains(said, step.log) {
			t.Errorf("%+v: logged %q, want %q", step.routes, said, step.log)
		}
	}
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

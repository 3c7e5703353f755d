package overlay

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/internal/testvalue"
)

func TestWitness(t *testing.T) {
	type said struct {
		after       time.Duration
		epoch, sent int64
	}
	for name, test := range map[string]struct {
		said []said
		want bool
	}{
		"one run":               {[]said{{0, 1000, 1000}, {1, 1000, 2000}}, false},
		"started anew":          {[]said{{0, 1000, 1900}, {1, 2000, 2100}, {2, 1000, 1950}}, false},
		"two at a time":         {[]said{{0, 1000, 1900}, {1, 2000, 2100}, {2, 1000, 2200}}, true},
		"the earlier one later": {[]said{{0, 2000, 2100}, {1, 1000, 2200}}, true},
		"clock was ahead":       {[]said{{0, 2000, 2100}, {1, 1000, 1900}, {runFor + 2, 1000, 2200}}, false},
	} {
		w, start := newWitness(), time.Unix(1000, 0)
		var now time.Time
		for _, s := range test.said {
			now = start.Add(s.after)
			w.hear(now, "author", announcementAt(s.epoch, s.sent))
		}
		if got := len(w.refusals(now)) == 1; got != test.want {
			t.Errorf("%s: shared %v, want %v", name, got, test.want)
		}
		if len(w.refusals(now.Add(2*runFor))) != 0 {
			t.Errorf("%s: never forgotten", name)
		}
	}
	w := newWitness()
	for i := range 2 * maxAuthors {
		w.hear(time.Unix(1000, 0), peer.ID(fmt.Sprint(i)), announcementAt(1, 1))
	}
	if len(w.runs) > maxAuthors {
		t.Errorf("%d are remembered", len(w.runs))
	}
}

// isTold reports whether peers have told the node that it shares its identity.
func (n *node) isTold() bool {
	for _, r := range n.RefusedBy() {
		if r.Reason == sharesIdentity {
			return true
		}
	}
	return false
}

// TestPeersTellOfATwin: two nodes have one key, and are connected to the same peer, or to
// peers of each other. Neither is ever sent what the other says.
func TestPeersTellOfATwin(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	for name, at := range map[string]int{"one peer": 0, "two peers": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peers := runEach(t, 2, func(int, *Config) {})
			peers[1].join(peers[0])
			one := run(t, config(t))
			one.join(peers[0])
			c := config(t)
			c.Identity = one.config.Identity
			duplicate := run(t, c)
			duplicate.join(peers[at])
			a, b := announcementAt(1000, 3000), announcementAt(2000, 3000)
			waitFor(t, "one of the two is told", func() bool {
				if _, err := one.Publish(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				if _, err := duplicate.Publish(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				a.Seq++
				b.Seq++
				return one.isTold() || duplicate.isTold()
			})
			for _, n := range peers {
				if n.isTold() {
					t.Error("somebody else is told, too")
				}
			}
		})
	}
}

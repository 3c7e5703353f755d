package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// tell tells the node's feeds, and nobody else, of so many functions with that rate.
func (n *node) tell(functions int, rate float64) wire.Announcement {
	n.t.Helper()
	n.seq++
	a := wire.Announcement{
		V: wire.Version, Needs: 2, Parts: 1, Epoch: 1, Seq: n.seq, SentAtMillis: int64(n.seq), HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000,
	}
	for i := range functions {
		a.Offers = append(a.Offers, strategy.Offer{Name: testvalue.Name(fmt.Sprintf("f%04d", i)), Capacity: testvalue.Rate(1)})
	}
	if functions > 0 {
		a.Offers[functions-1].UserRate = testvalue.Rate(rate)
	}
	if _, err := n.Tell(a); err != nil {
		n.t.Fatal(err)
	}
	return a
}

// waitTold waits until n has heard just that of the author.
func (n *node) waitTold(author *node, want wire.Announcement) {
	n.t.Helper()
	waitFor(n.t, "what was told is heard", func() bool {
		m, ok := n.heard(author)
		return ok && m.Direct && m.Announcement.Seq == want.Seq
	})
	m, _ := n.heard(author)
	if diff := cmp.Diff(want, m.Announcement, testvalue.Comparable()); diff != "" {
		n.t.Error(diff)
	}
}

// raw opens a feed over which the test sends what it likes.
func (n *node) raw(to *node) network.Stream {
	n.t.Helper()
	s, err := n.host.NewStream(n.t.Context(), to.host.ID(), to.feeds.protocol)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// TestFeedsTellWhatChanged: peers hear everything by feeds, in the order in which it was
// told, and bytes are for what has changed.
func TestFeedsTellWhatChanged(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	nodes := runEach(t, 3, func(int, *Config) {})
	nodes[1].join(nodes[0])
	nodes[2].join(nodes[0])
	author, peers := nodes[0], nodes[1:]
	first := author.tell(1000, 0)
	for _, n := range peers {
		n.waitTold(author, first)
	}
	before, gossip := author.traffic.sent[useFeed].Load(), author.traffic.sent[useGossip].Load()
	const changes = 20
	for i := range changes {
		next := author.tell(1000, float64(i))
		for _, n := range peers {
			n.waitTold(author, next)
		}
	}
	if each := (author.traffic.sent[useFeed].Load() - before) / changes / int64(len(peers)); each == 0 || each > 20 {
		t.Errorf("a change takes %d bytes", each)
	}
	if sent := author.traffic.sent[useGossip].Load() - gossip; sent > 1000 {
		t.Errorf("%d bytes of gossip, which has nothing to say", sent)
	}
	fewer := author.tell(999, 1)
	for _, n := range peers {
		n.waitTold(author, fewer)
	}
}

// TestFeedsBeginAnew: who missed something, since the connection was lost or the stream
// broke, or came later, is told everything.
func TestFeedsBeginAnew(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	nodes := runEach(t, 2, func(int, *Config) {})
	author, other := nodes[0], nodes[1]
	early := author.tell(10, 1)
	other.join(author)
	other.waitTold(author, early)

	other.feeds.mu.Lock()
	broken := other.feeds.in[author.host.ID()].stream
	other.feeds.mu.Unlock()
	if err := broken.Reset(); err != nil {
		t.Fatal(err)
	}
	other.waitTold(author, author.tell(10, 2))

	other.disconnect(author.host.ID())
	missed := author.tell(10, 3) // unless they are connected again by now
	other.join(author)
	other.waitTold(author, missed)

	again := author.restart()
	again.seq = author.seq
	later := again.tell(10, 4)
	other.forget(again)
	other.join(again)
	other.waitTold(again, later)
}

// TestReleasesHearEachOther: members without feeds, some of the first version, are heard
// and hear everything that is for everybody; nobody is refused; and everybody knows
// whether there is anybody whom feeds do not reach.
func TestReleasesHearEachOther(t *testing.T) {
	t.Parallel()
	nodes := runEach(t, 5, func(i int, c *Config) {
		c.noFeeds = i == 1 || i == 3
		c.firstOnly = i == 2
	})
	for i := range nodes[1:] { // in a line: some hear others by way of other releases only
		nodes[i].join(nodes[i+1])
	}
	for _, n := range nodes {
		for _, author := range nodes {
			if n != author {
				n.waitHears(author, false)
			}
		}
	}
	for _, n := range nodes {
		waitFor(t, "all know that gossip is needed", func() bool { return n.Unfed() > 0 })
		if refused := n.Refused(); len(refused) > 0 {
			t.Errorf("refused %v", refused)
		}
	}
	// What is told by feeds alone does not reach the others, nor harm them.
	nodes[0].tell(3, 1)
	nodes[1].forget(nodes[0])
	nodes[1].waitHears(nodes[0], false)
}

// TestNobodyNeedsGossip where feeds reach all.
func TestNobodyNeedsGossip(t *testing.T) {
	t.Parallel()
	nodes := runEach(t, 3, func(int, *Config) {})
	for i, n := range nodes {
		n.join(nodes[(i+1)%len(nodes)])
	}
	for _, n := range nodes {
		waitFor(t, "feeds reach all", func() bool {
			for _, n := range nodes {
				n.tell(1, 1)
			}
			return len(n.Peers()) == 2 && n.Unfed() == 0
		})
	}
	// A peer that falls silent may hear nothing either.
	waitFor(t, "who is silent may need gossip", func() bool {
		nodes[1].tell(1, 1)
		return nodes[1].Unfed() > 0
	})
}

// TestBadFeeds: who sends what nobody may send is not listened to any more, others are.
func TestBadFeeds(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	for name, bad := range map[string][]byte{
		"no announcement":   append([]byte{'w'}, 3, 'a', 'b', 'c'),
		"no change":         append([]byte{'c'}, 1, 0xff),
		"longer than any":   binary.AppendUvarint([]byte{'w'}, 1<<40),
		"half of something": append(binary.AppendUvarint([]byte{'w'}, 2), 8, 2),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := runEach(t, 3, func(int, *Config) {})
			good, hostile, friend := nodes[0], nodes[1], nodes[2]
			hostile.join(good)
			friend.join(good)
			good.waitTold(hostile, hostile.tell(1, 1))
			s := hostile.raw(good)
			if name == "no change" {
				a := wire.Announcement{Epoch: 1, Seq: hostile.seq + 1, HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000}
				whole, err := wire.AppendFeed(nil, nil, &a)
				if err != nil {
					t.Fatal(err)
				}
				bad = append(whole, bad...)
			}
			if _, err := s.Write(bad); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "it is counted", func() bool {
				return testutil.ToFloat64(good.metrics.refused.WithLabelValues(reasonMalformed))+
					testutil.ToFloat64(good.metrics.refused.WithLabelValues(reasonTooLarge)) == 1
			})
			if good.refusal(hostile.ID()) == "" {
				t.Error("the author is not among the refused")
			}
			waitFor(t, "its feeds are closed", func() bool {
				hostile.tell(1, 1)
				good.feeds.mu.Lock()
				defer good.feeds.mu.Unlock()
				return good.feeds.in[hostile.host.ID()] == nil
			})
			good.waitTold(friend, friend.tell(2, 1))
		})
	}
}

// TestNewerFeedsAreNotPunished: what a later version may add to a feed is skipped and
// counted, and the feed goes on.
func TestNewerFeedsAreNotPunished(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	// The newer one has only the feed that the test makes: one of its own would take its place.
	nodes := runEach(t, 2, func(i int, c *Config) { c.noFeeds = i == 1 })
	here, newer := nodes[0], nodes[1]
	newer.join(here)
	s := newer.raw(here)
	frames := []byte{'?', 3, 'n', 'e', 'w'} // a kind of frame
	frames = append(frames, 'w', 4, 8, 9, 16, 9)
	frames = append(frames, 'c', 0) // a change of that
	a := wire.Announcement{Epoch: 1, Seq: 7, HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000}
	frames, err := wire.AppendFeed(frames, nil, &a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(frames); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "what is understood is heard", func() bool {
		m, ok := here.heard(newer)
		return ok && m.Announcement.Seq == 7
	})
	if n := testutil.ToFloat64(here.metrics.newer); n != 1 {
		t.Errorf("%v newer", n)
	}
	if n := testutil.ToFloat64(here.metrics.refused.WithLabelValues(reasonVersion)); n != 2 {
		t.Errorf("%v of a newer version", n)
	}
	if got := here.refusal(newer.ID()); got != "" {
		t.Errorf("refused: %s", got)
	}
}

// TestFeedsWaitForNobody: a peer that takes nothing in holds up nobody, and costs no
// memory for what it missed.
func TestFeedsWaitForNobody(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	nodes := runEach(t, 3, func(int, *Config) {})
	author, stuck, other := nodes[0], nodes[1], nodes[2]
	stuck.host.SetStreamHandler(stuck.feeds.protocol, func(s network.Stream) { <-stuck.ctx.Done() })
	stuck.join(author)
	other.join(author)
	for i := range 50 { // each longer than the stream takes
		next := author.tell(wire.MaxOffers-i, float64(i))
		other.waitTold(author, next)
	}
}

func TestFollowersFeedsAreOne(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	nodes := runEach(t, 2, func(int, *Config) {})
	nodes[1].join(nodes[0])
	nodes[0].waitTold(nodes[1], nodes[1].tell(1, 1))
	for range 20 {
		s := nodes[1].raw(nodes[0])
		if _, err := s.Write([]byte{'?', 0}); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the last feed counts", func() bool {
		nodes[0].feeds.mu.Lock()
		defer nodes[0].feeds.mu.Unlock()
		return len(nodes[0].feeds.in) == 1
	})
	waitFor(t, "the node goes on telling", func() bool {
		want := nodes[1].tell(1, 1)
		m, _ := nodes[0].heard(nodes[1])
		return m.Announcement.Seq+5 > want.Seq
	})
}

// FuzzFeed: whatever comes on a feed, it is taken in or the feed ends, and nothing that is
// not an announcement within its bounds is handed over.
func FuzzFeed(f *testing.F) {
	a := wire.Announcement{Epoch: 1, Seq: 7, HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000, Offers: []strategy.Offer{{Name: testvalue.Name("f")}}}
	frames, err := wire.AppendFeed(nil, nil, &a)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(frames, 'c', 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := &Overlay{metrics: newMetrics(nil, nil, nil), refused: &refusals{}, spoken: newSpoken(), messages: make(chan Message, 1<<16)}
		fs := &feeds{o: o, out: make(map[peer.ID]*feed), in: make(map[peer.ID]*intake), limits: make(map[peer.ID]*feedLimit), faults: make(map[peer.ID]faults)}
		heard := 0
		fs.followFrames("author", &intake{limit: rate.NewLimiter(authorRate, authorBurst)}, bytes.NewReader(data), func(a wire.Announcement) {
			heard++
			if _, left, err := wire.Fit(a); err != nil || left != nil {
				t.Fatal(left, err)
			}
		})
		if bad := fs.faultsOf(time.Now(), "author").count; bad != 0 && bad != maxFaults {
			t.Fatalf("%d faults, %d heard", bad, heard)
		}
	})
}

// TestFeedsOfOnePeerHaveOneLimit: whoever begins ever new feeds may say no more than on one,
// and begin only so many.
func TestFeedsOfOnePeerHaveOneLimit(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	n := run(t, config(t))
	now := time.Unix(1000, 0)
	f := n.feeds
	begun := 0
	var limit *rate.Limiter
	for range 5 * feedBeginsAtOnce {
		in := f.admit(now, "author", stuckStream{})
		if in == nil {
			continue
		}
		begun++
		if limit != nil && in.limit != limit {
			t.Error("a feed that begins anew may tell as much again")
		}
		limit = in.limit
		f.end("author", in) // or closing waits for it
	}
	if begun != feedBeginsAtOnce {
		t.Errorf("%d feeds begun at once, want %d", begun, feedBeginsAtOnce)
	}
	in := f.admit(now, "other", stuckStream{})
	if in == nil {
		t.Fatal("one peer's limit is for another")
	}
	if in.limit == limit {
		t.Error("one peer's limit is another's")
	}
	f.end("other", in)
	if in = f.admit(now.Add(time.Minute), "author", stuckStream{}); in == nil {
		t.Fatal("it is never heard again")
	}
	f.end("author", in)
	for i := range 2 * maxAuthors {
		id := peer.ID(fmt.Sprint(i))
		if in := f.admit(now.Add(time.Duration(i)*time.Millisecond), id, stuckStream{}); in != nil {
			f.end(id, in)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.limits) > maxAuthors {
		t.Errorf("limits of %d peers are kept", len(f.limits))
	}
}

// stuckStream cannot be reset before its channel is closed, if it has one.
type stuckStream struct {
	network.Stream
	until chan struct{}
}

func (s stuckStream) Reset() error {
	if s.until != nil {
		<-s.until
	}
	return nil
}

// TestResetsHoldUpNobody: a peer that does not read what resets its stream keeps nobody
// from telling and hearing others.
func TestResetsHoldUpNobody(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	n := run(t, config(t))
	until, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		now := time.Now()
		for range 2 {
			if in := n.feeds.admit(now, "stuck", stuckStream{until: until}); in != nil {
				defer n.feeds.end("stuck", in)
			}
		}
		n.feeds.blame("stuck", maxFaults)
		n.tell(1, 1)
		if n.feeds.hears(now, "stuck") {
			t.Error("it is still heard")
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("feeds wait for a peer that does not read")
	}
	close(until)
	<-done
}

func TestFeedPause(t *testing.T) {
	var pause time.Duration
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if pause = feedPause(pause, feedBrief-1); pause != want*time.Second {
			t.Errorf("pause %v, want %ds", pause, want)
		}
	}
	if pause = feedPause(pause, feedBrief); pause != feedRetry {
		t.Errorf("after one that lasted: %v", pause)
	}
}

// TestNewConnectionsEndThePause: a peer that broke off its feeds, and then connects anew,
// is told at once.
func TestNewConnectionsEndThePause(t *testing.T) {
	testvalue.SkipPrevious(t, "it has no feeds")
	t.Parallel()
	n := run(t, config(t))
	to := &feed{wake: make(chan struct{}, 1), anew: make(chan struct{}, 1)}
	n.feeds.mu.Lock()
	n.feeds.out["peer"] = to
	n.feeds.mu.Unlock()
	n.feeds.begin("peer")
	n.feeds.begin("peer")
	if len(to.anew) != 1 {
		t.Error("the new connection is not noticed")
	}
}

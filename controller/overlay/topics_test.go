package overlay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// announceMany publishes so many functions with the longest names.
func (n *node) announceMany(functions int) (left []string) {
	n.t.Helper()
	n.seq++
	a := wire.Announcement{Epoch: 1, Seq: n.seq, HTTP: "127.0.0.1:8081", Strategy: "static", PeriodMillis: 1000}
	for i := range functions {
		a.Offers = append(a.Offers, strategy.Offer{
			Name: testvalue.Name(fmt.Sprintf("%04d%s.%s", i, strings.Repeat("x", 59), strings.Repeat("n", 63))), Capacity: testvalue.Rate(1),
		})
	}
	left, err := n.Publish(n.t.Context(), a)
	if err != nil {
		n.t.Fatal(err)
	}
	return left
}

// TestVersionsHearEachOther: members of the first version and of this one are in
// one federation, some of them connected by way of one of the other version only.
func TestVersionsHearEachOther(t *testing.T) {
	testvalue.SkipPrevious(t, "it has one topic, for JSON")
	t.Parallel()
	nodes := runEach(t, 4, func(i int, c *Config) { c.firstOnly = i == 1 || i == 2 })
	for i := range nodes[1:] {
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
		if refused := n.Refused(); len(refused) > 0 {
			t.Errorf("refused %v", refused)
		}
		if bad := testutil.ToFloat64(n.metrics.refused.WithLabelValues(reasonMalformed)); bad != 0 {
			t.Errorf("%v malformed", bad)
		}
	}
	if !nodes[0].firstNeeded(time.Now()) || !nodes[3].firstNeeded(time.Now()) {
		t.Error("the first topic is given up while there are members of the first version")
	}
}

// TestFirstTopicIsLeftAlone: where nobody needs it, nothing is said on it.
func TestFirstTopicIsLeftAlone(t *testing.T) {
	testvalue.SkipPrevious(t, "it has one topic, for JSON")
	t.Parallel()
	nodes := runEach(t, 2, func(int, *Config) {})
	nodes[0].join(nodes[1])
	waitMesh(t, nodes...)
	waitFor(t, "both know that both are on the second topic", func() bool {
		return !nodes[0].firstNeeded(time.Now()) && !nodes[1].firstNeeded(time.Now())
	})
	if m := nodes[0].waitHears(nodes[1], true); m.Announcement.V != wire.Version {
		t.Errorf("heard in version %d", m.Announcement.V)
	}
}

func TestMostFunctionsArrive(t *testing.T) {
	testvalue.SkipPrevious(t, "it has one topic, for JSON")
	t.Parallel()
	nodes := runEach(t, 2, func(int, *Config) {})
	nodes[0].join(nodes[1])
	waitMesh(t, nodes...)
	waitFor(t, "all functions arrive", func() bool {
		if left := nodes[0].announceMany(wire.MaxOffers); left != nil && !nodes[0].firstNeeded(time.Now()) {
			t.Fatalf("%d functions left out", len(left))
		}
		m, _ := nodes[1].heard(nodes[0])
		return len(m.Announcement.Offers) == wire.MaxOffers
	})
	if left := nodes[0].announceMany(wire.MaxOffers + 2); len(left) != 2 {
		t.Errorf("%d left out, want 2", len(left))
	}
	if refused := nodes[1].Refused(); len(refused) > 0 {
		t.Errorf("refused %v", refused)
	}
}

// TestNewerMembersAreNotPunished: a member that only later versions understand is
// shown as such, and heard as soon as it says what this version understands.
func TestNewerMembersAreNotPunished(t *testing.T) {
	testvalue.SkipPrevious(t, "it has one topic, for JSON")
	t.Parallel()
	nodes := runEach(t, 2, func(int, *Config) {})
	here, newer := nodes[0], nodes[1]
	here.join(newer)
	waitMesh(t, nodes...)
	i := 0
	waitFor(t, "many are counted", func() bool {
		i++
		messages := []string{"\x08\x09\x10\x09", fmt.Sprintf("\x08\x09\x10\x08\x82\x08\x01%c", i%128), `{"v":7,"what":{}}`}
		if err := newer.second.Publish(t.Context(), []byte(messages[i%2])); err != nil {
			t.Fatal(err)
		}
		if err := newer.first.Publish(t.Context(), []byte(messages[2])); err != nil {
			t.Fatal(err)
		}
		return testutil.ToFloat64(here.metrics.refused.WithLabelValues(reasonVersion)) >= 40
	})
	if got := here.refusal(newer.ID()); got != "speaks a newer protocol: upgrade this node" {
		t.Errorf("shown as %q", got)
	}
	here.forget(newer)
	waitFor(t, "it is heard, and shown as newer no more", func() bool {
		here.waitHears(newer, true)
		return here.refusal(newer.ID()) == ""
	})
}

func part(seq uint64, n, of int, names ...string) Message {
	m := Message{Announcement: wire.Announcement{Epoch: 1, Seq: seq, Part: n, Parts: of}, Direct: n != 1}
	for _, name := range names {
		m.Announcement.Offers = append(m.Announcement.Offers, strategy.Offer{Name: testvalue.Name(name)})
	}
	return m
}

func TestHalves(t *testing.T) {
	many := make([]string, wire.MaxOffers)
	for i := range many {
		many[i] = fmt.Sprintf("f%04d", i)
	}
	for name, test := range map[string]struct {
		parts []Message
		want  []string // names in the announcement that the last part completes; nil: none
		bad   bool
	}{
		"whole":         {[]Message{part(1, 0, 1, "a")}, []string{"a"}, false},
		"in order":      {[]Message{part(1, 0, 2, "a"), part(1, 1, 2, "b")}, []string{"a", "b"}, false},
		"out of order":  {[]Message{part(1, 2, 3, "c"), part(1, 0, 3, "a"), part(1, 1, 3)}, []string{"a", "c"}, false},
		"twice":         {[]Message{part(1, 0, 2, "a"), part(1, 0, 2, "a")}, nil, false},
		"overtaken":     {[]Message{part(1, 0, 2, "a"), part(2, 0, 2, "a"), part(2, 1, 2, "x")}, []string{"a", "x"}, false},
		"late":          {[]Message{part(2, 0, 2, "a"), part(1, 1, 3, "b"), part(2, 1, 2, "c")}, []string{"a", "c"}, false},
		"other number":  {[]Message{part(1, 0, 2, "a"), part(1, 1, 3, "b")}, nil, true},
		"not in order":  {[]Message{part(1, 0, 2, "b"), part(1, 1, 2, "a")}, nil, true},
		"same function": {[]Message{part(1, 0, 2, "b"), part(1, 1, 2, "b")}, nil, true},
		"too many":      {[]Message{part(1, 0, 2, many...), part(1, 1, 2, "g")}, nil, true},
	} {
		h := halves{byAuthor: make(map[peer.ID]*half)}
		var whole Message
		var complete bool
		var err error
		for _, p := range test.parts {
			whole, complete, err = h.add(time.Now(), "author", p)
		}
		var got []string
		for _, o := range whole.Announcement.Offers {
			got = append(got, o.Name.String())
		}
		if complete != (test.want != nil) || !slices.Equal(got, test.want) || (err != nil) != test.bad {
			t.Errorf("%s: %v %v, %v", name, complete, got, err)
		}
		if complete && (h.offers != 0 || len(h.byAuthor) != 0 || whole.Announcement.Parts != 1) {
			t.Errorf("%s: holds %+v", name, h)
		}
	}
}

// TestHalvesAreBounded: whoever sends halves only, by however many authors, makes
// this node hold no more than so much.
func TestHalvesAreBounded(t *testing.T) {
	h := halves{byAuthor: make(map[peer.ID]*half)}
	many := make([]string, wire.MaxOffers/2)
	for i := range many {
		many[i] = fmt.Sprintf("f%04d", i)
	}
	now := time.Now()
	for i := range 2 * maxAuthors {
		now = now.Add(time.Millisecond)
		for n := range 2 {
			if _, complete, err := h.add(now, peer.ID(fmt.Sprint(i)), part(1, n, 3, many...)); complete || err != nil {
				t.Fatal(complete, err)
			}
		}
		if h.offers > maxHeldOffers || len(h.byAuthor) > maxAuthors {
			t.Fatalf("%d offers of %d authors held", h.offers, len(h.byAuthor))
		}
	}
	if h.byAuthor[peer.ID(fmt.Sprint(2*maxAuthors-1))] == nil {
		t.Error("the newest is not held")
	}
}

// TestDirectCopiesPass: what others relayed may be refused where the author's own copy is
// not; and what found no room was not handed over.
func TestDirectCopiesPass(t *testing.T) {
	s := newSpoken()
	room := true
	send := func(Message) bool { return room }
	say := func(seq uint64, direct bool) Message {
		return Message{Announcement: wire.Announcement{V: wire.Version, Epoch: 1, Seq: seq, PeriodMillis: 1000}, Direct: direct}
	}
	s.hear(time.Now(), "author", say(1, false).Announcement)
	for i, step := range []struct {
		seq          uint64
		direct, room bool
		want         bool
	}{
		{5, false, true, true}, {5, false, true, false}, {5, true, true, true}, {5, true, true, false}, {5, false, true, false},
		{4, true, true, false}, {6, true, false, false}, {6, false, true, true}, {6, true, false, false}, {6, true, true, true},
	} {
		room = step.room
		if got := s.deliver("author", say(step.seq, step.direct), send); got != step.want {
			t.Errorf("step %d: handed over %v, want %v", i, got, step.want)
		}
	}
}

package membership

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
)

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	peerIP   = netip.MustParseAddr("192.0.2.1")
	directly = Via{RemoteIPs: []netip.Addr{peerIP}}
	itself   = Via{RemoteIPs: []netip.Addr{peerIP}, Direct: true}
)

// announce returns a valid announcement of a node at peerIP with a period of 1 s.
func announce(epoch time.Time, seq uint64) wire.Announcement {
	a := wire.Announcement{
		V: wire.Version, Epoch: 1_700_000_000_000, Seq: 1, HTTP: "192.0.2.1:8081", Strategy: "headroom", PeriodMillis: 1000,
		Offers: []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(10)}, {Name: testvalue.Name("ocr.vision"), UserRate: testvalue.Rate(2.5), Limit: testvalue.Rate(1), TimeoutMillis: 300_000}},
	}
	a.Epoch, a.Seq, a.SentAtMillis, a.HTTP = epoch.UnixMilli(), seq, start.UnixMilli(), netip.AddrPortFrom(peerIP, 8081).String()
	return a
}

func newMembers() *Members { return New(Options{Self: testvalue.Peer("self")}) }

// aliveIDs are what the members alive are called.
func aliveIDs(m *Members) []string {
	ids := []string{}
	for _, member := range m.Alive() {
		ids = append(ids, strings.TrimRight(string(member.ID.Key()), "\x00"))
	}
	return ids
}

// apply applies an announcement of node p and checks the outcome: the reason
// for which it is refused, or else "changed" or "same".
func apply(t *testing.T, m *Members, now time.Time, a wire.Announcement, via Via, want string) {
	t.Helper()
	changed, err := m.Apply(now, testvalue.Peer("p"), a, via)
	got := "same"
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		got = refused.Reason
	case err != nil:
		t.Fatalf("not a RefusedError: %v", err)
	case changed != Nothing:
		got = "changed"
	}
	if got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

func TestBothOrNeitherWantTLS(t *testing.T) {
	for _, required := range []bool{false, true} {
		m := New(Options{Self: testvalue.Peer("self"), TLS: required})
		a := announce(start, 1)
		a.TLS = !required
		apply(t, m, start, a, directly, ReasonTLS)
		if refused := m.Refused(start); len(refused) != 1 || !strings.Contains(refused[0].Reason, "peer_tls") {
			t.Errorf("shown to the operator: %+v", refused)
		}
		a.TLS = required
		apply(t, m, start, a, directly, "changed")
		a.Seq, a.TLS = 2, !required
		apply(t, m, start, a, directly, ReasonTLS)
	}
}

func TestMemberComesAndChanges(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 1), directly, "changed")
	apply(t, m, start.Add(time.Second), announce(start, 2), directly, "same")

	a := announce(start, 3)
	a.Offers = []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(11)}}
	apply(t, m, start.Add(2*time.Second), a, directly, "changed")
	a.Seq, a.HTTP = 4, "192.0.2.1:9999"
	apply(t, m, start.Add(3*time.Second), a, directly, "changed")

	got := m.Alive()
	if len(got) != 1 || got[0].HTTP.Port() != 9999 || got[0].Offers[0].Capacity.PerSecond() != 11 ||
		!got[0].Since.Equal(start) || !got[0].LastSeen.Equal(start.Add(3*time.Second)) {
		t.Errorf("got %+v", got)
	}
}

func TestMemberExpiresWithinThreePeriods(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 1), directly, "changed")
	if gone := m.Expire(start.Add(2750 * time.Millisecond)); len(gone) != 0 {
		t.Fatalf("expired after 2.75 s with a period of 1 s: %v", gone)
	}
	if gone := m.Expire(start.Add(2751 * time.Millisecond)); !slices.Equal(gone, []peerid.ID{testvalue.Peer("p")}) {
		t.Fatalf("expired: %v", gone)
	}
	if gone := m.Expire(start.Add(time.Minute)); len(gone) != 0 {
		t.Errorf("reported twice: %v", gone)
	}
	if len(m.Alive()) != 0 || len(m.Gone()) != 1 || m.Gone()[0].Left {
		t.Errorf("alive %v, gone %+v", m.Alive(), m.Gone())
	}
	apply(t, m, start.Add(time.Minute), announce(start, 2), directly, "changed")
}

func TestReplaysAndReorderingAreRefused(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 5), directly, "changed")
	apply(t, m, start, announce(start, 5), directly, ReasonReplay)
	apply(t, m, start, announce(start, 4), directly, ReasonReplay)
	apply(t, m, start, announce(start.Add(-time.Hour), 99), directly, ReasonReplay)
	if len(m.Refused(start)) != 0 {
		t.Error("replays are shown to the operator")
	}
	// A restart: the sequence begins again, the epoch is greater.
	apply(t, m, start, announce(start.Add(time.Second), 1), directly, "same")
	apply(t, m, start, announce(start, 6), directly, ReasonReplay)
}

func TestReplayAfterExpiryIsRefused(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 5), directly, "changed")
	m.Expire(start.Add(10 * time.Second))
	apply(t, m, start.Add(11*time.Second), announce(start, 5), directly, ReasonReplay)
	apply(t, m, start.Add(11*time.Second), announce(start, 6), directly, "changed")
}

func TestLeaving(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 1), directly, "changed")
	farewell := announce(start, 3)
	farewell.Leaving = true
	apply(t, m, start, farewell, Via{}, "changed")
	if len(m.Alive()) != 0 || !m.Gone()[0].Left {
		t.Errorf("alive %v, gone %+v", m.Alive(), m.Gone())
	}
	apply(t, m, start, announce(start, 2), directly, ReasonReplay) // overtaken by the farewell
	if gone := m.Expire(start.Add(time.Minute)); len(gone) != 0 {
		t.Errorf("a member that left expired: %v", gone)
	}
	apply(t, m, start.Add(time.Minute), announce(start.Add(time.Minute), 1), directly, "changed")
	if m.Alive()[0].Left {
		t.Error("a member that came back still counts as having left")
	}
}

func TestFarewellOfAStranger(t *testing.T) {
	m := newMembers()
	farewell := announce(start, 3)
	farewell.Leaving = true
	apply(t, m, start, farewell, Via{}, "same")
	apply(t, m, start, announce(start, 2), directly, ReasonReplay)
	if len(m.Gone()) != 0 {
		t.Errorf("shown although it was never there: %+v", m.Gone())
	}
}

// A node whose clock ran ahead and was put right starts with a smaller epoch.
// Once it is gone and speaks for itself, it is heard; what others repeat is not.
func TestBrokenClockHeals(t *testing.T) {
	for _, ahead := range []time.Duration{time.Second, time.Hour, 100 * 365 * 24 * time.Hour} {
		m := newMembers()
		apply(t, m, start, announce(start.Add(ahead), 7), directly, "changed")
		apply(t, m, start, announce(start, 1), itself, ReasonReplay)
		gone := start.Add(2750 * time.Millisecond) // nothing was heard for so long
		m.Expire(gone.Add(time.Second / 2))
		apply(t, m, gone.Add(time.Minute), announce(start, 1), directly, ReasonReplay)
		apply(t, m, gone.Add(lateness-1), announce(start, 1), itself, ReasonReplay)
		back := gone.Add(lateness)
		apply(t, m, back, announce(start, 1), itself, "changed")
		apply(t, m, back, announce(start, 1), itself, ReasonReplay)
		// What the broken clock announced is the replay now, whoever hands it over.
		apply(t, m, back, announce(start.Add(ahead), 8), itself, ReasonReplay)
		apply(t, m, back, announce(start.Add(ahead/2), 1), directly, "same")
	}
}

func TestAddresses(t *testing.T) {
	m := newMembers()
	elsewhere := Via{RemoteIPs: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}
	apply(t, m, start, announce(start, 1), Via{}, ReasonUnverified)
	apply(t, m, start, announce(start, 1), elsewhere, ReasonAddress)
	if list := m.Refused(start); len(list) != 1 || list[0].Peer != testvalue.Peer("p").String() || list[0].Count != 2 {
		t.Errorf("refusals: %+v", list)
	}
	apply(t, m, start, announce(start, 1), directly, "changed")
	if list := m.Refused(start); len(list) != 0 {
		t.Errorf("still shown as refused once accepted: %+v", list)
	}
	// Verified before, and the connection is lost: good for a while.
	apply(t, m, start.Add(addressTrust), announce(start, 2), Via{}, "changed")
	apply(t, m, start.Add(addressTrust+1), announce(start, 3), Via{}, ReasonUnverified)
	// A new address must be verified anew.
	moved := announce(start, 4)
	moved.HTTP = "192.0.2.1:1234"
	apply(t, m, start.Add(time.Minute), moved, Via{}, ReasonUnverified)
	// The same address, but its connection says otherwise.
	apply(t, m, start.Add(time.Minute), announce(start, 5), elsewhere, ReasonAddress)

	allowing := New(Options{Self: testvalue.Peer("self"), Allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	apply(t, allowing, start, announce(start, 1), Via{}, "changed")
}

func TestOwnIdentityIsRefused(t *testing.T) {
	m := New(Options{Self: testvalue.Peer("p")})
	apply(t, m, start, announce(start, 1), directly, ReasonSelf)
}

func TestFullFederation(t *testing.T) {
	m := newMembers()
	for i := range DefaultMaxMembers {
		if _, err := m.Apply(start, testvalue.Peer(fmt.Sprintf("m%03d", i)), announce(start, 1), directly); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, m, start, announce(start, 1), directly, ReasonFull)
	// Those that are overdue make room, and are still reported.
	later := start.Add(time.Minute)
	if _, err := m.Apply(later, testvalue.Peer("m000"), announce(start, 2), directly); err != nil {
		t.Fatal(err)
	}
	apply(t, m, later, announce(start, 1), directly, "changed")
	if ids := aliveIDs(m); !slices.Equal(ids, []string{"m000", "p"}) {
		t.Errorf("alive: %v", ids)
	}
	if gone := m.Expire(later); len(gone) != DefaultMaxMembers-1 {
		t.Errorf("%d expired, want %d", len(gone), DefaultMaxMembers-1)
	}
}

func TestExpiredAndBackIsNotReported(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 1), directly, "changed")
	for i := range DefaultMaxMembers - 1 {
		if _, err := m.Apply(start.Add(time.Minute), testvalue.Peer(fmt.Sprintf("m%03d", i)), announce(start, 1), directly); err != nil {
			t.Fatal(err)
		}
	}
	// Makes room by burying p, which then comes back when another leaves.
	if _, err := m.Apply(start.Add(time.Minute), testvalue.Peer("extra"), announce(start, 1), directly); err != nil {
		t.Fatal(err)
	}
	farewell := announce(start, 2)
	farewell.Leaving = true
	if _, err := m.Apply(start.Add(time.Minute), testvalue.Peer("extra"), farewell, directly); err != nil {
		t.Fatal(err)
	}
	apply(t, m, start.Add(time.Minute), announce(start, 2), directly, "changed")
	if gone := m.Expire(start.Add(time.Minute)); len(gone) != 0 {
		t.Errorf("reported as expired although alive: %v", gone)
	}
}

func TestCounts(t *testing.T) {
	m := newMembers()
	apply(t, m, start, announce(start, 1), directly, "changed")
	apply(t, m, start, announce(start, 1), directly, ReasonReplay)
	got := m.Counts()
	if got.Alive != 1 || got.Refused[ReasonReplay] != 1 {
		t.Errorf("counted %+v", got)
	}
	got.Refused[ReasonReplay] = 9 // a copy
	m.Expire(start.Add(time.Hour))
	if got := m.Counts(); got.Alive != 0 || got.Refused[ReasonReplay] != 1 {
		t.Errorf("counted %+v", got)
	}
}

// Whatever comes in whatever order: memory is bounded, the alive are exactly
// those heard in time who did not leave, accepted order grows, and an address
// that no connection proved is never used.
func TestMembersAlwaysHold(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		m := newMembers()
		now := start
		type order struct {
			epoch int64
			seq   uint64
		}
		accepted := make(map[string]order)
		alive := make(map[string]time.Time) // when last accepted
		for range 4000 {
			now = now.Add(time.Duration(random.IntN(40)) * time.Millisecond)
			id := fmt.Sprintf("n%03d", random.IntN(400))
			a := announce(start.Add(time.Duration(random.IntN(3))*time.Second), random.Uint64N(50)+1)
			a.Leaving = random.IntN(20) == 0
			if random.IntN(10) == 0 {
				a.HTTP = "198.51.100.9:80"
			}
			if _, err := m.Apply(now, testvalue.Peer(id), a, directly); err == nil {
				next := order{a.Epoch, a.Seq}
				if last, ok := accepted[id]; ok && (next.epoch < last.epoch || next.epoch == last.epoch && next.seq <= last.seq) {
					t.Fatalf("accepted %v after %v", next, last)
				}
				accepted[id] = next
				alive[id] = now
				if a.Leaving {
					delete(alive, id)
				}
			}
			if random.IntN(50) == 0 {
				m.Expire(now)
			}
			if m.alive > DefaultMaxMembers || len(m.records)-m.alive > goneShare*DefaultMaxMembers {
				t.Fatalf("%d alive of %d records", m.alive, len(m.records))
			}
		}
		m.Expire(now)
		want := []string{}
		for id, seen := range alive {
			if now.Sub(seen) <= 2750*time.Millisecond {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		if got := aliveIDs(m); !slices.Equal(got, want) {
			t.Fatalf("seed %d: alive %v, want %v", seed, got, want)
		}
		for _, member := range m.Alive() {
			if member.HTTP.Addr() != peerIP {
				t.Fatalf("%s is used at the unproven address %v", member.ID, member.HTTP)
			}
		}
	}
}

// A member that was gone for long comes back into a full federation, in which
// others are overdue. It counts once, and gives its place back.
func TestComingBackIntoAFullFederationLeavesNoGhost(t *testing.T) {
	m := New(Options{Self: testvalue.Peer("self"), MaxMembers: 3})
	applyOf := func(now time.Time, id string, a wire.Announcement) {
		t.Helper()
		if _, err := m.Apply(now, testvalue.Peer(id), a, itself); err != nil {
			t.Fatal(err)
		}
	}
	applyOf(start, "p", announce(start, 1))
	m.Expire(start.Add(time.Minute))
	later := start.Add(time.Minute + memoryOfGone)
	for _, id := range []string{"a", "b", "c"} {
		applyOf(later, id, announce(start, 1))
	}
	back := later.Add(time.Minute)
	applyOf(back, "p", announce(back, 1))
	if got, listed := m.Counts().Alive, aliveIDs(m); got != 1 || !slices.Equal(listed, []string{"p"}) {
		t.Errorf("counted %d alive, listed %v", got, listed)
	}
	m.Expire(back.Add(time.Hour))
	if got := m.Counts().Alive; got != 0 {
		t.Errorf("%d places are taken by nobody", got)
	}
}

// What a member announced before it left is kept by somebody and repeated when
// everybody has forgotten it. Its address is allowed, so that no connection is
// needed to prove it.
func TestReplayOfAMemberThatLeftLongAgo(t *testing.T) {
	for _, ahead := range []time.Duration{0, hearsayAge, -hearsayAge, time.Hour} {
		m := New(Options{Self: testvalue.Peer("self"), Allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		at := func(now time.Time, seq uint64) wire.Announcement {
			a := announce(start, seq)
			a.SentAtMillis = now.Add(ahead).UnixMilli()
			return a
		}
		apply(t, m, start, at(start, 1), itself, "changed")
		farewell := at(start, 3)
		farewell.Leaving = true
		apply(t, m, start, farewell, Via{}, "changed")
		kept := at(start, 2)
		for now := start; now.Before(start.Add(3 * memoryOfGone)); now = now.Add(time.Second) {
			if _, err := m.Apply(now, testvalue.Peer("p"), kept, Via{}); err == nil && ahead.Abs() <= hearsayAge {
				t.Fatalf("clock %v ahead: revived by a replay %v after it left", ahead, now.Sub(start))
			}
			m.Expire(now)
		}
		// It is there again: others relay it at first, then it is connected.
		now := start.Add(4 * memoryOfGone)
		want := "changed"
		if ahead.Abs() > hearsayAge {
			want = ReasonOld
		}
		apply(t, m, now, at(now, 4), Via{}, want)
		apply(t, m, now, at(now, 5), directly, map[bool]string{true: "same", false: "changed"}[want == "changed"])
	}
}

func TestMemoryOfTheGoneIsBounded(t *testing.T) {
	m := newMembers()
	farewell := announce(start, 1)
	farewell.Leaving = true
	for i := range 2 * goneShare * DefaultMaxMembers {
		if _, err := m.Apply(start.Add(time.Duration(i)), testvalue.Peer(fmt.Sprintf("n%05d", i)), farewell, Via{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.records); n > goneShare*DefaultMaxMembers || n < goneShare*DefaultMaxMembers*3/4 {
		t.Errorf("%d records", len(m.records))
	}
	m.Expire(start.Add(time.Hour))
	if len(m.records) != 0 {
		t.Errorf("%d records remembered after an hour", len(m.records))
	}
}

// A name changes no plan; the form of the first version, which has none and may come
// beside the other, does not take it away.
func TestNames(t *testing.T) {
	m := newMembers()
	for seq, step := range []struct {
		version    int
		name, want string
		outcome    string
	}{
		{2, "edge-3", "edge-3", "changed"},
		{1, "", "edge-3", "same"},
		{2, "edge-4", "edge-4", "same"},
		{2, "", "", "same"},
	} {
		a := announce(start, uint64(seq+1))
		a.V, a.Name = step.version, step.name
		apply(t, m, start.Add(time.Duration(seq)*time.Millisecond), a, directly, step.outcome)
		if got := m.NameOf(testvalue.Peer("p")); got != step.want || m.Alive()[0].Name != step.want {
			t.Errorf("after %+v: %q", step, got)
		}
	}
	if m.NameOf(testvalue.Peer("q")) != "" {
		t.Error("a stranger has a name")
	}
}

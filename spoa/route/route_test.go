package route

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

// t0 has a monotonic reading as the times of the running program do.
var t0 = time.Now()

func compile(t testing.TB, tab *table.Table, prev *Snapshot, now time.Time) *Snapshot {
	t.Helper()
	m := meter.New(t0)
	if prev != nil {
		m = prev.meter
	}
	return Compile(testtable.Valid(t, tab), prev, m, now)
}

func call(name string) Request { return Request{Path: "/function/" + name} }

// callFrom is a call by identity n with a good token.
func callFrom(t testing.TB, n int, name string, now time.Time) Request {
	t.Helper()
	key, id := testtable.Identity(n)
	tok, err := token.Mint(key, id, testtable.ID(0), now, token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Path: "/function/" + name, Claimed: true, Node: id.String(), Token: tok}
}

func TestUserStatuses(t *testing.T) {
	local := func(l table.Local) *table.Local { l.Share = 1; return &l }
	to := func(rate float64) []table.Forward {
		return []table.Forward{{Peer: testtable.ID(1), Weight: 1, Rate: testvalue.Bound(rate)}, {Peer: testtable.ID(2), Weight: 1, Rate: testvalue.Bound(rate)}}
	}
	noToken := []table.Forward{{Peer: testtable.ID(3), Weight: 1, Rate: testvalue.Bound(10)}}
	weightless := []table.Forward{{Peer: testtable.ID(1), Weight: 0, Rate: testvalue.Bound(10)}}
	deny := func(status int32) Decision { return Decision{Action: Deny, Status: status} }
	for name, test := range map[string]struct {
		f     table.Function
		calls int // of which the last counts
		want  Decision
	}{
		"within the rate":                 {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2), TimeoutMillis: 9})}, 1, Decision{TimeoutMillis: 9}},
		"unlimited":                       {table.Function{Local: local(table.Local{Rate: limit.Unlimited()})}, 1000, Decision{}},
		"over the rate, alone":            {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2)})}, 2, deny(429)},
		"rate 0, alone":                   {table.Function{Local: local(table.Local{})}, 1, deny(429)},
		"soft, alone":                     {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2), Soft: true})}, 50, Decision{}},
		"over the rate, peers full":       {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2)}), Forward: to(0)}, 2, deny(503)},
		"over the rate, no token":         {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2)}), Forward: noToken}, 2, deny(503)},
		"over the rate, peers exhausted":  {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2)}), Forward: to(2)}, 4, deny(429)},
		"over the rate, weight 0":         {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2)}), Forward: weightless}, 2, deny(429)},
		"soft, peers full":                {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2), Soft: true}), Forward: to(0)}, 9, Decision{}},
		"soft, peers exhausted":           {table.Function{Local: local(table.Local{Rate: testvalue.Bound(2), Soft: true}), Forward: to(2)}, 9, Decision{}},
		"not here, nobody":                {table.Function{}, 1, Decision{Status: 404}},
		"not here, peers full":            {table.Function{Forward: to(0)}, 1, deny(503)},
		"not here, no token":              {table.Function{Forward: noToken}, 1, deny(503)},
		"not here, peers exhausted":       {table.Function{Forward: to(2)}, 3, deny(429)},
		"share 0, nobody else":            {table.Function{Local: &table.Local{Rate: testvalue.Bound(2)}}, 1, Decision{}},
		"share 0, nobody else, exhausted": {table.Function{Local: &table.Local{Rate: testvalue.Bound(2)}}, 2, deny(429)},
	} {
		tab := testtable.New(0, 3)
		tab.Peers[2].Token = ""
		test.f.Name = testvalue.Name("f")
		tab.Functions = []table.Function{test.f}
		s := compile(t, tab, nil, t0)
		var got Decision
		for range test.calls {
			got = s.Route(t0, call("f"))
		}
		if diff := cmp.Diff(test.want, got, testvalue.Comparable()); diff != "" {
			t.Errorf("%s: decision differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestForwarding(t *testing.T) {
	tab := testtable.New(6, 1)
	tab.Functions[0].Local = nil
	tab.Functions[1].Local = &table.Local{Rate: testvalue.Bound(0), Share: 1, TimeoutMillis: 7}
	tab.Functions[2].Local = nil
	tab.Functions[2].Forward[0].TimeoutMillis = limit.MaxTimeoutMillis
	tab.Functions[3].Local = &table.Local{Rate: testvalue.Bound(0), Share: 1, TimeoutMillis: 7}
	tab.Functions[3].Forward[0].TimeoutMillis = 300_000
	tab.Functions[4].Local = &table.Local{Rate: testvalue.Bound(0), Share: 1}
	tab.Functions[4].Forward[0].TimeoutMillis = 300_000
	tab.Functions[5].Forward[0].TimeoutMillis = 300_000
	s := compile(t, tab, nil, t0)
	peer := testtable.ID(1)
	for name, want := range map[string]Decision{
		"f0": {Action: Peer, Target: peer, Token: "token-for-1", Status: 503},
		"f1": {Action: Peer, Target: peer, Token: "token-for-1", TimeoutMillis: 7},
		"f2": {Action: Peer, Target: peer, Token: "token-for-1", Status: 503, TimeoutMillis: limit.MaxTimeoutMillis},
		"f3": {Action: Peer, Target: peer, Token: "token-for-1", TimeoutMillis: 7},
		"f4": {Action: Peer, Target: peer, Token: "token-for-1", TimeoutMillis: 300_000},
		"f5": {}, // served here: what a peer says is for what is sent to it
	} {
		if diff := cmp.Diff(want, s.Route(t0, call(name)), testvalue.Comparable()); diff != "" {
			t.Errorf("%s: decision differs (-want +got):\n%s", name, diff)
		}
	}
}

// TestEachPeersOwnTimeLimit: one peer's limit, however long or short, is not that
// of calls to another.
func TestEachPeersOwnTimeLimit(t *testing.T) {
	tab := testtable.New(1, 3)
	tab.Functions[0].Local = nil
	limits := map[string]int32{testtable.ID(1).String(): limit.MaxTimeoutMillis, testtable.ID(2).String(): 1, testtable.ID(3).String(): 0}
	for i := range tab.Functions[0].Forward {
		fw := &tab.Functions[0].Forward[i]
		fw.Rate, fw.TimeoutMillis = limit.Unlimited(), int64(limits[fw.Peer.String()])
	}
	s := compile(t, tab, nil, t0)
	seen := map[string]bool{}
	for range 100 {
		d := s.Route(t0, call("f0"))
		seen[d.Target.String()] = true
		if want, known := limits[d.Target.String()]; !known || d.TimeoutMillis != want {
			t.Fatalf("%+v, want a limit of %d ms", d, want)
		}
	}
	if len(seen) != len(limits) {
		t.Errorf("only %d peers were sent anything", len(seen))
	}
}

func TestShareTriesPeersFirst(t *testing.T) {
	tab := testtable.New(1, 2)
	tab.Functions[0].Local = &table.Local{Rate: limit.Unlimited(), Share: 0.6}
	for i := range tab.Functions[0].Forward {
		tab.Functions[0].Forward[i].Rate = limit.Unlimited()
	}
	s := compile(t, tab, nil, t0)
	got := map[string]int{}
	for range 1000 {
		got[s.Route(t0, call("f0")).Target.String()]++
	}
	for target, want := range map[string]int{"": 600, testtable.ID(1).String(): 200, testtable.ID(2).String(): 200} {
		if n := got[target]; n < want-10 || n > want+10 {
			t.Errorf("%d of 1000 to %q, want about %d", n, target, want)
		}
	}
}

func TestNames(t *testing.T) {
	tab := testtable.New(0, 0)
	tab.DefaultNamespace = "main"
	limited := &table.Local{Rate: testvalue.Bound(0), Share: 1}
	tab.Functions = []table.Function{{Name: testvalue.Name("foo"), Local: limited}, {Name: testvalue.Name("foo.other"), Local: limited}}
	s := compile(t, tab, nil, t0)
	for name, want := range map[string]int32{
		"foo": 429, "foo.main": 429, "foo.other": 429, "foo.main/x": 429,
		"foo.": 404, "foo.main.main": 404, "foo.mai": 404, "fo": 404, "foobar": 404, "foo.other.main": 404, "FOO": 404, "%66oo": 404, "": 404,
	} {
		if got := s.Route(t0, call(name)); got.Status != want {
			t.Errorf("%q: status %d, want %d", name, got.Status, want)
		}
	}
	if got := s.Route(t0, Request{Path: "/healthz"}); got != (Decision{Open: true}) {
		t.Errorf("a path that is not ours: %v", got)
	}
	tab.DefaultNamespace = ""
	if got := compile(t, tab, nil, t0).Route(t0, call("foo.main")); got.Status != 503 {
		t.Errorf("foo.main without a default namespace: status %d, want 503", got.Status)
	}
	tab.UnknownLocal = true
	s = compile(t, tab, nil, t0)
	if got := s.Route(t0, call("bar")); got != (Decision{}) {
		t.Errorf("an unknown function while unknown ones are served: %v", got)
	}
	if got := s.Route(t0, call("foo")); got.Status != 429 {
		t.Errorf("a known function while unknown ones are served: status %d, want 429", got.Status)
	}
}

// TestUnknown: what nobody is known to have, the gateway is asked for, with a bound;
// what a peer had that has left is missed for a while, what a peer has removed is
// not.
func TestUnknown(t *testing.T) {
	tab := testtable.New(2, 3)
	tab.DefaultNamespace = "main"
	for i := range tab.Functions {
		tab.Functions[i].Local = nil
		tab.Functions[i].Forward = []table.Forward{{Peer: testtable.ID(1), Weight: 1, Rate: limit.Unlimited()}}
	}
	tab.Functions[1].Local = &table.Local{Rate: limit.Unlimited(), Share: 1}
	s := compile(t, tab, nil, t0)
	without := func(peer peerid.ID) *table.Table {
		next := testtable.New(0, 3)
		next.DefaultNamespace = "main"
		for i := range next.Peers {
			if next.Peers[i].ID == peer {
				next.Peers[i].Token = "" // its last requests may be under way
			}
		}
		return next
	}
	removed := compile(t, without(peerid.ID{}), s, t0)
	left := compile(t, without(testtable.ID(1)), s, t0)
	back := compile(t, tab, left, t0)
	for _, test := range []struct { // later ones last
		name string
		s    *Snapshot
		call string
		at   time.Duration
		want Decision
	}{
		{"never there", s, "nope", 0, Decision{Status: 404}},
		{"removed", removed, "f0", 0, Decision{Status: 404}},
		{"its peer left", left, "f0", 0, Decision{Status: 503}},
		{"by its other name", left, "f0.main", 0, Decision{Status: 503}},
		{"by a third name", left, "f0.other", 0, Decision{Status: 404}},
		{"removed here", left, "f1", 0, Decision{Status: 404}},
		{"back", back, "f0", 0, Decision{Action: Peer, Target: testtable.ID(1), Token: "token-for-1", Status: 503}},
		{"back, and removed", compile(t, without(peerid.ID{}), back, t0), "f0", 0, Decision{Status: 404}},
		{"soon", compile(t, without(peerid.ID{}), left, t0.Add(time.Second)), "f0", missedFor - 1, Decision{Status: 503}},
		{"too long ago", left, "f0", missedFor, Decision{Status: 404}},
		{"too long ago, compiled", compile(t, without(peerid.ID{}), left, t0.Add(missedFor)), "f0", missedFor, Decision{Status: 404}},
	} {
		if diff := cmp.Diff(test.want, test.s.Route(t0.Add(test.at), call(test.call)), testvalue.Comparable()); diff != "" {
			t.Errorf("%s: decision differs (-want +got):\n%s", test.name, diff)
		}
	}
	asked := 0
	for i := range 1000 {
		switch d := s.Route(t0.Add(2*missedFor+time.Duration(i)*time.Millisecond), call(fmt.Sprint("nope", i))); d {
		case Decision{Status: 404}:
			asked++
		case Decision{Action: Deny, Status: 429}:
		default:
			t.Fatalf("%v", d)
		}
	}
	if asked < guessRate || asked > 3*guessRate/2 {
		t.Errorf("the gateway is asked %d times in a second, want %d, and half as many at once", asked, guessRate)
	}
	// What it was found to have it is asked for without a bound, also by the next tables, for a while.
	at := t0.Add(3 * missedFor)
	s.Found(at, "nope", 7)
	next := compile(t, without(peerid.ID{}), s, at)
	ask := func(name string, after time.Duration) (times int) {
		for range 1000 {
			if next.Route(at.Add(after), call(name)) == (Decision{Status: 404}) {
				times++
			}
		}
		return times
	}
	for _, test := range []struct {
		name  string
		after time.Duration
		found bool
	}{{"nope", 0, true}, {"nope-too", 0, false}, {"nope", foundFor - 1, true}, {"nope", foundFor, false}} {
		next.Found(at.Add(test.after), "nope", 7) // said again and again
		if times := ask(test.name, test.after); times < 1000 == test.found {
			t.Errorf("%s after %v: the gateway was asked %d times of 1000", test.name, test.after, times)
		}
	}
}

// TestFoundIsBounded: however many are found, and again and again.
func TestFoundIsBounded(t *testing.T) {
	f := newFound()
	for i := range 10 * foundSlots {
		f.note(0, fmt.Sprint("f", i))
	}
	known := 0
	for i := range 10 * foundSlots {
		if f.has(1, fmt.Sprint("f", i)) {
			known++
		}
	}
	if known == 0 || known > foundSlots {
		t.Errorf("%d are known, %d at most may be", known, foundSlots)
	}
	f.note(0, "g")
	if allocs := testing.AllocsPerRun(100, func() { f.note(1, "g") }); allocs != 0 {
		t.Errorf("%v allocations for what is known", allocs)
	}
}

// TestAliasIsNotTheFunction: what was an alias in the last table may be a
// function of its own in the next; their states are not the same.
func TestAliasIsNotTheFunction(t *testing.T) {
	tab := testtable.New(0, 0)
	tab.DefaultNamespace = "main"
	tab.Functions = []table.Function{{Name: testvalue.Name("foo"), Local: &table.Local{Rate: testvalue.Bound(2), Share: 1}}}
	s := compile(t, tab, nil, t0)
	s.Route(t0, call("foo"))
	next := *tab
	next.DefaultNamespace = "other"
	next.Functions = []table.Function{{Name: testvalue.Name("foo.main"), Local: &table.Local{Rate: testvalue.Bound(2), Share: 1}}}
	s = compile(t, &next, s, t0)
	if got := s.Route(t0, call("foo.main")); got.Action != Local {
		t.Errorf("foo.main: %v, want it served: it has not been called yet", got)
	}
}

func TestPeers(t *testing.T) {
	tab := testtable.New(3, 2)
	tab.Functions[0].Local.TimeoutMillis = 77
	tab.Functions[1].Local = nil // only at peers
	testtable.Admit(tab, "f2", testtable.ID(1), -2)
	s := compile(t, tab, nil, t0)
	forbidden := func(r token.Reason) Decision { return Decision{Action: Deny, Status: 403, Reason: r} }
	stranger := callFrom(t, 9, "f0", t0)
	posing := stranger
	posing.Node = testtable.ID(1).String()
	for name, test := range map[string]struct {
		req  Request
		want Decision
	}{
		"good":                 {callFrom(t, 1, "f0", t0), Decision{TimeoutMillis: 77}},
		"unknown function":     {callFrom(t, 1, "nope", t0), Decision{Action: Deny, Status: 503}},
		"not deployed here":    {callFrom(t, 1, "f1", t0), Decision{Action: Deny, Status: 503}},
		"not admitted":         {callFrom(t, 1, "f2", t0), Decision{Action: Deny, Status: 429}},
		"unknown peer":         {stranger, forbidden(token.UnknownPeer)},
		"another's token":      {posing, forbidden(token.WrongIssuer)},
		"empty claim":          {Request{Path: "/function/f0", Claimed: true}, forbidden(token.UnknownPeer)},
		"this node's own id":   {Request{Path: "/function/f0", Claimed: true, Node: testtable.ID(0).String()}, forbidden(token.UnknownPeer)},
		"no token":             {Request{Path: "/function/f0", Claimed: true, Node: testtable.ID(1).String()}, forbidden(token.MissingToken)},
		"forged, no function":  {Request{Path: "/function/nope", Claimed: true, Node: "x"}, forbidden(token.UnknownPeer)},
		"token of a user":      {Request{Path: "/function/f0", Token: stranger.Token}, Decision{TimeoutMillis: 77}},
		"forged, not our path": {Request{Path: "/healthz", Claimed: true, Node: "x"}, Decision{Open: true}},
	} {
		if diff := cmp.Diff(test.want, s.Route(t0, test.req), testvalue.Comparable()); diff != "" {
			t.Errorf("%s: decision differs (-want +got):\n%s", name, diff)
		}
	}
}

// TestNewIdentity: once this node is somebody else, tokens for who it was are
// worth nothing, cached or not.
func TestNewIdentity(t *testing.T) {
	s := compile(t, testtable.New(1, 1), nil, t0)
	req := callFrom(t, 1, "f0", t0)
	if got := s.Route(t0, req); got.Action != Local {
		t.Fatalf("before: %v", got)
	}
	tab := testtable.New(1, 1)
	tab.NodeID = testtable.ID(5)
	if got := compile(t, tab, s, t0).Route(t0, req); got.Reason != token.WrongAudience {
		t.Errorf("after: %v, want it refused for its audience", got)
	}
}

// TestPeersAreNeverForwarded offers every way out and sends peers' requests
// over all limits.
func TestPeersAreNeverForwarded(t *testing.T) {
	tab := testtable.New(2, 3)
	tab.Functions[0].Local = &table.Local{Rate: testvalue.Bound(1), Soft: true}
	tab.Functions[1].Local = nil
	tab.UnknownLocal = true
	for i := range tab.Functions {
		for j := range tab.Functions[i].Forward {
			tab.Functions[i].Forward[j].Rate = limit.Unlimited()
		}
	}
	s := compile(t, tab, nil, t0)
	for _, name := range []string{"f0", "f1", "f2"} {
		req := callFrom(t, 1, name, t0)
		for range 100 {
			if got := s.Route(t0, req); got.Action == Peer {
				t.Fatalf("%s: a peer's request was forwarded: %v", name, got)
			}
		}
	}
}

func TestNoFreshTable(t *testing.T) {
	router := NewRouter(meter.New(t0))
	forged := Request{Path: "/function/f0", Claimed: true, Node: "x"}
	if got := router.Route(t0, forged); got != (Decision{Open: true}) {
		t.Errorf("no table: %v", got)
	}
	tab := testtable.New(1, 1)
	tab.TTLMillis = 30_000
	tab.Functions[0].Local.Rate = testvalue.Bound(0)
	tab.Functions[0].Forward = nil
	router.Swap(testtable.Valid(t, tab), t0)
	last := t0.Add(30*time.Second - 1)
	if got := router.Route(last, call("f0")); got.Status != 429 {
		t.Errorf("just before the end: %v, want 429", got)
	}
	if !router.Status(last).Fresh || router.Status(last.Add(1)).Fresh {
		t.Error("fresh until the end, and not after it")
	}
	for _, req := range []Request{call("f0"), call("nope"), forged} {
		if got := router.Route(last.Add(1), req); got != (Decision{Open: true}) {
			t.Errorf("expired: %v for %v", got, req)
		}
	}
	if totals := router.Totals(); totals.Open != 4 {
		t.Errorf("%d counted as let through, want 4", totals.Open)
	}
	next := *tab
	next.Version++
	router.Swap(testtable.Valid(t, &next), last.Add(1))
	if got := router.Route(last.Add(2), call("f0")); got.Status != 429 {
		t.Errorf("renewed: %v, want 429", got)
	}
}

// TestSharesFollowWeights draws from random weights; then with some peers
// exhausted, from the others' weights.
func TestSharesFollowWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		const draws = 3000
		peers := 2 + r.IntN(20)
		tab := testtable.New(1, peers)
		f := &tab.Functions[0]
		f.Local = nil
		open := 0.0
		for i := range f.Forward {
			fw := &f.Forward[i]
			fw.Weight, fw.Rate = r.ExpFloat64(), limit.Unlimited()
			if i > 0 && r.IntN(3) == 0 {
				fw.Rate = testvalue.Bound(0.001) // one request, then none
				continue
			}
			open += fw.Weight
		}
		s := compile(t, tab, nil, t0)
		got := map[string]float64{}
		for range draws {
			got[s.Route(t0, call("f0")).Target.String()]++
		}
		for _, fw := range f.Forward {
			want := fw.Weight / open * draws
			if fw.Rate != limit.Unlimited() {
				want = min(1, got[fw.Peer.String()])
			}
			if math.Abs(got[fw.Peer.String()]-want) > 0.01*draws {
				t.Errorf("%d peers: %v of %d draws for weight %v of %v, want %v", peers, got[fw.Peer.String()], draws, fw.Weight, open, want)
			}
		}
	}
}

// TestFewDrawsAreEven: a new table every few requests must not start the
// sequence again.
func TestFewDrawsAreEven(t *testing.T) {
	tab := testtable.New(1, 2)
	tab.Functions[0].Local = nil
	s := compile(t, tab, nil, t0)
	got := map[string]int{}
	for i := range 50 {
		now := t0.Add(time.Duration(i) * time.Second)
		next := *tab
		s = compile(t, &next, s, now)
		got[s.Route(now, call("f0")).Target.String()]++
	}
	if n := got[testtable.ID(1).String()]; n < 22 || n > 28 {
		t.Errorf("%d of 50 to the first of two equal peers", n)
	}
}

// TestUsersBeforePeers: at a capacity of 10/s, peers get what 4 users/s leave,
// and nothing once users take all.
func TestUsersBeforePeers(t *testing.T) {
	for _, test := range []struct{ users, usersServed, peersMost, peersLeast int }{
		{users: 4, usersServed: 4, peersMost: 6, peersLeast: 5},
		{users: 10, usersServed: 10, peersMost: 0, peersLeast: 0},
		{users: 30, usersServed: 10, peersMost: 0, peersLeast: 0},
		{users: 0, usersServed: 0, peersMost: 10, peersLeast: 9},
	} {
		tab := testtable.New(1, 2)
		tab.TTLMillis = 600_000
		tab.Functions[0].Forward = nil
		s := compile(t, tab, nil, t0)
		const seconds, warm = 20, 5
		users, peers := 0, 0
		for ms := range (seconds + warm) * 1000 {
			now := t0.Add(time.Duration(ms) * time.Millisecond)
			if test.users > 0 && ms%(1000/test.users) == 0 {
				if s.Route(now, call("f0")).Action == Local && ms >= warm*1000 {
					users++
				}
			}
			if ms%25 == 0 { // 40/s from each peer
				for n := 1; n <= 2; n++ {
					if s.Route(now, callFromCached(t, n, now)).Action == Local && ms >= warm*1000 {
						peers++
					}
				}
			}
		}
		// What a bucket holds may be used up once in the time measured.
		if users < test.usersServed*seconds || users > test.usersServed*seconds+5 {
			t.Errorf("%+v: %d users served in %d s", test, users, seconds)
		}
		if peers < test.peersLeast*seconds || peers > test.peersMost*seconds+5 {
			t.Errorf("%+v: %d peers' requests served in %d s", test, peers, seconds)
		}
	}
}

var tokenCache = map[string]Request{}

// callFromCached is callFrom for f0 with a token that is up to 10 s old.
func callFromCached(t testing.TB, n int, now time.Time) Request {
	t.Helper()
	key := fmt.Sprint(n, now.Truncate(10*time.Second))
	if _, ok := tokenCache[key]; !ok {
		tokenCache[key] = callFrom(t, n, "f0", now)
	}
	return tokenCache[key]
}

// model is the decision written down once more, dumbly: float token buckets and
// lists, no sharing of state between tables.
type model struct {
	tab      *table.Table
	user     map[string]*tokens // by function
	capacity map[string]*tokens
	out, in  map[[2]string]*tokens // by function and peer
}

func newModel(tab *table.Table) *model {
	m := &model{tab, map[string]*tokens{}, map[string]*tokens{}, map[[2]string]*tokens{}, map[[2]string]*tokens{}}
	for _, f := range tab.Functions {
		if f.Local != nil {
			m.user[f.Name.String()], m.capacity[f.Name.String()] = newTokens(f.Local.Rate.PerSecond()), newTokens(f.Local.Rate.PerSecond())
		}
		for _, fw := range f.Forward {
			m.out[[2]string{f.Name.String(), fw.Peer.String()}] = newTokens(fw.Rate.PerSecond())
		}
		for _, a := range f.Admit {
			m.in[[2]string{f.Name.String(), a.Peer.String()}] = newTokens(a.Rate.PerSecond())
		}
	}
	return m
}

// check reports whether the model allows the decision on a user's request, and
// takes from its buckets accordingly.
func (m *model) checkUser(f *table.Function, now int64, d Decision) error {
	available, hopeful := map[string]bool{}, false
	for _, fw := range f.Forward {
		sendable := fw.Rate.PerSecond() != 0 && m.token(fw.Peer) != ""
		hopeful = hopeful || sendable
		if sendable && fw.Weight > 0 && m.out[[2]string{f.Name.String(), fw.Peer.String()}].has(now) {
			available[fw.Peer.String()] = true
		}
	}
	room := f.Local != nil && m.user[f.Name.String()].has(now)
	switch d.Action {
	case Local:
		switch {
		case f.Local == nil && len(f.Forward) == 0 && d.Status == http.StatusNotFound:
			return nil // the gateway knows
		case f.Local == nil:
			return fmt.Errorf("served although not deployed here")
		case room:
			m.user[f.Name.String()].take()
		case !f.Local.Soft:
			return fmt.Errorf("served over the rate")
		case len(available) > 0:
			return fmt.Errorf("served over the rate while a peer has room")
		}
		m.capacity[f.Name.String()].debit(now)
	case Peer:
		if room && f.Local.Share == 1 {
			return fmt.Errorf("forwarded although there is room here")
		}
		if !available[d.Target.String()] {
			return fmt.Errorf("forwarded to %s, which has no room", d.Target)
		}
		m.out[[2]string{f.Name.String(), d.Target.String()}].take()
	case Deny:
		want := int32(http.StatusTooManyRequests)
		if len(f.Forward) > 0 && !hopeful {
			want = http.StatusServiceUnavailable
		}
		if room || len(available) > 0 || f.Local != nil && f.Local.Soft || d.Status != want {
			return fmt.Errorf("refused with %d, want %d if at all; room here %v, at peers %v", d.Status, want, room, available)
		}
	}
	return nil
}

func (m *model) checkPeer(f *table.Function, peer string, now int64, d Decision) error {
	if f.Local == nil {
		if d.Status != http.StatusServiceUnavailable {
			return fmt.Errorf("%v for a function that is not here", d)
		}
		return nil
	}
	in := m.in[[2]string{f.Name.String(), peer}]
	room := m.capacity[f.Name.String()].has(now) && in != nil && in.has(now)
	if room != (d.Action == Local) || !room && d.Status != http.StatusTooManyRequests {
		return fmt.Errorf("%v, room %v", d, room)
	}
	if room {
		in.take()
		m.capacity[f.Name.String()].take()
	}
	return nil
}

func (m *model) token(peer peerid.ID) string {
	for _, p := range m.tab.Peers {
		if p.ID == peer {
			return p.Token
		}
	}
	return ""
}

// randomTable has rates whose intervals are whole ms, so that model and bucket
// agree exactly at times of whole ms.
func randomTable(r *rand.Rand) *table.Table {
	rate := func() limit.Bound { return testvalue.Bound([]float64{0, 1, 2, 4, 5, 10, 20, -1}[r.IntN(8)]) }
	tab := testtable.New(0, r.IntN(4))
	tab.TTLMillis = 600_000
	for i := range tab.Peers {
		if r.IntN(5) == 0 {
			tab.Peers[i].Token = ""
		}
	}
	for n := range 1 + r.IntN(2) {
		f := table.Function{Name: testvalue.Name(fmt.Sprintf("f%d", n))}
		if r.IntN(4) > 0 {
			f.Local = &table.Local{Rate: rate(), Soft: r.IntN(4) == 0, Share: []float64{0, 0.5, 1, 1}[r.IntN(4)]}
		}
		for i := range tab.Peers {
			if r.IntN(3) > 0 {
				f.Forward = append(f.Forward, table.Forward{Peer: tab.Peers[i].ID, Weight: float64(r.IntN(4)), Rate: rate()})
			}
			if r.IntN(3) > 0 {
				f.Admit = append(f.Admit, table.Admission{Peer: tab.Peers[i].ID, Rate: rate()})
			}
		}
		tab.Functions = append(tab.Functions, f)
	}
	return tab
}

// TestAgainstModel replays random requests against random tables. Now and then
// the table is replaced by one that says the same in another order: nothing may
// be forgotten.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		tab := randomTable(r)
		m, s := newModel(tab), compile(t, tab, nil, t0)
		ms := int64(0)
		for step := range 400 {
			ms += int64(r.IntN(4) * r.IntN(100))
			now := t0.Add(time.Duration(ms) * time.Millisecond)
			if r.IntN(20) == 0 {
				s = compile(t, shuffled(r, tab), s, now)
			}
			f := &tab.Functions[r.IntN(len(tab.Functions))]
			var err error
			if n := len(tab.Peers); n > 0 && r.IntN(3) == 0 {
				i := r.IntN(n)
				req := callFromCached(t, i+1, now)
				req.Path = "/function/" + f.Name.String()
				err = m.checkPeer(f, tab.Peers[i].ID.String(), ms*1e6, s.Route(now, req))
			} else {
				err = m.checkUser(f, ms*1e6, s.Route(now, call(f.Name.String())))
			}
			if err != nil {
				t.Fatalf("seed %d, step %d, function %s at %d ms: %v", seed, step, f.Name, ms, err)
			}
		}
	}
}

func shuffled(r *rand.Rand, tab *table.Table) *table.Table {
	c := *tab
	c.Version++
	c.Functions = append([]table.Function(nil), tab.Functions...)
	for i := range c.Functions {
		fws := append([]table.Forward(nil), c.Functions[i].Forward...)
		r.Shuffle(len(fws), func(a, b int) { fws[a], fws[b] = fws[b], fws[a] })
		c.Functions[i].Forward = fws
	}
	r.Shuffle(len(c.Functions), func(a, b int) { c.Functions[a], c.Functions[b] = c.Functions[b], c.Functions[a] })
	return &c
}

// TestSlowSwap: a large table takes a while to compile. What is used up meanwhile
// is not given once more.
func TestSlowSwap(t *testing.T) {
	tab := testtable.New(1, 5)
	router := NewRouter(meter.New(t0))
	router.Swap(testtable.Valid(t, tab), t0)
	now := t0.Add(10 * time.Second)
	for router.Route(now, call("f0")).Action != Deny {
	}
	next := *tab
	next.Version++
	router.Swap(testtable.Valid(t, &next), now.Add(-time.Second))
	if d := router.Route(now, call("f0")); d.Action != Deny {
		t.Errorf("%v right after everything was used up", d)
	}
}

// TestConcurrently routes from many goroutines while tables come and go: every
// request is counted, and none is admitted beyond the limits.
func TestConcurrently(t *testing.T) {
	tab := testtable.New(1, 5)
	m := meter.New(t0)
	router := NewRouter(m)
	router.Swap(testtable.Valid(t, tab), t0)
	const workers, each = 8, 5000
	var clock atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				router.Route(t0.Add(time.Duration(clock.Add(int64(100*time.Microsecond)))), call("f0"))
			}
		})
	}
	all.Go(func() {
		for i := range 50 {
			next := *tab
			next.Version = uint64(i + 2)
			router.Swap(testtable.Valid(t, &next), t0.Add(time.Duration(clock.Load())))
		}
	})
	all.Wait()
	end := t0.Add(time.Duration(clock.Load()))
	f := router.Report(end).Functions[0]
	if f.User.Total() != workers*each {
		t.Errorf("%d requests counted, want %d", f.User.Total(), workers*each)
	}
	most := uint64(10*end.Sub(t0).Seconds()) + 5 + 1
	if f.User.Local > most {
		t.Errorf("%d served here, want at most %d", f.User.Local, most)
	}
	sum := uint64(0)
	for id, n := range f.Out {
		if sum += n; n > most {
			t.Errorf("%d sent to %s, want at most %d", n, id, most)
		}
	}
	if sum != f.User.Forwarded {
		t.Errorf("%d forwarded in all, but %d to the peers", f.User.Forwarded, sum)
	}
}

// TestCountersSurvive: counters survive a table that lacks them.
func TestCountersSurvive(t *testing.T) {
	router := NewRouter(meter.New(t0))
	full, none := testtable.New(1, 1), testtable.New(0, 0)
	for _, tab := range []*table.Table{full, none, full} {
		router.Swap(testtable.Valid(t, tab), t0)
		router.Route(t0, call("f0"))
	}
	rep := router.Report(t0)
	if len(rep.Functions) != 1 || rep.Functions[0].User.Local != 2 || rep.NotFound != 1 {
		t.Errorf("report %+v, want 2 served here and 1 not found", rep)
	}
}

// The clock is read when a table comes; after that, only what passes counts.
func TestClockOffset(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour} {
		tab := large(-1, -1)
		tab.ClockOffsetMillis = offset.Milliseconds()
		s := compile(t, tab, nil, t0)
		if d := s.Route(t0, callFrom(t, 50, "f500", t0.Add(offset))); d.Action != Local {
			t.Errorf("a token by the federation's time, which is %v off: %+v", offset, d)
		}
		if d := s.Route(t0, callFrom(t, 50, "f500", t0)); (d.Action == Local) != (offset == 0) {
			t.Errorf("a token by this machine's clock, which is %v off: %+v", -offset, d)
		}
		later := t0.Add(token.MaxLifetime + token.Leeway + time.Second)
		if d := s.Route(later, callFrom(t, 50, "f500", t0.Add(offset))); d.Action != Deny {
			t.Errorf("a token that has expired: %+v", d)
		}
	}
}

func TestFirstAbove(t *testing.T) {
	for n := 1; n < 20; n++ {
		sums := make([]float64, n)
		for i := range sums {
			sums[i] = float64((i + 1) / 2) // some are equal, as those after a weight of 0
		}
		for mark := -0.5; mark < float64(n); mark += 0.5 {
			want := slices.IndexFunc(sums, func(sum float64) bool { return mark < sum })
			if want < 0 {
				want = n - 1
			}
			if got := firstAbove(sums, mark); got != want {
				t.Errorf("%v in %v: %d, want %d", mark, sums, got, want)
			}
		}
	}
}

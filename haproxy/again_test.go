package haproxy_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

// asked is a node with a real agent, which has the table that the test gives it.
type asked struct {
	*node
	id     string
	number int
	router *route.Router
}

// startAsked starts the nodes 0, 1, ... of a federation, each the others' peer.
func startAsked(t *testing.T, binary haproxytest.Binary, nodes int) []*asked {
	t.Helper()
	// On a busy machine a peer may be slow to connect to, too; what then happens is tested elsewhere.
	settings := map[string]string{haproxy.EnvPeerConnect: "10s"}
	all := make([]*asked, nodes)
	for i := range all {
		all[i] = &asked{id: testtable.ID(i).String(), number: i, router: route.NewRouter(meter.New(time.Now()))}
		all[i].node = startWith(t, haproxytest.Options{Binary: binary, NodeID: all[i].id, Settings: settings, Patient: true})
		l, err := net.Listen("unix", all[i].SPOA)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = agent.New(all[i].router, zerolog.Nop()).Serve(ctx, l)
		}()
		t.Cleanup(func() { cancel(); <-done })
	}
	for _, a := range all {
		var peers []haproxy.Peer
		for _, b := range all {
			if a != b {
				peers = append(peers, peerAt(t, b.id, b.Addr))
			}
		}
		a.addPeers(t, peers...)
	}
	for _, a := range all {
		eventually(t, "the agent is up", func() bool {
			servers, err := a.Client.Servers(t.Context(), haproxy.BackendSPOA)
			return err == nil && servers[0].State == haproxy.Up
		})
	}
	return all
}

// functions are those that all nodes have: what one call has taught of a peer is
// forgotten with the next one's.
var functions = []string{"first", "f", "status", "users", "large", "here", "all", "old", "gone", "alone"}

// swap gives the node a table: what it serves itself of each function, and whom it
// sends the rest to, the first one by far most often.
func (a *asked) swap(t *testing.T, here table.Local, peers ...*asked) {
	t.Helper()
	tab := &table.Table{Version: 1, NodeID: testvalue.Peer(a.id), TTLMillis: table.MaxTTL.Milliseconds()}
	for _, p := range peers {
		tab.Peers = append(tab.Peers, table.Peer{ID: testvalue.Peer(p.id), Token: a.token(t, p)})
	}
	for _, name := range functions {
		f := table.Function{Name: testvalue.Name(name), Elastic: true, Local: &here}
		for i, p := range peers {
			f.Forward = append(f.Forward, table.Forward{Peer: testvalue.Peer(p.id), Weight: 1 / (1 + 1e9*float64(i)), Rate: testvalue.Bound(1000), Spare: testvalue.Rate(1)})
		}
		tab.Functions = append(tab.Functions, f)
	}
	valid, err := tab.Validate(table.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a.router.Swap(valid, time.Now())
}

// token is what the node shows to another one.
func (a *asked) token(t *testing.T, to *asked) string {
	t.Helper()
	key, id := testtable.Identity(a.number)
	tok, err := token.Mint(key, id, testvalue.Peer(to.id), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// get calls a function of a node as its users do.
func (a *asked) get(t *testing.T, path string, headers ...string) reply {
	t.Helper()
	return call(t, "GET", "http://"+a.Addr+"/function/"+path, nil, headers...)
}

var (
	hasRoom = table.Local{Rate: testvalue.Bound(1000), Share: 1}
	hasNone = table.Local{Rate: testvalue.Bound(0), Share: 1}
)

// TestAgain: a call that a peer refuses, or a gateway does not take, goes on
// elsewhere, in every version.
func TestAgain(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		all := startAsked(t, binary, 4)
		a, b, c, d := all[0], all[1], all[2], all[3]
		a.swap(t, hasNone, b, c)
		b.swap(t, hasRoom, a, c)
		c.swap(t, hasRoom, a, b)
		d.swap(t, hasNone)
		// By its first answer it is known that b refuses with 425.
		wantReply(t, a.get(t, "first"), 200, b.Addr, b.id)
		b.swap(t, hasNone, a, c)
		for _, test := range []struct {
			name string
			run  func(t *testing.T, a, b, c, d *asked)
		}{
			{"served by another peer", testServedByAnother},
			{"a function's own 425", testFunctions425},
			{"users are not believed", testUsersAgain},
			{"large bodies", testNotRepeated},
			{"served here", testServedHere},
			{"all refuse", testAllRefuse},
			{"older peers", testOlderPeers},
			{"gateway is gone", testGatewayGone},
		} {
			t.Run(test.name, func(t *testing.T) { test.run(t, a, b, c, d) })
		}
	})
}

func testServedByAnother(t *testing.T, a, b, c, _ *asked) {
	before, executed := a.router.Totals(), b.gateway.calls.Load()
	lost := a.answers(t, b.id)
	got := call(t, "POST", "http://"+a.Addr+"/function/f/x%20y?z=1", strings.NewReader("hello"))
	wantReply(t, got, 200, c.Addr, c.id)
	for name := range got.header {
		if strings.HasPrefix(name, "Dfaas-") && name != "Dfaas-Node-Id" {
			t.Errorf("the user is told of %s", name)
		}
	}
	seen := c.gateway.lastRequest()
	wantNoClaims(t, seen)
	if seen.bytes != 5 || seen.uri != "/function/f/x%20y?z=1" || len(seen.header.Values("X-Forwarded-For")) != 1 {
		t.Errorf("the gateway got %+v", seen)
	}
	if n := b.gateway.calls.Load(); n != executed {
		t.Errorf("b has executed %d calls that it has refused", n-executed)
	}
	if now := a.answers(t, b.id); now.Lost != lost.Lost+1 {
		t.Errorf("%d of b's refusals are counted, want 1", now.Lost-lost.Lost)
	}
	m := a.router.Totals()
	if m.User.Forwarded != before.User.Forwarded+1 || m.User.Total() != before.User.Total()+1 ||
		m.Returned.Forwarded != before.Returned.Forwarded+1 || m.Returned.Total() != before.Returned.Total()+1 {
		t.Errorf("counted %+v and %+v, before %+v and %+v", m.User, m.Returned, before.User, before.Returned)
	}
}

// testFunctions425: it is no refusal, wherever the function is, and reaches the user
// as it is; the function is called once.
func testFunctions425(t *testing.T, a, b, c, d *asked) {
	calls := func() int64 {
		return a.gateway.calls.Load() + b.gateway.calls.Load() + c.gateway.calls.Load() + d.gateway.calls.Load()
	}
	for _, test := range []struct {
		where string
		here  table.Local
		by    *asked
	}{
		{"at the second peer", hasNone, c},
		{"at a peer", hasNone, c}, // b is left alone since it has refused
		{"here", hasRoom, a},
	} {
		a.swap(t, test.here, b, c)
		before := calls()
		got := a.get(t, "status/425")
		wantReply(t, got, 425, test.by.Addr, test.by.id)
		if n := calls() - before; n != 1 || got.header.Values("DFaaS-Status") != nil {
			t.Errorf("%s: called %d times: %v", test.where, n, got.header)
		}
	}
	// And here, after a peer has refused.
	a.swap(t, table.Local{Rate: testvalue.Bound(1000), Share: 0}, b, c)
	before := calls()
	wantReply(t, a.get(t, "here/../here"), 400, a.Addr, a.id)
	got := call(t, "GET", "http://"+a.Addr+"/function/all?status=425", nil)
	wantReply(t, got, 425, a.Addr, a.id)
	if n := calls() - before; n != 1 {
		t.Errorf("called %d times after a peer has refused", n)
	}
	a.swap(t, hasNone, b, c)
}

// testUsersAgain: what is said between nodes and within one is not believed of users.
func testUsersAgain(t *testing.T, a, b, c, _ *asked) {
	for _, again := range []string{"3-7", "2-gateway", "1-1"} {
		got := a.get(t, "users", "DFaaS-Again", again, "Keep-Alive", "dfaas-last", "DFaaS-Fallback", "503")
		wantReply(t, got, 200, c.Addr, c.id)
		wantNoClaims(t, c.gateway.lastRequest())
		if kept := c.gateway.lastRequest().header.Values("Keep-Alive"); kept != nil && !strings.HasPrefix(kept[0], "dfaas-") {
			t.Errorf("the gateway got Keep-Alive: %q", kept)
		}
	}
	b.swap(t, hasNone)
	got := b.get(t, "users", "DFaaS-Again", "1-1")
	wantReply(t, got, 429, b.Addr, b.id)
	b.swap(t, hasNone, a, c)
}

// testNotRepeated: what is not wholly here any more is refused as before.
func testNotRepeated(t *testing.T, a, b, _, _ *asked) {
	got := call(t, "POST", "http://"+a.Addr+"/function/large", strings.NewReader(strings.Repeat("x", 100_000)))
	wantReply(t, got, 429, b.Addr, b.id)
	if got.header.Get("Retry-After") != "1" || got.header.Values("DFaaS-Again") != nil {
		t.Errorf("%v", got.header)
	}
}

// testServedHere: there is room at this node by then.
func testServedHere(t *testing.T, a, b, c, _ *asked) {
	a.swap(t, table.Local{Rate: testvalue.Bound(1000), Share: 0}, b, c)
	wantReply(t, a.get(t, "here"), 200, a.Addr, a.id)
	wantNoClaims(t, a.gateway.lastRequest())
	a.swap(t, hasNone, b, c)
}

// testAllRefuse: three are asked, no more.
func testAllRefuse(t *testing.T, a, b, c, d *asked) {
	// It is known of all that they refuse with 425.
	d.swap(t, hasRoom, a)
	a.swap(t, hasNone, d)
	wantReply(t, a.get(t, "first"), 200, d.Addr, d.id)
	d.swap(t, hasNone, a)
	c.swap(t, hasNone, a, b)
	a.swap(t, hasNone, b, c, d)
	before := a.router.Totals()
	got := a.get(t, "all")
	wantReply(t, got, 429, a.Addr, a.id)
	if got.header.Get("Retry-After") != "1" {
		t.Error("429 without Retry-After")
	}
	if m := a.router.Totals(); m.User.Forwarded != before.User.Forwarded+1 || m.Returned.Forwarded != before.Returned.Forwarded+2 {
		t.Errorf("counted %+v and %+v, before %+v and %+v", m.User, m.Returned, before.User, before.Returned)
	}
	c.swap(t, hasRoom, a, b)
	a.swap(t, hasNone, b, c)
}

// testOlderPeers: to them 425 means nothing, and they are not told it.
func testOlderPeers(t *testing.T, a, b, c, d *asked) {
	claim := []string{haproxy.HeaderNodeID, a.id, haproxy.HeaderToken, a.token(t, b)}
	wantReply(t, b.get(t, "old", claim...), 429, b.Addr, b.id)
	got := b.get(t, "old", append(claim, "DFaaS-Again", "1-1")...)
	wantReply(t, got, 425, b.Addr, b.id)
	if got.header.Get("DFaaS-Again") != "1" {
		t.Errorf("%v", got.header)
	}
	// One that was a newer one before it was put back: its function's 425 is the user's, from its first other answer on.
	var calls atomic.Int64
	older := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && calls.Add(1) > 1 {
			w.WriteHeader(http.StatusTooEarly)
		}
	}))
	defer older.Close()
	a.addPeers(t, peerAt(t, b.id, b.Addr), peerAt(t, c.id, c.Addr), peerAt(t, d.id, older.Listener.Addr().String()))
	a.waitState(t, d.id, haproxy.Up)
	a.swap(t, hasNone, d, c)
	for i, status := range []int{200, 425} {
		if got := a.get(t, "old"); got.status != status || calls.Load() != int64(i+1) {
			t.Errorf("status %d, want %d, after %d calls", got.status, status, calls.Load())
		}
	}
	a.addPeers(t, peerAt(t, b.id, b.Addr), peerAt(t, c.id, c.Addr))
	a.swap(t, hasNone, b, c)
}

// testGatewayGone: users do not notice while a peer can serve; peers hear of it.
func testGatewayGone(t *testing.T, a, b, c, _ *asked) {
	a.swap(t, hasRoom, c)
	wantReply(t, a.get(t, "gone"), 200, a.Addr, a.id)
	a.gateway.Close()
	awaitRefused(t, a.gateway.addr())
	for range 20 {
		got := call(t, "POST", "http://"+a.Addr+"/function/gone", strings.NewReader("hello"))
		wantReply(t, got, 200, c.Addr, c.id)
		wantNoClaims(t, c.gateway.lastRequest())
	}
	claim := []string{haproxy.HeaderNodeID, c.id, haproxy.HeaderToken, c.token(t, a)}
	wantReply(t, a.get(t, "gone", append(claim, "DFaaS-Again", "1-1")...), 425, a.Addr, a.id)
	wantReply(t, a.get(t, "gone", claim...), 503, a.Addr, a.id)
	wantReply(t, call(t, "GET", "http://"+a.Addr+"/healthz", nil), 503, a.Addr, a.id)
	a.swap(t, hasRoom)
	wantReply(t, a.get(t, "alone"), 503, a.Addr, a.id)
}

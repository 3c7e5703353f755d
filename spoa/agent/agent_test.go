package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

// scenario has one function for each kind of answer.
func scenario() *table.Table {
	t := testtable.New(0, 1)
	peer := &t.Peers[0]
	to := []table.Forward{{Peer: peer.ID, Weight: 1, Rate: limit.Unlimited()}}
	t.Functions = []table.Function{
		{Name: testvalue.Name("here"), Local: &table.Local{Rate: limit.Unlimited(), Share: 1}},
		{Name: testvalue.Name("timed"), Local: &table.Local{Rate: limit.Unlimited(), Share: 1, TimeoutMillis: 300_000}},
		{Name: testvalue.Name("there"), Forward: to},
		{Name: testvalue.Name("slow-there"), Forward: []table.Forward{{Peer: peer.ID, Weight: 1, Rate: limit.Unlimited(), TimeoutMillis: 300_000}}},
		{Name: testvalue.Name("surplus"), Local: &table.Local{Rate: testvalue.Bound(0), Share: 1, TimeoutMillis: 250}, Forward: to},
		{Name: testvalue.Name("both"), Local: &table.Local{Rate: limit.Unlimited(), Share: 1}, Forward: to},
		{Name: testvalue.Name("limited"), Local: &table.Local{Rate: testvalue.Bound(0), Share: 1}},
		{Name: testvalue.Name("full"), Forward: []table.Forward{{Peer: peer.ID, Weight: 1, Rate: testvalue.Bound(0)}}},
	}
	testtable.Admit(t, "timed", peer.ID, -1)
	return t
}

func TestAnswersOnTheWire(t *testing.T) {
	key, id := testtable.Identity(1)
	peer := id.String()
	good, err := token.Mint(key, id, testtable.ID(0), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	type vars = map[string]any
	tests := []struct {
		name, path  string
		node, token any
		want        vars
	}{
		{"local", "/function/here", nil, nil, vars{"action": "local"}},
		{"local with a timeout", "/function/timed/x", nil, nil, vars{"action": "local", "timeout": int32(300_000)}},
		{"only at a peer", "/function/there", nil, nil,
			vars{"action": "peer", "target": peer, "token": "token-for-1", "status": int32(503)}},
		{"only at a peer, with its timeout", "/function/slow-there", nil, nil,
			vars{"action": "peer", "target": peer, "token": "token-for-1", "status": int32(503), "timeout": int32(300_000)}},
		{"surplus", "/async-function/surplus", nil, nil,
			vars{"action": "peer", "target": peer, "token": "token-for-1", "timeout": int32(250)}},
		{"over the limit", "/function/limited", nil, nil, vars{"action": "deny", "status": int32(429)}},
		{"all full", "/function/full", nil, nil, vars{"action": "deny", "status": int32(503)}},
		{"unknown", "/function/her", nil, nil, vars{"action": "local", "status": int32(404)}},
		{"not a function", "/healthz", nil, nil, vars{}},
		{"a peer", "/function/timed", peer, good, vars{"action": "local", "timeout": int32(300_000)}},
		{"a peer over its rate", "/function/here", peer, good, vars{"action": "deny", "status": int32(429)}},
		{"a peer without token", "/function/timed", peer, nil, vars{"action": "deny", "status": int32(403)}},
		{"an empty claim", "/function/timed", "", nil, vars{"action": "deny", "status": int32(403)}},
		{"a claim that is no text", "/function/timed", []byte{0x11}, nil, vars{"action": "deny", "status": int32(403)}},
		{"a token without claim", "/function/here", nil, good, vars{"action": "local"}},
	}
	_, _, socket := start(t, scenario())
	conn := dial(t, socket)
	greet(t, conn)
	for i, test := range tests {
		send(t, conn, ask(uint64(i), test.path, test.node, test.token))
		got, err := readAck(conn)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(ack{uint64(i), test.want}, got, cmp.AllowUnexported(ack{})); diff != "" {
			t.Errorf("%s: answer differs (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestSources: users are told apart by their addresses, with IPv6 by their networks,
// however an address is written.
func TestSources(t *testing.T) {
	a := New(route.NewRouter(meter.New(time.Now())), zerolog.Nop())
	source := func(text string) uint64 { return a.sourceOf(netip.MustParseAddr(text)) }
	if got := a.sourceOf(netip.Addr{}); got != 0 {
		t.Errorf("no address is a source: %d", got)
	}
	if one := source("192.0.2.1"); one == 0 || one != source("192.0.2.1") || one != source("::ffff:192.0.2.1") || one == source("192.0.2.2") {
		t.Error("addresses are not told apart")
	}
	if network := source("2001:db8::1"); network == 0 || network != source("2001:db8::2:1") || network == source("2001:db8:0:1::1") {
		t.Error("networks are not told apart")
	}
}

// TestReturnedCalls: a call that comes back is decided anew, and a gateway that is
// down is known of with each question.
func TestReturnedCalls(t *testing.T) {
	key, id := testtable.Identity(1)
	peer := id.String()
	good, err := token.Mint(key, id, testtable.ID(0), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	tab := scenario()
	for i := range tab.Functions {
		tab.Functions[i].Elastic = true
	}
	_, router, socket := start(t, tab)
	conn := dial(t, socket)
	greet(t, conn)
	path := arg{"path", "/function/surplus"}
	for i, test := range []struct {
		name   string
		args   []arg
		action any
	}{
		{"first", []arg{path}, "peer"},
		{"unknown mark", []arg{path, {"again", "2-77"}}, "peer"},
		{"nonsense", []arg{path, {"again", "9-1"}}, "peer"},
		{"refused", []arg{path, {"again", "2-1"}}, "deny"},
		{"gateway up", []arg{{"path", "/function/here"}, {"gateway", true}}, "local"},
		{"gateway down, no peer", []arg{{"path", "/function/here"}, {"gateway", false}}, "local"},
		{"gateway down", []arg{{"path", "/function/both"}, {"gateway", false}}, "peer"},
		{"not taken", []arg{{"path", "/function/both"}, {"gateway", true}, {"again", "2-gateway"}}, "peer"},
		{"a peer's call", []arg{{"path", "/function/timed"}, {"node", peer}, {"token", good}, {"gateway", false}}, "deny"},
		{"a function that nobody has", []arg{{"path", "/function/her"}, {"again", "2-gateway"}}, nil},
	} {
		send(t, conn, notify(uint64(i), messageRoute, test.args...))
		got, err := readAck(conn)
		if err != nil {
			t.Fatal(err)
		}
		if got.vars["action"] != test.action {
			t.Errorf("%s: %v, want %v", test.name, got.vars, test.action)
		}
	}
	// Nonsense is a first question; what is not remembered comes back all the same.
	m := router.Totals()
	if m.User != (meter.User{Local: 2, Forwarded: 3}) || m.Returned != (meter.User{Forwarded: 2, Limited: 1}) {
		t.Errorf("counted %+v, returned %+v", m.User, m.Returned)
	}
}

// TestAmbiguousClaims: of several ids or tokens one might be good; none counts,
// and all are counted.
func TestAmbiguousClaims(t *testing.T) {
	key, id := testtable.Identity(1)
	peer := id.String()
	good, err := token.Mint(key, id, testtable.ID(0), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	_, router, socket := start(t, scenario())
	conn := dial(t, socket)
	greet(t, conn)
	for i, test := range []struct {
		nodes, tokens int64
		refused       bool
	}{{1, 1, false}, {2, 1, true}, {1, 2, true}, {1 << 40, 1 << 40, true}} {
		send(t, conn, notify(uint64(i), messageRoute, arg{"path", "/function/timed"}, arg{"node", peer}, arg{"nodes", test.nodes},
			arg{"token", good}, arg{"tokens", test.tokens}))
		got, err := readAck(conn)
		if err != nil {
			t.Fatal(err)
		}
		if refused := got.vars["status"] == int32(403); refused != test.refused {
			t.Errorf("%d ids, %d tokens: %v", test.nodes, test.tokens, got.vars)
		}
	}
	if n := router.Totals().Denied[token.Ambiguous]; n != 3 {
		t.Errorf("%d requests are counted as ambiguous, want 3", n)
	}
}

// TestPeersOverTLS: where peers must come over TLS, a good token is not enough.
func TestPeersOverTLS(t *testing.T) {
	key, id := testtable.Identity(1)
	peer := id.String()
	good, err := token.Mint(key, id, testtable.ID(0), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	secure := scenario()
	secure.PeerTLS = true
	_, router, socket := start(t, secure)
	conn := dial(t, socket)
	greet(t, conn)
	for i, test := range []struct {
		proven  any
		refused bool
	}{{peer, false}, {nil, true}, {"", true}, {testtable.ID(2).String(), true}, {int64(1), true}} {
		send(t, conn, notify(uint64(i), messageRoute, arg{"path", "/function/timed"}, arg{"node", peer}, arg{"token", good},
			arg{"proven", test.proven}))
		got, err := readAck(conn)
		if err != nil {
			t.Fatal(err)
		}
		if refused := got.vars["status"] == int32(403); refused != test.refused {
			t.Errorf("certificate of %v: %v", test.proven, got.vars)
		}
	}
	if n := router.Totals().Denied[token.NotOverTLS]; n != 4 {
		t.Errorf("%d requests are counted as not_over_tls, want 4", n)
	}
	send(t, conn, ask(9, "/function/timed", nil, nil))
	if got, err := readAck(conn); err != nil || got.vars["status"] == int32(403) {
		t.Errorf("a user: %v, %v", got.vars, err)
	}
}

// TestNothingToSay covers messages from which no decision can be made: they are
// answered, so that HAProxy does not wait, and nothing is set.
func TestNothingToSay(t *testing.T) {
	_, _, socket := start(t, scenario())
	conn := dial(t, socket)
	greet(t, conn)
	for name, frame := range map[string][]byte{
		"no message":      frameOf(typeNotify, 7, 1, nil),
		"another message": notify(7, "other", arg{"path", "/function/limited"}),
		"no path":         notify(7, messageRoute, arg{"node", "x"}),
		"null path":       notify(7, messageRoute, arg{"path", nil}),
	} {
		send(t, conn, frame)
		if got, err := readAck(conn); err != nil || len(got.vars) > 0 || got.stream != 7 {
			t.Errorf("%s: answer %v, %v, want nothing set for stream 7", name, got, err)
		}
	}
}

func TestRealFrames(t *testing.T) {
	_, _, socket := start(t, testtable.New(2, 1))
	health := dial(t, socket)
	frames := realFrames(t)
	send(t, health, frames[0])
	if kind, _, err := readFrame(health); err != nil || kind != 0x65 {
		t.Fatalf("health check: answer of type %#x, %v", kind, err)
	}
	if _, _, err := readFrame(health); !errors.Is(err, io.EOF) {
		t.Errorf("health check: %v after the answer, want the end of the connection", err)
	}
	conn := dial(t, socket)
	send(t, conn, frames[1])
	if kind, _, err := readFrame(conn); err != nil || kind != 0x65 {
		t.Fatalf("hello: answer of type %#x, %v", kind, err)
	}
	statuses := map[any]int{}
	for _, frame := range frames[2:] {
		send(t, conn, frame)
		a, err := readAck(conn)
		if err != nil {
			t.Fatal(err)
		}
		statuses[a.vars["status"]]++
	}
	// Three plain calls; a peer's whose token has long expired, and an empty claim.
	if diff := cmp.Diff(map[any]int{nil: 3, int32(403): 2}, statuses); diff != "" {
		t.Errorf("statuses set (-want +got):\n%s", diff)
	}
}

// TestMalformedFrames sends each kind of nonsense and then expects the agent to
// be there still.
func TestMalformedFrames(t *testing.T) {
	a, _, socket := start(t, scenario())
	long := func(n uint32) []byte {
		return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), typeNotify, 0, 0, 0, 1}
	}
	malformed := map[string][]byte{
		"length 0":                long(0),
		"length 6":                long(6),
		"length 256 KiB and 1":    long(maxFrame + 1),
		"length 4 GiB":            long(0xffffffff),
		"HTTP":                    []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"hello again":             hello(),
		"hello, false types":      hello(arg{"healthcheck", "yes"}, arg{"max-frame-size", "big"}, arg{"engine-id", uint32(1)}),
		"frame of an agent":       frameOf(typeAck, 1, 1, nil),
		"unknown type":            frameOf(77, 1, 1, nil),
		"endless varint":          frameOf(typeNotify, 1, 1, bytes.Repeat([]byte{0xff}, 64)),
		"name past the end":       frameOf(typeNotify, 1, 1, []byte{200, 'x'}),
		"more arguments than are": frameOf(typeNotify, 1, 1, append(named(messageRoute), 9)),
		"cut IPv6":                notify(1, messageRoute, arg{"src", []byte{7, 1, 2}}),
		"string past the end":     notify(1, messageRoute, arg{"path", []byte{8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}),
		"typed data of no type":   notify(1, messageRoute, arg{"path", []byte{15}}),
		"nothing but flags":       {0, 0, 0, 7, typeNotify, 0, 0, 0, 1, 0xff, 0xff},
	}
	for name, data := range malformed {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, socket)
			greet(t, conn)
			send(t, conn, data)
			if _, err := readAck(conn); err == nil {
				t.Error("it was answered")
			}
		})
	}
	if a.FramesRefused() != uint64(len(malformed)) || a.Panics() != 0 {
		t.Errorf("%d frames refused, want %d; %d panics, want none", a.FramesRefused(), len(malformed), a.Panics())
	}
	conn := dial(t, socket)
	greet(t, conn)
	send(t, conn, ask(3, "/function/limited", nil, nil))
	if got, err := readAck(conn); err != nil || got.vars["status"] != int32(429) {
		t.Errorf("afterwards: answer %v, %v", got, err)
	}
}

// TestFaultInDecision lets every decision panic, for want of a router.
func TestFaultInDecision(t *testing.T) {
	a := New(nil, zerolog.Nop())
	client, server := net.Pipe()
	defer client.Close()
	go a.serve(t.Context(), server)
	greet(t, client)
	send(t, client, ask(1, "/function/f", nil, nil))
	if got, err := readAck(client); err != nil || len(got.vars) != 0 {
		t.Errorf("answer %v, %v, want one that sets nothing", got, err)
	}
	if a.Panics() != 1 {
		t.Errorf("%d panics counted, want 1", a.Panics())
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	a, _, socket := start(t, nil)
	conns := make([]net.Conn, maxConnections)
	for i := range conns {
		conns[i] = dial(t, socket)
		greet(t, conns[i])
	}
	if n := a.Connections(); n != maxConnections {
		t.Fatalf("%d connections open, want %d", n, maxConnections)
	}
	if _, _, err := readFrame(dial(t, socket)); err == nil {
		t.Error("one more was not refused")
	}
	if a.ConnectionsRefused() != 1 {
		t.Errorf("%d refused, want 1", a.ConnectionsRefused())
	}
	conns[0].Close()
	waitFor(t, "a connection to end", func() bool { return a.Connections() < maxConnections })
	greet(t, dial(t, socket))
}

// piped runs an agent on one end of a pipe and returns the other.
func piped(t *testing.T, a *Agent, ctx context.Context) (client net.Conn, ended <-chan struct{}) {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.serve(ctx, server)
	}()
	return client, done
}

func newAgent(t *testing.T) *Agent {
	t.Helper()
	router := route.NewRouter(meter.New(time.Now()))
	router.Swap(testtable.Valid(t, scenario()), time.Now())
	return New(router, zerolog.Nop())
}

// TestUnreadAnswersStopTheReader asks and asks and reads no answer.
func TestUnreadAnswersStopTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended := piped(t, newAgent(t), t.Context())
		if _, err := client.Write(hello()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readFrame(client); err != nil {
			t.Fatal(err)
		}
		const asked = 5000
		question := ask(1, "/function/limited", nil, nil)
		accepted := 0
		go func() {
			for range asked {
				if _, err := client.Write(question); err != nil {
					return
				}
				accepted++
			}
		}()
		synctest.Wait()
		if most := firstBuffer / len(question); accepted > most || accepted == 0 {
			t.Errorf("%d questions accepted without reading an answer, want 1 to %d", accepted, most)
		}
		for range asked {
			if _, err := readAck(client); err != nil {
				t.Fatalf("after %d accepted: %v", accepted, err)
			}
		}
		client.Close()
		<-ended
	})
}

// TestManyAtOnce asks more than a buffer holds, and in pieces of all sizes.
func TestManyAtOnce(t *testing.T) {
	a := newAgent(t)
	stream := hello()
	const asked = 500
	for i := range uint64(asked) {
		path := "/function/limited/" + strings.Repeat("x", int(i%7)*int(i%11)*300) // up to 18 kB
		stream = append(stream, ask(i, path, nil, nil)...)
	}
	for _, size := range []int{1, 7, 4096, len(stream)} {
		if size < 4096 && testing.Short() {
			continue
		}
		c := &scriptConn{in: &pieces{stream, size}}
		a.connections.Add(1)
		a.serve(t.Context(), c)
		if kind, _, err := readFrame(&c.out); err != nil || kind != 0x65 {
			t.Fatalf("pieces of %d bytes: answer to hello: type %#x, %v", size, kind, err)
		}
		for i := range uint64(asked) {
			if got, err := readAck(&c.out); err != nil || got.stream != i || got.vars["status"] != int32(429) {
				t.Fatalf("pieces of %d bytes: answer %d: %v, %v", size, i, got, err)
			}
		}
	}
}

// pieces yields data in pieces of a size.
type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.data)
	p.data = p.data[n:]
	return n, nil
}

// TestNothingOfAQuestionIsKept: the texts of a question lie in a buffer that the next
// ones are read into. A token that was found good there must not become another one.
func TestNothingOfAQuestionIsKept(t *testing.T) {
	key, id := testtable.Identity(1)
	peer := id.String()
	good, err := token.Mint(key, id, testtable.ID(0), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	_, _, socket := start(t, scenario())
	conn := dial(t, socket)
	greet(t, conn)
	forged := strings.Repeat("x", len(good))
	for i, tok := range []string{good, forged, good, forged} {
		send(t, conn, ask(uint64(i), "/function/timed", peer, tok))
		got, err := readAck(conn)
		if err != nil {
			t.Fatal(err)
		}
		if refused := got.vars["status"] == int32(403); refused != (tok == forged) {
			t.Errorf("question %d: %v", i, got.vars)
		}
	}
}

func TestTimeouts(t *testing.T) {
	for name, test := range map[string]struct {
		within time.Duration
		act    func(net.Conn)
	}{
		"no hello":        {frameTimeout, func(net.Conn) {}},
		"trickling hello": {frameTimeout, func(c net.Conn) { trickle(c, hello(), time.Second) }},
		"half a frame": {frameTimeout, func(c net.Conn) {
			_, _ = c.Write(hello())
			_, _, _ = readFrame(c)
			_, _ = c.Write(ask(1, "/function/here", nil, nil)[:20])
		}},
		"trickling frame": {frameTimeout, func(c net.Conn) {
			_, _ = c.Write(hello())
			_, _, _ = readFrame(c)
			trickle(c, ask(1, "/function/here", nil, nil), time.Second)
		}},
		"answers not read": {writeTimeout, func(c net.Conn) {
			_, _ = c.Write(hello())
			_, _, _ = readFrame(c)
			_, _ = c.Write(ask(1, "/function/limited", nil, nil))
		}},
		"idle": {idleTimeout, func(c net.Conn) {
			_, _ = c.Write(hello())
			_, _, _ = readFrame(c)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				client, ended := piped(t, newAgent(t), t.Context())
				defer client.Close()
				acted := make(chan struct{})
				go func() {
					defer close(acted)
					test.act(client)
				}()
				<-ended
				// The write deadline may have been moved a step ago, or the read deadline.
				took := time.Since(begin)
				if took < test.within-deadlineStep || took > test.within+2*deadlineStep {
					t.Errorf("the connection was closed after %v, want about %v", took, test.within)
				}
				<-acted
			})
		})
	}
}

// trickle writes a byte each time.
func trickle(c net.Conn, data []byte, each time.Duration) {
	for i := range data {
		if _, err := c.Write(data[i : i+1]); err != nil {
			return
		}
		<-time.After(each)
	}
}

// TestBusyConnectionLasts keeps a connection that asks now and then for longer
// than any of the timeouts.
func TestBusyConnectionLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended := piped(t, newAgent(t), t.Context())
		_, _ = client.Write(hello())
		if _, _, err := readFrame(client); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			<-time.After(time.Duration(i) * 3 * time.Second) // up to just under 5 minutes
			question := ask(uint64(i), "/function/here", nil, nil)
			_, _ = client.Write(question[:11])
			<-time.After(time.Second)
			_, _ = client.Write(question[11:])
			if got, err := readAck(client); err != nil || got.stream != uint64(i) {
				t.Fatalf("question %d: %v, %v", i, got, err)
			}
		}
		client.Close()
		<-ended
	})
}

// TestShutdown ends the context: an idle connection is closed, what was asked
// is answered.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, ended := piped(t, newAgent(t), ctx)
		_, _ = client.Write(hello())
		if _, _, err := readFrame(client); err != nil {
			t.Fatal(err)
		}
		_, _ = client.Write(ask(1, "/function/limited", nil, nil))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if got, err := readAck(client); err != nil || got.stream != 1 {
			t.Errorf("the question asked before: %v, %v", got, err)
		}
		if _, _, err := readFrame(client); !errors.Is(err, io.EOF) {
			t.Errorf("after it: %v, want the end", err)
		}
		<-ended
	})
}

func dial(t testing.TB, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t testing.TB, conn net.Conn, data []byte) {
	t.Helper()
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// realFrames are what a real HAProxy sent.
func realFrames(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/haproxy-2.6.hex")
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		frame, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame)
	}
	return frames
}

// TestDropInAgrees reads what HAProxy is told to send.
func TestDropInAgrees(t *testing.T) {
	conf, err := os.ReadFile("../../haproxy/dfaas-spoe.conf")
	if err != nil {
		t.Fatal(err)
	}
	var message string
	args := map[string]bool{}
	for line := range strings.Lines(string(conf)) {
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && words[0] == "spoe-message":
			message = words[1]
		case len(words) > 1 && words[0] == "args":
			for _, word := range words[1:] {
				name, _, _ := strings.Cut(word, "=")
				args[name] = true
			}
		}
	}
	if message != messageRoute {
		t.Errorf("the drop-in sends the message %q, this agent answers %q", message, messageRoute)
	}
	for _, name := range []string{argPath, argNode, argNodes, argToken, argTokens, argSource} {
		if !args[name] {
			t.Errorf("the drop-in does not send the argument %q", name)
		}
	}
}

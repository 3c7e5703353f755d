package haproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// siteFrontend is an operator's own, in a process that takes few connections.
const siteFrontend = `
    maxconn 90
defaults of_site
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
frontend site from of_site
    bind %s
    http-request return status 200 content-type text/plain string "the site\n"
`

// startSmall starts a node beside an operator's site.
func startSmall(t *testing.T, binary haproxytest.Binary) (n *node, site string) {
	t.Helper()
	site = haproxytest.FreeAddr(t)
	n = startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Before: fmt.Sprintf(siteFrontend, site)})
	return n, site
}

// silentPeer is well by its health check and never answers a call.
func silentPeer(t *testing.T) (peer haproxy.Peer, underWay func() int64) {
	t.Helper()
	var calls counter
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			calls.add(1)
			defer calls.add(-1)
			io.Copy(io.Discard, r.Body) // Go hears of a caller that leaves when it has read the body
			select {
			case <-r.Context().Done():
			case <-over: // however many HAProxy still has
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })
	return peerAt(t, idC, server.Listener.Addr().String()), calls.value
}

type counter struct {
	mu sync.Mutex
	n  int64
}

func (c *counter) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) value() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// TestCallersThatLeave: a peer, or a function here, that never answers takes
// nothing from anybody once its callers have left.
func TestCallersThatLeave(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n, site := startSmall(t, binary)
		peer, underWay := silentPeer(t)
		n.addPeers(t, peer)
		n.waitState(t, idC, haproxy.Up)
		toPeer := "Test-Action: peer\r\nTest-Target: " + idC + "\r\nTest-Token: " + tokenOf(idA) + "\r\nTest-Timeout: 3600000\r\n"
		for _, headers := range []string{toPeer, ""} {
			for range 150 {
				conn := sent(t, n.decided, "POST /function/hang HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"+headers+"\r\nx")
				time.Sleep(2 * time.Millisecond) // for HAProxy to pass it on
				conn.Close()
			}
			// Within the site's own time limit, not when the function's is over.
			if got := call(t, "GET", "http://"+site+"/", nil); got.body != "the site\n" {
				t.Errorf("the site: %d %q", got.status, got.body)
			}
			eventually(t, "nothing is under way", func() bool {
				return underWay() == 0 && n.underWay(t, haproxy.BackendPeers) == 0 && n.underWay(t, haproxy.BackendLocal) == 0
			})
		}
	})
}

// underWay counts the calls to the servers of a backend.
func (n *node) underWay(t *testing.T, backend string) (calls int64) {
	t.Helper()
	for _, s := range n.servers(t, backend) {
		calls += s.Sessions
	}
	return calls
}

// TestCallersThatStay: they fill what is theirs, and leave the operator's site,
// the statistics and the metrics alone.
func TestCallersThatStay(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n, site := startSmall(t, binary)
		if err := n.Client.Bound(t.Context()); err != nil {
			t.Fatal(err)
		}
		full := func() bool { return n.underWay(t, haproxy.BackendLocal) == 30 }
		for range 150 {
			conn, err := net.DialTimeout("tcp", n.Addr, 100*time.Millisecond)
			if err != nil {
				if full() {
					break // as many again wait to be accepted
				}
				continue // a busy machine was late
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /function/hang HTTP/1.1\r\nHost: h\r\n\r\n")
		}
		eventually(t, "the calls are under way", full)
		for range 10 {
			if got := call(t, "GET", "http://"+site+"/", nil); got.body != "the site\n" {
				t.Errorf("the site: %d %q", got.status, got.body)
			}
		}
		if got := call(t, "GET", "http://"+n.StatsAddr+"/metrics", nil); got.status != 200 {
			t.Errorf("metrics: status %d", got.status)
		}
	})
}

// TestFullPeer: what is over the bound of calls to one peer is served here, and
// what waits for a place there is refused soon. dfaas-spoa hears of it.
func TestFullPeer(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Settings: map[string]string{haproxy.EnvPeerMaxConn: "20"}})
		peer, underWay := silentPeer(t)
		n.addPeers(t, peer)
		n.waitState(t, idC, haproxy.Up)
		request := "POST /function/f HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\nTest-Action: peer\r\nTest-Target: " + idC +
			"\r\nTest-Token: " + tokenOf(idA) + "\r\nTest-Timeout: 3600000\r\nTest-Mark: 9\r\n\r\nx"
		for range 20 {
			conn := sent(t, n.decided, request)
			defer conn.Close()
		}
		eventually(t, "the peer is full", func() bool { return underWay() == 20 })
		var served, refused counter
		var done sync.WaitGroup
		began := time.Now()
		for range 30 {
			conn := sent(t, n.decided, request)
			done.Go(func() {
				defer conn.Close()
				switch text, err := io.ReadAll(conn); {
				case err != nil:
					t.Error(err)
				case strings.HasPrefix(string(text), "HTTP/1.1 200 ") && strings.Contains(string(text), idA):
					served.add(1)
				case strings.HasPrefix(string(text), "HTTP/1.1 503 ") && strings.Contains(strings.ToLower(string(text)), "retry-after: 1"):
					refused.add(1)
				default:
					t.Errorf("%q", text)
				}
			})
		}
		done.Wait()
		// One at a time waits for 100 ms, or one of each of two threads that look at the same time.
		waited := 2 * (1 + int64(time.Since(began)/(100*time.Millisecond)))
		if refused.value() > waited || served.value()+refused.value() != 30 {
			t.Errorf("%d served here, %d refused, of which %d may have waited", served.value(), refused.value(), waited)
		}
		if n := underWay(); n != 20 {
			t.Errorf("%d calls are under way to the peer", n)
		}
		if heard := call(t, "GET", "http://"+n.decided+"/heard", nil).body; heard != "9 full" {
			t.Errorf("dfaas-spoa hears %q", heard)
		}
		// Users can bring that about.
		if a := n.answers(t, idC); a != (haproxy.Answers{}) {
			t.Errorf("%+v is held against a peer that is full", a)
		}
	})
}

// TestWhoNeverAnswers: a peer that takes calls and answers none is held to account
// for those whose callers have waited for as long as the function may take; those who
// leave before, after a second at least, are counted by themselves. Callers that leave
// at once, or before all of their call is there, say nothing, nor does a function that
// takes longer than it may at the node that it was called at: users can bring that
// about with any function.
func TestWhoNeverAnswers(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		a, b := startPatient(t, binary, idA), startPatient(t, binary, idB)
		silent, underWay := silentPeer(t)
		a.addPeers(t, peerAt(t, idB, b.decided), silent)
		a.waitState(t, idB, haproxy.Up)
		a.waitState(t, idC, haproxy.Up)
		forward := func(id, limit string) []string {
			return []string{"Test-Action", "peer", "Test-Target", id, "Test-Token", tokenOf(idA), "Test-Timeout", limit, "There-Action", "local"}
		}
		// slow calls a function at an honest peer, and reports whether that was late by as much as it may.
		slow := func(name string) (late bool) {
			for _, there := range []string{"5000", "0", "400"} {
				got := call(t, "GET", "http://"+a.decided+"/function/"+name, nil, append(forward(idB, "400"), "There-Timeout", there)...)
				if got.header.Get(haproxy.HeaderServer) == a.decided {
					return true
				}
				wantReply(t, got, 504, b.decided, idB)
			}
			return false
		}
		try := 1
		for slow(fmt.Sprint("hang", try)) {
			if try++; try > 5 { // a busy machine has some
				t.Fatal("an honest peer's answer never comes in time")
			}
		}
		name := fmt.Sprint("hang", try)
		if s, _ := a.server(t, idB); s.Answers[haproxy.Function{Name: name}] != (haproxy.Answers{Served: 3}) {
			t.Errorf("slow calls at an honest peer are counted as %+v", s.Answers)
		}
		// Only the one that had as long as it may.
		eventually(t, "the peer has counted", func() bool {
			look, err := b.Client.Look(t.Context())
			return err == nil && look.Calls[name] == haproxy.Calls{Begun: 1, Failed: 1}
		})

		// giveUp has a call given up by its caller after a while, and returns when the peer has noticed,
		// and whether it was a second before that.
		giveUp := func(request string, after time.Duration) (late bool) {
			began := time.Now()
			conn := sent(t, a.decided, request+"Test-Action: peer\r\nTest-Target: "+idC+"\r\nTest-Token: "+tokenOf(idA)+"\r\n\r\n")
			eventually(t, "it is under way", func() bool { return a.underWay(t, haproxy.BackendPeers) > 0 })
			time.Sleep(after)
			conn.Close()
			eventually(t, "it is given up", func() bool { return underWay() == 0 && a.underWay(t, haproxy.BackendPeers) == 0 })
			return time.Since(began) >= time.Second
		}
		left := int64(0)
		for range 5 {
			if giveUp("GET /function/f HTTP/1.1\r\nHost: h\r\n", 0) {
				left++ // a busy machine may have given it up late
			}
		}
		giveUp("POST /function/f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n", 1100*time.Millisecond)
		early := a.answers(t, idC)
		if early.Left > left || early != (haproxy.Answers{Left: early.Left}) {
			t.Errorf("calls that were given up at once, but for %d, or not wholly there, are counted as %+v", left, early)
		}
		giveUp("GET /function/f HTTP/1.1\r\nHost: h\r\n", 1100*time.Millisecond)
		for range 5 {
			wantReply(t, call(t, "GET", "http://"+a.decided+"/function/f", nil, forward(idC, "50")...), 504, a.decided, idA)
		}
		if got := a.answers(t, idC); got != (haproxy.Answers{Lost: 5, Left: early.Left + 1}) {
			t.Errorf("calls that were never answered are counted as %+v", got)
		}
	})
}

// TestPeersAnswersAreCounted: by function, whatever becomes of a call.
func TestPeersAnswersAreCounted(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		a, b := startPatient(t, binary, idA), startPatient(t, binary, idB)
		breaks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				panic(http.ErrAbortHandler)
			}
		}))
		defer breaks.Close()
		a.addPeers(t, peerAt(t, idB, b.decided), peerAt(t, idC, breaks.Listener.Addr().String()))
		a.waitState(t, idB, haproxy.Up)
		a.waitState(t, idC, haproxy.Up)
		get := func(id, path string, headers ...string) int {
			headers = append([]string{"Test-Action", "peer", "Test-Target", id, "Test-Token", tokenOf(idA), "There-Action", "local"}, headers...)
			return call(t, "GET", "http://"+a.decided+path, nil, headers...).status
		}
		for path, status := range map[string]int{
			"/function/good": 200, "/function/good/x?y=/function/z": 200, "/function/status/500": 500, "/function/status/404": 404,
			"/async-function/good": 200, "/function/break": 502,
		} {
			if got := get(idB, path); got != status {
				t.Errorf("%s: status %d, want %d", path, got, status)
			}
		}
		get(idB, "/function/refused", "There-Action", "deny", "There-Status", "429")
		for range 2 {
			get(idC, "/function/good")
		}
		// A peer that refuses connections is not to blame once it is known to be down.
		b.Stop()
		get(idB, "/function/gone")
		gone := haproxy.Function{Name: "gone"}
		first, _ := a.server(t, idB)
		lost, counted := first.Answers[gone]
		a.waitState(t, idB, haproxy.Down)
		get(idB, "/function/gone")
		all := map[string]map[haproxy.Function]haproxy.Answers{
			idB: {
				{Name: "good"}: {Served: 2}, {Name: "good", Async: true}: {Served: 1}, {Name: "status"}: {Served: 2}, {Name: "break"}: {Served: 1},
				{Name: "refused"}: {Lost: 1}, gone: {Lost: 1},
			},
			idC: {{Name: "good"}: {Lost: 2}},
		}
		if first.State == haproxy.Down && (!counted || lost == haproxy.Answers{}) { // a busy machine was late with the first call, too
			delete(all[idB], gone)
		}
		for id, want := range all {
			if s, _ := a.server(t, id); !cmp.Equal(want, s.Answers) {
				t.Errorf("%s", cmp.Diff(want, s.Answers))
			}
		}
	})
}

// TestStalledUploads: a body that does not arrive gets to no function, here or at
// a peer, and is given up soon. One that does arrives whole, slowly, too.
func TestStalledUploads(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		settings := map[string]string{haproxy.EnvBodyWait: "1s", haproxy.EnvPeerConnect: "10s"}
		a := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Settings: settings})
		b := startWith(t, haproxytest.Options{Binary: binary, NodeID: idB, Settings: settings})
		a.addPeers(t, peerAt(t, idB, b.Addr))
		a.waitState(t, idB, haproxy.Up)
		toPeer := "Test-Action: peer\r\nTest-Target: " + idB + "\r\nTest-Token: " + tokenOf(idA) + "\r\n"
		var done sync.WaitGroup
		for _, where := range []struct{ headers, addr string }{{"", a.Addr}, {"", a.decided}, {toPeer, a.decided}} {
			for _, length := range []int{100, 100_000} {
				conn := sent(t, where.addr, fmt.Sprintf("POST /function/f HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\nx", length, where.headers))
				done.Go(func() {
					defer conn.Close()
					// From 3.0 on HAProxy waits for the rest, for as long as its client may be silent.
					if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 408 ") {
						t.Errorf("%d bytes: %q, %v, want status 408", length, line, err)
					}
				})
			}
		}
		waiting := func() int64 {
			return a.underWay(t, haproxy.BackendPeers) + a.underWay(t, haproxy.BackendLocal) + b.underWay(t, haproxy.BackendLocal)
		}
		if n := waiting(); n != 0 {
			t.Errorf("%d calls without a body are under way", n)
		}
		done.Wait()
		if calls := a.gateway.calls.Load() + b.gateway.calls.Load(); calls != 0 {
			t.Errorf("%d calls got to a gateway", calls)
		}
		for headers, at := range map[string]*gateway{"": a.gateway, toPeer: b.gateway} {
			for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
				// Its end takes longer than the beginning may.
				upload := func() (text []byte, err error) {
					conn := sent(t, a.decided, "POST /function/f HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 40000\r\n"+expect+headers+"\r\n")
					defer conn.Close()
					for range 4 {
						time.Sleep(300 * time.Millisecond)
						io.WriteString(conn, strings.Repeat("x", 10000))
					}
					return io.ReadAll(conn)
				}
				text, err := upload()
				for again := 4; again > 0 && strings.Contains(string(text), "HTTP/1.1 408 "); again-- { // a busy machine's beginning may take as long
					text, err = upload()
				}
				if seen := at.lastRequest(); err != nil || !strings.Contains(string(text), "HTTP/1.1 200 ") || seen.bytes != 40000 {
					t.Errorf("a slow upload: %q, %v, %d bytes arrived", text, err, seen.bytes)
				}
				if expect != "" && !strings.HasPrefix(string(text), "HTTP/1.1 100 ") {
					t.Errorf("no 100 Continue: %q", text)
				}
			}
		}
	})
}

// TestSourceCalls: the users of one address have so many calls under way and no
// more; peers are none of them.
func TestSourceCalls(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Settings: map[string]string{haproxy.EnvSourceCalls: "5"}})
		claim := []string{"DFaaS-Node-ID", idB, "DFaaS-Token", tokenOf(idB)}
		for range 5 {
			conn := sent(t, n.Addr, "GET /function/hang HTTP/1.1\r\nHost: h\r\n\r\n")
			defer conn.Close()
		}
		eventually(t, "five are under way", func() bool { return n.underWay(t, haproxy.BackendLocal) == 5 })
		got := call(t, "GET", "http://"+n.Addr+"/function/f", nil)
		wantReply(t, got, 429, n.Addr, idA)
		if got.header.Get("Retry-After") != "1" {
			t.Error("429 without Retry-After")
		}
		wantReply(t, call(t, "GET", "http://"+n.Addr+"/function/f", nil, claim...), 200, n.Addr, idA)
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /function/f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") {
			t.Errorf("from another address: %q, %v", text, err)
		}
	})
}

// TestPeersOnly: what comes from a member's address is a peer's, or refused.
func TestPeersOnly(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA,
			Settings: map[string]string{haproxy.EnvPeersOnly: "192.0.2.0/24 127.0.0.1"}})
		wantReply(t, call(t, "GET", "http://"+n.Addr+"/function/f", nil), 403, n.Addr, idA)
		wantReply(t, call(t, "GET", "http://"+n.Addr+"/function/f", nil, "DFaaS-Node-ID", idB, "DFaaS-Token", tokenOf(idB)), 200, n.Addr, idA)
		wantReply(t, call(t, "GET", "http://"+n.Addr+"/healthz", nil), 200, n.Addr, idA)
	})
}

// TestSourceCallsBehindProxies: the address is that for which an operator's proxy
// speaks, and nobody else can choose one.
func TestSourceCallsBehindProxies(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Proxies: "127.0.0.1",
			Settings: map[string]string{haproxy.EnvSourceCalls: "2"}})
		for range 2 {
			conn := sent(t, n.Addr, "GET /function/hang HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.1\r\n\r\n")
			defer conn.Close()
		}
		eventually(t, "two are under way", func() bool { return n.underWay(t, haproxy.BackendLocal) == 2 })
		for list, status := range map[string]int{"203.0.113.8, 192.0.2.1": 429, "192.0.2.1, 192.0.2.2": 200} {
			if got := call(t, "GET", "http://"+n.Addr+"/function/f", nil, "X-Forwarded-For", list); got.status != status {
				t.Errorf("for %s: status %d, want %d", list, got.status, status)
			}
		}
	})
}

// TestGatewayIsGone: calls are refused soon, and from the fourth on at once; when
// it is back, it is used at once.
func TestGatewayIsGone(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		addr := haproxytest.FreeAddr(t)
		serve := func() *http.Server {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served\n") })}
			go s.Serve(l)
			t.Cleanup(func() { s.Close() })
			return s
		}
		gateway := serve()
		n := &node{decided: haproxytest.FreeAddr(t)}
		n.HAProxy = haproxytest.Start(t, haproxytest.Options{
			Binary: binary, NodeID: idA, Gateway: addr, Config: fmt.Sprintf(decidedFrontend, n.decided),
		})
		// By what dfaas-spoa says of a function that is here.
		get := func() (int, time.Duration) {
			began := time.Now()
			got := call(t, "GET", "http://"+n.decided+"/function/f", nil, "Test-Action", "local")
			return got.status, time.Since(began)
		}
		eventually(t, "the gateway answers", func() bool { status, _ := get(); return status == 200 })
		gateway.Close()
		awaitRefused(t, addr)
		if status, took := get(); status != 503 || took > 10*time.Second { // one on a machine with nothing else to do
			t.Errorf("the first call: status %d after %v", status, took)
		}
		eventually(t, "the gateway is out", func() bool {
			servers, err := n.Client.Servers(t.Context(), haproxy.BackendLocal)
			return err == nil && servers[0].Name == haproxy.ServerGateway && servers[0].State == haproxy.Down
		})
		eventually(t, "a call is refused at once", func() bool { // a busy machine has more tries
			status, took := get()
			if status != 503 {
				t.Fatalf("then: status %d after %v", status, took)
			}
			return took < 100*time.Millisecond
		})
		serve()
		eventually(t, "the gateway answers again", func() bool { status, _ := get(); return status == 200 })
	})
}

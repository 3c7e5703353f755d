package haproxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestRouting sends requests through the drop-in of every version, with the
// decision of dfaas-spoa given by the test.
func TestRouting(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		a, b := startNode(t, binary, idA), startNode(t, binary, idB)
		a.addPeers(t, peerAt(t, idB, b.Addr))
		for _, test := range []struct {
			name string
			run  func(t *testing.T, a, b *node)
		}{
			{"without an agent everything is local", testFailOpen},
			{"local", testLocal},
			{"refused", testRefused},
			{"ambiguous claims", testAmbiguousClaims},
			{"impossible claims", testImpossibleClaims},
			{"odd spellings", testOddSpellings},
			{"other paths", testOtherPaths},
			{"health", testHealth},
			{"to a peer", testToPeer},
			{"what a peer sees", testWhatPeerSees},
			{"lost peer", testLostPeer},
			{"time limit", testTimeLimit},
			{"large body", testLargeBody},
			{"never sent twice", testNeverSentTwice},
			{"upgrades", testUpgrades},
			{"size", testSize},
			{"statistics", testStatistics},
		} {
			t.Run(test.name, func(t *testing.T) { test.run(t, a, b) })
		}
	})
}

func testFailOpen(t *testing.T, a, _ *node) {
	got := call(t, "GET", "http://"+a.Addr+"/function/f", nil)
	wantReply(t, got, 200, a.Addr, idA)
	got = call(t, "GET", "http://"+a.Addr+"/async-function/f", nil)
	wantReply(t, got, 200, a.Addr, idA)
	seen := a.gateway.lastRequest().header
	if ff, fp := seen.Get("X-Forwarded-For"), seen.Get("X-Forwarded-Proto"); ff != "127.0.0.1" || fp != "http" {
		t.Errorf("X-Forwarded-For %q, X-Forwarded-Proto %q", ff, fp)
	}
	call(t, "GET", "http://"+a.Addr+"/function/f", nil, "X-Forwarded-Proto", "https")
	if fp := a.gateway.lastRequest().header.Values("X-Forwarded-Proto"); len(fp) != 1 || fp[0] != "http" {
		t.Errorf("a user is believed to use %q", fp)
	}
}

// TestProxies: whether a user speaks TLS is believed of the operator's own
// proxies, and of nobody else.
func TestProxies(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		for proxies, want := range map[string]string{"192.0.2.0/24 127.0.0.1": "https", "192.0.2.0/24 127.0.0.2": "http"} {
			n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Proxies: proxies})
			call(t, "GET", "http://"+n.Addr+"/function/f", nil, "X-Forwarded-Proto", "https")
			if fp := n.gateway.lastRequest().header.Values("X-Forwarded-Proto"); len(fp) != 1 || fp[0] != want {
				t.Errorf("DFAAS_PROXIES=%q: X-Forwarded-Proto %q, want %s", proxies, fp, want)
			}
		}
	})
}

// TestHangingAgent: dfaas-spoa accepts connections and says nothing. No request
// fails, and it is soon not asked any more.
func TestHangingAgent(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startNode(t, binary, idA)
		l, err := net.Listen("unix", n.SPOA)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
			}
		}()
		eventually(t, "the agent is marked down", func() bool {
			wantReply(t, call(t, "GET", "http://"+n.Addr+"/function/f", nil), 200, n.Addr, idA)
			servers, err := n.Client.Servers(t.Context(), haproxy.BackendSPOA)
			return err == nil && len(servers) == 1 && servers[0].State == haproxy.Down && strings.HasPrefix(servers[0].Check, "L7TOUT")
		})
	})
}

func testLocal(t *testing.T, a, _ *node) {
	uri := "/function/f.ns/a%20b//c%2Fd?x=1&y=%2F&z"
	got := call(t, "GET", "http://"+a.decided+uri, nil,
		"DFaaS-Token", tokenOf(idB), "dfaas-node-id", idB, "DFAAS-Other", "o", "DFaaS-Fallback", "503",
		"DFaaS_Node_ID", idB, "dfaas_token", "x", "DFaaS-", "y", "Connection", "DFaaS-Node-ID")
	wantReply(t, got, 200, a.decided, idA)
	seen := a.gateway.lastRequest()
	wantNoClaims(t, seen)
	if seen.uri != uri {
		t.Errorf("the gateway was asked for %s, want %s", seen.uri, uri)
	}
	got = call(t, "GET", "http://"+a.decided+"/function/spoof", nil)
	wantReply(t, got, 200, a.decided, idA)
}

func testRefused(t *testing.T, a, _ *node) {
	before := a.gateway.calls.Load()
	for status, retryAfter := range map[int]string{403: "", 404: "", 429: "1", 501: "", 503: "1"} {
		got := call(t, "GET", "http://"+a.decided+"/function/f", nil, "Test-Action", "deny", "Test-Status", fmt.Sprint(status))
		wantReply(t, got, status, a.decided, idA)
		if got.header.Get("Retry-After") != retryAfter {
			t.Errorf("%d: Retry-After %q, want %q", status, got.header.Get("Retry-After"), retryAfter)
		}
		if strings.Count(got.body, "\n") != 1 || !strings.HasSuffix(got.body, "\n") || strings.Contains(got.body, "<") {
			t.Errorf("%d: body %q is not one line of text", status, got.body)
		}
	}
	if calls := a.gateway.calls.Load(); calls != before {
		t.Errorf("%d refused requests got to the gateway", calls-before)
	}
}

func testAmbiguousClaims(t *testing.T, a, _ *node) {
	for _, headers := range [][]string{
		{"DFaaS-Node-ID", idA, "DFaaS-Node-ID", idB},
		{"DFaaS-Node-ID", idA + "," + idB},
		{"DFaaS-Node-ID", idA, "DFaaS-Token", "x", "DFaaS-Token", "y"},
	} {
		wantReply(t, call(t, "GET", "http://"+a.Addr+"/function/f", nil, headers...), 403, a.Addr, idA)
		headers = append(headers, "Test-Action", "peer", "Test-Target", idB)
		wantReply(t, call(t, "GET", "http://"+a.decided+"/function/f", nil, headers...), 403, a.decided, idA)
	}
}

// testImpossibleClaims: no agent answers here, and yet nobody gets in who could
// not be a peer.
func testImpossibleClaims(t *testing.T, a, _ *node) {
	for _, claim := range [][]string{
		{"DFaaS-Node-ID", "malicious-id"},
		{"DFaaS-Node-ID", "malicious-id", "DFaaS-Token", tokenOf(idB)},
		{"DFaaS-Node-ID", ""},
		{"DFaaS-Node-ID", idB},
		{"DFaaS-Node-ID", idB + "x", "DFaaS-Token", tokenOf(idB)},
		{"DFaaS-Node-ID", idB, "DFaaS-Token", ""},
		{"DFaaS-Node-ID", idB, "DFaaS-Token", "two.parts"},
		{"DFaaS-Node-ID", idB, "DFaaS-Token", tokenOf(idB) + ".four"},
	} {
		wantReply(t, call(t, "GET", "http://"+a.Addr+"/function/f", nil, claim...), 403, a.Addr, idA)
	}
	wantReply(t, call(t, "GET", "http://"+a.Addr+"/function/f", nil, "DFaaS-Node-ID", idB, "DFaaS-Token", tokenOf(idB)), 200, a.Addr, idA)
}

// testOddSpellings sends what no client library would. Each is a claim that is
// refused, or no HTTP; none is a user's request that goes on with the header.
func testOddSpellings(t *testing.T, a, _ *node) {
	before := a.gateway.calls.Load()
	for _, test := range []struct{ name, request, status string }{
		{"space before the colon", "GET /function/f HTTP/1.1\r\nHost: h\r\nDFaaS-Node-ID : x\r\n\r\n", "400"},
		{"folded", "GET /function/f HTTP/1.1\r\nHost: h\r\nDFaaS-Node-ID:\r\n x\r\n\r\n", "403"},
		{"spaces around", "GET /function/f HTTP/1.1\r\nHost: h\r\ndfaas-NODE-id:  \tx \t \r\n\r\n", "403"},
		{"HTTP/1.0", "GET /function/f HTTP/1.0\r\nDFaaS-Node-ID: x\r\n\r\n", "403"},
		{"absolute", "GET http://other/function/f HTTP/1.1\r\nHost: other\r\nDFaaS-Node-ID: x\r\n\r\n", "403"},
		{"absolute, another path", "GET http://other/system/functions HTTP/1.1\r\nHost: other\r\n\r\n", "404"},
		{"no name", "GET /function/f HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", "400"},
		{"zero byte", "GET /function/f HTTP/1.1\r\nHost: h\r\nDFaaS-Node-ID: x\x00\r\n\r\n", "40"},
		{"two lengths", "POST /function/f HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
		{"HTTP/2 in plain text", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "40"}, // 405 from 3.3 on,
		{"CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", "404"},
	} {
		got := firstLine(t, a.Addr, test.request)
		closed := got == io.EOF.Error() && test.status == "400" // is an answer to what is no HTTP
		if !closed && !strings.HasPrefix(got, "HTTP/1.1 "+test.status) {
			t.Errorf("%s: %q, want status %s", test.name, got, test.status)
		}
	}
	if calls := a.gateway.calls.Load(); calls != before {
		t.Errorf("%d requests got to the gateway", calls-before)
	}
	// A length and chunks: the chunks count, the length goes no further, and nothing is left over for a second request.
	smuggled := "POST /function/f HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"0\r\n\r\nGET /system/functions HTTP/1.1\r\nHost: h\r\n\r\n"
	if got := firstLine(t, a.Addr, smuggled); !strings.HasPrefix(got, "HTTP/1.1 200") && !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("a length and chunks: %q", got)
	}
	if uri := a.gateway.lastRequest().uri; strings.HasPrefix(uri, "/system") {
		t.Errorf("the gateway was asked for %s", uri)
	}
}

// sent opens a connection, for twenty seconds, and sends bytes.
func sent(t *testing.T, addr, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// firstLine sends bytes and returns the first line of the answer.
func firstLine(t *testing.T, addr, request string) string {
	t.Helper()
	conn := sent(t, addr, request)
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// answer sends bytes and returns all that comes back until the end.
func answer(t *testing.T, addr, request string) string {
	t.Helper()
	conn := sent(t, addr, request)
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func testOtherPaths(t *testing.T, a, _ *node) {
	before := a.gateway.calls.Load()
	for path, status := range map[string]int{
		"/":                             404,
		"/system/functions":             404,
		"/function":                     404,
		"/functions/f":                  404,
		"/Function/f":                   404,
		"//function/f":                  404,
		"/%66unction/f":                 404,
		"/healthz/x":                    404,
		"/function/../system/functions": 400,
		"/function/f/..":                400,
		"/function/%2e%2E/system":       400,
		"/function/f%2f..%2f../system":  400,
	} {
		for _, addr := range []string{a.Addr, a.decided} {
			if got := call(t, "GET", "http://"+addr+path, nil); got.status != status {
				t.Errorf("%.40s: status %d, want %d", path, got.status, status)
			}
		}
	}
	// No client library sends these, and the gateway here would refuse them itself, without these words.
	for _, path := range []string{
		"/function/%zz/../../system/functions",
		"/function/figlet/%zz/../../../system/functions",
		"/function/%zz/%2e%2e/%2e%2e/system/functions",
		"/function/%2e%2e/system/functions/%zz",
		"/function/%zz/..",
		"/function/f/%", "/function/f/%2", "/function/f/%2g", "/function/f/%g2", "/function/f/%%2e", "/function/f/%2e%",
	} {
		for _, addr := range []string{a.Addr, a.decided} {
			got := answer(t, addr, "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, " path ") {
				t.Errorf("%s: %q, want a refusal with status 400", path, got)
			}
		}
	}
	// HAProxy may close before it has read all of this: an answer need not arrive.
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+a.Addr+"/function/"+strings.Repeat("n", 20<<10), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := new(http.Transport).RoundTrip(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 && resp.StatusCode != 414 {
			t.Errorf("overlong path: status %d, want 400 or 414", resp.StatusCode)
		}
	}
	if calls := a.gateway.calls.Load(); calls != before {
		t.Errorf("%d requests got to the gateway", calls-before)
	}
	wantReply(t, call(t, "GET", "http://"+a.Addr+"/function/"+strings.Repeat("n", 13500), nil), 200, a.Addr, idA)
}

func testHealth(t *testing.T, a, b *node) {
	wantReply(t, call(t, "GET", "http://"+a.Addr+"/healthz", nil), 200, a.Addr, idA)

	b.gateway.sick.Store(true)
	eventually(t, "/healthz of B answers 503", func() bool {
		return call(t, "GET", "http://"+b.Addr+"/healthz", nil).status == 503
	})
	wantReply(t, call(t, "GET", "http://"+b.Addr+"/healthz", nil), 503, b.Addr, idB)
	wantReply(t, call(t, "GET", "http://"+b.Addr+"/function/f", nil), 503, b.Addr, idB)
	a.waitState(t, idB, haproxy.Down)
	got := call(t, "GET", "http://"+a.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA))
	wantReply(t, got, 200, a.decided, idA)

	b.gateway.sick.Store(false)
	a.waitState(t, idB, haproxy.Up)
}

func testToPeer(t *testing.T, a, b *node) {
	forward := []string{"Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA)}
	uri := "/function/f/a%20b//c?x=1&y=%2F"
	before := a.gateway.calls.Load()
	got := call(t, "POST", "http://"+a.decided+uri, strings.NewReader("hello"), forward...)
	wantReply(t, got, 200, b.Addr, idB)
	seen := b.gateway.lastRequest()
	wantNoClaims(t, seen)
	if seen.uri != uri || seen.bytes != 5 {
		t.Errorf("the peer's gateway got %d bytes for %s, want 5 for %s", seen.bytes, seen.uri, uri)
	}
	wantReply(t, call(t, "GET", "http://"+a.decided+"/function/spoof", nil, forward...), 200, b.Addr, idB)
	if calls := a.gateway.calls.Load(); calls != before {
		t.Errorf("the forwarding node's own gateway got %d requests", calls-before)
	}
}

func testWhatPeerSees(t *testing.T, a, b *node) {
	var header atomic.Pointer[http.Header]
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			h := r.Header.Clone()
			header.Store(&h)
			w.Header().Add(haproxy.HeaderNodeID, idB)
			w.Header().Add(haproxy.HeaderNodeID, "another")
		}
	}))
	defer peer.Close()
	a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, peer.Listener.Addr().String()))
	got := call(t, "GET", "http://"+a.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", idC, "Test-Token", tokenOf(idA),
		"DFaaS-Node-ID", idB, "DFaaS-Token", tokenOf(idB), "DFaaS-Other", "user", "DFaaS_Node_ID", idB,
		"Connection", "DFaaS-Node-ID, DFaaS-Token")
	if ids := got.header.Values(haproxy.HeaderNodeID); len(ids) != 1 || ids[0] != idC {
		t.Errorf("a peer poses as %q", ids)
	}
	seen := *header.Load()
	for name, want := range map[string]string{haproxy.HeaderNodeID: idA, haproxy.HeaderToken: tokenOf(idA)} {
		if v := seen.Values(name); len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
		seen.Del(name)
	}
	wantNoClaims(t, received{header: seen})
}

func testLostPeer(t *testing.T, a, b *node) {
	for _, test := range []struct{ name, addr string }{
		{"refuses connections", haproxytest.FreeAddr(t)},
		{"takes no connections", blackHole(t)},
		{"unknown", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a.addPeers(t, peerAt(t, idB, b.Addr))
			if test.addr != "" {
				// Added just now, it counts as up until two checks have failed.
				a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, test.addr))
			}
			forward := []string{"Test-Action", "peer", "Test-Target", idC, "Test-Token", tokenOf(idA), "DFaaS-Fallback", "429"}
			before := b.gateway.calls.Load()
			got := call(t, "POST", "http://"+a.decided+"/function/f", strings.NewReader("hello"), forward...)
			wantReply(t, got, 200, a.decided, idA)
			seen := a.gateway.lastRequest()
			wantNoClaims(t, seen)
			if seen.bytes != 5 {
				t.Errorf("%d bytes got to the gateway, want 5", seen.bytes)
			}
			if ff := seen.header.Values("X-Forwarded-For"); len(ff) != 1 {
				t.Errorf("X-Forwarded-For %q, want the user only", ff)
			}
			if calls := b.gateway.calls.Load(); calls != before {
				t.Errorf("%d requests went to another peer", calls-before)
			}
			got = call(t, "GET", "http://"+a.decided+"/function/f", nil, append(forward, "Test-Status", "503")...)
			wantReply(t, got, 503, a.decided, idA)
			if got.header.Get("Retry-After") != "1" {
				t.Error("503 without Retry-After")
			}
			if test.addr != "" {
				// No second attempt, and no second of waiting before it.
				retries := `haproxy_server_retry_warnings_total{proxy="be_dfaas_peers",server="` + idC + `"} 0`
				if metrics := call(t, "GET", "http://"+a.StatsAddr+"/metrics", nil).body; !strings.Contains(metrics, retries+"\n") {
					t.Errorf("no %s in the metrics", retries)
				}
				a.waitState(t, idC, haproxy.Down)
				// A check has no more time to connect than a request, or it would find up whom no request reaches. (HAProxy's clock has whole
				// milliseconds.)
				if s, _ := a.server(t, idC); !regexp.MustCompile(`^(L4CON in \d+|L4TOUT in (199|[2-9]\d\d))ms$`).MatchString(s.Check) {
					t.Errorf("the check ended with %s, want L4CON, or L4TOUT after 200 ms", s.Check)
				}
				wantReply(t, call(t, "GET", "http://"+a.decided+"/function/f", nil, forward...), 200, a.decided, idA)
			}
		})
	}
	a.addPeers(t, peerAt(t, idB, b.Addr))
}

// blackHole returns an address that drops connection attempts: its queue is
// full and nobody accepts.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "black hole")
	t.Cleanup(func() { f.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	conn, err := net.Dial("tcp", addr) // fills a queue of length 0
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return addr
}

func testTimeLimit(t *testing.T, a, b *node) {
	wantReply(t, call(t, "GET", "http://"+a.decided+"/function/hang", nil, "Test-Timeout", "50"), 504, a.decided, idA)
	forward := []string{"Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA), "Test-Timeout", "50"}
	wantReply(t, call(t, "GET", "http://"+a.decided+"/function/hang", nil, forward...), 504, a.decided, idA)
	forward[3] = idC // unknown
	wantReply(t, call(t, "GET", "http://"+a.decided+"/function/hang", nil, forward...), 504, a.decided, idA)
}

func testLargeBody(t *testing.T, a, b *node) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	for target, gateway := range map[string]*gateway{"": a.gateway, idB: b.gateway, idC: a.gateway} {
		var headers []string
		if target != "" {
			headers = []string{"Test-Action", "peer", "Test-Target", target, "Test-Token", tokenOf(idA)}
		}
		// Without a length, as a stream.
		for _, r := range []io.Reader{bytes.NewReader(body), io.MultiReader(bytes.NewReader(body))} {
			got := call(t, "POST", "http://"+a.decided+"/function/f", r, headers...)
			if seen := gateway.lastRequest(); got.status != 200 || seen.bytes != int64(len(body)) {
				t.Errorf("target %q: status %d, %d bytes of %d arrived", target, got.status, seen.bytes, len(body))
			}
		}
	}
}

func testNeverSentTwice(t *testing.T, a, b *node) {
	beforeA, beforeB := a.gateway.calls.Load(), b.gateway.calls.Load()
	wantReply(t, call(t, "POST", "http://"+a.decided+"/function/break", strings.NewReader("x")), 502, a.decided, idA)
	forward := []string{"Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA)}
	wantReply(t, call(t, "POST", "http://"+a.decided+"/function/break", strings.NewReader("x"), forward...), 502, b.Addr, idB)
	if calls := a.gateway.calls.Load() - beforeA; calls != 1 {
		t.Errorf("sent to the local gateway %d times, want 1", calls)
	}
	if calls := b.gateway.calls.Load() - beforeB; calls != 1 {
		t.Errorf("sent to the peer's gateway %d times, want 1", calls)
	}

	// A peer that breaks off before it has said anything.
	var requests atomic.Int64
	peer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			requests.Add(1)
			panic(http.ErrAbortHandler)
		}
	}))
	defer peer.Close()
	a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, peer.Listener.Addr().String()))
	beforeA = a.gateway.calls.Load()
	forward[3] = idC
	wantReply(t, call(t, "POST", "http://"+a.decided+"/function/f", strings.NewReader("x"), forward...), 502, a.decided, idA)
	if peers, own := requests.Load(), a.gateway.calls.Load()-beforeA; peers != 1 || own != 0 {
		t.Errorf("sent to the peer %d times and to the own gateway %d times, want 1 and 0", peers, own)
	}
	a.addPeers(t, peerAt(t, idB, b.Addr))
}

// testUpgrades: WebSockets get through, here and at a peer; HTTP/2 in plain text
// does not, however it is asked for, and the request goes on without it.
func testUpgrades(t *testing.T, a, b *node) {
	const webSocket = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	local := "Host: h\r\n"
	peer := "Host: h\r\nTest-Action: peer\r\nTest-Target: " + idB + "\r\nTest-Token: " + tokenOf(idA) + "\r\n"
	for _, where := range []struct {
		headers string
		at      *gateway
	}{{local, a.gateway}, {peer, b.gateway}} {
		for _, upgrade := range []string{
			"Upgrade: h2c", "Upgrade: H2C", "Upgrade: h2", "Upgrade: websocket, h2c", "Upgrade:\th2c , websocket",
			"Upgrade: websocket\r\nUpgrade: h2c", "Upgrade: \"x, h2c",
		} {
			got := answer(t, a.decided, "GET /function/upgrade HTTP/1.1\r\n"+where.headers+upgrade+
				"\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"+webSocket+"\r\n")
			// Some versions of HAProxy ask for the WebSocket alone where that was asked for, too.
			if !strings.HasPrefix(got, "HTTP/1.1 200 ") && !(strings.HasPrefix(got, "HTTP/1.1 101 ") && strings.Contains(upgrade, "websocket")) {
				t.Errorf("%q: %q, want status 200", upgrade, got)
			}
			seen := where.at.lastRequest().header
			for _, value := range seen.Values("Upgrade") {
				if strings.Contains(strings.ToLower(value), "h2") {
					t.Errorf("%q: the gateway got Upgrade: %s", upgrade, value)
				}
			}
			if settings := seen.Values("HTTP2-Settings"); settings != nil {
				t.Errorf("%q: the gateway got HTTP2-Settings: %s", upgrade, settings)
			}
		}
		got := answer(t, a.decided, "GET /function/upgrade HTTP/1.1\r\n"+where.headers+
			"Upgrade: WebSocket\r\nConnection: Upgrade\r\n"+webSocket+"\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "through the tunnel") {
			t.Errorf("WebSocket: %q", got)
		}
	}
}

// testSize: what is short enough to be served here is also short enough for a
// peer, with all that is added on the way, and for the way back if that is gone.
func testSize(t *testing.T, a, b *node) {
	a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, haproxytest.FreeAddr(t)))
	lost := a.answers(t, idB)
	const largest = 14000 // DFAAS_MAX_HEADERS
	token := tokenOf(idA) + strings.Repeat("x", 400-len(tokenOf(idA)))
	for _, fields := range []int{1, 85} {
		for _, uri := range []int{20, 5000} {
			statuses := make(map[int]int)
			for size := largest - 300; size < largest+1200; size += 50 {
				head := "/function/" + strings.Repeat("n", uri-10) + " HTTP/1.1\r\n"
				fill := "Host: h\r\nConnection: close\r\n"
				for i := range fields {
					field := fmt.Sprintf("f%d: ", i)
					fill += field + strings.Repeat("v", (size-uri)/fields-len(field)-2) + "\r\n"
				}
				get := func(addr, headers string) int {
					_, rest, _ := strings.Cut(answer(t, addr, "GET "+head+headers+fill+"\r\n"), " ")
					status, _ := strconv.Atoi(rest[:3])
					return status
				}
				here := get(a.Addr, "")
				statuses[here]++
				for _, target := range []string{idB, idC} {
					got := get(a.decided, "Test-Action: peer\r\nTest-Timeout: 3600000\r\nTest-Target: "+target+"\r\nTest-Token: "+token+"\r\n")
					if here == 200 && got != 200 {
						t.Errorf("%d bytes in %d headers, path of %d: 200 here, %d by %s", size, fields, uri, got, target)
					}
				}
			}
			if statuses[200] == 0 || statuses[431] == 0 || statuses[200]+statuses[431]+statuses[400] != 30 {
				t.Errorf("%d headers, path of %d: statuses %v", fields, uri, statuses)
			}
		}
	}
	if now := a.answers(t, idB); now.Lost != lost.Lost {
		t.Errorf("%d requests were counted as lost", now.Lost-lost.Lost)
	}
}

func testStatistics(t *testing.T, a, _ *node) {
	if page := call(t, "GET", "http://"+a.StatsAddr+"/", nil); page.status != 200 || !strings.Contains(page.body, idB) {
		t.Errorf("status %d, peer on the statistics page: %v", page.status, strings.Contains(page.body, idB))
	}
	metrics := call(t, "GET", "http://"+a.StatsAddr+"/metrics", nil)
	if want := `haproxy_server_status{proxy="be_dfaas_peers",server="` + idB + `"`; !strings.Contains(metrics.body, want) {
		t.Errorf("status %d, no %s in the metrics", metrics.status, want)
	}
	disable := strings.NewReader("s=" + idB + "&action=disable&b=be_dfaas_peers")
	call(t, "POST", "http://"+a.StatsAddr+"/", disable, "Content-Type", "application/x-www-form-urlencoded")
	if s, _ := a.server(t, idB); s.State != haproxy.Up {
		t.Errorf("the statistics page lets everybody disable servers: %s", s.State)
	}
}

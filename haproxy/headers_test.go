package haproxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestHeaders is about what users and functions write into headers: through the
// drop-in of every version, with the decision of dfaas-spoa given by the test.
func TestHeaders(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		a, b := startNode(t, binary, idA), startNode(t, binary, idB)
		a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, haproxytest.FreeAddr(t)))
		for _, test := range []struct {
			name string
			run  func(t *testing.T, a, b *node)
		}{
			{"number", testNumber},
			{"number and size of an answer's", testAnswersHeaders},
			{"names with another meaning", testNames},
			{"whom a call is from", testForwardedFor},
			{"of answers", testAnswers},
			{"whose error it is", testWhoseError},
			{"not found", testNotFound},
		} {
			t.Run(test.name, func(t *testing.T) { test.run(t, a, b) })
		}
	})
}

// mostFields is DFAAS_MAX_HEADER_FIELDS.
const mostFields = 90

// testNumber: a request with more header fields than a peer would take is refused
// here, whoever would serve it, and none is that a peer then refuses.
func testNumber(t *testing.T, a, b *node) {
	before := a.answers(t, idB)
	statuses, claimed := make(map[int]int), make(map[int]int)
	for n := mostFields - 6; n <= 102; n++ {
		fill := "Host: h\r\nConnection: close\r\nContent-Length: 0\r\nX-Forwarded-For: 192.0.2.1\r\n"
		for i := strings.Count(fill, "\n"); i < n; i++ {
			fill += fmt.Sprintf("f%d: v, w\r\n", i)
		}
		get := func(addr, headers string) int {
			return statusOf(t, addr, "POST /function/f HTTP/1.1\r\n"+headers+fill+"\r\n")
		}
		here := get(a.Addr, "")
		statuses[here]++
		claimed[get(a.Addr, "DFaaS-Node-ID: "+idB+"\r\nDFaaS-Token: "+tokenOf(idB)+"\r\n")]++
		for _, target := range []string{"", idB, idC} {
			headers := "Test-Timeout: 3600000\r\n"
			if target != "" {
				headers += "Test-Action: peer\r\nTest-Target: " + target + "\r\nTest-Token: " + tokenOf(idA) + "\r\n"
			}
			if got := get(a.decided, headers); here == 200 && got != 200 || n > mostFields+1 && got < 400 {
				t.Errorf("%d fields: %d here, %d by %q", n, here, got, target)
			}
		}
	}
	// HAProxy itself takes Connection away, and what it does not take is its 400.
	if statuses[200] != 8 || statuses[431] != 10 || statuses[400] != 1 {
		t.Errorf("statuses %v", statuses)
	}
	// A peer's call is longer by what forwarding adds, and bounded as well.
	if claimed[200] != 14 || claimed[431] != 2 || claimed[400] != 3 {
		t.Errorf("statuses of peers' calls %v", claimed)
	}
	if now := a.answers(t, idB); now.Lost != before.Lost {
		t.Errorf("%d requests were counted as lost", now.Lost-before.Lost)
	}
}

// statusOf sends bytes and returns the status of the answer.
func statusOf(t *testing.T, addr, request string) int {
	t.Helper()
	_, rest, _ := strings.Cut(answer(t, addr, request), " ")
	status, _ := strconv.Atoi(rest[:min(3, len(rest))])
	return status
}

// testAnswersHeaders: an answer that would be too large for the node that forwards
// it is refused by the node that got it from its gateway, whoever asked.
func testAnswersHeaders(t *testing.T, a, b *node) {
	forward := []string{"Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA)}
	for _, test := range []struct {
		fields, size, want int
	}{
		{mostFields - 4, 0, 200}, // Content-Length, Content-Type, Date, and one of those asked for
		{mostFields + 1, 0, 502},
		{98, 0, 502}, // HAProxy does not take that many itself
		{1, 13000, 200},
		{1, 14500, 502},
		{50, 13500, 200},
		{50, 14500, 502},
	} {
		url := fmt.Sprintf("/function/headers?fields=%d&size=%d", test.fields, test.size)
		for where, got := range map[string]reply{
			"here":      call(t, "GET", "http://"+a.Addr+url, nil),
			"at a peer": call(t, "GET", "http://"+a.decided+url, nil, forward...),
		} {
			if got.status != test.want || test.want == 502 && test.fields < 95 && !strings.Contains(got.body, " header") {
				t.Errorf("%d fields, %d bytes, %s: %d, want %d: %s", test.fields, test.size, where, got.status, test.want, got.body)
			}
		}
	}
}

// testNames: functions get headers as variables Http_..., in which no user can
// write what is not a header: the method, the path, the proxy to use, ...
func testNames(t *testing.T, a, b *node) {
	forward := "Test-Action: peer\r\nTest-Target: " + idB + "\r\nTest-Token: " + tokenOf(idA) + "\r\n"
	for where, get := range map[string]struct {
		headers string
		at      *gateway
	}{"here": {"", a.gateway}, "at a peer": {forward, b.gateway}} {
		for _, name := range []string{
			"Proxy", "PROXY", "Method", "Path", "Query", "ContentLength",
			"Content_Length", "Transfer_Encoding", "X_Forwarded_For", "x_forwarded_proto", "DFaaS_Token", "Method_", "_", "X.Call.Id", "X!", "X~y",
		} {
			request := "GET /function/f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + get.headers + name + ": evil\r\nAccept: a\r\n" + name + ": evil\r\nX-Path: b\r\n\r\n"
			if status := statusOf(t, a.decided, request); status != 200 {
				t.Errorf("%s: %s: status %d", where, name, status)
				continue
			}
			seen := get.at.lastRequest().header
			for field, values := range seen {
				if strings.Contains(strings.Join(values, ""), "evil") {
					t.Errorf("%s: %s: the gateway got %s: %s", where, name, field, values)
				}
			}
			if seen.Get("Accept") != "a" || seen.Get("X-Path") != "b" {
				t.Errorf("%s: %s: the gateway got %v", where, name, seen)
			}
		}
	}
}

// writeHeaders answers with so many header fields more, of so many bytes together.
func writeHeaders(w http.ResponseWriter, r *http.Request) {
	fields, _ := strconv.Atoi(r.URL.Query().Get("fields"))
	size, _ := strconv.Atoi(r.URL.Query().Get("size"))
	for i := range fields {
		name := fmt.Sprintf("F%d", i)
		w.Header().Set(name, strings.Repeat("v", max(1, size/fields-len(name)-4)))
	}
}

// testForwardedFor: X-Forwarded-For is one list, and all of it has been seen by
// this node, a peer, or a proxy of the operator's.
func testForwardedFor(t *testing.T, a, b *node) {
	proxied := startWith(t, haproxytest.Options{Binary: a.binary, NodeID: idC, Proxies: "192.0.2.0/24 127.0.0.1"})
	forward := []string{"Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA)}
	claim := []string{"DFaaS-Node-ID", idB, "DFaaS-Token", tokenOf(idB)}
	checked := append([]string{"Test-Action", "local"}, claim...)
	long := strings.Repeat("192.0.2.7, ", 500) + "192.0.2.8"
	for _, test := range []struct {
		name    string
		addr    string
		headers []string
		sent    []string // fields of X-Forwarded-For
		proto   string
		want    string
		at      *gateway
	}{
		{"nothing said", a.Addr, nil, nil, "http", "127.0.0.1", a.gateway},
		{"a user", a.Addr, nil, []string{"192.0.2.1"}, "http", "127.0.0.1", a.gateway},
		{"a user, twice", a.Addr, nil, []string{"192.0.2.1", "192.0.2.2"}, "http", "127.0.0.1", a.gateway},
		{"a user, at a peer", a.decided, forward, []string{"192.0.2.1"}, "http", "127.0.0.1", b.gateway},
		{"a peer", a.decided, checked, []string{"192.0.2.1"}, "https", "192.0.2.1, 127.0.0.1", a.gateway},
		{"a claim, and no agent to check it", a.Addr, claim, []string{"192.0.2.1"}, "http", "127.0.0.1", a.gateway},
		{"a proxy", proxied.Addr, nil, []string{"192.0.2.1"}, "https", "192.0.2.1, 127.0.0.1", proxied.gateway},
		{"a proxy that says nothing", proxied.Addr, nil, nil, "https", "127.0.0.1", proxied.gateway},
		{"a proxy that appends", proxied.Addr, nil, []string{"192.0.2.1,[2001:db8::1]:80", "_hidden", "unknown", "192.0.2.9"}, "https",
			"_hidden, unknown, 192.0.2.9, 127.0.0.1", proxied.gateway},
		{"a proxy, no list", proxied.Addr, nil, []string{"192.0.2.1, <script>"}, "https", "127.0.0.1", proxied.gateway},
		{"a proxy, an empty field", proxied.Addr, nil, []string{"192.0.2.1", ""}, "https", "127.0.0.1", proxied.gateway},
		{"a proxy, a long list", proxied.Addr, nil, []string{long}, "https", long + ", 127.0.0.1", proxied.gateway},
		{"a proxy, a claim, and no agent to check it", proxied.Addr, claim, []string{"192.0.2.1"}, "http", "127.0.0.1", proxied.gateway},
	} {
		headers := append([]string{"X-Forwarded-Proto", "https", "Connection", "X-Forwarded-For", "Forwarded", "for=192.0.2.66", "X-Real-IP", "192.0.2.66",
			"X-Forwarded-Host", "evil", "X-Forwarded-Port", "66"}, test.headers...)
		for _, value := range test.sent {
			headers = append(headers, "X-Forwarded-For", value)
		}
		if got := call(t, "GET", "http://"+test.addr+"/function/f", nil, headers...); got.status != 200 {
			t.Errorf("%s: status %d", test.name, got.status)
			continue
		}
		seen := test.at.lastRequest().header
		if got := strings.Join(seen.Values("X-Forwarded-For"), " | "); got != test.want {
			t.Errorf("%s: X-Forwarded-For is %.80q, want %.80q", test.name, got, test.want)
		}
		if got := strings.Join(seen.Values("X-Forwarded-Proto"), " | "); got != test.proto {
			t.Errorf("%s: X-Forwarded-Proto is %q, want %q", test.name, got, test.proto)
		}
		if got := seen.Get("Connection"); strings.Contains(got, "X-") {
			t.Errorf("%s: the gateway got Connection: %s", test.name, got)
		}
		believed := strings.Contains(test.want, ", ") || test.proto == "https"
		for _, name := range []string{"Forwarded", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Port"} {
			if got := seen.Get(name); (got != "") != believed {
				t.Errorf("%s: %s is %q", test.name, name, got)
			}
		}
	}
}

// testAnswers: what a function calls DFaaS-..., or names in Connection, gets to
// nobody, here and at a peer.
func testAnswers(t *testing.T, a, b *node) {
	for where, headers := range map[string]string{
		"here": "", "at a peer": "Test-Action: peer\r\nTest-Target: " + idB + "\r\nTest-Token: " + tokenOf(idA) + "\r\n",
		"a peer's call": "Test-Action: local\r\nDFaaS-Node-ID: " + idB + "\r\nDFaaS-Token: " + tokenOf(idB) + "\r\n",
	} {
		got := answer(t, a.decided, "GET /function/spoof HTTP/1.1\r\nHost: h\r\n"+headers+"Connection: close\r\n\r\n")
		head, _, _ := strings.Cut(strings.ToLower(got), "\r\n\r\n")
		if strings.Count(head, "dfaas-") != 1 || strings.Contains(head, "spoofed") || strings.Contains(head, "x-other") {
			t.Errorf("%s: %s", where, head)
		}
		// Interim answers and trailers pass. The answer between them is ours.
		got = answer(t, a.decided, "GET /function/interim HTTP/1.1\r\nHost: h\r\n"+headers+"Connection: close\r\n\r\n")
		interim, rest, _ := strings.Cut(got, "\r\n\r\n")
		head, _, _ = strings.Cut(strings.ToLower(rest), "\r\n\r\n")
		if !strings.HasPrefix(interim, "HTTP/1.1 103 ") || strings.Count(head, "dfaas-") != 1+strings.Count(head, "trailer: dfaas-") || strings.Contains(head, "spoofed") {
			t.Errorf("%s, after an interim answer: %q", where, got)
		}
	}
}

// testWhoseError: an error that is the function's, and so may be its user's doing,
// is not held against the peer; what the peer did not let the function answer is.
func testWhoseError(t *testing.T, a, b *node) {
	forward := func(uri string, headers ...string) reply {
		headers = append([]string{"Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA)}, headers...)
		got := call(t, "GET", "http://"+a.decided+uri, nil, headers...)
		for name := range got.header {
			if name := strings.ToLower(name); strings.HasPrefix(name, "dfaas-") && name != "dfaas-node-id" {
				t.Errorf("%s: the user got %s", uri, name)
			}
		}
		return got
	}
	call(t, "GET", "http://"+b.decided+"/function/status/200", nil, "Test-Action", "local") // B knows that it has it, or its 404 was 503
	before := a.answers(t, idB)
	functions := 0
	for _, status := range []int{400, 403, 404, 429, 431, 500, 502, 503, 504} {
		if got := forward(fmt.Sprint("/function/status/", status)); got.status != status {
			t.Errorf("status %d, want %d", got.status, status)
		}
		functions++
	}
	for uri, status := range map[string]int{
		"/function/break":                       502,
		"/function/f/%2e%2e/x":                  400, // refused here
		"/function/headers?fields=1&size=14500": 502,
	} {
		if got := forward(uri); got.status != status {
			t.Errorf("%s: status %d, want %d", uri, got.status, status)
		}
	}
	after := a.answers(t, idB)
	if after.Lost != before.Lost {
		t.Errorf("%d errors of functions were held against the peer", after.Lost-before.Lost)
	}
	if good := after.Served - before.Served; good != int64(functions)+2 {
		t.Errorf("%d calls count as served, want %d", good, functions+2)
	}

	// A peer that refuses, whether by the drop-in or by something else.
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, _ := strconv.Atoi(r.URL.Query().Get("status")); status > 0 {
			w.WriteHeader(status)
		}
	}))
	defer refuses.Close()
	anew := func() {
		t.Helper()
		eventually(t, "the old server is gone", func() bool {
			a.reconcile(t, peerAt(t, idB, b.Addr))
			_, there := a.server(t, idC)
			return !there
		})
		a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, refuses.Listener.Addr().String()))
	}
	anew()
	lost := func(id string) int64 {
		t.Helper()
		if _, ok := a.server(t, id); !ok {
			t.Fatalf("no server %s", id)
		}
		return a.answers(t, id).Lost
	}
	want := int64(0)
	for _, status := range []int{403, 404, 429, 500, 502, 503, 504} {
		call(t, "GET", fmt.Sprintf("http://%s/function/f?status=%d", a.decided, status), nil, "Test-Action", "peer", "Test-Target", idC, "Test-Token", tokenOf(idA))
		want++
		if n := lost(idC); n != want {
			t.Errorf("%d lost after %d, want %d", n, status, want)
		}
	}
	// The same server name, anew: its count begins anew.
	anew()
	if n := lost(idC); n != 0 {
		t.Errorf("a server that is new again has lost %d", n)
	}
}

// testNotFound: 404 is for what nobody has.
func testNotFound(t *testing.T, a, _ *node) {
	for _, test := range []struct {
		name, path string
		headers    []string
		status     int
		body       string
	}{
		{"nobody has it", "/function/missing-1", []string{"Test-Action", "local", "Test-Status", "404"}, 404, "no node has this function\n"},
		{"its node is gone", "/function/missing-2", []string{"Test-Action", "local", "Test-Status", "503"}, 503, "the node that has it"},
		{"nobody knows", "/function/missing-3", nil, 503, "not at this node"},
		{"here, and its own", "/function/missing-4", []string{"Test-Action", "local"}, 404, "says the gateway"},
		{"here a moment ago, and its own", "/function/missing-4/x?y", nil, 404, "says the gateway"},
		{"a longer name", "/function/missing-45", nil, 503, "not at this node"},
		{"nobody knows of a queue", "/async-function/queueless", nil, 503, "not at this node"},
		{"nobody has a queue", "/async-function/queueless", []string{"Test-Action", "local"}, 501, "served"},
		{"not implemented", "/function/status/501", nil, 501, "served"},
		{"deployed just now", "/function/f", []string{"Test-Action", "local", "Test-Status", "404"}, 200, "served"},
		{"deployed just now, after its node went", "/function/f", []string{"Test-Action", "local", "Test-Status", "503"}, 200, "served"},
		{"its own error", "/function/status/500", []string{"Test-Action", "local", "Test-Status", "404"}, 500, ""},
	} {
		before := call(t, "GET", "http://"+a.decided+"/heard", nil).body
		got := call(t, "GET", "http://"+a.decided+test.path, nil, test.headers...)
		wantReply(t, got, test.status, a.decided, idA)
		if !strings.Contains(got.body, test.body) {
			t.Errorf("%s: %q, want %q", test.name, got.body, test.body)
		}
		if retry := got.header.Get("Retry-After"); (retry != "") != (test.status == 503) {
			t.Errorf("%s: Retry-After %q", test.name, retry)
		}
		// With the next question dfaas-spoa hears of what was found, and of nothing else.
		heard := call(t, "GET", "http://"+a.decided+"/heard", nil).body
		if found := regexp.MustCompile(`^found f [0-9]+$`).MatchString(heard); test.path == "/function/f" && !found || test.path != "/function/f" && heard != before {
			t.Errorf("%s: dfaas-spoa hears %q, before that %q", test.name, heard, before)
		}
	}
}

package haproxy_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestHeaders is about what users and functions write into headers: through the
// drop-in of every version, with the decision of dfaas-spoa given by the test.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			binary := version.binary(t)
			a, b := startNode(t, binary, idA), startNode(t, binary, idB)
			a.addPeers(t, peerAt(t, idB, b.Addr), peerAt(t, idC, haproxytest.FreeAddr(t)))
			for _, test := range []struct {
				name string
				run  func(t *testing.T, a, b *node)
			}{
				{"number", testNumber},
				{"number and size of an answer's", testAnswersHeaders},
				{"names with another meaning", testNames},
			} {
				t.Run(test.name, func(t *testing.T) { test.run(t, a, b) })
			}
		})
	}
}

// mostFields is DFAAS_MAX_HEADER_FIELDS.
const mostFields = 90

// testNumber: a request with more header fields than a peer would take is refused
// here, whoever would serve it, and none is that a peer then refuses.
func testNumber(t *testing.T, a, b *node) {
	before, _ := a.server(t, idB)
	statuses := make(map[int]int)
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
	// fe_dfaas adds X-Forwarded-Proto before they are counted; HAProxy itself takes Connection away, and what it does not take is its 400.
	if statuses[200] != 7 || statuses[431] != 11 || statuses[400] != 1 {
		t.Errorf("statuses %v", statuses)
	}
	if now, _ := a.server(t, idB); now.Lost != before.Lost {
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

package haproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// quietly answers after a while without a word, then goes on after another one.
// What asks for a WebSocket gets one that is as silent.
func quietly(t *testing.T, silence time.Duration) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
		case r.Header.Get("Upgrade") != "":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			_ = conn.SetReadDeadline(time.Now().Add(silence))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) { // else the user's half is closed
				fmt.Fprint(conn, "event")
			}
		default:
			w.Header().Set("Content-Type", "text/event-stream")
			for range 2 {
				time.Sleep(silence)
				io.WriteString(w, "event")
				w.(http.Flusher).Flush()
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// TestSilence: a call, a stream of events and a WebSocket may be silent for as long
// as the function's time limit says, longer than HAProxy's clients may otherwise,
// and no longer, here and at a peer.
func TestSilence(t *testing.T) {
	t.Parallel()
	const silence = 3 * time.Second
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		addr, decided := quietly(t, silence), haproxytest.FreeAddr(t)
		frontend := strings.Replace(decidedFrontend, "    bind %s\n", "    bind %s\n    timeout client 1s\n", 1)
		n := &node{decided: decided, HAProxy: haproxytest.Start(t, haproxytest.Options{
			Binary: binary, NodeID: idA, Gateway: addr, Config: fmt.Sprintf(frontend, decided),
		})}
		n.addPeers(t, peerAt(t, idB, addr))
		n.waitState(t, idB, haproxy.Up)
		const once = "Connection: close\r\n"
		const webSocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
		for _, test := range []struct {
			kind, limit string
			events      int
		}{{webSocket, "6000", 1}, {webSocket, "1500", 0}, {webSocket, "", 1}, {once, "6000", 2}, {once, "1500", 0}} {
			for _, target := range []string{"", "Test-Action: peer\r\nTest-Target: " + idB + "\r\nTest-Token: " + tokenOf(idA) + "\r\n"} {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					limit := ""
					if test.limit != "" {
						limit = "Test-Timeout: " + test.limit + "\r\n"
					}
					events := func() (n int, text []byte) {
						conn := sent(t, decided, "GET /function/f HTTP/1.1\r\nHost: h\r\n"+limit+target+test.kind+"\r\n")
						defer conn.Close()
						_ = conn.SetReadDeadline(time.Now().Add(10 * silence)) // HAProxy closes it long before
						text, err := io.ReadAll(bufio.NewReader(conn))
						if err != nil {
							t.Fatal(err)
						}
						return strings.Count(string(text), "event") - strings.Count(string(text), "event-stream"), text
					}
					n, text := events()
					for again := 2; n != test.events && again > 0; again-- { // a busy machine's HAProxy may stand still for longer than the limit
						n, text = events()
					}
					if n != test.events {
						t.Errorf("limit %s ms, %.20q: %d events, want %d: %q", test.limit, test.kind, n, test.events, text)
					}
				})
			}
		}
	})
}

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
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
)

// TestLargeBuffers: an HAProxy whose buffers the operator has raised asks in larger
// frames. Whatever fits into a request must be decided on: without a decision it
// would be served here, be it over the limit or by a forged peer.
func TestLargeBuffers(t *testing.T) {
	t.Parallel()
	const self, stranger = "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkA", "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkB"
	for name, buffers := range map[string]struct {
		global string
		room   int // bytes of path and headers; HAProxy keeps 1 KiB for itself
	}{
		"by default": {"", 15 << 10},
		"64 KiB":     {"global\n    tune.bufsize 65536\n    setenv DFAAS_MAX_HEADERS 63136\n", 63 << 10},
		"128 KiB":    {"global\n    tune.bufsize 131072\n    setenv DFAAS_MAX_HEADERS 128672\n", 127 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := haproxytest.Start(t, haproxytest.Options{NodeID: self, Before: buffers.global, Patient: true})
			router := route.NewRouter(meter.New(time.Now()))
			router.Swap(testtable.Valid(t, &table.Table{
				Version: 1, NodeID: testvalue.Peer(self), TTLMillis: time.Hour.Milliseconds(),
				Functions: []table.Function{{Name: testvalue.Name("f"), Local: &table.Local{Share: 1}}},
			}), time.Now())
			socket, err := net.Listen("unix", proxy.SPOA)
			if err != nil {
				t.Fatal(err)
			}
			a, done := agent.New(router, zerolog.Nop()), make(chan error, 1)
			go func() { done <- a.Serve(t.Context(), socket) }()
			t.Cleanup(func() {
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			// 429 is the agent's decision; undecided it would be 503, of a gateway that is not there.
			status := func(path, token string) int {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+proxy.Addr+"/function/"+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if token != "" {
					r.Header.Set(haproxy.HeaderNodeID, stranger)
					r.Header.Set(haproxy.HeaderToken, token)
				}
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
				return answer.StatusCode
			}
			eventually(t, patience, "the agent is asked", func() error {
				if got := status("f", ""); got != http.StatusTooManyRequests {
					return fmt.Errorf("answered %d", got)
				}
				return nil
			})
			if got := status("f/"+strings.Repeat("x", buffers.room-1700), ""); got != http.StatusTooManyRequests {
				t.Errorf("a long path: %d", got)
			}
			if got := status("f/"+strings.Repeat("x", buffers.room-512), ""); got != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("a path that is too long for a peer: %d", got)
			}
			if got := status("f", "a."+strings.Repeat("b", buffers.room-1400)+".c"); got != http.StatusForbidden {
				t.Errorf("a long token: %d", got)
			}
			if got := status("f/"+strings.Repeat("x", buffers.room/2), "a."+strings.Repeat("b", buffers.room/2-1400)+".c"); got != http.StatusForbidden {
				t.Errorf("a long path and a long token: %d", got)
			}
			if n := a.FramesRefused(); n != 0 {
				t.Errorf("%d frames refused", n)
			}
		})
	}
}

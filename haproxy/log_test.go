package haproxy_test

import (
	"fmt"
	"regexp"
	"sync"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestLogSaysWhy: each line of the log of fe_dfaas is that of `option httplog`, with
// what dfaas-spoa said at its end, in the words of docs/operate.md.
func TestLogSaysWhy(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA})
		logged := func(path, line string, headers ...string) {
			t.Helper()
			want := regexp.MustCompile(`(?m)^127\.0\.0\.1:\d+ \[.*\] fe_dfaas ` + line + `$`)
			eventually(t, fmt.Sprintf("a line of the log of %s matches %s", path, want), func() bool {
				// An agent that does not answer is asked once in 100 ms, for which a busy machine makes one call.
				var calls sync.WaitGroup
				for range 4 {
					calls.Go(func() { call(t, "GET", "http://"+n.Addr+path, nil, headers...) })
				}
				calls.Wait()
				return want.MatchString(n.Log())
			})
		}
		const times, bytes, counts = `[-+0-9/]+ `, ` \d+ - - \S{4} `, `[0-9/]+ 0/0 `
		// The agent is not there.
		logged("/function/f0", `be_dfaas_local/gateway `+times+`200`+bytes+counts+`"GET /function/f0 HTTP/1\.1" dfaas:-/-/-`)
		logged("/other", `be_dfaas_local/<NOSRV> `+times+`404`+bytes+counts+`"GET /other HTTP/1\.1" dfaas:-/-/-`)
		startAgent(t, n.SPOA, 0)
		logged("/function/f0", `be_dfaas_local/gateway `+times+`200`+bytes+counts+`"GET /function/f0 HTTP/1\.1" dfaas:local/-/-`)
		logged("/function/f1", `be_dfaas_local/<NOSRV> `+times+`403`+bytes+counts+`"GET /function/f1 HTTP/1\.1" dfaas:deny/-/-`,
			haproxy.HeaderNodeID, idB, haproxy.HeaderToken, "a.b.c")
	})
}

package haproxy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestCallsAreCounted: what fails is counted by function, whoever made the status.
func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		n := startNode(t, binary, idA)
		for _, status := range []string{"200", "404", "429", "500", "501", "502", "503", "504"} {
			call(t, "GET", "http://"+n.decided+"/function/status/"+status, nil, "Test-Action", "local")
		}
		call(t, "GET", "http://"+n.decided+"/function/break", nil, "Test-Action", "local")
		call(t, "GET", "http://"+n.decided+"/function/fine/with?query", nil, "Test-Action", "local")
		call(t, "GET", "http://"+n.decided+"/function/hang", nil, "Test-Action", "local", "Test-Timeout", "100")
		call(t, "GET", "http://"+n.decided+"/async-function/queued", nil, "Test-Action", "local")
		// Neither what a queue takes, nor what is refused, nor what nobody knows.
		call(t, "GET", "http://"+n.decided+"/function/refused", nil, "Test-Action", "deny", "Test-Status", "429")
		call(t, "GET", "http://"+n.decided+"/function/guess", nil, "Test-Action", "local", "Test-Status", "404")
		call(t, "GET", "http://"+n.decided+"/function/unknown", nil)
		want := map[string]haproxy.Calls{"status": {Begun: 8, Failed: 4}, "break": {Begun: 1, Failed: 1}, "fine": {Begun: 1}, "hang": {Begun: 1, Failed: 1}}
		eventually(t, "the calls are counted", func() bool {
			got, err := n.Client.Look(t.Context())
			t.Log(cmp.Diff(want, got.Calls))
			return err == nil && cmp.Equal(want, got.Calls)
		})
	})
}

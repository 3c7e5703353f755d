package haproxy_test

import (
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// X-Server calls a node as its operator does, also for calls from the node itself,
// and never what a value of the setting could be taken for.
func TestServerName(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		for name, host := range map[string]string{"edge-3": "edge-3", "%[dst]": "%[dst]", "off": "", "": ""} {
			n := startWith(t, haproxytest.Options{Binary: binary, NodeID: idA, Settings: map[string]string{haproxy.EnvNodeName: name}})
			own, port, _ := strings.Cut(n.Addr, ":")
			if host == "" {
				host = own
			}
			for _, path := range []string{"/function/f", "/healthz", "/other"} {
				if got := call(t, "GET", "http://"+n.Addr+path, nil).header.Get(haproxy.HeaderServer); got != host+":"+port {
					t.Errorf("%s=%q, %s: X-Server is %q, want %s:%s", haproxy.EnvNodeName, name, path, got, host, port)
				}
			}
		}
	})
}

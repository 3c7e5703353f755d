package haproxy_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestSettings: what is wrong in /etc/default/haproxy is found by `haproxy -c`, which
// says where, before HAProxy is restarted with it; what is only not there yet keeps
// it from nothing.
func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"dfaas.cfg": haproxy.Config(), "dfaas-spoe.conf": haproxy.SPOEConfig()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		for _, test := range []struct{ name, value, want string }{
			{haproxy.EnvProxies, "", ""},
			{haproxy.EnvTLSBind, "", ""},
			{haproxy.EnvPeersOnly, "", ""},
			{haproxy.EnvSourceCalls, "", ""},
			{haproxy.EnvFastPath, "", ""},
			{haproxy.EnvFastPath, haproxy.FastPathOn, ""},
			{haproxy.EnvInstance, "", ""},
			{haproxy.EnvNodeName, "", ""},
			{haproxy.EnvNodeName, "%[id] %{", ""},
			{haproxy.EnvGateway, "gateway.invalid:8080", ""},
			{haproxy.EnvSPOA, "spoa.invalid:9000", ""},
			{haproxy.EnvBind, "192.0.2.77:8180", ""},

			{haproxy.EnvBind, "", "set to nothing"},
			{haproxy.EnvGateway, "", "set to nothing"},
			{haproxy.EnvNodeID, "", "set to nothing"},
			{haproxy.EnvStats, "", "set to nothing"},
			{haproxy.EnvSPOA, "", "set to nothing"},
			{haproxy.EnvSPOEConf, "", "set to nothing"},
			{haproxy.EnvPeerConnect, "", "set to nothing"},
			{haproxy.EnvMaxHeaders, "", "set to nothing"},
			{haproxy.EnvMaxFields, "", "set to nothing"},
			{haproxy.EnvPeerMaxConn, "", "set to nothing"},
			{haproxy.EnvMaxConn, "", "set to nothing"},
			{haproxy.EnvBodyWait, "", "set to nothing"},

			{haproxy.EnvFastPath, "yes", "neither on nor off"},
			{haproxy.EnvFastPath, "On", "neither on nor off"},
			{haproxy.EnvSourceCalls, "many", "not a number|neither a number"},
			{haproxy.EnvPeersOnly, "here", "not a valid IPv4 or IPv6 address"},
			{haproxy.EnvBodyWait, "soon", "wait-for-body"},
			{haproxy.EnvBind, "8180", "missing port"},
			{haproxy.EnvGateway, "127.0.0.1", "gateway"},
			{haproxy.EnvNodeID, "%[id]", "DFaaS-Node-ID|http-after-response set-header"},
			{haproxy.EnvStats, "8404", "missing port"},
			{haproxy.EnvSPOEConf, "/none/dfaas-spoe.conf", "/none/dfaas-spoe.conf"},
			{haproxy.EnvProxies, "proxy", "not a valid IPv4 or IPv6 address"},
			{haproxy.EnvPeerConnect, "soon", "timeout connect"},
			{haproxy.EnvMaxHeaders, "all", "not a number|neither a number"},
			{haproxy.EnvMaxFields, "all", "not a number|neither a number"},
			{haproxy.EnvTLSBind, ":8443", "/none/node.pem"},
		} {
			env := map[string]string{haproxy.EnvSPOEConf: filepath.Join(dir, "dfaas-spoe.conf"), haproxy.EnvTLSDir: "/none"}
			maps.Copy(env, map[string]string{test.name: test.value})
			output, err := binary.Check(env, "/etc/haproxy/haproxy.cfg", filepath.Join(dir, "dfaas.cfg"))
			found := false
			for text := range strings.SplitSeq(test.want, "|") {
				found = found || strings.Contains(output, text) && strings.Contains(output, "dfaas")
			}
			if (err == nil) != (test.want == "") || err != nil && !found {
				t.Errorf("%s=%q: %v, want %q\n%s", test.name, test.value, err, test.want, output)
			}
		}
	})
}

// TestStartsWhatever: neither a gateway whose name is not known yet nor an address
// that is not there yet keeps the operator's HAProxy down.
func TestStartsWhatever(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		site := haproxytest.FreeAddr(t)
		haproxytest.Start(t, haproxytest.Options{
			Binary: binary, NodeID: idA, Gateway: "gateway.invalid:8080", Bind: "192.0.2.77:8180",
			Before: "frontend site\n    mode http\n    timeout client 1s\n    bind " + site + "\n    http-request return status 200\n",
		})
		if got := call(t, "GET", "http://"+site+"/", nil); got.status != 200 {
			t.Errorf("the operator's site: %d", got.status)
		}
	})
}

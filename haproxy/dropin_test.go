package haproxy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// TestConfigIsAcceptedWithoutWarnings is the promise of one drop-in for all
// versions, beside an operator's configuration and with hardly any.
func TestConfigIsAcceptedWithoutWarnings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dropin := write("dfaas.cfg", haproxy.Config())
	plain := map[string]string{haproxy.EnvSPOEConf: write("dfaas-spoe.conf", haproxy.SPOEConfig())}
	tls := map[string]string{
		haproxy.EnvSPOEConf: plain[haproxy.EnvSPOEConf], haproxy.EnvTLSBind: ":8443", haproxy.EnvTLSDir: newPeer(t, 1).dir,
		haproxy.EnvProxies: "127.0.0.1 10.1.0.0/16", haproxy.EnvMaxConn: "1000", haproxy.EnvSourceCalls: "20", haproxy.EnvPeersOnly: "10.1.0.0/16",
	}
	minimal := write("minimal.cfg", "global\n\tlog stderr format raw local0\n\tstats socket "+filepath.Join(dir, "s")+" level admin\n")

	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		for _, before := range []string{"/etc/haproxy/haproxy.cfg", minimal} {
			for _, env := range []map[string]string{plain, tls} {
				output, err := binary.Check(env, before, dropin)
				if err != nil || output != "" {
					t.Errorf("%v haproxy -c -f %s -f dfaas.cfg: %v\n%s", env, before, err, output)
				}
			}
		}
	})
}

// TestConfigAndConstantsAgree finds names that were changed in one place only.
func TestConfigAndConstantsAgree(t *testing.T) {
	t.Parallel()
	for _, env := range []string{
		haproxy.EnvBind, haproxy.EnvGateway, haproxy.EnvNodeID, haproxy.EnvNodeName, haproxy.EnvStats,
		haproxy.EnvSPOA, haproxy.EnvSPOEConf, haproxy.EnvPeerConnect, haproxy.EnvPeerMaxConn, haproxy.EnvMaxConn, haproxy.EnvBodyWait, haproxy.EnvSourceCalls, haproxy.EnvPeersOnly,
		haproxy.EnvProxies, haproxy.EnvInstance, haproxy.EnvMaxHeaders, haproxy.EnvMaxFields, haproxy.EnvTLSBind, haproxy.EnvTLSDir,
	} {
		if !strings.Contains(haproxy.Config(), "presetenv "+env+" ") {
			t.Errorf("%s has no default in dfaas.cfg", env)
		}
		if env == haproxy.EnvPeerMaxConn {
			continue // for the servers that Client adds
		}
		if strings.Count(haproxy.Config(), "${"+env+"}")+strings.Count(haproxy.Config(), "${"+env+"[*]}") == 0 {
			t.Errorf("%s is not used in dfaas.cfg", env)
		}
	}
	for _, line := range []string{
		"frontend " + haproxy.FrontendUsers + " from dfaas",
		"frontend " + haproxy.FrontendFallback + " from dfaas",
		"frontend " + haproxy.FrontendStats + " from dfaas",
		"backend " + haproxy.BackendLocal + " from dfaas_backend",
		"backend " + haproxy.BackendPeers + " from dfaas_backend",
		"backend " + haproxy.BackendSPOA + " from dfaas",
		"    server " + haproxy.ServerLocal + ` "abns@`,
		`    bind "${` + haproxy.EnvTLSBind + `}" ssl crt "${` + haproxy.EnvTLSDir + "}/" + haproxy.CertificateFile +
			`" ca-file "${` + haproxy.EnvTLSDir + "}/" + haproxy.AnchorsFile + `" verify required `,
	} {
		if !strings.Contains(haproxy.Config(), "\n"+line) {
			t.Errorf("dfaas.cfg has no line %q", line)
		}
	}
	for _, variable := range []string{
		haproxy.VarAction, haproxy.VarTarget, haproxy.VarToken, haproxy.VarStatus, haproxy.VarTimeout,
	} {
		if !strings.Contains(haproxy.Config(), "var("+variable+")") {
			t.Errorf("%s is not used in dfaas.cfg", variable)
		}
	}
}

// TestConfigLeavesTheOperatorAlone: every proxy and defaults section bears our
// name, and the global section sets nothing but our environment.
func TestConfigLeavesTheOperatorAlone(t *testing.T) {
	t.Parallel()
	section := regexp.MustCompile(`^(global|defaults dfaas|defaults dfaas_backend from dfaas|` +
		`(frontend fe|backend be)_dfaas\w* from dfaas\w*)$`)
	global := false
	for i, line := range strings.Split(haproxy.Config(), "\n") {
		switch {
		case line == "" || strings.HasPrefix(strings.TrimSpace(line), "#") || strings.HasPrefix(line, "."):
		case !strings.HasPrefix(line, " "):
			global = line == "global"
			if !section.MatchString(line) {
				t.Errorf("dfaas.cfg:%d: section %q", i+1, line)
			}
		case global && !strings.HasPrefix(line, "    presetenv DFAAS_") && !strings.HasPrefix(line, "    setenv DFAAS_") && !strings.HasPrefix(line, "    .alert "):
			t.Errorf("dfaas.cfg:%d: %q in the global section", i+1, line)
		}
	}
}

// TestDefaultPortsAreFree: HAProxy is started beside a gateway, and a port that is
// taken keeps it from starting, with all of the operator's sites.
func TestDefaultPortsAreFree(t *testing.T) {
	t.Parallel()
	const others = " 8080 8081 8082 9090 9093 " // faasd's gateway and provider, the gateway's metrics, Prometheus, Alertmanager
	for _, name := range []string{haproxy.EnvBind, haproxy.EnvStats} {
		found := regexp.MustCompile(`presetenv ` + name + ` "[^"]*:(\d+)"`).FindStringSubmatch(haproxy.Config())
		if found == nil || strings.Contains(others, " "+found[1]+" ") {
			t.Errorf("%s: %q", name, found)
		}
	}
}

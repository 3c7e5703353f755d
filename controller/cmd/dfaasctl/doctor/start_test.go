package doctor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/service"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

// node is the files of HAProxy's service, and what runs of it.
type node struct {
	t        *testing.T
	dir      string
	settings map[string]string
	socket   string
	program  string
}

func newNode(t *testing.T) *node {
	dir := t.TempDir()
	n := &node{t: t, dir: dir, socket: filepath.Join(dir, "none"), program: "haproxy", settings: map[string]string{
		"CONFIG": filepath.Join(dir, "haproxy.cfg"), "PIDFILE": filepath.Join(dir, "pid"),
		"EXTRAOPTS":         `"-f ` + filepath.Join(dir, service.DropInFile) + `"`,
		haproxy.EnvBind:     haproxytest.FreeAddr(t),
		haproxy.EnvStats:    haproxytest.FreeAddr(t),
		haproxy.EnvSPOEConf: filepath.Join(dir, "dfaas-spoe.conf"),
		haproxy.EnvInstance: fmt.Sprintf("doctor-%d", os.Getpid()),
		haproxy.EnvNodeID:   "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
		haproxy.EnvGateway:  "127.0.0.1:8080",
		haproxy.EnvSPOA:     agentsSocket(t),
	}}
	n.write("haproxy.cfg", "global\n    log stderr format raw local0\n")
	n.write(service.DropInFile, haproxy.Config())
	n.write("dfaas-spoe.conf", haproxy.SPOEConfig())
	return n
}

// agentsSocket makes dfaas-spoa's socket, and returns DFAAS_SPOA for it.
func agentsSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // shorter than the test's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "spoa.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return unixPrefix + l.Addr().String()
}

func (n *node) write(name, text string) {
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) examine() map[string]Verdict {
	n.t.Helper()
	var text strings.Builder
	for name, value := range n.settings {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	n.write("default", text.String())
	s, err := service.Load(filepath.Join(n.dir, "default"), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	verdicts := map[string]Verdict{}
	for _, r := range ExamineStart(n.t.Context(), Start{Settings: s, RuntimeSocket: n.socket, Program: n.program}) {
		verdicts[r.Check] = r.Verdict
	}
	return verdicts
}

// expect wants this verdict of one check, and OK of all others.
func (n *node) expect(check string, level Level, finding, hint string) {
	n.t.Helper()
	for name, v := range n.examine() {
		if name != check {
			if v.Level != OK {
				n.t.Errorf("%s: %+v", name, v)
			}
			continue
		}
		if v.Level != level || !strings.Contains(v.Finding, finding) || !strings.Contains(v.Hint, hint) {
			n.t.Errorf("%s: got %+v, want %s, %q and %q", name, v, level, finding, hint)
		}
	}
}

func TestStart(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	taken := held.Addr().String()
	me := fmt.Sprintf("is taken by %s, process %d", filepath.Base(os.Args[0]), os.Getpid())
	port := held.Addr().(*net.TCPAddr).Port
	for _, c := range []struct {
		name          string
		check         string
		level         Level
		finding, hint string
		spoil         func(*node)
	}{
		{"well", haproxy.EnvBind, OK, "is free", "", func(*node) {}},
		{"taken", haproxy.EnvBind, Fail, taken + " " + me + ": HAProxy will not start", "such as DFAAS_BIND=127.0.0.1:", func(n *node) {
			n.settings[haproxy.EnvBind] = taken
		}},
		{"taken on one address", haproxy.EnvBind, Fail, fmt.Sprintf("0.0.0.0:%d %s", port, me), "http_address", func(n *node) {
			n.settings[haproxy.EnvBind] = fmt.Sprintf(":%d", port)
		}},
		{"statistics", haproxy.EnvStats, Fail, me, "DFAAS_STATS", func(n *node) { n.settings[haproxy.EnvStats] = taken }},
		{"elsewhere", haproxy.EnvBind, Warn, "192.0.2.77 is not an address of this machine: HAProxy starts", "DFAAS_BIND", func(n *node) {
			n.settings[haproxy.EnvBind] = "192.0.2.77:8081"
		}},
		{"opened twice", haproxy.EnvBind, Fail, "haproxy.cfg:5 opens 127.0.0.1:", "DFAAS_BIND", func(n *node) {
			n.write("haproxy.cfg", "global\n    log stderr format raw local0\nfrontend own\n    timeout client 1s\n    bind "+n.settings[haproxy.EnvBind]+"\n")
		}},
		{"a configuration that is wrong", "configuration files", Fail, "unknown keyword 'nonsense'", "correct it", func(n *node) {
			n.write("haproxy.cfg", "global\n    nonsense\n")
		}},
		{"without the drop-in", "drop-in", Warn, "without dfaas.cfg", "EXTRAOPTS=", func(n *node) {
			n.settings["EXTRAOPTS"] = ""
			n.write("haproxy.cfg", "defaults\n    timeout client 1s\nfrontend own\n    bind "+haproxytest.FreeAddr(n.t)+"\n")
		}},
		{"without a file", "configuration files", Fail, "will not start without", "make install", func(n *node) {
			if err := os.Remove(filepath.Join(n.dir, "dfaas-spoe.conf")); err != nil {
				n.t.Fatal(err)
			}
		}},
		{"a gateway that does not resolve", haproxy.EnvGateway, Fail, "faasd.invalid does not resolve", "/etc/hosts", func(n *node) {
			n.settings[haproxy.EnvGateway] = "faasd.invalid:8080"
		}},
		{"no gateway's address", haproxy.EnvGateway, Fail, "http://127.0.0.1:8080", "HOST:PORT", func(n *node) {
			n.settings[haproxy.EnvGateway] = "http://127.0.0.1:8080"
		}},
		{"no agent there", haproxy.EnvSPOA, Warn, "is /nowhere/spoa.sock, where no dfaas-spoa listens", "systemctl start dfaas-spoa", func(n *node) {
			n.settings[haproxy.EnvSPOA] = "unix@/nowhere/spoa.sock"
		}},
		{"no unix socket", haproxy.EnvSPOA, OK, "127.0.0.1:9000", "", func(n *node) { n.settings[haproxy.EnvSPOA] = "127.0.0.1:9000" }},
		{"a chroot in which it is not", haproxy.EnvSPOA, Warn, "with chroot /var/empty is /var/empty/", "dfaas-spoa", func(n *node) {
			n.write("haproxy.cfg", "global\n    log stderr format raw local0\n    chroot /var/empty\n")
		}},
		{"a setting that is misspelt", "settings", Warn, "nobody reads DFAAS_GATEWY", "write DFAAS_GATEWAY instead of DFAAS_GATEWY", func(n *node) {
			n.settings["DFAAS_GATEWY"] = "127.0.0.1:8081"
		}},
		{"as for a shell", "settings", Warn, "nobody reads export DFAAS_BIND", "write DFAAS_BIND instead of export DFAAS_BIND", func(n *node) {
			n.settings["export DFAAS_BIND"] = ":8181"
		}},
		{"a setting that is like none", "settings", Warn, "nobody reads DFAAS_BANANA_REPUBLIC", "at the head of dfaas.cfg", func(n *node) {
			n.settings["DFAAS_BANANA_REPUBLIC"] = "yes"
		}},
		{"nobody's id", haproxy.EnvNodeID, Warn, `"unknown" is not the id`, "dfaasctl id", func(n *node) { n.settings[haproxy.EnvNodeID] = "unknown" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			c.spoil(n)
			// HAProxy itself may complain, too.
			v := n.examine()[c.check]
			if v.Level != c.level || !strings.Contains(v.Finding, c.finding) || !strings.Contains(v.Hint, c.hint) {
				t.Errorf("got %+v, want %s, %q and %q", v, c.level, c.finding, c.hint)
			}
		})
	}
}

// TestSPOASocket: what HAProxy sees of a path depends on its chroot.
func TestSPOASocket(t *testing.T) {
	value := agentsSocket(t)
	listen := strings.TrimPrefix(value, unixPrefix)
	for _, c := range []struct {
		chroot, value string
		there         bool
		instead       string
	}{
		{"/", value, true, value},
		{"/", "unix@/spoa.sock", false, value},
		{filepath.Dir(listen), "unix@/spoa.sock", true, "unix@/spoa.sock"},
		{filepath.Dir(listen), value, false, "unix@/spoa.sock"},
		{"/var/empty", value, false, ""},
	} {
		n := newNode(t)
		n.settings[haproxy.EnvSPOA] = c.value
		n.write("haproxy.cfg", "global\n    chroot "+c.chroot+"\n")
		n.examine()
		s, err := service.Load(filepath.Join(n.dir, "default"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if f := gatherSPOASocket(s, listen); f.there != c.there || f.instead != c.instead {
			t.Errorf("%+v: %+v", c, f)
		}
	}
}

// TestOldHAProxy: what it says of the files is due to its age.
func TestOldHAProxy(t *testing.T) {
	n := newNode(t)
	n.program = filepath.Join(n.dir, "haproxy")
	const old = "#!/bin/sh\n[ $1 = -v ] && echo 'HA-Proxy version 2.2.9-2+deb11u6 2023/08/22 - https://haproxy.org/' && exit\n" +
		"echo \"[ALERT] 333/102916 (5038) : parsing [dfaas.cfg:40] : unknown keyword 'presetenvs'.\"; exit 1\n"
	if err := os.WriteFile(n.program, []byte(old), 0o700); err != nil {
		t.Fatal(err)
	}
	v := n.examine()
	if got := v["haproxy version"]; got.Level != Fail || !strings.Contains(got.Finding, "2.2.9-2+deb11u6 is too old") {
		t.Errorf("%+v", got)
	}
	if got := v["configuration files"]; got.Level != Fail || !strings.Contains(got.Finding, "for it is 2.2.9-2+deb11u6: parsing") {
		t.Errorf("%+v", got)
	}
}

// TestRestart: what HAProxy itself has will be free, what another one has not.
func TestRestart(t *testing.T) {
	proxy := haproxytest.Start(t, haproxytest.Options{})
	n := newNode(t)
	n.settings[haproxy.EnvBind] = proxy.Addr
	n.expect(haproxy.EnvBind, Fail, "is taken by haproxy, process", "such as DFAAS_BIND=127.0.0.1:")
	n.socket = proxy.Socket
	n.expect(haproxy.EnvBind, OK, "which HAProxy has now", "")
}

// A gateway that cannot be looked up is named.
func TestGatewayThatDoesNotResolve(t *testing.T) {
	v := lookUp(t.Context(), "faasd.invalid:8080").judge("DFAAS_GATEWAY")
	if v.Level != Fail || !strings.Contains(v.Finding, "faasd.invalid does not resolve") {
		t.Errorf("%+v", v)
	}
	for _, address := range []string{"127.0.0.1:8080", "[::1]:8080", "/run/faasd.sock", "unix@/run/x"} {
		if v := lookUp(t.Context(), address).judge("DFAAS_GATEWAY"); v.Level != OK {
			t.Errorf("%s: %+v", address, v)
		}
	}
}

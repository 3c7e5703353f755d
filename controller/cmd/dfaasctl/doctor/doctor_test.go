package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/listeners"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
)

const self, peerA, peerB = "12D3KooWself", "12D3KooWaaaa", "12D3KooWbbbb"

// healthy is a node with nothing to complain of: every case below spoils it.
func healthy() *Facts {
	c := config.Default()
	c.HTTPAddress, c.FederationKey = "10.1.0.1:8081", "/var/lib/dfaas/federation.key"
	up := func(names ...string) backendFacts {
		var b backendFacts
		for _, name := range names {
			checked := !strings.HasPrefix(name, "local") && !strings.HasPrefix(name, "elsewhere")
			b.servers = append(b.servers, haproxy.Server{Name: name, State: haproxy.Up, Checked: checked})
		}
		return b
	}
	return &Facts{
		Settings: Settings{Config: c, ConfigFile: config.DefaultFile},
		Own:      []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.0.1")},
		Controller: controllerFacts{
			status: api.Status{NodeID: self, Version: "1", Federation: "lab", Strategy: "headroom",
				Components: []api.Component{{Name: "spoa", OK: true}, {Name: "haproxy", OK: true}}},
			peers: []api.Peer{{ID: peerA, State: "alive", Server: "up"}, {ID: peerB, State: "alive", Server: "up", ClockSkewMillis: -10_000}},
		},
		SPOA: spoaFacts{health: control.Health{Version: "1", TableVersion: 7, Fresh: true}},
		HAProxy: haproxyFacts{
			info:  haproxy.Info{Version: "2.6.12-1+deb12u1", PID: 4711},
			local: up("gateway", "elsewhere", "elsewhere-2"), peers: up("local", "local-2", peerA, peerB), spoa: up("spoa"), tlsBind: "off", level: "admin",
			settings: map[string]string{haproxy.EnvBind: ":8081", haproxy.EnvNodeID: "unknown", haproxy.EnvGateway: "127.0.0.1:8080"},
		},
		HTTP:      httpFacts{status: 200, nodeID: self, forged: forgedFacts{status: 403, counted: true}},
		Gateway:   gatewayFacts{list: faasd.List{Functions: []faasd.Function{{Name: testvalue.Name("figlet"), Labels: faasd.Labels{HasMaxRate: true}}}}},
		Trust:     trustFacts{identityID: self},
		NextStart: []Result{{"DFAAS_BIND", ok("free")}},
		Clock:     clockFacts{synchronised: true},
	}
}

func TestHealthyNodeIsAllOK(t *testing.T) {
	results := judge(healthy())
	for _, r := range results {
		if r.Level != OK || r.Finding == "" || r.Hint != "" {
			t.Errorf("%s: %+v", r.Check, r.Verdict)
		}
	}
	// All but those that speak up only when something is noteworthy.
	if want := len(checks()) - len([]string{"refused peers", "refused by peers", "newer peers", "functions", "limits", "spoa refusals", "function limits", "haproxy fast path"}); len(results) != want {
		t.Errorf("%d results, want %d", len(results), want)
	}
	if Failures(results) != 0 {
		t.Error("failures were counted")
	}
}

// fastPath has HAProxy's on, of which the controller says that.
func fastPath(status *api.FastPath) func(*Facts) {
	return func(f *Facts) {
		f.HAProxy.settings[haproxy.EnvFastPath] = haproxy.FastPathOn
		f.Controller.status.FastPath = status
	}
}

// spoiled is a fact that is not as it should be, and what one check makes of it.
type spoiled struct {
	check   string
	level   Level // "" when the check does not apply any more
	finding string
	hint    string
	spoil   func(*Facts)
}

func TestVerdicts(t *testing.T) {
	denied := fmt.Errorf("opening: %w", fs.ErrPermission)
	gone := fmt.Errorf("opening: %w", fs.ErrNotExist)
	broken := errors.New("broken\nin two lines")
	down := backendFacts{servers: []haproxy.Server{{Name: "s", State: haproxy.Down, Check: "L4CON in 0ms"}}}

	haproxyRuns := []listeners.Process{{PID: 4711, Name: "haproxy"}}
	noKey := &deniedError{who: who{name: "dfaas"}, path: "/etc/dfaas/federation.key", verb: "read", mode: 0o600}
	status := func(code int) error { return fmt.Errorf("listing: %w", &faasd.StatusError{Code: code}) }
	noHost := fmt.Errorf("listing: %w", &net.DNSError{Name: "faas.example", IsNotFound: true})
	for _, c := range []spoiled{
		{"configuration", Fail, "", "--config", func(f *Facts) { f.ConfigError, f.Controller.err = broken, broken }},
		{"configuration", Warn, "runs with other settings than are seen here: broken; in two lines", "--config",
			func(f *Facts) { f.ConfigError = broken }},
		{"configuration", Fail, "would not start again: broken", "correct it", func(f *Facts) { f.ConfigError, f.Running.Args = broken, []string{} }},
		{"configuration", Fail, "opening", "--config", func(f *Facts) { f.ConfigError, f.Named = gone, true }},
		{"configuration", Warn, "not checked", "as root", func(f *Facts) { f.ConfigError = denied }},
		{"configuration", Fail, "would not start again: dfaas may not read", "chown dfaas:", func(f *Facts) { f.ConfigAccess = noKey }},
		{"configuration", OK, "without a file", "", func(f *Facts) { f.ConfigFile = "" }},

		{"controller", Fail, "broken", "journalctl", func(f *Facts) { f.Controller.err = broken }},
		{"controller", Fail, "broken", "correct its configuration first", func(f *Facts) { f.Controller.err, f.ConfigError = broken, broken }},
		{"controller", Warn, "not checked", "as root", func(f *Facts) { f.Controller.err = denied }},
		{"controller parts", "", "", "", func(f *Facts) { f.Controller.err = broken }},
		{"controller parts", Fail, "haproxy: no permission", "", func(f *Facts) {
			f.Controller.status.Components[1] = api.Component{Name: "haproxy", Error: "no permission"}
		}},
		{"controller parts", Fail, "haproxy: broken; in two lines", "", func(f *Facts) {
			f.Controller.status.Components[1] = api.Component{Name: "haproxy", Error: broken.Error()}
		}},
		{"peers", "", "", "", func(f *Facts) { f.Controller.err = broken }},
		{"peers", Warn, "alone: no member was found on the local network", "dfaasctl join", func(f *Facts) { f.Controller.peers = nil }},
		{"peers", Warn, "mdns is off", "bootstrap", func(f *Facts) { f.Controller.peers, f.Config.MDNS = nil, false }},
		{"peers", Warn, "alone: no other", "31600", func(f *Facts) { f.Controller.peers, f.Config.Bootstrap = nil, []string{"x"} }},
		{"peers", Warn, "alone: cannot reach any", "31600", func(f *Facts) {
			f.Controller.peers = nil
			f.Controller.status.Components = []api.Component{{Name: "overlay", Error: "cannot reach any"}}
		}},
		{"peers", Warn, "alone: 2 nodes connected, but not heard", "here it is lab", func(f *Facts) {
			f.Controller.peers = []api.Peer{{State: "connected"}, {State: "connected"}, {State: "refused"}}
		}},
		{"peers", Warn, "alone: 1 node turned away", "refused peers", func(f *Facts) { f.Controller.peers = []api.Peer{{State: "refused"}} }},
		{"peers", Warn, "alone: 1 node silent", "(31600) is still open", func(f *Facts) { f.Controller.peers = []api.Peer{{State: "expired"}} }},
		{"peers", OK, "1 alive, 1 expired", "", func(f *Facts) { f.Controller.peers[0].State = "expired" }},
		{"refused peers", Warn, peerA + ": the handshake failed", "compare the keys", refuse("the handshake failed: it has another federation key, or another identity than the address says, or there were too many connections at once")},
		{"refused peers", Warn, peerA, "compare the keys", refuse("connected but did not complete the handshake: it has another federation key, or there were too many connections at once")},
		{"refused peers", Warn, peerA, "add this node's id (dfaasctl id) to allow_peers there", refuse("closes the connection at once: most likely this node is not in its allow_peers")},
		{"refused peers", Warn, peerA, "add those that belong here", refuse("not on the allow list")},
		{"refused peers", Warn, peerA, "correct http_address there", refuse("announces 192.0.2.1:80, but is connected from 10.1.1.1: correct its http_address, or add 192.0.2.1 to allow_addresses here")},
		{"refused peers", Warn, peerA, "set peer_tls", refuse("wants TLS between HAProxies, this node does not: set peer_tls the same on all nodes")},
		{"refused by peers", Warn, peerA + " says that this node announces 192.0.2.10:8081", "set http_address here", func(f *Facts) {
			f.Controller.status.RefusedBy = []api.Refusal{{Peer: peerA, Reason: "announces 192.0.2.10:8081, but is connected from 10.1.1.1: correct its http_address"}}
		}},
		{"refused by peers", Warn, peerA + " says that this node has the identity of another node", "same identity.key", func(f *Facts) {
			f.Controller.status.RefusedBy = []api.Refusal{{Peer: peerA, Reason: "has the identity of another node: give each its own key"}}
		}},
		{"limits", Warn, "members: 256 are alive", "docs/operate.md", func(f *Facts) {
			f.Controller.status.Warnings = []string{"members: 256 are alive, which is the limit"}
		}},
		{"refused peers", Warn, peerA, "same identity.key", refuse("another node uses this node's identity")},
		{"refused peers", Warn, peerA, "docs/operate.md", refuse("announces too often")},
		{"refused peers", Warn, peerA, "compare the keys: federation_key must hold the same on all nodes (sha256sum), and the id in bootstrap be that node's (dfaasctl id); set peer_tls",
			func(f *Facts) {
				f.Controller.peers[0] = api.Peer{ID: peerA, State: "refused", Reason: "another federation key"}
				f.Controller.peers[1] = api.Peer{ID: peerB, State: "refused", Reason: "set peer_tls"}
			}},
		{"peers' servers", Warn, peerB + " at 192.0.2.2:8081 (down)", "firewalls", func(f *Facts) {
			f.Controller.peers[1].Server, f.Controller.peers[1].HTTP = "down", "192.0.2.2:8081"
		}},
		{"peers' servers", "", "", "", func(f *Facts) { f.Controller.peers = nil }},
		{"peers' servers", Warn, "(down L7STS/503)", "its gateway is down", unreached("down", "L7STS/503")},
		{"peers' servers", Warn, "(down L4CON", "nobody listens there", unreached("down", "L4CON in 0ms")},
		{"peers' servers", Warn, "(down L4TOUT", "DFAAS_PEER_CONNECT", unreached("down", "L4TOUT in 200ms")},
		{"peers' servers", Warn, "(down L6RSP", "peer_tls", unreached("down", "L6RSP")},
		{"peers' servers", OK, "reaches all 1", "", func(f *Facts) { // no calls are exchanged with it
			unreached("none", "")(f)
			f.Controller.peers[1].Apart = true
		}},
		{"peers' servers", Warn, "(none)", "could not give HAProxy a server", unreached("none", "")},
		{"peers' servers", Warn, "(maint)", "few seconds", unreached("maint", "")},

		{"spoa", Fail, "broken", "spoa_socket must be", func(f *Facts) { f.SPOA.err = broken }},
		{"spoa", Fail, "broken", "systemctl start dfaas-spoa", func(f *Facts) { f.SPOA.err, f.HAProxy.spoa = broken, down }},
		{"spoa", Warn, "not checked", "as root", func(f *Facts) { f.SPOA.err = denied }},
		{"spoa table", "", "", "", func(f *Facts) { f.SPOA.err = broken }},
		{"spoa table", Fail, "no table yet", "journalctl -u dfaas-controller", func(f *Facts) { f.SPOA.health = control.Health{} }},
		{"spoa table", Fail, "no table yet", "does not answer", func(f *Facts) { f.SPOA.health, f.Controller.err = control.Health{}, broken }},
		{"spoa table", Fail, "no table yet", "cannot send one: no permission", func(f *Facts) {
			f.SPOA.health, f.Controller.status.Components[0] = control.Health{}, api.Component{Name: "spoa", Error: "no permission"}
		}},
		{"spoa table", Fail, "version 7 is out of date", "controller", func(f *Facts) { f.SPOA.health.Fresh = false }},

		{"spoa refusals", Warn, "not accept 3 tables", "same version", func(f *Facts) { f.SPOA.health.TablesRefused = 3 }},

		{"haproxy", Fail, "broken", "stats socket /run/haproxy/admin.sock", func(f *Facts) { f.HAProxy.err = broken }},
		{"haproxy", Fail, "HAProxy is not running", "systemctl start haproxy", func(f *Facts) { f.HAProxy.err = haproxy.ErrNotRunning }},
		{"haproxy", Fail, "HAProxy is not running", "systemctl start haproxy", func(f *Facts) { f.HAProxy.err = haproxy.ErrNoSocket }},
		{"haproxy", Fail, "HAProxy runs (haproxy, process 4711), but there is no runtime socket", "stats socket", func(f *Facts) {
			f.HAProxy.err, f.HAProxy.processes = haproxy.ErrNoSocket, haproxyRuns
		}},
		{"haproxy", Fail, "HAProxy is not running, or not the one", "dfaasctl check-haproxy", func(f *Facts) {
			f.HAProxy.err, f.HAProxy.processes = haproxy.ErrNotRunning, haproxyRuns
		}},
		{"haproxy", Fail, "does not answer", "systemctl restart haproxy", func(f *Facts) { f.HAProxy.err = haproxy.ErrTimeout }},
		{"haproxy", Fail, "has level operator", "level admin", func(f *Facts) { f.HAProxy.level = "operator" }},
		{"haproxy", Warn, "not checked", "as root", func(f *Facts) { f.HAProxy.err = haproxy.ErrPermission }},
		{"haproxy version", "", "", "", func(f *Facts) { f.HAProxy.err = broken }},
		{"haproxy version", Fail, "2.4.22 is too old", "2.6", func(f *Facts) { f.HAProxy.info.Version = "2.4.22" }},
		{"haproxy version", Warn, "newer than any that was tested", "3.4", func(f *Facts) { f.HAProxy.info.Version = "3.5-dev1" }},
		{"haproxy version", Warn, "not a version", "", func(f *Facts) { f.HAProxy.info.Version = "unknown" }},
		{"haproxy version", OK, "3.4.0", "", func(f *Facts) { f.HAProxy.info.Version = "3.4.0" }},
		{"haproxy drop-in", Fail, "no backend be_dfaas_peers", "EXTRAOPTS",
			func(f *Facts) { f.HAProxy.peers.err = haproxy.ErrNotLoaded }},
		{"haproxy drop-in", Fail, "broken", "log", func(f *Facts) { f.HAProxy.spoa.err = broken }},
		{"haproxy drop-in", Fail, "has no server local", "dfaas.cfg", func(f *Facts) { f.HAProxy.peers.servers = nil }},
		{"haproxy tls", OK, "over TLS at :8443", "", func(f *Facts) { f.HAProxy.tlsBind, f.Config.PeerTLS = ":8443", true }},
		{"haproxy tls", Fail, "refuses them all with 403", "DFAAS_TLS_BIND=off", func(f *Facts) { f.HAProxy.tlsBind = ":8443" }},
		{"haproxy tls", Fail, "no TLS port", "DFAAS_TLS_BIND", func(f *Facts) { f.Config.PeerTLS = true }},
		{"haproxy tls", Warn, "broken", "log", func(f *Facts) { f.HAProxy.tlsBind, f.HAProxy.tlsBindErr = "", broken }},
		{"haproxy tls", "", "", "", func(f *Facts) { f.HAProxy.tlsBind = "" }},
		{"haproxy fast path", "", "", "", func(f *Facts) { f.HAProxy.settings[haproxy.EnvFastPath] = "off" }},
		{"haproxy fast path", OK, "3 functions called now without a question", "", fastPath(&api.FastPath{Functions: 3})},
		{"haproxy fast path", Warn, "dfaas-controller does not know of it", "upgrade dfaas-controller", fastPath(nil)},
		{"haproxy fast path", Warn, "every call is asked about: broken", "of one release", fastPath(&api.FastPath{Error: "broken"})},
		{"haproxy asks spoa", Fail, "s is down L4CON in 0ms; every call is served here", "it runs: DFAAS_SPOA (",
			func(f *Facts) { f.HAProxy.spoa = down }},
		{"haproxy asks spoa", Fail, "s is down", "systemctl start dfaas-spoa", func(f *Facts) { f.HAProxy.spoa, f.SPOA.err = down, broken }},
		{"haproxy asks spoa", "", "", "", func(f *Facts) { f.HAProxy.err = broken }},
		{"haproxy reaches gateway", Fail, "does not reach 127.0.0.1:8080: s is down", "its /healthz", func(f *Facts) { f.HAProxy.local = down }},
		{"haproxy reaches gateway", Fail, "gateway is down L4CON", "its /healthz", func(f *Facts) {
			f.HAProxy.local.servers[0].State, f.HAProxy.local.servers[0].Check = haproxy.Down, "L4CON"
		}},
		{"haproxy reaches gateway", Fail, "s is down", "start the gateway", func(f *Facts) { f.HAProxy.local, f.Gateway.err = down, broken }},
		{"haproxy reaches gateway", Fail, "does not reach 127.0.0.1:8080", "set DFAAS_GATEWAY=10.1.0.1:9090", func(f *Facts) {
			f.HAProxy.local, f.Config.Gateway = down, "http://10.1.0.1:9090"
		}},
		{"haproxy reaches gateway", Fail, "faas.example does not resolve: no such host", "DFAAS_GATEWAY in /etc/default/haproxy", func(f *Facts) {
			f.HAProxy.local, f.HAProxy.gateway = down, gatewayName{"faas.example:8080", "faas.example", noHost}
		}},
		{"haproxy reaches gateway", "", "", "", func(f *Facts) { f.HAProxy.local.err = broken }},

		{"haproxy's next start", "", "", "", func(f *Facts) { f.NextStart = nil }},
		{"haproxy's next start", Fail, "DFAAS_BIND: taken by faasd", "dfaasctl check-haproxy", func(f *Facts) {
			f.NextStart = append(f.NextStart, Result{"DFAAS_BIND", fail("x", "taken by faasd")})
		}},
		{"haproxy's next start", Warn, "settings: nobody reads DFAAS_BNID", "dfaasctl check-haproxy", func(f *Facts) {
			f.NextStart = append(f.NextStart, Result{"settings", warn("x", "nobody reads DFAAS_BNID")})
		}},

		{"http address", Fail, "10.1.0.1:8081: broken", "DFAAS_BIND", func(f *Facts) { f.HTTP = httpFacts{err: broken} }},
		{"http address", Fail, "10.1.0.1:8081: broken", "DFAAS_TLS_BIND", func(f *Facts) { f.HTTP, f.Config.PeerTLS = httpFacts{err: broken}, true }},
		{"http address", Warn, "not checked", "as root", func(f *Facts) { f.HTTP, f.Config.PeerTLS = httpFacts{err: denied}, true }},
		{"http address", Fail, "answers 503", "start the gateway", func(f *Facts) { f.HTTP.status = 503 }},
		{"http address", Fail, "answers 404", "be_dfaas_local", func(f *Facts) { f.HTTP.status = 404 }},
		{"http address", "", "", "", func(f *Facts) { f.Config.HTTPAddress = "" }},
		{"http address", Fail, "broken", "see haproxy", func(f *Facts) { f.HTTP, f.HAProxy.err = httpFacts{err: broken}, haproxy.ErrNotRunning }},
		{"http address", Fail, "192.0.2.10 is the placeholder of an example", "set http_address", func(f *Facts) {
			f.HTTP, f.Config.HTTPAddress = httpFacts{err: broken}, "192.0.2.10:8081"
		}},
		{"http address", Warn, "10.9.9.9 is not an address of this machine (10.1.0.1)", "allow_addresses", func(f *Facts) { f.Config.HTTPAddress = "10.9.9.9:8081" }},
		{"http address", Fail, "DFAAS_BIND=:8081 is for IPv4 only: broken", "DFAAS_BIND=[::]:PORT", func(f *Facts) {
			f.HTTP, f.Config.HTTPAddress = httpFacts{err: broken}, "[2001:db8::5]:8081"
			f.Own = []netip.Addr{netip.MustParseAddr("2001:db8::5")}
		}},
		{"http address", Fail, "placeholder", "set http_address", func(f *Facts) {
			f.HTTP, f.Config.HTTPAddress = httpFacts{err: broken}, "[2001:db8::5]:8081"
			f.HAProxy.settings[haproxy.EnvBind] = ":::8081"
		}},
		{"http address", Warn, "listen has no IPv6 address", "correct listen", func(f *Facts) {
			f.Config.HTTPAddress, f.Own = "[2001:db8::5]:8081", []netip.Addr{netip.MustParseAddr("2001:db8::5")}
		}},
		{"node id", Warn, `HAProxy says "unknown"`, "DFAAS_NODE_ID=" + self, func(f *Facts) { f.HTTP.nodeID = "unknown" }},
		{"node id", Warn, `HAProxy says "unknown"`, "DFAAS_NODE_ID=" + peerA, func(f *Facts) {
			f.HTTP.nodeID, f.Controller.status, f.Trust.identityID = "unknown", api.Status{}, peerA
		}},
		{"node id", Fail, "is another node, " + peerA, "http_address", func(f *Facts) {
			f.HTTP.nodeID, f.HAProxy.settings[haproxy.EnvNodeID] = peerA, self
		}},
		{"node id", Fail, "no header DFaaS-Node-ID", "be_dfaas_local", func(f *Facts) { f.HTTP.nodeID = "" }},
		{"node id", "", "", "", func(f *Facts) { f.HTTP.err = broken }},
		{"forged peer", Fail, "got 200 instead of 403", "send-spoe-group", func(f *Facts) { f.HTTP.forged = forgedFacts{status: 200} }},
		{"forged peer", Fail, "dfaas-spoa counted no refusal", "filter spoe", func(f *Facts) { f.HTTP.forged.counted = false }},
		{"forged peer", Warn, "got 403, but not checked", "spoa_socket", func(f *Facts) { f.HTTP.forged.countErr = broken }},
		{"forged peer", Warn, "got 403, but not checked", "as root", func(f *Facts) { f.SPOA = spoaFacts{err: denied} }},
		{"forged peer", "", "", "", func(f *Facts) { f.HTTP.forged.status, f.SPOA.health.Fresh = 200, false }},
		{"forged peer", "", "", "", func(f *Facts) { f.HTTP.forged.status, f.HAProxy.spoa = 200, down }},

		{"gateway", Fail, "broken", "gateway must be", func(f *Facts) { f.Gateway.err = broken }},
		{"gateway", Fail, "nobody listens", "start it", func(f *Facts) { f.Gateway.err = fmt.Errorf("x: %w", syscall.ECONNREFUSED) }},
		{"gateway", Fail, "does not answer in time", "firewall", func(f *Facts) { f.Gateway.err = context.DeadlineExceeded }},
		{"gateway", Fail, "127.0.0.1 does not resolve: no such host", "/etc/hosts", func(f *Facts) { f.Gateway.err = noHost }},
		{"gateway", Fail, "is running, and requires a user", "set gateway_user", func(f *Facts) { f.Gateway.err = status(401) }},
		{"gateway", Fail, "is running, but refuses user admin with the password of /p", "correct gateway_user", func(f *Facts) {
			f.Gateway.err, f.Config.GatewayUser, f.Config.GatewayPasswordFile = status(401), "admin", "/p"
		}},
		{"gateway", Fail, "is no OpenFaaS gateway", "gateway must be", func(f *Facts) { f.Gateway.err = status(404) }},
		{"gateway", Fail, "is running, but not healthy", "log", func(f *Facts) { f.Gateway.err = status(500) }},
		{"gateway", Fail, "is no OpenFaaS gateway", "gateway must be", func(f *Facts) { f.Gateway.err = fmt.Errorf("x: %w", &json.SyntaxError{}) }},
		{"gateway", Fail, "no such file", "gateway_password_file", func(f *Facts) {
			f.Gateway.err = &fs.PathError{Op: "open", Path: "/p", Err: syscall.ENOENT}
		}},
		{"gateway", Fail, "dfaas may not read", "chown dfaas:", func(f *Facts) { f.Gateway.access = noKey }},
		{"gateway", Warn, "not checked", "as root", func(f *Facts) { f.Gateway.err = denied }},
		{"gateway", Warn, "has no functions", "docs/functions.md", func(f *Facts) { f.Gateway.list = faasd.List{} }},
		{"function labels", "", "", "", func(f *Facts) { f.Gateway.list = faasd.List{} }},
		{"function labels", Warn, "bad name, figlet: broken; in two lines, figlet: too long", "docs/functions.md", func(f *Facts) {
			f.Gateway.list.Refused = []string{"bad name"}
			f.Gateway.list.Functions[0].Labels = faasd.Labels{MaxRateErr: broken, TimeoutErr: errors.New("too long")}
		}},
		{"function limits", OK, "100 requests/s are assumed: figlet", "", func(f *Facts) { f.Gateway.list.Functions[0].Labels = faasd.Labels{} }},

		{"identity", Warn, "no /var/lib/dfaas/identity.key yet", "--create", func(f *Facts) {
			f.Trust.identityErr, f.Controller = gone, controllerFacts{}
		}},
		{"identity", Warn, "the controller runs, but there is no", "--config", func(f *Facts) { f.Trust.identityErr = gone }},
		{"identity", Warn, "not checked", "as root", func(f *Facts) { f.Trust.identityErr = denied }},
		{"identity", Fail, "broken", "0600", func(f *Facts) { f.Trust.identityErr = broken }},
		{"identity", Warn, "is " + peerA + ", the controller runs as " + self, "restart", func(f *Facts) { f.Trust.identityID = peerA }},
		{"federation key", "", "", "", func(f *Facts) { f.Config.FederationKey = "" }},
		{"federation key", Fail, "no /var/lib", "dfaasctl keygen /var/lib", func(f *Facts) { f.Trust.keyErr = gone }},
		{"federation key", Fail, "broken", "0600", func(f *Facts) { f.Trust.keyErr = broken }},
		{"federation key", Fail, "would not start again: dfaas may not read /etc/dfaas/federation.key (owner root, mode 0600)", "chown dfaas: /etc/dfaas/federation.key",
			func(f *Facts) { f.Trust.keyAccess = noKey }},
		{"federation key", Fail, "dfaas-controller will not start: dfaas may not", "chown", func(f *Facts) { f.Trust.keyAccess, f.Controller.err = noKey, broken }},
		{"identity", Fail, "would not start again: dfaas may not read", "chown dfaas:", func(f *Facts) { f.Trust.identityAccess = noKey }},
		{"who may join", Warn, "anybody", "federation_key", func(f *Facts) { f.Config.OpenFederation = true }},
		{"who may join", OK, "2 peers, listed", "", func(f *Facts) { f.Config.FederationKey, f.Config.AllowPeers = "", []string{peerA, peerB} }},
		{"who may join", OK, "1 peer, listed, with the federation key", "", func(f *Facts) { f.Config.AllowPeers = []string{peerA} }},
		{"who may join", "", "", "", func(f *Facts) { f.Config.FederationKey = "" }},

		{"newer peers", Warn, peerA, "upgrade dfaas-controller", func(f *Facts) { f.Controller.peers[0] = api.Peer{ID: peerA, State: "newer"} }},
		{"functions", Warn, "my_func: not announced", "dfaasctl functions", func(f *Facts) {
			f.Controller.functions = []api.Function{{Name: "ok"}, {Name: "my_func", Warning: "not announced to all members"}}
		}},

		{"clock", Warn, "not synchronised", "timedatectl", func(f *Facts) { f.Clock.synchronised = false }},
		{"clock", Warn, "broken", "timedatectl", func(f *Facts) { f.Clock.err = broken }},
		{"clocks of peers", Warn, peerB + " -11 s", "set the clocks right", func(f *Facts) { f.Controller.peers[1].ClockSkewMillis = -10_501 }},
		{"clocks of peers", Warn, "all peers differ", "this node's clock", func(f *Facts) {
			f.Controller.peers[0].ClockSkewMillis, f.Controller.peers[1].ClockSkewMillis = 20_000, 20_000
		}},
		{"clocks of peers", "", "", "", func(f *Facts) {
			f.Controller.peers = []api.Peer{{State: "alive", AgeMillis: -1, ClockSkewMillis: 99_999}, {State: "expired", ClockSkewMillis: 99_999}}
		}},
	} {
		t.Run(c.check+" "+string(c.level)+" "+c.finding, func(t *testing.T) { c.run(t) })
	}
}

func refuse(reason string) func(*Facts) {
	return func(f *Facts) { f.Controller.peers[0] = api.Peer{ID: peerA, State: "refused", Reason: reason} }
}

// unreached is a peer that is alive, and what HAProxy says of it.
func unreached(state, check string) func(*Facts) {
	return func(f *Facts) {
		f.Controller.peers[1].Server = state
		for i := range f.HAProxy.peers.servers {
			if s := &f.HAProxy.peers.servers[i]; s.Name == peerB {
				s.Check = check
			}
		}
	}
}

func (c spoiled) run(t *testing.T) {
	facts := healthy()
	c.spoil(facts)
	for _, check := range checks() {
		if check.name != c.check {
			continue
		}
		v := check.judge(facts)
		if v.Level != c.level || !strings.Contains(v.Finding, c.finding) || !strings.Contains(v.Hint, c.hint) {
			t.Errorf("got %+v", v)
		}
		if strings.Contains(v.Finding+v.Hint, "\n") {
			t.Errorf("more than one line: %+v", v)
		}
		if (v.Level == Warn || v.Level == Fail) && v.Hint == "" {
			t.Error("nothing says how to fix it")
		}
		return
	}
	t.Fatalf("there is no check %q", c.check)
}

// TestHAProxyNotices: what HAProxy says of a dfaas-spoa that does not answer counts once it
// would have noticed; if it then reaches it still, it is another socket that is dead.
func TestHAProxyNotices(t *testing.T) {
	server := func(state haproxy.State) backendFacts {
		return backendFacts{servers: []haproxy.Server{{Name: "spoa", State: state, Checked: true}}}
	}
	for name, test := range map[string]struct {
		first, then haproxy.State
		after       time.Duration // it says the other
		takes       time.Duration
		up          bool
	}{
		"down already":    {haproxy.Down, haproxy.Down, 0, 0, false},
		"about to notice": {haproxy.Up, haproxy.Down, 600 * time.Millisecond, 3 * lookAgain, false},
		"never":           {haproxy.Up, haproxy.Up, 0, noticed, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				facts := server(test.first).onceNoticed(t.Context(), func() backendFacts {
					if time.Since(begun) < test.after {
						return server(test.first)
					}
					return server(test.then)
				})
				if up, _ := facts.up(); up != test.up || time.Since(begun) != test.takes {
					t.Errorf("up %v after %v, want %v after %v", up, time.Since(begun), test.up, test.takes)
				}
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				begun = time.Now()
				server(test.first).onceNoticed(ended, func() backendFacts { return server(test.first) })
				if time.Since(begun) != 0 {
					t.Errorf("it goes on for %v after its context has ended", time.Since(begun))
				}
			})
		})
	}
}

func TestParseRelease(t *testing.T) {
	for version, want := range map[string]release{
		"2.6.12-1+deb12u1": {2, 6}, "3.3-dev1": {3, 3}, "3.0": {3, 0}, "10.11.12": {10, 11}, "": {}, "x.y": {}, "3": {},
	} {
		got, known := parseRelease(version)
		if known != (want != release{}) || known && got != want {
			t.Errorf("%q: %v, %v", version, got, known)
		}
	}
}

func TestFew(t *testing.T) {
	if got := few([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Error(got)
	}
}

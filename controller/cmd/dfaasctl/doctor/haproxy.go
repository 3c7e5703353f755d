package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/listeners"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// haproxyFacts is what HAProxy says over its runtime socket.
type haproxyFacts struct {
	err   error
	info  haproxy.Info
	local backendFacts // be_dfaas_local
	peers backendFacts // be_dfaas_peers
	spoa  backendFacts // be_dfaas_spoa

	tlsBind    string // DFAAS_TLS_BIND
	tlsBindErr error
	settings   map[string]string // others of its environment
	level      string            // of the runtime socket; "" unknown

	// processes are those of that name that this user may see.
	processes []listeners.Process
	// gateway is whether DFAAS_GATEWAY can be looked up.
	gateway gatewayName
}

type backendFacts struct {
	err     error
	servers []haproxy.Server
}

func gatherHAProxy(ctx context.Context, socket string) haproxyFacts {
	var f haproxyFacts
	path, err := unixsock.ParseSetting("haproxy_socket", socket)
	if err != nil {
		f.err = err
		return f
	}
	client := haproxy.New(path)
	// Only for the findings; without them they are less precise.
	f.processes, _ = listeners.Named("haproxy")
	if f.info, f.err = client.Info(ctx); f.err != nil {
		return f
	}
	f.level, _ = client.Level(ctx)
	f.settings = map[string]string{}
	for _, name := range []string{haproxy.EnvBind, haproxy.EnvGateway, haproxy.EnvNodeID, haproxy.EnvSPOA, haproxy.EnvFastPath} {
		f.settings[name], _ = client.Setting(ctx, name)
	}
	if gateway := f.settings[haproxy.EnvGateway]; gateway != "" {
		f.gateway = lookUp(ctx, gateway)
	}
	f.local, f.peers = gatherBackend(ctx, client, haproxy.BackendLocal), gatherBackend(ctx, client, haproxy.BackendPeers)
	f.spoa = gatherBackend(ctx, client, haproxy.BackendSPOA)
	f.tlsBind, f.tlsBindErr = client.Setting(ctx, haproxy.EnvTLSBind)
	return f
}

func gatherBackend(ctx context.Context, client *haproxy.Client, name string) backendFacts {
	servers, err := client.Servers(ctx, name)
	return backendFacts{err, servers}
}

func haproxyChecks() []check {
	return []check{
		{"haproxy", judgeRuntimeSocket},
		{"haproxy version", judgeVersion},
		{"haproxy drop-in", judgeDropIn},
		{"haproxy tls", judgeTLS},
		{"haproxy asks spoa", judgeSPOE},
		{"haproxy fast path", judgeFastPath},
		{"haproxy reaches gateway", judgeGatewayServer},
		{"haproxy's next start", judgeNextStart},
	}
}

func judgeRuntimeSocket(f *Facts) Verdict {
	if err := f.HAProxy.err; err != nil {
		if errors.Is(err, haproxy.ErrPermission) {
			return warn("run dfaasctl doctor as root", "not checked: %s", oneLine(err))
		}
		return f.judgeNoHAProxy(err)
	}
	if level := f.HAProxy.level; level != "" && level != haproxy.LevelAdmin {
		return fail("haproxy.cfg, section global: stats socket "+f.Config.HAProxySocket+" mode 660 level admin",
			"%s has level %s: no peer can be added", f.Config.HAProxySocket, level)
	}
	return ok("answers at %s, process %d", f.Config.HAProxySocket, f.HAProxy.info.PID)
}

// judgeNoHAProxy tells an HAProxy that does not run from one whose socket is
// elsewhere.
func (f *Facts) judgeNoHAProxy(err error) Verdict {
	socket := f.Config.HAProxySocket
	runs := len(f.HAProxy.processes) > 0
	switch {
	case errors.Is(err, haproxy.ErrNotRunning), errors.Is(err, haproxy.ErrNoSocket) && !runs:
		return fail("systemctl start haproxy; if it does not start: dfaasctl check-haproxy, journalctl -u haproxy",
			"HAProxy is not running, or not the one with the runtime socket %s", socket)
	case errors.Is(err, haproxy.ErrNoSocket):
		return fail("haproxy.cfg, section global: stats socket "+socket+" mode 660 level admin; or set haproxy_socket to the one that it has",
			"HAProxy runs (%s), but there is no runtime socket %s", processes(f.HAProxy.processes), socket)
	case errors.Is(err, haproxy.ErrTimeout):
		return fail("systemctl restart haproxy; its log may say why it hangs", "%s", oneLine(err))
	default:
		return fail("haproxy_socket must be HAProxy's runtime socket: stats socket "+socket+" mode 660 level admin", "%s", oneLine(err))
	}
}

// Versions of HAProxy.
var (
	oldestHAProxy = release{2, 6} // has send-spoe-group and what else the drop-in needs
	newestHAProxy = release{3, 4} // the last that the tests ran with
)

// release is major and minor of a version.
type release [2]int

func (r release) String() string { return fmt.Sprintf("%d.%d", r[0], r[1]) }

func (r release) before(other release) bool {
	return r[0] < other[0] || r[0] == other[0] && r[1] < other[1]
}

func judgeVersion(f *Facts) Verdict {
	if f.HAProxy.err != nil {
		return skip()
	}
	return judgeRelease(f.HAProxy.info.Version)
}

func judgeRelease(version string) Verdict {
	r, known := parseRelease(version)
	switch {
	case !known:
		return warn("use HAProxy 2.6 to 3.4", "%q is not a version that is understood", version)
	case r.before(oldestHAProxy):
		return fail("use HAProxy 2.6 to 3.4, such as that of Debian 12 or later", "%s is too old", version)
	case newestHAProxy.before(r):
		return warn("if anything is odd, try "+newestHAProxy.String(), "%s is newer than any that was tested", version)
	default:
		return ok("%s", version)
	}
}

// parseRelease reads "2.6.12-1+deb12u1", "3.3-dev1" and the like.
func parseRelease(version string) (release, bool) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return release{}, false
	}
	minor, _, _ := strings.Cut(parts[1], "-")
	var r release
	var err1, err2 error
	r[0], err1 = strconv.Atoi(parts[0])
	r[1], err2 = strconv.Atoi(minor)
	return r, err1 == nil && err2 == nil
}

func judgeDropIn(f *Facts) Verdict {
	if f.HAProxy.err != nil {
		return skip()
	}
	for _, b := range []struct {
		name  string
		facts backendFacts
	}{{haproxy.BackendLocal, f.HAProxy.local}, {haproxy.BackendPeers, f.HAProxy.peers}, {haproxy.BackendSPOA, f.HAProxy.spoa}} {
		switch {
		case errors.Is(b.facts.err, haproxy.ErrNotLoaded):
			return fail("load it after your own file: EXTRAOPTS in /etc/default/haproxy, as docs/install.md says, then restart HAProxy",
				"there is no backend %s", b.name)
		case b.facts.err != nil:
			return fail("see HAProxy's log", "%s", oneLine(b.facts.err))
		}
	}
	if !f.HAProxy.peers.has(haproxy.ServerLocal) {
		return fail("use the dfaas.cfg of this version", "%s has no server %s: calls whose peer is gone would be lost",
			haproxy.BackendPeers, haproxy.ServerLocal)
	}
	peers := 0
	for _, s := range f.HAProxy.peers.servers {
		if haproxy.ValidPeerID(s.Name) {
			peers++
		}
	}
	return ok("loaded, with %s of peers", count(peers, "server"))
}

// check is what the health check of a server said last.
func (b backendFacts) check(name string) string {
	for _, s := range b.servers {
		if s.Name == name {
			return s.Check
		}
	}
	return ""
}

func (b backendFacts) has(name string) bool {
	for _, s := range b.servers {
		if s.Name == name {
			return true
		}
	}
	return false
}

// up reports whether any server is that HAProxy checks, and so leads out of it, and
// what the checks of the others said.
func (b backendFacts) up() (bool, string) {
	var said []string
	for _, s := range b.servers {
		if !s.Checked && s.State == haproxy.Up {
			continue
		}
		if s.State == haproxy.Up {
			return true, ""
		}
		said = append(said, strings.TrimSpace(s.Name+" is "+string(s.State)+" "+s.Check))
	}
	return false, few(said)
}

// HAProxy notices within noticed that dfaas-spoa is gone: it looks every half second, and
// believes it after a second look, a tenth of a second later.
const noticed = 2 * time.Second

// onceNoticed is what HAProxy says of dfaas-spoa, which does not answer, once it would have
// noticed that it is gone: right after its end it still says that it is up.
func (b backendFacts) onceNoticed(ctx context.Context, look func() backendFacts) backendFacts {
	for deadline := time.Now().Add(noticed); time.Now().Before(deadline); b = look() {
		if up, _ := b.up(); !up {
			break
		}
		select {
		case <-ctx.Done():
			return b
		case <-time.After(lookAgain):
		}
	}
	return b
}

// judgeTLS finds a node of which one half wants TLS between nodes and the other does
// not.
func judgeTLS(f *Facts) Verdict {
	bind := f.HAProxy.tlsBind
	switch {
	case f.HAProxy.err != nil || bind == "" && f.HAProxy.tlsBindErr == nil: // no drop-in, which has a check of its own
		return skip()
	case f.HAProxy.tlsBindErr != nil:
		return warn("see HAProxy's log", "not checked: %s", oneLine(f.HAProxy.tlsBindErr))
	case bind == "off" && f.Config.PeerTLS:
		return fail("set DFAAS_TLS_BIND in /etc/default/haproxy and restart HAProxy, or peer_tls: false",
			"peer_tls is on, but HAProxy has no TLS port: no peer can reach this node")
	case bind != "off" && !f.Config.PeerTLS:
		return fail("set peer_tls: true, or DFAAS_TLS_BIND=off in /etc/default/haproxy and restart HAProxy",
			"peer_tls is off, but HAProxy wants TLS from peers (DFAAS_TLS_BIND=%s): it refuses them all with 403", bind)
	case bind == "off":
		return ok("off, as in peer_tls")
	default:
		return ok("peers come over TLS at %s", bind)
	}
}

func judgeSPOE(f *Facts) Verdict {
	if f.HAProxy.err != nil || f.HAProxy.spoa.err != nil {
		return skip()
	}
	if up, said := f.HAProxy.spoa.up(); !up {
		hint := "systemctl start dfaas-spoa"
		if f.SPOA.err == nil {
			hint = fmt.Sprintf("it runs: DFAAS_SPOA (%s) must be its socket for HAProxy (dfaas-spoa --listen), as seen inside HAProxy's chroot, "+
				"and HAProxy's user must be allowed to open it (group haproxy)", f.HAProxy.settings[haproxy.EnvSPOA])
		}
		return fail(hint, "%s; every call is served here, none is forwarded", said)
	}
	return ok("%s is up", haproxy.BackendSPOA)
}

// judgeFastPath finds an HAProxy that need not ask about every call and does, for nobody
// says about which.
func judgeFastPath(f *Facts) Verdict {
	if f.HAProxy.err != nil || f.HAProxy.settings[haproxy.EnvFastPath] != haproxy.FastPathOn || f.Controller.err != nil {
		return skip()
	}
	const consequence = haproxy.EnvFastPath + " is on, and yet every call is asked about"
	switch s := f.Controller.status.FastPath; {
	case s == nil:
		return warn("look again in five seconds; if it stays: upgrade dfaas-controller, and haproxy_socket must be that HAProxy's",
			"%s: dfaas-controller does not know of it", consequence)
	case s.Error != "":
		return warn("dfaas-spoa and dfaas-controller have to be of one release, and HAProxy's runtime socket of level admin", "%s: %s", consequence, oneLine(errors.New(s.Error)))
	default:
		return ok("on: %s called now without a question", count(s.Functions, "function"))
	}
}

func judgeGatewayServer(f *Facts) Verdict {
	if f.HAProxy.err != nil || f.HAProxy.local.err != nil {
		return skip()
	}
	setting := f.HAProxy.settings[haproxy.EnvGateway]
	if v := f.HAProxy.gateway.judge("DFAAS_GATEWAY in /etc/default/haproxy"); v.Level == Fail {
		return v
	}
	if up, said := f.HAProxy.local.up(); !up {
		own := strings.TrimPrefix(f.Config.GatewayURL(), "http://")
		hint := "start the gateway, or set DFAAS_GATEWAY in /etc/default/haproxy to its HOST:PORT and restart HAProxy"
		if f.Gateway.err == nil && setting != own {
			hint = fmt.Sprintf("the controller's gateway answers at %s: set DFAAS_GATEWAY=%s in /etc/default/haproxy and restart HAProxy", f.Config.Gateway, own)
		} else if f.Gateway.err == nil {
			hint = "it answers this program: its /healthz must answer 200"
		}
		return fail(hint, "HAProxy does not reach %s: %s", setting, said)
	}
	return ok("%s is up", haproxy.BackendLocal)
}

// judgeNextStart sums up what dfaasctl check-haproxy tells in full.
func judgeNextStart(f *Facts) Verdict {
	var failed, warned []string
	for _, r := range f.NextStart {
		switch r.Level {
		case Fail:
			failed = append(failed, r.Check+": "+r.Finding)
		case Warn:
			warned = append(warned, r.Check+": "+r.Finding)
		}
	}
	switch {
	case len(f.NextStart) == 0:
		return skip()
	case len(failed) > 0:
		return fail("dfaasctl check-haproxy says what to do; do not restart HAProxy before", "it will not start as it should: %s", few(failed))
	case len(warned) > 0:
		return warn("dfaasctl check-haproxy says what to do", "it will start, but: %s", few(warned))
	default:
		return ok("its service's files and settings are fine")
	}
}

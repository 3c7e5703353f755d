package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/debian"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
)

// proxy is a side that runs.
type proxy struct {
	*process
	address string
}

// testbed is what the data path is measured on: all sides before one gateway, those
// that ask with one dfaas-spoa. All of it runs all of the time, so that the sides can
// be measured in turn.
type testbed struct {
	dir       string
	gateway   string // address of the stub's
	peer      string // of its peer
	proxies   map[side]proxy
	spoa      *process
	control   *control.Client // of the SPOA
	processes []*process
	stops     []func() // last first
}

// newTestbed starts everything. The SPOA has no table yet.
func newTestbed(ctx context.Context, binaries federation.Binaries, groups []group) (_ *testbed, err error) {
	dir, err := os.MkdirTemp("/tmp", "dfaas-bench-") // not TMPDIR, whose path may be too long for sockets
	if err != nil {
		return nil, fmt.Errorf("a directory for the measurements: %w", err)
	}
	b := &testbed{dir: dir, proxies: make(map[side]proxy), stops: []func(){func() { _ = os.RemoveAll(dir) }}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := b.startStub(ctx, binaries[scenario.HAProxy]); err != nil {
		return nil, err
	}
	if err := b.startSPOA(ctx, binaries[scenario.SPOA]); err != nil {
		return nil, err
	}
	for _, g := range groups {
		for _, s := range g.sides {
			if err := b.startSide(ctx, g, s); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// close stops everything and removes its traces.
func (b *testbed) close() {
	for i := len(b.stops) - 1; i >= 0; i-- {
		b.stops[i]()
	}
}

func (b *testbed) start(ctx context.Context, p program, ready func(context.Context) error) (*process, error) {
	started, err := start(b.dir, p)
	if err != nil {
		return nil, err
	}
	b.processes = append(b.processes, started)
	b.stops = append(b.stops, started.stop)
	return started, started.await(ctx, ready)
}

// startStub starts the stub of a gateway and a peer.
func (b *testbed) startStub(ctx context.Context, binary string) error {
	config, err := b.write("stub.cfg", stubConfig)
	if err != nil {
		return err
	}
	listeners, err := listen(2)
	if err != nil {
		return err
	}
	b.gateway, b.peer = listeners[0].Addr().String(), listeners[1].Addr().String()
	_, err = b.start(ctx, program{
		name: "stub", argv: []string{binary, "-db", "-f", config}, env: []string{"BENCH_PEER=" + peerID()}, listeners: listeners,
	}, answers(b.gateway, ""))
	return err
}

func (b *testbed) startSPOA(ctx context.Context, binary string) error {
	b.control = control.New(testvalue.Path(b.controlSocket()))
	b.stops = append(b.stops, b.control.Close)
	var err error
	b.spoa, err = b.start(ctx, program{
		name: "dfaas-spoa", argv: []string{binary, "--listen", b.spoaSocket(), "--control", b.controlSocket()},
	}, func(ctx context.Context) error {
		_, err := b.control.Health(ctx)
		return err
	})
	return err
}

func (b *testbed) spoaSocket() string    { return filepath.Join(b.dir, "spoa.sock") }
func (b *testbed) controlSocket() string { return filepath.Join(b.dir, "control.sock") }

// newControl returns a client of the SPOA that knows what it understands.
func (b *testbed) newControl(ctx context.Context) (*control.Client, error) {
	c := control.New(testvalue.Path(b.controlSocket()))
	if _, err := c.Meter(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// startSide starts one of the sides and waits until it answers for the gateway.
func (b *testbed) startSide(ctx context.Context, g group, s side) error {
	switch s.kind {
	case goProxy:
		return b.startGoProxy(ctx, s)
	case caddy:
		return b.startCaddy(ctx, s)
	}
	config, err := configOf(s.kind)
	if err != nil {
		return err
	}
	global := runtimeConfig
	if s.kind == lua {
		global += luaConfig
	}
	name := s.name()
	files := make([]string, 4)
	for i, f := range []struct{ name, text string }{
		{name + "-global.cfg", global}, {name + ".cfg", config}, {name + "-spoe.conf", haproxy.SPOEConfig()},
		{name + ".lua", fmt.Sprintf(luaScript, limit.MaxRate, manyFunctions, peerID())},
	} {
		if files[i], err = b.write(f.name, f.text); err != nil {
			return err
		}
	}
	err = b.startAs(ctx, s, program{
		argv: append(g.argv[:len(g.argv):len(g.argv)], "-db", "-f", files[0], "-f", files[1]),
		env: []string{
			"BENCH_RUNTIME=" + b.runtime(s),
			"BENCH_LUA=" + files[3],
			haproxy.EnvBind + "=fd@3",
			haproxy.EnvStats + "=unix@" + filepath.Join(b.dir, name+"-stats.sock"),
			haproxy.EnvGateway + "=" + b.gateway,
			haproxy.EnvSPOA + "=unix@" + b.spoaSocket(),
			haproxy.EnvSPOEConf + "=" + files[2],
			haproxy.EnvNodeID + "=" + nodeID(),
			haproxy.EnvInstance + "=" + filepath.Base(b.dir) + "-" + name,
			haproxy.EnvFastPath + "=" + fastPathOf(s.kind),
		},
	})
	if err != nil || s.kind != dfaas {
		return err
	}
	return b.addPeer(ctx, s)
}

// startAs starts the program of a side, which gets its listener as descriptor 3.
func (b *testbed) startAs(ctx context.Context, s side, p program) error {
	listeners, err := listen(1)
	if err != nil {
		return err
	}
	address := listeners[0].Addr().String()
	p.name, p.listeners = s.name(), listeners
	started, err := b.start(ctx, p, answers(address, nodeOf(s.kind)))
	b.proxies[s] = proxy{started, address}
	return err
}

func (b *testbed) startGoProxy(ctx context.Context, s side) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return b.startAs(ctx, s, program{argv: []string{self, GoProxyCommand, b.gateway, b.peer}})
}

// startCaddy starts Debian's Caddy. It takes no listener, but a port that was free just now.
func (b *testbed) startCaddy(ctx context.Context, s side) error {
	found, err := debian.Find("bookworm", "caddy", "usr/bin/caddy")
	if err != nil {
		return err
	}
	listeners, err := listen(1)
	if err != nil {
		return err
	}
	address := listeners[0].Addr().String()
	listeners[0].Close()
	config, err := b.write("Caddyfile", fmt.Sprintf(caddyConfig, address, b.gateway, b.peer, nodeID()))
	if err != nil {
		return err
	}
	started, err := b.start(ctx, program{
		name: s.name(), argv: found.Argv("run", "--adapter", "caddyfile", "--config", config),
		env: []string{"HOME=" + b.dir, "XDG_DATA_HOME=" + b.dir, "XDG_CONFIG_HOME=" + b.dir},
	}, answers(address, nodeID()))
	b.proxies[s] = proxy{started, address}
	return err
}

func (b *testbed) runtime(s side) string { return filepath.Join(b.dir, s.name()+".sock") }

func configOf(k kind) (string, error) {
	switch k {
	case bare:
		return bareConfig, nil
	case unasked:
		return withoutSPOE(haproxy.Config())
	case lua:
		return withLua(haproxy.Config())
	default:
		return haproxy.Config(), nil
	}
}

// fastPathOf is whether a side need not ask about every call.
func fastPathOf(k kind) string {
	if k == fast {
		return haproxy.FastPathOn
	}
	return "off"
}

// nodeOf is the DFaaS-Node-ID that a side's answers have.
func nodeOf(k kind) string {
	if k == bare {
		return ""
	}
	return nodeID()
}

// addPeer gives a side with DFaaS the server of a peer, as the controller
// does, and waits until it can be used.
func (b *testbed) addPeer(ctx context.Context, s side) error {
	at, err := netip.ParseAddrPort(b.peer)
	if err != nil {
		return fmt.Errorf("the stub's address: %w", err)
	}
	client := haproxy.New(testvalue.Path(b.runtime(s)))
	steps := haproxy.Reconcile(nil, []haproxy.Peer{{ID: peerID(), Address: at}})
	if _, err := client.Apply(ctx, steps); err != nil {
		return fmt.Errorf("adding a peer: %w", err)
	}
	return b.proxies[s].await(ctx, func(ctx context.Context) error {
		servers, err := client.Servers(ctx, haproxy.BackendPeers)
		if err != nil {
			return err
		}
		for _, s := range servers {
			if s.Name == peerID() && s.State == haproxy.Up {
				return nil
			}
		}
		return errors.New("the peer's server is not up")
	})
}

func (b *testbed) write(name, text string) (string, error) {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing a configuration: %w", err)
	}
	return path, nil
}

// listen opens n free ports on the loopback interface.
func listen(n int) ([]net.Listener, error) {
	listeners := make([]net.Listener, n)
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("opening a port: %w", err)
		}
		listeners[i] = l
	}
	return listeners, nil
}

// answers returns a condition: the measured function is answered at address
// with 200, by that node.
func answers(address, node string) func(context.Context) error {
	return func(ctx context.Context) error {
		status, by, err := ask(ctx, http.DefaultClient, "http://"+address+functionPath)
		if err == nil && (status != http.StatusOK || by != node) {
			err = fmt.Errorf("%s answers %d from node %q, expected 200 from %q", address, status, by, node)
		}
		return err
	}
}

// ask calls a function once, and tells the status and the node that executed it.
func ask(ctx context.Context, client *http.Client, url string) (status int, node string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, "", err
	}
	return response.StatusCode, response.Header.Get(haproxy.HeaderNodeID), nil
}

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
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
)

// side is one of the HAProxies that are compared.
type side int

const (
	bare    side = iota // forwards to the gateway and does nothing else
	unasked             // has the drop-in, but asks nobody
	dfaas               // has the drop-in and asks dfaas-spoa
	sides
)

func (s side) String() string {
	return [sides]string{"bare HAProxy", "drop-in without SPOE", "with DFaaS"}[s]
}

// testbed is what the data path is measured on: three HAProxies before one gateway,
// the last of them with a dfaas-spoa. All of it runs all of the time, so that
// the sides can be measured in turn.
type testbed struct {
	dir       string
	proxies   [sides]*process
	address   [sides]string
	spoa      *process
	control   *control.Client // of the SPOA
	processes []*process
	stops     []func() // last first
}

// newTestbed starts everything. The SPOA has no table yet.
func newTestbed(ctx context.Context, binaries federation.Binaries) (_ *testbed, err error) {
	dir, err := os.MkdirTemp("/tmp", "dfaas-bench-") // not TMPDIR, whose path may be too long for sockets
	if err != nil {
		return nil, fmt.Errorf("a directory for the measurements: %w", err)
	}
	b := &testbed{dir: dir, stops: []func(){func() { _ = os.RemoveAll(dir) }}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	gateway, peer, err := b.startStub(ctx, binaries[scenario.HAProxy])
	if err != nil {
		return nil, err
	}
	if err := b.startSPOA(ctx, binaries[scenario.SPOA]); err != nil {
		return nil, err
	}
	for s := range sides {
		if err := b.startProxy(ctx, binaries[scenario.HAProxy], s, gateway); err != nil {
			return nil, err
		}
	}
	return b, b.addPeer(ctx, peer)
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

// startStub starts the stub and returns the addresses of its gateway and its peer.
func (b *testbed) startStub(ctx context.Context, binary string) (gateway, peer string, err error) {
	config, err := b.write("stub.cfg", stubConfig)
	if err != nil {
		return "", "", err
	}
	listeners, err := listen(2)
	if err != nil {
		return "", "", err
	}
	gateway, peer = listeners[0].Addr().String(), listeners[1].Addr().String()
	_, err = b.start(ctx, program{
		name: "stub", argv: []string{binary, "-db", "-f", config}, env: []string{"BENCH_PEER=" + peerID()}, listeners: listeners,
	}, answers(gateway, ""))
	return gateway, peer, err
}

func (b *testbed) startSPOA(ctx context.Context, binary string) error {
	socket := filepath.Join(b.dir, "control.sock")
	b.control = control.New(socket)
	b.stops = append(b.stops, b.control.Close)
	var err error
	b.spoa, err = b.start(ctx, program{
		name: "dfaas-spoa", argv: []string{binary, "--listen", b.spoaSocket(), "--control", socket},
	}, func(ctx context.Context) error {
		_, err := b.control.Health(ctx)
		return err
	})
	return err
}

func (b *testbed) spoaSocket() string { return filepath.Join(b.dir, "spoa.sock") }

// startProxy starts one of the sides and waits until it answers for the gateway.
func (b *testbed) startProxy(ctx context.Context, binary string, s side, gateway string) error {
	config, err := configOf(s)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("haproxy-%d", s)
	files := make([]string, 3)
	for i, f := range []struct{ name, text string }{
		{name + "-global.cfg", runtimeConfig}, {name + ".cfg", config}, {name + "-spoe.conf", haproxy.SPOEConfig()},
	} {
		if files[i], err = b.write(f.name, f.text); err != nil {
			return err
		}
	}
	listeners, err := listen(1)
	if err != nil {
		return err
	}
	b.address[s] = listeners[0].Addr().String()
	b.proxies[s], err = b.start(ctx, program{
		name: name, argv: []string{binary, "-db", "-f", files[0], "-f", files[1]}, listeners: listeners,
		env: []string{
			"BENCH_RUNTIME=" + b.runtime(s),
			haproxy.EnvBind + "=fd@3",
			haproxy.EnvStats + "=unix@" + filepath.Join(b.dir, name+"-stats.sock"),
			haproxy.EnvGateway + "=" + gateway,
			haproxy.EnvSPOA + "=unix@" + b.spoaSocket(),
			haproxy.EnvSPOEConf + "=" + files[2],
			haproxy.EnvNodeID + "=" + nodeID(),
			haproxy.EnvInstance + "=" + filepath.Base(b.dir) + "-" + name,
		},
	}, answers(b.address[s], nodeOf(s)))
	return err
}

func (b *testbed) runtime(s side) string {
	return filepath.Join(b.dir, fmt.Sprintf("haproxy-%d.sock", s))
}

func configOf(s side) (string, error) {
	switch s {
	case bare:
		return bareConfig, nil
	case unasked:
		return withoutSPOE(haproxy.Config())
	default:
		return haproxy.Config(), nil
	}
}

// nodeOf is the DFaaS-Node-ID that a side's answers have.
func nodeOf(s side) string {
	if s == bare {
		return ""
	}
	return nodeID()
}

// addPeer gives the side with DFaaS the server of a peer, as the controller
// does, and waits until it can be used.
func (b *testbed) addPeer(ctx context.Context, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the stub's address: %w", err)
	}
	client := haproxy.New(b.runtime(dfaas))
	steps := haproxy.Reconcile(nil, []haproxy.Peer{{ID: peerID(), Address: at}})
	if _, err := client.Apply(ctx, steps); err != nil {
		return fmt.Errorf("adding a peer: %w", err)
	}
	return b.proxies[dfaas].await(ctx, func(ctx context.Context) error {
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

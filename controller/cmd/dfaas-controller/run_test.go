package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/notify/notifytest"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
)

// edge is a whole node: the real HAProxy, SPOA and controller, and a gateway
// that answers every call of its functions with the node's name.
type edge struct {
	name    string
	id      string
	haproxy *haproxytest.HAProxy
	gateway *gateway
	admin   *api.Client
	conf    config.Config
	stop    func() error // the controller
}

// gateway is an OpenFaaS gateway as far as this test needs one.
type gateway struct {
	mu        sync.Mutex
	name      string
	functions map[string]string // maximum rate by name
}

func (g *gateway) set(functions map[string]string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.functions = functions
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case r.URL.Path == "/healthz":
	case r.URL.Path == "/system/functions":
		list := []map[string]any{}
		for name, rate := range g.functions {
			list = append(list, map[string]any{"name": name, "labels": map[string]string{"dfaas.maxrate": rate}})
		}
		json.NewEncoder(w).Encode(list)
	case g.functions[strings.TrimPrefix(r.URL.Path, "/function/")] != "":
		fmt.Fprint(w, g.name)
	default:
		http.NotFound(w, r)
	}
}

// startEdge starts a node and returns when its admin socket answers.
func startEdge(t *testing.T, name, key string, functions map[string]string, bootstrap ...string) *edge {
	t.Helper()
	dir := t.TempDir()
	id, err := identity.LoadOrCreate(filepath.Join(dir, "id"))
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{name: name, id: id.String(), gateway: &gateway{name: name, functions: functions}}
	server := httptest.NewServer(e.gateway)
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	e.haproxy = haproxytest.Start(t, haproxytest.Options{Gateway: address, NodeID: e.id})
	spoaSocket := filepath.Join(dir, "s")
	startSPOA(t, e.haproxy.SPOA, spoaSocket)

	e.conf = config.Default()
	e.conf.Identity, e.conf.FederationKey = filepath.Join(dir, "id"), key
	e.conf.Listen, e.conf.Bootstrap, e.conf.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, bootstrap, false
	e.conf.HTTPAddress, e.conf.Gateway = e.haproxy.Addr, address
	e.conf.HAProxySocket, e.conf.SPOASocket, e.conf.AdminSocket = e.haproxy.Socket, spoaSocket, filepath.Join(dir, "a")
	if _, err := e.conf.Parse(); err != nil {
		t.Fatal(err)
	}
	e.admin = api.NewClient(testvalue.Path(e.conf.AdminSocket))
	e.start(t)
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return e
}

// start runs the controller.
func (e *edge) start(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	settings, err := e.conf.Parse()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		err = Run(ctx, settings, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	}()
	e.stop = func() error {
		cancel()
		<-done
		return err
	}
	eventually(t, "the admin socket answers", func() bool {
		select {
		case <-done:
			t.Fatalf("the controller has ended: %v", err)
		default:
		}
		_, err := e.admin.Status(ctx)
		return err == nil
	})
}

// startSPOA runs the SPOA's parts on two sockets.
func startSPOA(t *testing.T, spop, controlSocket string) {
	t.Helper()
	started := time.Now()
	router := route.NewRouter(meter.New(started))
	a := agent.New(router, zerolog.Nop())
	listener, err := net.Listen("unix", spop)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, listener) }()
	controlListener, err := net.Listen("unix", controlSocket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: control.NewServer(router, a, "test", started, zerolog.Nop()).Handler()}
	go server.Serve(controlListener)
	t.Cleanup(func() {
		server.Close()
		cancel()
		<-done
	})
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not in 20 s: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// call calls a function and returns the status, the body and who executed it.
func (e *edge) call(t *testing.T, function string) (status int, body, node string) {
	t.Helper()
	resp, err := http.Get("http://" + e.haproxy.Addr + "/function/" + function)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header.Get(haproxy.HeaderNodeID)
}

func (e *edge) hasRoute(t *testing.T, function string, other *edge) bool {
	t.Helper()
	routes, err := e.admin.Routes(t.Context(), function)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Kind == "out" && r.Peer == other.id && r.Rate > 0 {
			return true
		}
	}
	return false
}

func (e *edge) address(t *testing.T) string {
	t.Helper()
	status, err := e.admin.Status(t.Context())
	if err != nil || len(status.Addresses) == 0 {
		t.Fatalf("no address: %v", err)
	}
	return status.Addresses[0]
}

// TestFederation runs two whole nodes: a function that only one has is called
// at the other, before and after everything that may end has ended once.
func TestFederation(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := identity.CreateFederationKey(key); err != nil {
		t.Fatal(err)
	}
	a := startEdge(t, "a", key, map[string]string{"cat": "10"})
	b := startEdge(t, "b", key, map[string]string{"cat": "10", "dog": "20"}, a.address(t))

	forwarded := func() bool {
		status, body, node := a.call(t, "dog")
		return status == http.StatusOK && body == "b" && node == b.id
	}
	eventually(t, "a sends calls of dog to b", forwarded)
	if status, body, node := a.call(t, "cat"); status != http.StatusOK || body != "a" || node != a.id {
		t.Errorf("cat at a: %d %q by %s", status, body, node)
	}
	if status, body, _ := a.call(t, "none"); status != http.StatusNotFound {
		t.Errorf("a function that nobody has: %d %q", status, body)
	}
	peers, err := a.admin.Peers(t.Context())
	if err != nil || len(peers) != 1 || peers[0].ID != b.id || peers[0].State != "alive" || peers[0].Server != "up" {
		t.Errorf("peers %+v, error %v", peers, err)
	}

	a.haproxy.Reload()
	eventually(t, "a's HAProxy forwards again after a reload", forwarded)

	b.gateway.set(map[string]string{"cat": "10"})
	eventually(t, "a removed function is not found", func() bool {
		status, _, _ := a.call(t, "dog")
		return status == http.StatusNotFound
	})
	b.gateway.set(map[string]string{"cat": "10", "dog": "20"})
	eventually(t, "a function deployed again is found", forwarded)

	if err := b.stop(); err != nil {
		t.Errorf("stopping b: %v", err)
	}
	eventually(t, "no route to a controller that has stopped", func() bool { return !a.hasRoute(t, "dog", b) })
	if status, body, node := b.call(t, "dog"); status != http.StatusOK || body != "b" || node != b.id {
		t.Errorf("dog at b without its controller: %d %q by %s", status, body, node)
	}
	b.start(t)
	eventually(t, "a sends calls of dog to b again", forwarded)
}

// lone is a controller that has nothing to talk to, its sockets in dir.
func lone(t *testing.T, dir string) *edge {
	conf := config.Default()
	conf.OpenFederation, conf.MDNS = true, false
	conf.Identity, conf.AdminSocket = filepath.Join(dir, "id"), filepath.Join(dir, "a")
	conf.HAProxySocket, conf.SPOASocket = filepath.Join(dir, "h"), filepath.Join(dir, "s")
	conf.HTTPAddress, conf.Gateway = "127.0.0.1:8081", "127.0.0.1:1"
	conf.Listen, conf.Metrics = []string{"/ip4/127.0.0.1/tcp/0"}, haproxytest.FreeAddr(t)
	return &edge{conf: conf, admin: api.NewClient(testvalue.Path(conf.AdminSocket))}
}

// TestSystemd: systemd hears when the SPOA has its first table, that the loop
// turns, however seldom it has something to do, and when the controller ends.
func TestSystemd(t *testing.T) {
	for name, tc := range map[string]struct {
		spoa  func(t *testing.T, dir string)
		ready bool
	}{
		"with a SPOA":         {func(t *testing.T, dir string) { startSPOA(t, dir+"/p", dir+"/s") }, true},
		"with one that hangs": {hang, false},
	} {
		t.Run(name, func(t *testing.T) {
			const watchdog = 300 * time.Millisecond
			environ, said := notifytest.Systemd(t, watchdog)
			for _, line := range environ {
				name, value, _ := strings.Cut(line, "=")
				t.Setenv(name, value)
			}
			dir := t.TempDir()
			tc.spoa(t, dir)
			e := lone(t, dir)
			e.conf.Period = 10 * time.Minute
			e.start(t)
			if tc.ready {
				notifytest.Want(t, said, "READY=1")
			}
			notifytest.Want(t, said, "WATCHDOG=1")
			const signs, tries = 10, 5 // a busy machine has more tries
			for try := 1; ; try++ {
				start := time.Now()
				for range signs {
					notifytest.Want(t, said, "WATCHDOG=1")
				}
				took := time.Since(start)
				if took <= signs*watchdog {
					break
				}
				if try == tries {
					t.Errorf("%d signs of life in %s, and no sooner before: systemd would have ended it", signs, took)
					break
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- e.stop() }()
			notifytest.Want(t, said, "STOPPING=1")
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// hang is a control socket where connections are made, and nobody answers.
func hang(t *testing.T, dir string) {
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// TestAloneWithoutAnything runs a controller that has nothing to talk to.
func TestAloneWithoutAnything(t *testing.T) {
	e := lone(t, t.TempDir())
	e.start(t)
	eventually(t, "what is missing is shown", func() bool {
		status, err := e.admin.Status(t.Context())
		broken := 0
		for _, c := range status.Components {
			if !c.OK && c.Error != "" && c.Error != "not reached yet" {
				broken++
			}
		}
		return err == nil && broken == 3
	})
	resp, err := http.Get("http://" + e.conf.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"dfaas_node_info{", "dfaas_members_alive 0", "dfaas_functions 0", "dfaas_plan_seconds_count", "dfaas_table_version 0",
		"dfaas_table_puts_failed_total", "dfaas_announcements_total", `dfaas_component_up{component="spoa"} 0`,
		`dfaas_component_up{component="overlay"} 1`, "process_resident_memory_bytes",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if err := e.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

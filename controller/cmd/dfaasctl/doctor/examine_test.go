package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestExamineRealParts examines a node with a real HAProxy, real files and real
// sockets; only what listens behind the sockets is made for the test.
func TestExamineRealParts(t *testing.T) {
	dir, err := os.MkdirTemp("", "dfaas")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := config.Default()
	c.Identity, c.FederationKey = filepath.Join(dir, "identity.key"), filepath.Join(dir, "federation.key")
	c.AdminSocket, c.SPOASocket = filepath.Join(dir, "admin.sock"), filepath.Join(dir, "control.sock")

	id, err := identity.LoadOrCreate(c.Identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.CreateFederationKey(c.FederationKey); err != nil {
		t.Fatal(err)
	}
	serveAdmin(t, c.AdminSocket, api.Status{
		NodeID: id.String(), Version: "1.0", Components: []api.Component{{Name: "spoa", OK: true}},
	})
	serveUnix(t, c.SPOASocket, `{"version": "1.0", "table_version": 5, "fresh": true}`)
	gateway := serveGateway(t)
	proxy := haproxytest.Start(t, haproxytest.Options{Gateway: gateway, NodeID: id.String()})
	c.Gateway, c.HAProxySocket, c.HTTPAddress = gateway, proxy.Socket, proxy.Addr
	waitState(t, proxy.Client, haproxy.BackendSPOA, haproxy.Down)

	results := Examine(t.Context(), Settings{Config: c})
	levels := map[string]Level{}
	for _, r := range results {
		t.Logf("%-4s %s: %s", r.Level, r.Check, r.Finding)
		levels[r.Check] = r.Level
	}
	// Nobody listens where HAProxy looks for the SPOA, and there are no peers.
	for check, want := range map[string]Level{
		"configuration": OK, "controller": OK, "controller parts": OK, "peers": Warn, "spoa": OK, "spoa table": OK,
		"haproxy": OK, "haproxy version": OK, "haproxy drop-in": OK, "haproxy tls": OK, "haproxy asks spoa": Fail, "haproxy reaches gateway": OK,
		"http address": OK, "node id": OK, "gateway": OK, "function labels": Warn, "identity": OK, "federation key": OK, "who may join": OK,
	} {
		if levels[check] != want {
			t.Errorf("%s is %q, want %q", check, levels[check], want)
		}
	}
	if Failures(results) != 1 {
		t.Errorf("%d failures", Failures(results))
	}
}

// TestExamineNothing examines a machine where nothing of DFaaS is.
func TestExamineNothing(t *testing.T) {
	dir := t.TempDir()
	c := config.Default()
	c.Identity, c.AdminSocket, c.SPOASocket, c.HAProxySocket = dir+"/i", dir+"/a", dir+"/s", dir+"/h"
	c.HTTPAddress, c.Gateway = haproxytest.FreeAddr(t), haproxytest.FreeAddr(t)
	_, err := c.Parse()
	results := Examine(t.Context(), Settings{Config: c, ConfigError: err})
	failed := map[string]bool{}
	for _, r := range results {
		failed[r.Check] = r.Level == Fail
	}
	for _, check := range []string{"configuration", "controller", "spoa", "haproxy", "http address", "gateway"} {
		if !failed[check] {
			t.Errorf("%s did not fail: %+v", check, results)
		}
	}
}

func serveAdmin(t *testing.T, socket string, status api.Status) {
	t.Helper()
	serve(t, socket, lonely{status})
}

func serve(t *testing.T, socket string, source api.Source) {
	t.Helper()
	ln, err := api.Listen(testvalue.Path(socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, ln, source, nil, zerolog.Nop()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// lonely is a controller without peers.
type lonely struct{ status api.Status }

func (l lonely) Status() api.Status               { return l.status }
func (lonely) Peers() []api.Peer                  { return nil }
func (lonely) Functions() []api.Function          { return nil }
func (lonely) Routes(string) []api.Route          { return nil }
func (lonely) Join(context.Context, string) error { return nil }

func serveUnix(t *testing.T, socket, answer string) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
}

// serveGateway runs a gateway with one function, one label of which is wrong.
func serveGateway(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
		case "/system/functions":
			fmt.Fprint(w, `[{"name": "figlet", "labels": {"dfaas.maxrate": "ten"}}]`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// waitState waits until HAProxy has found out whether somebody listens there.
func waitState(t *testing.T, client *haproxy.Client, backend string, state haproxy.State) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for {
		servers, err := client.Servers(t.Context(), backend)
		if err == nil && len(servers) > 0 && servers[0].State == state {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s is not %s: %+v, %v", backend, state, servers, err)
		}
	}
}

// recovering is a controller that finds a part again after some looks at it.
type recovering struct {
	lonely
	looks *atomic.Int32
}

func (r recovering) Status() api.Status {
	return api.Status{Components: []api.Component{{Name: "haproxy", OK: r.looks.Add(1) > 3}}}
}

// What has just been started, the controller may not have found yet.
func TestPatience(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "a.sock")
	serve(t, socket, recovering{looks: new(atomic.Int32)})
	if f := gatherController(t.Context(), socket); f.err != nil || failing(f.status) {
		t.Errorf("%+v", f)
	}
}

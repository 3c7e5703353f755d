package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// TestGatherHTTPS asks a real HAProxy over TLS, and then one of another node.
func TestGatherHTTPS(t *testing.T) {
	var nodes [2]config.Config
	for i := range nodes {
		id, err := identity.Generate()
		if err != nil {
			t.Fatal(err)
		}
		c := config.Config{PeerTLS: true, TLSDir: t.TempDir(), SPOASocket: filepath.Join(t.TempDir(), "control.sock")}
		if err := identity.NewCertificates(id, c.TLSDir).Prepare(time.Now()); err != nil {
			t.Fatal(err)
		}
		proxy := haproxytest.Start(t, haproxytest.Options{NodeID: id.String(), TLSDir: c.TLSDir})
		c.HTTPAddress = proxy.TLSAddr
		nodes[i] = c
		got := gatherHTTP(t.Context(), &c)
		if got.err != nil || got.nodeID != id.String() || got.forged.status == http.StatusForbidden || got.forged.countErr == nil {
			t.Errorf("without dfaas-spoa: got %+v", got)
		}
		serveSPOA(t, proxy, c.SPOASocket, id.String(), true)
		if got := gatherHTTP(t.Context(), &c); got.forged != (forgedFacts{status: http.StatusForbidden, counted: true}) {
			t.Errorf("with dfaas-spoa: got %+v", got)
		}
	}
	wrong := nodes[0]
	wrong.HTTPAddress = nodes[1].HTTPAddress
	if got := gatherHTTP(t.Context(), &wrong); got.err == nil {
		t.Errorf("another node passed for this one: %+v", got)
	}
	wrong.TLSDir = t.TempDir()
	if got := gatherHTTP(t.Context(), &wrong); !errors.Is(got.err, fs.ErrNotExist) {
		t.Errorf("without a certificate: %+v", got)
	}
}

// ownFrontends are an operator's. One lacks what makes HAProxy ask dfaas-spoa, one
// has something of its own that refuses callers.
const ownFrontends = `
frontend fe_asks from dfaas
    bind %s
    filter spoe engine dfaas config "${DFAAS_SPOE_CONF}"
    http-request send-spoe-group dfaas route
    default_backend be_dfaas_local
frontend fe_forgot from dfaas
    bind %s
    default_backend be_dfaas_local
frontend fe_refuses from dfaas
    bind %s
    http-request deny deny_status 403 if { path_beg /function/ }
    default_backend be_dfaas_local
`

// TestForgedPeer: a real HAProxy and dfaas-spoa, both well, tell nothing of a
// frontend that does not bring them together.
func TestForgedPeer(t *testing.T) {
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	asks, forgot, refuses := haproxytest.FreeAddr(t), haproxytest.FreeAddr(t), haproxytest.FreeAddr(t)
	proxy := haproxytest.Start(t, haproxytest.Options{
		Gateway: serveGateway(t), NodeID: id.String(), Config: fmt.Sprintf(ownFrontends, asks, forgot, refuses),
	})
	socket := filepath.Join(t.TempDir(), "control.sock")
	serveSPOA(t, proxy, socket, id.String(), false)
	for _, test := range []struct {
		address string
		level   Level
		finding string
	}{
		{proxy.Addr, OK, ""},
		{asks, OK, ""},
		{forgot, Fail, "instead of 403"},
		{refuses, Fail, "counted no refusal"},
	} {
		c := config.Config{HTTPAddress: test.address, SPOASocket: socket}
		f := Facts{
			Settings: Settings{Config: c},
			SPOA:     gatherSPOA(t.Context(), socket),
			HAProxy:  gatherHAProxy(t.Context(), proxy.Socket),
			HTTP:     gatherHTTP(t.Context(), &c),
		}
		v := judgeForged(&f)
		if v.Level != test.level || !strings.Contains(v.Finding, test.finding) || test.level == Fail && !strings.Contains(v.Hint, "send-spoe-group") {
			t.Errorf("%s: %+v, want %s", test.address, v, test.level)
		}
	}
}

// serveSPOA runs what dfaas-spoa is made of where HAProxy looks for it, with a
// table that names no peer, and waits until HAProxy has found it.
func serveSPOA(t *testing.T, proxy *haproxytest.HAProxy, socket, id string, peerTLS bool) {
	t.Helper()
	start := time.Now()
	router := route.NewRouter(meter.New(start))
	router.Swap(testtable.Valid(t, &table.Table{Version: 1, NodeID: testvalue.Peer(id), TTLMillis: time.Hour.Milliseconds(), PeerTLS: peerTLS}), start)
	spoa := agent.New(router, zerolog.Nop())
	spop, err := net.Listen("unix", proxy.SPOA)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- spoa.Serve(ctx, spop) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	ctl, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: control.NewServer(router, spoa, "1.0", start, zerolog.Nop()).Handler()}
	go server.Serve(ctl)
	t.Cleanup(func() { server.Close() })
	waitState(t, proxy.Client, haproxy.BackendSPOA, haproxy.Up)
}

func TestGatherHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(haproxy.HeaderNodeID, self)
		switch {
		case r.Header.Get(haproxy.HeaderNodeID) != "":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path != "/healthz":
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	spoa := filepath.Join(t.TempDir(), "control.sock")
	serveUnix(t, spoa, `{}`) // it counts nothing
	got := gatherHTTP(t.Context(), &config.Config{HTTPAddress: strings.TrimPrefix(server.URL, "http://"), SPOASocket: spoa})
	if want := (httpFacts{status: 200, nodeID: self, forged: forgedFacts{status: 403}}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

package haproxy_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
)

const (
	idA = "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkA"
	idB = "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkB"
	idC = "12D3KooWD3bfmNbuuuVGDMJd6Q4bSUKkpRuGDjZUmYNiFTkeGmkC"
)

// gateway is a node's gateway: it answers every function call, and remembers
// the last request.
type gateway struct {
	*httptest.Server
	sick  atomic.Bool // answers /healthz with 503
	calls atomic.Int64

	mu   sync.Mutex
	last received
}

// received is a request as a gateway or a peer saw it.
type received struct {
	header http.Header
	uri    string
	bytes  int64
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := new(gateway)
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

// awaitRefused returns when nobody listens at addr any more. A listener that was closed
// lives on in each process that is being forked at that moment, until it executes its
// program: what connects to it meanwhile is lost, which HAProxy answers with 502.
func awaitRefused(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "nobody listens at "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		if g.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	n, _ := io.Copy(io.Discard, r.Body)
	g.calls.Add(1)
	g.mu.Lock()
	g.last = received{r.Header.Clone(), r.RequestURI, n}
	g.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/function/hang"):
		select { // long enough for every time limit, short of HAProxy's own
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	case strings.HasPrefix(r.URL.Path, "/function/upgrade") && r.Header.Get("Upgrade") != "":
		// To whatever is asked for, as a function might.
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nthrough the tunnel", r.Header.Get("Upgrade"))
		return
	case strings.HasPrefix(r.URL.Path, "/function/headers"):
		writeHeaders(w, r)
	case strings.HasPrefix(r.URL.Path, "/function/break"):
		panic(http.ErrAbortHandler)
	case strings.HasPrefix(r.URL.Path, "/function/spoof"):
		for _, name := range []string{haproxy.HeaderServer, haproxy.HeaderNodeID, haproxy.HeaderToken, "DFaaS-Answered", "DFaaS-Room", "dfaas-other"} {
			w.Header().Add(name, "spoofed")
			w.Header().Add(name, "spoofed too")
		}
		w.Header().Set("Connection", haproxy.HeaderNodeID+", "+haproxy.HeaderServer+", X-Other")
	case strings.HasPrefix(r.URL.Path, "/function/interim"):
		w.Header().Set(haproxy.HeaderNodeID, "spoofed")
		w.Header().Set(haproxy.HeaderServer, "spoofed")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", haproxy.HeaderNodeID)
		defer w.Header().Set(haproxy.HeaderNodeID, "spoofed")
		w.WriteHeader(http.StatusOK)
	case r.URL.Query().Has("status"):
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(status)
	case strings.HasPrefix(r.URL.Path, "/function/status/"):
		status, _ := strconv.Atoi(r.URL.Path[len("/function/status/"):])
		w.WriteHeader(status)
	case r.URL.Path == "/async-function/queueless":
		w.WriteHeader(http.StatusNotImplemented)
	case strings.HasPrefix(r.URL.Path, "/function/missing"):
		http.Error(w, "no such function, says the gateway", http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, "served")
}

func (g *gateway) addr() string { return g.Listener.Addr().String() }

func (g *gateway) lastRequest() received {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// node is an HAProxy and its gateway.
type node struct {
	*haproxytest.HAProxy
	binary  haproxytest.Binary
	gateway *gateway
	// decided is the address of a frontend where the headers Test-Action,
	// Test-Target, ... take the place of dfaas-spoa's answer; at a peer's, to which
	// those do not get, There-Action and There-Timeout do.
	decided string
}

// decidedFrontend is the test's own frontend, as an operator would write one.
const decidedFrontend = `
frontend fe_decided from dfaas
    bind %s
    http-request set-var(txn.dfaas.action) req.hdr(There-Action) if { req.hdr(There-Action) -m found }
    http-request set-var(txn.dfaas.timeout) req.hdr(There-Timeout),add(0) if { req.hdr(There-Timeout) -m found }
    http-request set-var(txn.dfaas.action) req.hdr(Test-Action) if { req.hdr(Test-Action) -m found }
    http-request set-var(txn.dfaas.target) req.hdr(Test-Target) if { req.hdr(Test-Target) -m found }
    http-request set-var(txn.dfaas.token) req.hdr(Test-Token) if { req.hdr(Test-Token) -m found }
    http-request set-var(txn.dfaas.status) req.hdr(Test-Status),add(0) if { req.hdr(Test-Status) -m found }
    http-request set-var(txn.dfaas.timeout) req.hdr(Test-Timeout),add(0) if { req.hdr(Test-Timeout) -m found }
    http-request set-var(txn.dfaas.mark) req.hdr(Test-Mark),add(0) if { req.hdr(Test-Mark) -m found }
    http-request set-var(txn.dfaas.room) req.hdr(Room) if { req.hdr(Room) -m found }
    http-request return status 200 content-type text/plain lf-string "%%[var(proc.dfaas_heard)]" if { path /heard }
    http-request del-header Test- -m beg
    use_backend be_dfaas_peers if { var(txn.dfaas.action) -m str peer }
    default_backend be_dfaas_local
`

func startNode(t *testing.T, binary haproxytest.Binary, id string) *node {
	t.Helper()
	return startWith(t, haproxytest.Options{Binary: binary, NodeID: id})
}

// startPatient is startNode with a peer connected to in ten seconds, not in the 200 ms after
// which a call goes elsewhere: a busy machine's HAProxy may need more.
func startPatient(t *testing.T, binary haproxytest.Binary, id string) *node {
	t.Helper()
	return startWith(t, haproxytest.Options{Binary: binary, NodeID: id, Settings: map[string]string{haproxy.EnvPeerConnect: "10s"}})
}

// startWith starts a node with more options, but for Gateway and Config.
func startWith(t *testing.T, opts haproxytest.Options) *node {
	t.Helper()
	n := &node{binary: opts.Binary, gateway: newGateway(t), decided: haproxytest.FreeAddr(t)}
	n.HAProxy = haproxytest.Start(t, haproxytest.Options{
		Binary:  opts.Binary,
		Gateway: n.gateway.addr(),
		NodeID:  opts.NodeID,
		TLSDir:  opts.TLSDir,
		Proxies: opts.Proxies,

		Settings: opts.Settings,
		Patient:  opts.Patient,
		Before:   opts.Before,
		Config:   fmt.Sprintf(decidedFrontend, n.decided),
	})
	return n
}

// addPeers makes the peers this node's, whether they are up or not.
func (n *node) addPeers(t *testing.T, peers ...haproxy.Peer) {
	t.Helper()
	n.reconcile(t, peers...)
	for _, p := range peers {
		if _, ok := n.server(t, p.ID); !ok {
			t.Fatalf("HAProxy has no server for peer %s", p.ID)
		}
	}
}

// patiently asks HAProxy something, and once more after one that did not answer in time, as
// on a busy machine.
func patiently(t *testing.T, ask func() error) {
	t.Helper()
	eventually(t, "HAProxy answers", func() bool {
		err := ask()
		if err != nil && !errors.Is(err, haproxy.ErrTimeout) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// reconcile does what the controller does in every round.
func (n *node) reconcile(t *testing.T, desired ...haproxy.Peer) (steps []haproxy.Step, busy []string) {
	t.Helper()
	patiently(t, func() error {
		current, err := n.Client.Servers(t.Context(), haproxy.BackendPeers)
		if err == nil {
			steps = haproxy.Reconcile(current, desired)
			busy, err = n.Client.Apply(t.Context(), steps)
		}
		return err
	})
	return steps, busy
}

// servers returns the servers of a backend as HAProxy sees them.
func (n *node) servers(t *testing.T, backend string) (servers []haproxy.Server) {
	t.Helper()
	patiently(t, func() (err error) {
		servers, err = n.Client.Servers(t.Context(), backend)
		return err
	})
	return servers
}

// server returns the peer's server as HAProxy sees it.
func (n *node) server(t *testing.T, id string) (haproxy.Server, bool) {
	t.Helper()
	for _, s := range n.servers(t, haproxy.BackendPeers) {
		if s.Name == id {
			return s, true
		}
	}
	return haproxy.Server{}, false
}

// answers is what became of all calls to a peer.
func (n *node) answers(t *testing.T, id string) (all haproxy.Answers) {
	t.Helper()
	s, _ := n.server(t, id)
	for _, a := range s.Answers {
		all.Served, all.Lost, all.Left = all.Served+a.Served, all.Lost+a.Lost, all.Left+a.Left
	}
	return all
}

// waitState waits until HAProxy thinks that of the peer.
func (n *node) waitState(t *testing.T, id string, want haproxy.State) {
	t.Helper()
	eventually(t, fmt.Sprintf("server %s is %s", id, want), func() bool {
		s, ok := n.server(t, id)
		return ok && s.State == want && s.Check != ""
	})
}

// eventually waits for a condition, and gives up after a long while.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

func peerAt(t *testing.T, id, addr string) haproxy.Peer {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return haproxy.Peer{ID: id, Address: a}
}

// tokenOf is a JWT of that issuer, as far as HAProxy looks at it.
func tokenOf(id string) string {
	enc := base64.RawURLEncoding.EncodeToString
	claims := `{"iss":"` + id + `","aud":"x","exp":1}`
	return enc([]byte(`{"alg":"EdDSA","typ":"JWT"}`)) + "." + enc([]byte(claims)) + "." + enc([]byte("signature"))
}

// reply is a response, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// call sends a request. Headers come in pairs of name and value, and may repeat.
func call(t *testing.T, method, url string, body io.Reader, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	// Without redirects, without a pool that outlives the test, without retries.
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// wantReply checks status and executing node; both response headers must be there
// exactly once.
func wantReply(t *testing.T, got reply, status int, server, nodeID string) {
	t.Helper()
	if got.status != status {
		t.Errorf("status %d, want %d: %s", got.status, status, got.body)
	}
	if v := got.header.Values(haproxy.HeaderServer); len(v) != 1 || v[0] != server {
		t.Errorf("X-Server is %q, want %q", v, server)
	}
	if v := got.header.Values(haproxy.HeaderNodeID); len(v) != 1 || v[0] != nodeID {
		t.Errorf("DFaaS-Node-ID is %q, want %q", v, nodeID)
	}
}

// wantNoClaims checks that nothing of DFaaS got to a function.
func wantNoClaims(t *testing.T, r received) {
	t.Helper()
	for name := range r.header {
		if strings.HasPrefix(strings.ToLower(name), "dfaas") {
			t.Errorf("the gateway got the header %s", name)
		}
	}
}

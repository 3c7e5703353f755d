package haproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestPeersOverTime adds, moves, loses and removes a peer, with a reload.
func TestPeersOverTime(t *testing.T) {
	t.Parallel()
	a, b, c := startNode(t, haproxytest.Installed, idA), startNode(t, haproxytest.Installed, idB), startNode(t, haproxytest.Installed, idC)
	forward := func(target string) reply {
		return call(t, "GET", "http://"+a.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", target, "Test-Token", tokenOf(idA))
	}
	peers := []haproxy.Peer{peerAt(t, idB, b.Addr), peerAt(t, idC, c.Addr)}

	a.addPeers(t, peers...)
	a.waitState(t, idB, haproxy.Up)
	a.waitState(t, idC, haproxy.Up)
	if s, _ := a.server(t, idB); s.Weight != 0 || !s.Checked || s.Address.String() != b.Addr {
		t.Errorf("the peer's server is %+v, want weight 0, checked, at %s", s, b.Addr)
	}
	if local, _ := a.server(t, haproxy.ServerLocal); local.Weight != 1 || local.State != haproxy.Up {
		t.Errorf("the local server is %+v", local)
	}
	if steps, _ := a.reconcile(t, peers...); len(steps) != 0 {
		t.Errorf("nothing has changed, but there is to do: %v", steps)
	}
	wantReply(t, forward(idB), 200, b.Addr, idB)
	wantReply(t, forward(idC), 200, c.Addr, idC)
	if s, _ := a.server(t, idB); s.Total != 1 {
		t.Errorf("%d requests counted, want 1", s.Total)
	}

	a.Reload()
	if _, ok := a.server(t, idB); ok {
		t.Fatal("the reload kept the dynamic server: the test tests nothing")
	}
	wantReply(t, forward(idB), 200, a.decided, idA)
	a.addPeers(t, peers...)
	wantReply(t, forward(idB), 200, b.Addr, idB)

	// B moves to where C was.
	moved := []haproxy.Peer{peerAt(t, idB, c.Addr)}
	eventually(t, "B has moved", func() bool {
		steps, _ := a.reconcile(t, moved...)
		return len(steps) == 0
	})
	if s, _ := a.server(t, idB); s.Address.String() != c.Addr {
		t.Errorf("B is at %s, want %s", s.Address, c.Addr)
	}
	if _, ok := a.server(t, idC); ok {
		t.Error("C is still there")
	}
	wantReply(t, forward(idB), 200, c.Addr, idB) // a peer is who it was taken for

	c.Stop()
	a.waitState(t, idB, haproxy.Down)
	wantReply(t, forward(idB), 200, a.decided, idA)
	eventually(t, "all peers are gone", func() bool {
		steps, _ := a.reconcile(t)
		return len(steps) == 0
	})
	servers, err := a.Client.Servers(t.Context(), haproxy.BackendPeers)
	if err != nil {
		t.Fatal(err)
	}
	if len(servers) != 2 || servers[0].Name != haproxy.ServerLocal {
		t.Errorf("servers left: %+v", servers)
	}
}

// TestDeleteUnderLoad removes a peer while requests to it are under way: they
// end well, new ones are served here, and the deletion comes through by itself.
func TestDeleteUnderLoad(t *testing.T) {
	t.Parallel()
	a := startNode(t, haproxytest.Installed, idA)
	var atPeer atomic.Int64
	proceed := make(chan struct{})
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			atPeer.Add(1)
			<-proceed
		}
	}))
	defer peer.Close()
	desired := []haproxy.Peer{peerAt(t, idB, peer.Listener.Addr().String())}
	a.addPeers(t, desired...)

	const callers = 4
	statuses := make(chan int, callers)
	for range callers {
		go func() {
			got := call(t, "GET", "http://"+a.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA))
			statuses <- got.status
		}()
	}
	eventually(t, "the peer has all requests", func() bool { return atPeer.Load() == callers })

	if _, busy := a.reconcile(t); !slices.Equal(busy, []string{idB}) {
		t.Fatalf("busy servers: %v, want the peer", busy)
	}
	if s, _ := a.server(t, idB); s.State != haproxy.Maint || s.Sessions != callers {
		t.Errorf("a server to be deleted has state %s and %d requests, want maint and %d", s.State, s.Sessions, callers)
	}
	got := call(t, "GET", "http://"+a.decided+"/function/f", nil, "Test-Action", "peer", "Test-Target", idB, "Test-Token", tokenOf(idA))
	wantReply(t, got, 200, a.decided, idA)

	close(proceed)
	for range callers {
		if status := <-statuses; status != 200 {
			t.Errorf("a request under way ended with status %d", status)
		}
	}
	// Their connections stay in the pool for a while, then it works.
	eventually(t, "the server is deleted", func() bool {
		a.reconcile(t)
		_, there := a.server(t, idB)
		return !there
	})
}

// TestGoneUnderAWebSocket: a connection that never ends does not stay for ever
// with a peer that is none any more.
func TestGoneUnderAWebSocket(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, binary haproxytest.Binary) {
		a := startNode(t, binary, idA)
		closed := make(chan struct{})
		old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				return
			}
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer close(closed)
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			rw.ReadByte() // which does not come
		}))
		defer old.Close()
		a.addPeers(t, peerAt(t, idB, old.Listener.Addr().String()))
		conn, err := net.Dial("tcp", a.decided)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /function/f HTTP/1.1\r\nHost: h\r\nTest-Action: peer\r\nTest-Target: %s\r\nTest-Token: %s\r\n"+
			"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", idB, tokenOf(idA))
		if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 101 ") {
			t.Fatalf("%q %v", line, err)
		}

		eventually(t, "the server is up for a while", func() bool {
			s, _ := a.server(t, idB)
			return s.State == haproxy.Up && s.Since >= 3*time.Second
		})
		for range 2 {
			if _, busy := a.reconcile(t); !slices.Equal(busy, []string{idB}) {
				t.Fatalf("busy servers: %v, want the peer", busy)
			}
			if s, _ := a.server(t, idB); s.State != haproxy.Maint || s.Since >= 3*time.Second {
				t.Errorf("just disabled, the server is %s for %s", s.State, s.Since)
			}
		}
		eventually(t, "the server is gone", func() bool {
			// As if five minutes were over.
			servers, err := a.Client.Servers(t.Context(), haproxy.BackendPeers)
			if err != nil {
				t.Fatal(err)
			}
			for i := range servers {
				servers[i].Since += 5 * time.Minute
			}
			if _, err := a.Client.Apply(t.Context(), haproxy.Reconcile(servers, nil)); err != nil {
				t.Fatal(err)
			}
			_, there := a.server(t, idB)
			return !there
		})
		<-closed
	})
}

// TestConnectionsToPeersAreReused: a dynamic server does so only with both pool
// words.
func TestConnectionsToPeersAreReused(t *testing.T) {
	t.Parallel()
	a := startNode(t, haproxytest.Installed, idA)
	var connections atomic.Int64
	peer := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			connections.Add(-1) // a check has one of its own
		}
	}))
	peer.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	peer.Start()
	defer peer.Close()
	a.addPeers(t, peerAt(t, idB, peer.Listener.Addr().String()))

	// One client connection: its first request may ask for a new connection to
	// the peer, the others may not.
	client := &http.Client{Transport: new(http.Transport)}
	for range 50 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+a.decided+"/function/f", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Test-Action": "peer", "Test-Target": idB, "Test-Token": tokenOf(idA)} {
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if n := connections.Load(); n > 10 {
		t.Errorf("50 requests took %d connections", n)
	}
	if s, _ := a.server(t, idB); s.Total != 50 {
		t.Errorf("%d requests went to the peer, want 50", s.Total)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	h := haproxytest.Start(t, haproxytest.Options{})
	before, err := h.Client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(before.Version, "2.") && !strings.HasPrefix(before.Version, "3.") {
		t.Errorf("version %q", before.Version)
	}
	h.Reload()
	after, err := h.Client.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.PID == before.PID {
		t.Errorf("a reload does not show: process %d before and after", after.PID)
	}
}

func TestErrorsNameTheFix(t *testing.T) {
	t.Parallel()
	h := haproxytest.Start(t, haproxytest.Options{})
	user := filepath.Join(h.Dir, "user.sock")
	stopped := filepath.Join(h.Dir, "stopped.sock")
	levelUser := haproxytest.Start(t, haproxytest.Options{Config: "global\n\tstats socket " + user + " level user"})
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stopped, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()

	peer := haproxy.Peer{ID: idB, Address: peerAt(t, idB, "127.0.0.1:80").Address}
	for _, test := range []struct {
		name   string
		run    func() error
		want   error
		advice string
	}{
		{"no socket", func() error {
			_, err := haproxy.New(testvalue.Path(filepath.Join(h.Dir, "none"))).Info(t.Context())
			return err
		}, haproxy.ErrNoSocket, "stats socket"},
		{"stopped", func() error {
			_, err := haproxy.New(testvalue.Path(stopped)).Info(t.Context())
			return err
		}, haproxy.ErrNotRunning, "start it"},
		{"level user", func() error {
			_, err := haproxy.New(testvalue.Path(user)).Apply(t.Context(), []haproxy.Step{{Op: haproxy.Add, Peer: peer}})
			return err
		}, haproxy.ErrPermission, "level admin"},
		{"not loaded", func() error {
			_, err := h.Client.Servers(t.Context(), "be_other")
			return err
		}, haproxy.ErrNotLoaded, "-f dfaas.cfg"},
		{"canceled", func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := h.Client.Info(ctx)
			return err
		}, context.Canceled, ""},
	} {
		err := test.run()
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.advice) {
			t.Errorf("%s: %v; want %v with %q", test.name, err, test.want, test.advice)
		}
	}
	if _, err := levelUser.Client.Info(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSetting(t *testing.T) {
	t.Parallel()
	h := haproxytest.Start(t, haproxytest.Options{NodeID: idA})
	for name, want := range map[string]string{haproxy.EnvNodeID: idA, haproxy.EnvTLSBind: "off", "DFAAS_NONE": ""} {
		if got, err := h.Client.Setting(t.Context(), name); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}

// TestHangingHAProxy: the caller gets an error in time, again and again, and
// all is well once HAProxy goes on.
func TestHangingHAProxy(t *testing.T) {
	t.Parallel()
	h := haproxytest.Start(t, haproxytest.Options{})
	pid := h.WorkerPID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 12 { // more than may be under way at the same time
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := h.Client.Info(ctx)
		cancel()
		if !errors.Is(err, haproxy.ErrTimeout) {
			t.Fatalf("a hanging HAProxy: %v, want %v", err, haproxy.ErrTimeout)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "HAProxy answers again", func() bool {
		_, err := h.Client.Info(t.Context())
		return err == nil
	})
}

// TestGivenUpIsNeverDone: a change that an HAProxy which hangs did not answer is not
// made when it goes on.
func TestGivenUpIsNeverDone(t *testing.T) {
	t.Parallel()
	h := haproxytest.Start(t, haproxytest.Options{})
	b := peerAt(t, idB, "127.0.0.1:9")
	if _, err := h.Client.Apply(t.Context(), []haproxy.Step{{Op: haproxy.Add, Peer: b}}); err != nil {
		t.Fatal(err)
	}
	pid := h.WorkerPID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, op := range []haproxy.Op{haproxy.Enable, haproxy.Disable, haproxy.Delete} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := h.Client.Apply(ctx, []haproxy.Step{{Op: op, Peer: b}})
		cancel()
		if !errors.Is(err, haproxy.ErrTimeout) {
			t.Errorf("%s at a hanging HAProxy: %v, want %v", op, err, haproxy.ErrTimeout)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// HAProxy reads what waits in the order in which it came: once it has answered
	// this, it has done everything before it.
	for range 3 {
		servers, err := h.Client.Servers(t.Context(), haproxy.BackendPeers)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(servers, func(s haproxy.Server) bool { return s.Name == idB })
		if i < 0 || servers[i].State != haproxy.Maint {
			t.Fatalf("what was given up was done: %+v", servers)
		}
	}
}

// TestApplyGoesOnAfterAFailure: one hostile or stale step keeps no other peer
// from being served.
func TestApplyGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	h := haproxytest.Start(t, haproxytest.Options{})
	b, c := peerAt(t, idB, "127.0.0.1:9"), peerAt(t, idC, "127.0.0.1:9")
	hostile := haproxy.Peer{ID: idA + " 127.0.0.1:1; shutdown sessions server x/y", Address: b.Address}
	_, err := h.Client.Apply(t.Context(), []haproxy.Step{
		{Op: haproxy.Add, Peer: hostile},
		{Op: haproxy.Delete, Peer: haproxy.Peer{ID: haproxy.ServerLocal}},
		{Op: haproxy.Enable, Peer: b}, // not there
		{Op: haproxy.Add, Peer: b},    // not tried: the step before has failed
		{Op: haproxy.Add, Peer: c},
		{Op: haproxy.Enable, Peer: c},
		{Op: "steal", Peer: haproxy.Peer{ID: idA}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{
		"is not a peer id", `"local" is not a peer id`, "enable server of peer " + idB, `unknown operation "steal"`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
	servers, err := h.Client.Servers(t.Context(), haproxy.BackendPeers)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range servers {
		names = append(names, s.Name)
	}
	if want := []string{haproxy.ServerLocal, haproxy.ServerLocal + "-2", idC}; !slices.Equal(names, want) {
		t.Errorf("servers %v, want %v", names, want)
	}
}

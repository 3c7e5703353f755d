package federation_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/testprogram"
)

func options(t *testing.T, names ...string) federation.Options {
	t.Helper()
	rate := 100.0
	binaries, err := federation.FindBinaries(testprogram.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	o := federation.Options{
		Binaries: binaries, Strategy: "headroom", Period: 200 * time.Millisecond, DefaultMaxrate: 100,
		Logs: t.TempDir(), Log: zerolog.Nop(),
	}
	for _, name := range names {
		o.Nodes = append(o.Nodes, scenario.Node{Name: name, Functions: []scenario.Function{
			{Name: "funca", Process: "cat", Maxrate: &rate, Env: map[string]string{"A": "b"}},
		}})
	}
	return o
}

func call(t *testing.T, n *federation.Node) (status int, body, node string) {
	t.Helper()
	response, err := http.Post(n.URL+"/function/funca", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header.Get("DFaaS-Node-ID")
}

func pidOf(t *testing.T, n *federation.Node, part scenario.Part) int {
	t.Helper()
	for _, p := range n.Parts() {
		if p.Part == part && p.PID != 0 {
			return p.PID
		}
	}
	t.Fatalf("%s has no running %s: %+v", n.Name, part, n.Parts())
	return 0
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-ticker.C:
		}
	}
}

// A federation forms, suffers faults, forms again, and leaves nothing behind.
// Others on the machine have no business with what a federation writes: keys,
// configuration, state, logs, and sockets that govern the nodes.
func testModes(t *testing.T, f *federation.Federation, n *federation.Node) {
	t.Helper()
	for _, dir := range []string{f.Dir(), n.Logs} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.Type()&fs.ModeSymlink != 0 {
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a file that is being replaced
			}
			closed := fs.FileMode(0o077)
			if entry.Type()&fs.ModeSocket != 0 {
				closed = 0o007 // those of DFaaS are for their group as well
			}
			if err == nil && info.Mode().Perm()&closed != 0 {
				t.Errorf("%s has mode %04o", path, info.Mode().Perm())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestFederation(t *testing.T) {
	f, err := federation.Start(t.Context(), options(t, "node-1", "node-2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	first, second := f.Node("node-1"), f.Node("node-2")

	status, body, node := call(t, first)
	if status != 200 || body != "hello" || f.NameOf(node) != "node-1" {
		t.Errorf("funca answers %d %q from %s", status, body, f.NameOf(node))
	}
	if f.Node("node-3") != nil || f.NameOf("x") != "x" {
		t.Error("nodes that are not there have names")
	}
	testModes(t, f, first)
	testReloads(t, first)
	testStop(t, f, second)
	testKill(t, f, second)
	testCrash(t, f, first)

	var pids []int
	for _, n := range f.Nodes() {
		for _, p := range n.Parts() {
			if p.PID != 0 {
				pids = append(pids, p.PID)
			}
		}
	}
	f.Stop()
	for _, pid := range pids {
		if err := syscall.Kill(-pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("group %d is still there: %v", pid, err)
		}
	}
	if _, err := os.Stat(f.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
}

// Only reloads that nobody asked for are counted, over all runs of HAProxy.
func testReloads(t *testing.T, n *federation.Node) {
	t.Helper()
	expect := func(want int) {
		t.Helper()
		if got, err := n.HAProxyReloads(t.Context()); err != nil || got != want {
			t.Errorf("%d reloads, %v; want %d", got, err, want)
		}
	}
	expect(0)
	must(t, n.Do(t.Context(), scenario.Reload, scenario.HAProxy))
	expect(0)
	if err := syscall.Kill(pidOf(t, n, scenario.HAProxy), syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reload behind our back is seen", func() bool {
		got, err := n.HAProxyReloads(t.Context())
		return err == nil && got == 1
	})
	must(t, n.Do(t.Context(), scenario.Kill, scenario.HAProxy))
	expect(1)
	must(t, n.Do(t.Context(), scenario.Restart, scenario.HAProxy))
	if n.Restarts() != 1 {
		t.Errorf("%d restarts", n.Restarts())
	}
	if err := n.Do(t.Context(), scenario.Reload, scenario.SPOA); err == nil {
		t.Error("a SPOA can be reloaded")
	}
}

// A SPOA that hangs keeps nobody from being served.
func testStop(t *testing.T, f *federation.Federation, n *federation.Node) {
	t.Helper()
	must(t, n.Do(t.Context(), scenario.Stop, scenario.SPOA))
	eventually(t, "the controller misses its SPOA", func() bool { return f.Ready(t.Context(), n) != nil })
	if status, _, _ := call(t, n); status != 200 {
		t.Errorf("with a stopped SPOA: %d", status)
	}
	must(t, n.Do(t.Context(), scenario.Continue, scenario.SPOA))
	must(t, f.WaitReady(t.Context()))
}

func testKill(t *testing.T, f *federation.Federation, n *federation.Node) {
	t.Helper()
	must(t, n.Do(t.Context(), scenario.Kill, scenario.All))
	for _, p := range n.Parts() {
		if p.State != federation.Dead || p.PID != 0 {
			t.Errorf("killed, and yet: %+v", p)
		}
	}
	if err := n.Do(t.Context(), scenario.Kill, scenario.SPOA); err == nil || !strings.Contains(err.Error(), "spoa of node-2 is not running") {
		t.Errorf("killed twice: %v", err)
	}
	must(t, f.WaitReady(t.Context()))
	must(t, n.Do(t.Context(), scenario.Restart, scenario.All))
	must(t, f.WaitReady(t.Context()))
	if n.Restarts() != 4 {
		t.Errorf("%d restarts", n.Restarts())
	}
	if status, _, _ := call(t, n); status != 200 {
		t.Errorf("after its restart: %d", status)
	}
}

func testCrash(t *testing.T, f *federation.Federation, n *federation.Node) {
	t.Helper()
	if err := f.Crashed(); err != nil {
		t.Errorf("nothing has crashed: %v", err)
	}
	if err := syscall.Kill(pidOf(t, n, scenario.Controller), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the crash is seen", func() bool { return f.Crashed() != nil })
	if err := f.Crashed(); !strings.Contains(err.Error(), "controller of node-1 ended by itself (signal: killed)") {
		t.Errorf("crash: %v", err)
	}
	if err := f.WaitReady(t.Context()); err == nil {
		t.Error("ready with a crashed controller")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What keeps a federation from forming is told with the log that explains it.
func TestStartFails(t *testing.T) {
	o := options(t, "node-1")
	broken := t.TempDir() + "/dfaas-controller"
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho the stars are wrong >&2\nexit 4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	binaries := federation.Binaries{}
	for part, path := range o.Binaries {
		binaries[part] = path
	}
	binaries[scenario.Controller] = broken
	o.Binaries = binaries
	_, err := federation.Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "controller of node-1 ended by itself (exit status 4)") ||
		!strings.Contains(err.Error(), "the stars are wrong") {
		t.Errorf("got %v", err)
	}

	o = options(t, "node-1")
	o.Nodes[0].Functions[0].Process = "no-such-program"
	_, err = federation.Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "functions of node-1") || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := federation.Start(ctx, options(t, "node-1")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A node with a gateway of its own gets no provider, and none of its functions
// is touched.
func TestForeignGateway(t *testing.T) {
	lender, err := federation.Start(t.Context(), options(t, "lender"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lender.Stop)
	o := options(t, "guest")
	o.Nodes[0].Gateway = lender.Nodes()[0].Gateway
	o.Nodes[0].Functions = []scenario.Function{{Name: "funca"}}
	f, err := federation.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	guest := f.Node("guest")
	if len(guest.Parts()) != 3 {
		t.Errorf("parts %+v", guest.Parts())
	}
	if status, body, node := call(t, guest); status != 200 || body != "hello" || f.NameOf(node) != "guest" {
		t.Errorf("%d %q from %s", status, body, f.NameOf(node))
	}
	if err := guest.Do(t.Context(), scenario.Kill, scenario.Provider); err == nil {
		t.Error("a provider that is not there can be killed")
	}
}

// A directory that was used before keeps the identities; its functions are
// those of the new start.
func TestDirIsKept(t *testing.T) {
	dir, err := os.MkdirTemp("", "dfaas")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, sub := range map[string]string{
		"plain": "plain", "with what HAProxy would take apart": `my dir, "2"; $HOME #1`, "longer than a socket's path": strings.Repeat("long/", 40),
	} {
		t.Run(name, func(t *testing.T) { testDirIsKept(t, filepath.Join(dir, sub)) })
	}
}

func testDirIsKept(t *testing.T, dir string) {
	o := options(t, "node-1")
	o.Dir = dir
	o.Nodes[0].Functions = append(o.Nodes[0].Functions, scenario.Function{Name: "funcb", Process: "cat"})
	before, err := federation.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before.Stop()
	o = options(t, "node-1")
	o.Dir = dir
	after, err := federation.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(after.Stop)
	n := after.Node("node-1")
	if before.Node("node-1").PeerID != n.PeerID {
		t.Error("another peer id")
	}
	functions, err := n.Admin().Functions(t.Context())
	if err != nil || len(functions) != 1 || functions[0].Name != "funca" {
		t.Errorf("functions %+v, %v", functions, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node-1", "identity.key")); err != nil {
		t.Error(err)
	}
	after.Stop()
	if _, err := os.Stat(after.Dir()); after.Dir() != dir && err == nil {
		t.Errorf("%s is still there", after.Dir())
	}
}

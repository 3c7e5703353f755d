package unixsock

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func at(t *testing.T, text string) Path {
	t.Helper()
	path, err := ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParsePath(t *testing.T) {
	for _, good := range []string{"s", "./s", "/run/dfaas/s", "/" + strings.Repeat("x", 106)} {
		if path, err := ParsePath(good); err != nil || path.String() != good {
			t.Errorf("%q is read as %q, %v", good, path, err)
		}
	}
	for want, bad := range map[string]string{
		"not set": "", "108 bytes long, the path of a socket may have 107": "/" + strings.Repeat("x", 107), "not a path: it has a zero byte": "s\x00",
	} {
		if path, err := ParsePath(bad); err == nil || !strings.Contains(err.Error(), want) || path != (Path{}) {
			t.Errorf("%q is read as %q, %v, want an error with %q", bad, path, err, want)
		}
		if path, err := ParseSetting("a_socket", bad); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("a_socket: %q: ", bad)) || !strings.Contains(err.Error(), want) || path != (Path{}) {
			t.Errorf("%q of a setting is read as %q, %v, want an error with %q", bad, path, err, want)
		}
	}
}

// TestNoPath: where there is no path, the system would listen at one of its own choice.
func TestNoPath(t *testing.T) {
	if l, err := Listen(Path{}, 0o600, ""); err == nil || !strings.Contains(err.Error(), `socket "": not set`) {
		t.Errorf("listens at %v, %v", l, err)
	}
	if _, err := (Path{}).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "not set") {
		t.Errorf("dialled: %v", err)
	}
	if _, err := Client(Path{}, time.Minute).Get("http://whatever/"); err == nil || !strings.Contains(err.Error(), "not set") {
		t.Errorf("asked: %v", err)
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(at(t, path), 0o640, "")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o640 {
		t.Errorf("mode %v, %v, want a socket of 0640", info.Mode(), err)
	}
	if _, err := Listen(at(t, path), 0o640, ""); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("after the attempt to take it over: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// crash leaves a socket there on which nobody listens.
func crash(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	crash(t, path)
	l, err := Listen(at(t, path), 0o600, "0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestOneOfSeveralStarters gets the socket, and whoever connects gets to that one.
func TestOneOfSeveralStarters(t *testing.T) {
	dir := t.TempDir()
	for round := range 200 {
		path := filepath.Join(dir, fmt.Sprint(round))
		crash(t, path)
		const starters = 8
		got := make(chan net.Listener, starters)
		var group sync.WaitGroup
		for range starters {
			group.Go(func() {
				switch l, err := Listen(at(t, path), 0o600, ""); {
				case err == nil:
					got <- l
				case !strings.Contains(err.Error(), "in use"):
					t.Error(err)
				}
			})
		}
		group.Wait()
		close(got)
		if len(got) != 1 {
			t.Fatalf("in round %d %d of %d listen", round, len(got), starters)
		}
		l := <-got
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("in round %d: %v", round, err)
		}
		conn.Close()
		l.Close()
	}
}

// TestLockedDirectory: who holds the lock of the directory and does not let go keeps
// nobody from starting.
func TestLockedDirectory(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(at(t, filepath.Join(dir.Name(), "socket")), 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	// A socket of another kind, of which nobody can say whether it is in use.
	datagrams, err := net.ListenPacket("unixgram", filepath.Join(dir, "datagrams"))
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	for want, test := range map[string]struct{ path, group string }{
		"cannot report whether": {path: filepath.Join(dir, "datagrams")},
		"there is no directory": {path: filepath.Join(dir, "none", "s")},
		"not a socket":          {path: file},
		"that is not a socket":  {path: filepath.Join(dir, "link")},
		"group of the socket":   {path: filepath.Join(dir, "s"), group: "no-such-group-here"},
		"not a directory":       {path: filepath.Join(file, "s")},
	} {
		l, err := Listen(at(t, test.path), 0o600, test.group)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q, %q): error %v, want one with %q", test.path, test.group, err, want)
		}
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "precious" {
		t.Errorf("the file is now %q, %v", content, err)
	}
}

// TestClient asks a server at a socket over HTTP, with and without connections
// that are kept.
func TestClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(at(t, path), 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int32
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		},
	}
	go server.Serve(l)
	defer server.Close()
	kept := Transport(at(t, path))
	defer kept.CloseIdleConnections()
	for name, tc := range map[string]struct {
		client *http.Client
		opened int32
	}{"kept": {&http.Client{Transport: kept}, 1}, "one each": {Client(at(t, path), time.Minute), 3}} {
		opened.Store(0)
		for range 3 {
			resp, err := tc.client.Get("http://whatever/v1/x")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != "/v1/x" {
				t.Errorf("%s: %q, %v", name, body, err)
			}
		}
		if n := opened.Load(); n != tc.opened {
			t.Errorf("%s: %d connections for 3 requests, want %d", name, n, tc.opened)
		}
	}
}

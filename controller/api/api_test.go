package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/testvalue"
)

// fixture is a Source that answers what a test wrote down.
type fixture struct {
	status    Status
	peers     []Peer
	functions []Function
	routes    []Route
	join      func(ctx context.Context, address string) error
}

func (f fixture) Status() Status        { return f.status }
func (f fixture) Peers() []Peer         { return f.peers }
func (f fixture) Functions() []Function { return f.functions }

func (f fixture) Routes(function string) []Route {
	var routes []Route
	for _, r := range f.routes {
		if function == "" || r.Function == function {
			routes = append(routes, r)
		}
	}
	return routes
}

func (f fixture) Join(ctx context.Context, address string) error { return f.join(ctx, address) }

// serve runs a server on a socket of its own until the test ends.
func serve(t *testing.T, src Source) (socket string) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "admin.sock")
	ln, err := Listen(testvalue.Path(socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, src, nil, zerolog.New(zerolog.NewTestWriter(t))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket outlives the server: %v", err)
		}
	})
	return socket
}

// shortDir is t.TempDir with a path that leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dfaas")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestClientReadsWhatTheSourceSays(t *testing.T) {
	src := fixture{
		status:    Status{NodeID: "me", Peers: 2, Components: []Component{{Name: "spoa", OK: true, Since: 5}}},
		peers:     []Peer{{ID: "b", State: "alive", ClockSkewMillis: -3}, {ID: "a", State: "refused", AgeMillis: -1, Reason: "not allowed"}},
		functions: []Function{{Name: "z"}, {Name: "f-1.ns", Local: true, Capacity: 10}},
		routes: []Route{
			{Function: "f", Kind: "in", Peer: "b"}, {Function: "g", Kind: "local"}, {Function: "f", Kind: "out", Peer: "b"},
			{Function: "f", Kind: "out", Peer: "a"}, {Function: "f", Kind: "local", Rate: -1},
		},
	}
	client, ctx := NewClient(testvalue.Path(serve(t, src))), t.Context()

	status, err := client.Status(ctx)
	check(t, err, src.status, status)
	peers, err := client.Peers(ctx)
	check(t, err, []Peer{src.peers[1], src.peers[0]}, peers)
	functions, err := client.Functions(ctx)
	check(t, err, []Function{src.functions[1], src.functions[0]}, functions)
	routes, err := client.Routes(ctx, "")
	check(t, err, []Route{src.routes[4], src.routes[3], src.routes[2], src.routes[0], src.routes[1]}, routes)
	routes, err = client.Routes(ctx, "g")
	check(t, err, []Route{src.routes[1]}, routes)
	routes, err = client.Routes(ctx, "no&such=function")
	check(t, err, []Route{}, routes)
	if src.peers[0].ID != "b" {
		t.Error("the server sorted the source's own slice")
	}
}

func check[T any](t *testing.T, err error, want, got T) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestJoin(t *testing.T) {
	const address = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWx"
	var asked string
	var answer error
	client := NewClient(testvalue.Path(serve(t, fixture{join: func(_ context.Context, address string) error {
		asked = address
		return answer
	}})))
	for _, c := range []struct {
		name   string
		answer error
		status int // of the Problem; 0: no error
	}{
		{"joined", nil, 0},
		{"not a multiaddr", fmt.Errorf("%w: no /p2p", ErrBadAddress), http.StatusBadRequest},
		{"nobody there", errors.New("connection refused"), http.StatusBadGateway},
		{"too slow", fmt.Errorf("dialling: %w", context.DeadlineExceeded), http.StatusGatewayTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, answer = "", c.answer
			err := client.Join(t.Context(), address)
			if asked != address {
				t.Errorf("the source was asked to join %q", asked)
			}
			if c.status == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			problem, ok := errors.AsType[*Problem](err)
			if !ok || problem.Status != c.status || !strings.Contains(problem.Message, c.answer.Error()) {
				t.Errorf("got %#v", err)
			}
		})
	}
}

func TestServerRefuses(t *testing.T) {
	socket := serve(t, fixture{join: func(context.Context, string) error {
		t.Error("the source was asked")
		return nil
	}})
	client := NewClient(testvalue.Path(socket))
	for _, c := range []struct {
		method, path, body string
		status             int
		message            string
	}{
		{"GET", "/", "", 404, "no such path"},
		{"GET", "/v1/peers/", "", 404, "no such path"},
		{"POST", "/v1/status", "", 405, "use GET"},
		{"GET", "/v1/join", "", 405, "use POST"},
		{"GET", "/v1/peers?all=1", "", 400, "unknown query parameter"},
		{"GET", "/v1/routes?fn=a", "", 400, `it takes ["function"]`},
		{"GET", "/v1/routes?function=a&function=b", "", 400, "more than once"},
		{"GET", "/v1/routes?function=" + strings.Repeat("a", MaxName+1), "", 400, "at most 127"},
		{"GET", "/v1/routes?function=%zz", "", 400, "malformed"},
		{"POST", "/v1/join?x=1", "{}", 400, "unknown query parameter"},
		{"POST", "/v1/join", "", 400, "the body is not"},
		{"POST", "/v1/join", "[]", 400, "the body is not"},
		{"POST", "/v1/join", "{}", 400, "address: missing"},
		{"POST", "/v1/join", `{"address":"/ip4/1.2.3.4","address":"/ip4/1.2.3.5"}`, 400, "twice"},
		{"POST", "/v1/join", `{"address":"/ip4/1.2.3.4"} {}`, 400, "after the end"},
		{"POST", "/v1/join", `{"address":"/ip4/1.2.3.4\n/p2p/x"}`, 400, "no byte 0x0a"},
		{"POST", "/v1/join", `{"address":"` + strings.Repeat("/", MaxAddress+1) + `"}`, 400, "at most 1024"},
		{"POST", "/v1/join", `{"address":"` + strings.Repeat("/", MaxBody) + `"}`, 413, "more than 4096"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body[:min(len(c.body), 30)], func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.http.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			var problem Problem
			if err := json.Unmarshal(body, &problem); err != nil {
				t.Fatalf("the answer is no JSON: %v: %s", err, body)
			}
			if response.StatusCode != c.status || !strings.Contains(problem.Message, c.message) {
				t.Errorf("%d %q", response.StatusCode, problem.Message)
			}
			if got := response.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
}

func TestValueWithoutJSONIsAnError(t *testing.T) {
	client := NewClient(testvalue.Path(serve(t, fixture{functions: []Function{{Name: "f", UserRate: math.NaN()}}})))
	_, err := client.Functions(t.Context())
	if problem, ok := errors.AsType[*Problem](err); !ok || problem.Status != http.StatusInternalServerError {
		t.Errorf("got %#v", err)
	}
}

func TestServeEndsWhileAJoinRuns(t *testing.T) {
	socket := filepath.Join(shortDir(t), "admin.sock")
	ln, err := Listen(testvalue.Path(socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src := fixture{join: func(ctx context.Context, _ string) error {
		cancel() // the controller is told to stop while it joins
		<-ctx.Done()
		return ctx.Err()
	}}
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, src, nil, zerolog.Nop()) }()
	if err := NewClient(testvalue.Path(socket)).Join(t.Context(), "/ip4/127.0.0.1"); err == nil {
		t.Error("the join succeeded")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	t.Run("mode", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		ln, err := Listen(testvalue.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	})
	t.Run("stale socket gives way", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		leaveStale(t, path)
		ln, err := Listen(testvalue.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	})
	t.Run("living socket stays", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		first, err := Listen(testvalue.Path(path))
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if ln, err := Listen(testvalue.Path(path)); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("%v, %v", ln, err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the living socket is gone: %v", err)
		}
		conn.Close()
	})
	t.Run("other files stay", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if ln, err := Listen(testvalue.Path(path)); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("%v, %v", ln, err)
		}
		if content, err := os.ReadFile(path); string(content) != "precious" {
			t.Errorf("%q, %v", content, err)
		}
	})
	t.Run("path too long", func(t *testing.T) {
		long := "/tmp/" + strings.Repeat("x", 103)
		if path, err := ParseSocket(long); err == nil || !strings.Contains(err.Error(), `admin socket: "`+long+`": 108 bytes long, the path of a socket may have 107`) {
			t.Errorf("%v, %v", path, err)
		}
	})
}

// leaveStale makes a socket that nobody listens on, as a killed process does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestClientSaysWhatToDo(t *testing.T) {
	dir := shortDir(t)
	stale, text := filepath.Join(dir, "stale"), filepath.Join(dir, "text")
	leaveStale(t, stale)
	garbage(t, text)
	for _, c := range []struct{ socket, want string }{
		{filepath.Join(dir, "missing"), "is dfaas-controller running?"},
		{stale, "systemctl start dfaas-controller"},
		{text, "is " + text + " dfaas-controller's admin socket?"},
	} {
		if _, err := NewClient(testvalue.Path(c.socket)).Status(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.socket, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := NewClient(testvalue.Path(stale)).Status(ctx); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("deadline: %v", err)
	}
}

// Root may connect anywhere, so the system's answer is made by hand.
func TestClientExplainsPermission(t *testing.T) {
	err := NewClient(testvalue.Path("/run/x")).explain(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)})
	if !strings.Contains(err.Error(), "group dfaas") || !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

// garbage listens at path and answers HTTP that is not the admin interface's.
func garbage(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
}

func FuzzDecodeJoin(f *testing.F) {
	for _, seed := range []string{
		`{"address":"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWx"}`, `{"address":""}`, `{"address":null}`, `{"ADDRESS":"/a"}`,
		`{"address":"/a"}{}`, `{"address":"\u0000"}`, `[]`, ``, `{"address":1e999}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := decodeJoin(bytes.NewReader(body))
		if err != nil {
			if _, ok := errors.AsType[*Problem](err); !ok || request != (JoinRequest{}) {
				t.Fatalf("refused with %#v and %#v", err, request)
			}
			return
		}
		if request.Address == "" || len(request.Address) > MaxAddress || strings.ContainsFunc(request.Address, notGraphic) {
			t.Fatalf("accepted %q", request.Address)
		}
		encoded, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeJoin(bytes.NewReader(encoded)); err != nil || again != request {
			t.Fatalf("%q does not survive: %v", encoded, err)
		}
	})
}

// FuzzHandler: whatever comes over the admin socket, the answer is one of the
// interface's, in JSON, and nothing but a proper join reaches the node.
func FuzzHandler(f *testing.F) {
	f.Add("GET", "/v1/status", "", "")
	f.Add("GET", "/v1/routes", "function=cat", "")
	f.Add("GET", "/v1/routes", "function=a&function=b&x=%zz", "")
	f.Add("POST", "/v1/join", "", `{"address":"/ip4/127.0.0.1/tcp/1/p2p/x"}`)
	f.Add("DELETE", "/v1/../v1//peers", "", "{}")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		joined := ""
		handler := NewHandler(fixture{join: func(_ context.Context, address string) error {
			joined = address
			return nil
		}}, nil, zerolog.Nop())
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "admin", Header: http.Header{},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.WithContext(t.Context()))
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %q: %d with %q", method, path, w.Code, w.Body)
			}
		case http.StatusNoContent:
		case http.StatusMovedPermanently, http.StatusTemporaryRedirect: // of paths that are not clean
		default:
			t.Errorf("%s %q: status %d", method, path, w.Code)
		}
		if (joined != "") != (w.Code == http.StatusNoContent) || strings.ContainsFunc(joined, notGraphic) {
			t.Errorf("%s %q: status %d, joined %q", method, path, w.Code, joined)
		}
	})
}

func notGraphic(r rune) bool { return r <= ' ' || r > '~' }

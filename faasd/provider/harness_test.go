package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/faasd/functions"
)

// The test program is also the programs that the tests need: they start it anew
// with this variable set to the role.
const roleVariable = "DFAAS_TEST_ROLE"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "echo" { // as the catalogue calls this program for http-echo
		runEchoRole()
		return
	}
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "provider":
		runProviderRole()
	case "function":
		runFunctionRole()
	}
}

// runProviderRole is a provider that prints its address to standard output.
func runProviderRole() {
	o := testOptions(os.Args[1])
	o.BasicAuthDir = os.Getenv("DFAAS_TEST_AUTH_DIR")
	o.FunctionUsers = os.Getenv("DFAAS_TEST_USERS")
	o.OnListen = func(address net.Addr) { fmt.Println(address) }
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Run(ctx, o, zerolog.New(os.Stderr)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runEchoRole is what dfaas-provider echo does.
func runEchoRole() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := functions.Echo(ctx, os.Getenv("PORT")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runFunctionRole is a function in HTTP mode.
func runFunctionRole() {
	serve := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/crash":
			os.Exit(3)
		case "/hang":
			<-r.Context().Done()
		case "/early": // an answer, and the connection closed, with the request unread
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
				conn.Close()
			}
		case "/spoof": // before, in and after the answer
			for _, status := range []int{http.StatusEarlyHints, http.StatusOK} {
				w.Header().Set("X-Server", "spoofed")
				w.Header().Set("DFaaS-Node-ID", "spoofed")
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.Header().Set("Trailer", "DFaaS-Node-ID, X-Kept")
				w.WriteHeader(status)
			}
			w.Header().Set("DFaaS-Node-ID", "spoofed")
			w.Header().Set("X-Kept", "kept")
			w.Header().Set(http.TrailerPrefix+"X-Server", "spoofed")
			return
		case "/redirect":
			http.Redirect(w, r, "http://example.com/elsewhere", http.StatusFound)
		case "/huge":
			_, _ = w.Write(make([]byte, 16<<20))
		default:
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Greeting", os.Getenv("greeting"))
			w.Header().Set("X-Call-Id", "the function's own")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "%s %s call=%s host=%s forwarded=%s proto=%s pid=%d port=%s body=%s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Call-Id"), r.Host,
				r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), os.Getpid(), os.Getenv("PORT"), body)
		}
	}
	fmt.Println("listening on", os.Getenv("PORT"))
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(serve)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// httpFunction are the variables that make the test program a function.
func httpFunction() map[string]string {
	return map[string]string{"mode": "http", roleVariable: "function", "greeting": "hello"}
}

func testOptions(stateDir string) Options {
	o := DefaultOptions()
	o.Listen = "127.0.0.1:0"
	o.StateDir = stateDir
	o.AllowProcesses = true
	o.ExecTimeout = 20 * time.Second
	return o
}

// testProvider is a provider within the test program.
type testProvider struct {
	t    testing.TB
	url  string
	stop func() error // and wait for its end
}

// start runs a provider until the test ends.
func start(t testing.TB, o Options) *testProvider {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan string, 1), make(chan error, 1)
	o.OnListen = func(address net.Addr) { listening <- "http://" + address.String() }
	go func() { ended <- Run(ctx, o, zerolog.New(zerolog.NewTestWriter(t))) }()
	p := &testProvider{t: t}
	var result error
	stopped := false
	p.stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-ended
		}
		return result
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("the provider ended with %v", err)
		}
	})
	select {
	case p.url = <-listening:
	case err := <-ended:
		stopped = true
		cancel()
		t.Fatal(err)
	}
	return p
}

// startNew runs a provider with a new state directory that allows processes.
func startNew(t testing.TB) *testProvider {
	t.Helper()
	return start(t, testOptions(t.TempDir()))
}

// do makes one request and returns status and body. A body that breaks off ends
// with BROKEN.
func (p *testProvider) do(method, path string, body any) (int, string) {
	p.t.Helper()
	status, text, _ := p.exchange(method, path, body, nil)
	return status, text
}

func (p *testProvider) exchange(method, path string, body any, header http.Header) (int, string, http.Header) {
	p.t.Helper()
	request, err := http.NewRequest(method, p.url+path, reader(p.t, body))
	if err != nil {
		p.t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "BROKEN", nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, string(text) + "BROKEN", response.Header
	}
	return response.StatusCode, string(text), response.Header
}

func reader(t testing.TB, body any) io.Reader {
	t.Helper()
	switch body := body.(type) {
	case nil:
		return nil
	case io.Reader:
		return body
	case string:
		return strings.NewReader(body)
	case []byte:
		return bytes.NewReader(body)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(encoded)
}

// want makes one request and demands a status and a part of the body.
func (p *testProvider) want(status int, part, method, path string, body any) string {
	p.t.Helper()
	got, text := p.do(method, path, body)
	if got != status || !strings.Contains(text, part) {
		p.t.Fatalf("%s %s: %d %s\nwant %d with %q", method, path, got, text, status, part)
	}
	return text
}

// object is JSON as clients write it.
type object map[string]any

// deploy deploys a function that runs command.
func (p *testProvider) deploy(name, command string, env map[string]string) {
	p.t.Helper()
	p.want(http.StatusAccepted, "", "POST", "/system/functions",
		object{"service": name, "image": "local", "envProcess": command, "envVars": env})
}

// script writes a shell script and returns the command that runs it. The shell
// reads it, rather than the kernel executes it, because a file that a process
// being forked meanwhile has open for writing cannot be executed.
func script(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.sh")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "sh " + path
}

// eventually waits until condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// pidIn waits for a process to write its number to a file.
func pidIn(t testing.TB, path string) int {
	t.Helper()
	pid := 0
	eventually(t, "a process number in "+path, func() bool {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.HasSuffix(text, []byte("\n")) {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

// gone waits until a process has ended; a zombie that nobody reaped has.
func gone(t testing.TB, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the end of process %d", pid), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			return true
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		return err == nil && strings.HasPrefix(state, "Z")
	})
}

// childProvider is a provider in a process of its own.
type childProvider struct {
	testProvider
	cmd    *exec.Cmd
	stderr *bytes.Buffer
}

// startChild runs a provider in a process of its own; prefix, such as prlimit
// and its arguments, comes before it on the command line.
func startChild(t *testing.T, stateDir string, prefix ...string) *childProvider {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(prefix, self, stateDir)
	c := &childProvider{cmd: exec.Command(argv[0], argv[1:]...), stderr: &bytes.Buffer{}}
	c.t = t
	c.cmd.Env = append(os.Environ(), roleVariable+"=provider")
	c.cmd.Stderr = c.stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill(syscall.SIGKILL) })
	var address string
	if _, err := fmt.Fscanln(stdout, &address); err != nil {
		c.kill(syscall.SIGKILL)
		t.Fatalf("the provider did not start: %v\n%s", err, c.stderr)
	}
	c.url = "http://" + address
	return c
}

// kill sends a signal and waits for the end of the provider.
func (c *childProvider) kill(signal syscall.Signal) {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Signal(signal)
		_ = c.cmd.Wait()
	}
}

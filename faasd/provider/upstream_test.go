package provider

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// startHTTP deploys the test program as a function in HTTP mode.
func (p *testProvider) startHTTP(name string, env map[string]string) {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	variables := httpFunction()
	for key, value := range env {
		variables[key] = value
	}
	p.deploy(name, self, variables)
}

var pidPattern = regexp.MustCompile(`pid=(\d+)`)

// upstreamPid calls a function in HTTP mode and returns its process.
func (p *testProvider) upstreamPid(name string) int {
	p.t.Helper()
	text := p.want(http.StatusCreated, "pid=", "GET", "/function/"+name, nil)
	pid, err := strconv.Atoi(pidPattern.FindStringSubmatch(text)[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func TestHTTPMode(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.startHTTP("web", map[string]string{"exec_timeout": "10s"})
	status, text, header := p.exchange("PUT", "/function/web/a%2Fb//c?d=e", "the body", http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}})
	if status != http.StatusCreated || header.Get("X-Greeting") != "hello" {
		t.Errorf("%d %v", status, header)
	}
	for _, part := range []string{"PUT /a%2Fb//c?d=e ", "host=" + strings.TrimPrefix(p.url, "http://"),
		"forwarded=192.0.2.1, 127.0.0.1 ", "proto=https ", "body=the body"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %s", part, text)
		}
	}
	p.want(http.StatusCreated, "proto=http ", "GET", "/function/web", nil)
	if pid := p.upstreamPid("web"); pid != p.upstreamPid("web") {
		t.Error("not one process for two calls")
	}
	p.want(200, "listening on", "GET", "/system/logs?name=web", nil)
	p.want(200, `"availableReplicas":1`, "GET", "/system/function/web", nil)
}

// A function that answers before it has read the body keeps its answer.
func TestHTTPModeEarlyAnswer(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.startHTTP("web", nil)
	p.upstreamPid("web")
	body := make([]byte, 4<<20)
	for range 30 {
		p.want(200, "early", "POST", "/function/web/early", bytes.NewReader(body))
		p.want(200, "early", "POST", "/function/web/early", io.MultiReader(bytes.NewReader(body)))
	}
}

// A redirect goes to the caller as it is.
// TestHTTPModeInterimAnswers: HAProxy passes interim answers and trailers on as they
// are; a function does not say in them which node it is. The answer is identified
// all the same.
func TestHTTPModeInterimAnswers(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.startHTTP("web", nil)
	interim := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
		interim++
		if header.Get("X-Server") != "" || header.Get("DFaaS-Node-ID") != "" || header.Get("Link") == "" {
			t.Errorf("before the answer: %v", header)
		}
		return nil
	}})
	request, err := http.NewRequestWithContext(ctx, "GET", p.url+"/function/web/spoof", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	if interim != 1 || response.Header.Get("X-Call-Id") == "" || response.Header.Get("X-Start-Time") == "" {
		t.Errorf("%d interim answers, then %v", interim, response.Header)
	}
	if len(response.Trailer) != 1 || response.Trailer.Get("X-Kept") != "kept" {
		t.Errorf("after the answer: %v", response.Trailer)
	}
}

func TestHTTPModeRedirect(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.startHTTP("web", nil)
	request, err := http.NewRequest("GET", p.url+"/function/web/redirect", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusFound || response.Header.Get("Location") != "http://example.com/elsewhere" {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
}

func TestHTTPModeRestarts(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.startHTTP("web", nil)
	first := p.upstreamPid("web")
	p.want(502, "did not answer", "GET", "/function/web/crash", nil)
	eventually(t, "another process", func() bool {
		status, text := p.do("GET", "/function/web", nil)
		if status != http.StatusCreated && status != http.StatusServiceUnavailable && status != http.StatusBadGateway {
			t.Fatalf("%d %s", status, text)
		}
		return status == http.StatusCreated && !strings.Contains(text, "pid="+strconv.Itoa(first)+" ")
	})
	p.want(200, "exit status 3", "GET", "/system/logs?name=web", nil)
}

func TestHTTPModeLimits(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxOutput, o.MaxBody = 1<<20, 1<<20
	p := start(t, o)
	p.startHTTP("web", map[string]string{"exec_timeout": "5s"}) // of which it needs some to begin
	p.upstreamPid("web")
	p.want(504, "exec_timeout", "GET", "/function/web/hang", nil)
	if status, text := p.do("GET", "/function/web/huge", nil); status != 200 || !strings.HasSuffix(text, "BROKEN") {
		t.Errorf("huge: %d, %d bytes", status, len(text))
	}
	large := strings.Repeat("x", 2<<20)
	for _, body := range []io.Reader{strings.NewReader(large), io.MultiReader(strings.NewReader(large))} {
		p.want(413, "too large", "POST", "/function/web", body)
	}
	p.upstreamPid("web") // still there
}

// A command that never serves is down, and says so.
func TestHTTPModeThatDoesNotServe(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.deploy("broken", "false", map[string]string{"mode": "http"})
	eventually(t, "a call is refused", func() bool {
		status, text := p.do("GET", "/function/broken", nil)
		return status == http.StatusServiceUnavailable && strings.Contains(text, "died")
	})
	if text := p.want(200, "", "GET", "/system/function/broken", nil); strings.Contains(text, "availableReplicas") {
		t.Errorf("available: %s", text)
	}
}

// Replacing a function ends its process after its calls, and loses none.
func TestHTTPModeUpdate(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.startHTTP("web", nil)
	pid := p.upstreamPid("web")
	var calls sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, text := p.do("GET", "/function/web", nil); status != http.StatusCreated {
					t.Errorf("%d %s", status, text)
					return
				}
			}
		})
	}
	self, _ := os.Executable()
	for range 3 {
		p.want(202, "", "PUT", "/system/functions", object{"service": "web", "image": "local", "envProcess": self, "envVars": httpFunction()})
		gone(t, pid)
		pid = p.upstreamPid("web")
	}
	close(stop)
	calls.Wait()

	p.want(202, "", "POST", "/system/scale-function/web", object{"replicas": 0})
	gone(t, pid)
	pid = p.upstreamPid("web") // starts it again
	p.want(202, "", "DELETE", "/system/functions", object{"functionName": "web"})
	gone(t, pid)
}

func TestHTTPModePortInArguments(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file.txt"), []byte("served"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.deploy("files", "python3 -m http.server --bind 127.0.0.1 --directory "+root+" $PORT", map[string]string{"mode": "http"})
	p.want(200, "served", "GET", "/function/files/file.txt", nil)
}

func TestReservedPortsDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		reserved, err := reservePort()
		if err != nil {
			t.Fatal(err)
		}
		defer reserved.close()
		if seen[reserved.port] {
			t.Fatalf("port %d was reserved twice", reserved.port)
		}
		seen[reserved.port] = true
	}
}

func TestRawRest(t *testing.T) {
	for _, test := range []struct{ raw, path, want string }{
		{"", "/a", ""},
		{"/function/f/a%2Fb", "/a/b", "/a%2Fb"},
		{"/function/f", "", ""},
		{"/function/f/", "/", "/"},
		{"/function/f/x", "/y", ""},
		{"/func%74ion/f/a%2Fb", "/a/b", "/a%2Fb"},
		{"x", "/", ""},
	} {
		if got := rawRest(test.raw, test.path); got != test.want {
			t.Errorf("rawRest(%q, %q) = %q, want %q", test.raw, test.path, got, test.want)
		}
	}
}

// TestHTTPEcho: the catalogue's cheap function runs without --allow-processes,
// and gives back whatever comes, however it comes.
func TestHTTPEcho(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.AllowProcesses = false
	p := start(t, o)
	echo := object{"service": "e", "image": "ghcr.io/dfaas/http-echo:latest"}
	p.want(202, "", "POST", "/system/functions", echo)
	large := bytes.Repeat([]byte("0123456789"), 1<<20)
	for _, body := range []string{"hello", "", string(large)} {
		status, text, header := p.exchange("POST", "/function/e/path?query", body, http.Header{"Content-Type": {"application/x-test"}})
		if status != 200 || text != body || header.Get("Content-Type") != "application/x-test" {
			t.Errorf("%d bytes: %d, %d bytes back, %v", len(body), status, len(text), header)
		}
	}
	for _, mode := range []string{"serializing", "streaming"} {
		p.want(400, "no other mode than http", "PUT", "/system/functions",
			object{"service": "e", "image": "http-echo", "envVars": object{"mode": mode}})
	}
	p.want(202, "", "PUT", "/system/functions", object{"service": "e", "image": "http-echo", "envVars": object{"mode": "http"}})
	p.want(400, "--allow-processes", "PUT", "/system/functions",
		object{"service": "e", "image": "http-echo", "envProcess": "dfaas-provider --listen 127.0.0.1:1"})
}

// BenchmarkHTTPEcho is a call of the catalogue's http-echo, on a kept connection.
func BenchmarkHTTPEcho(b *testing.B) {
	p := startNew(b)
	p.want(202, "", "POST", "/system/functions", object{"service": "echo", "image": "http-echo"})
	body := strings.Repeat("x", 100)
	p.want(200, "x", "POST", "/function/echo", body)
	before := cpuMillis(b)
	b.ReportAllocs()
	for b.Loop() {
		p.want(200, "x", "POST", "/function/echo", body)
	}
	b.ReportMetric((cpuMillis(b)-before)/float64(b.N), "CPU-ms/op")
}

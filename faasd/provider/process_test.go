package provider

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"
)

func TestRequestReachesTheProcess(t *testing.T) {
	p := startNew(t)
	p.deploy("show", script(t, `env; echo; cat`), map[string]string{"own": "a b=c"})
	status, text, header := p.exchange("PUT", "/function/show/a//b%20c?x=1&y=%20", "the body",
		http.Header{"X-Forwarded-By": {"one", "two"}, "Content-Type": {"text/x-test"}, "Cookie": {"k=v"}})
	if status != 200 || header.Get("Content-Type") != "text/x-test" {
		t.Fatalf("%d %v", status, header)
	}
	for _, line := range []string{
		"Http_Method=PUT", "Http_Path=/a//b c", "Http_Query=x=1&y=%20", "Http_Content_Length=8", "Http_ContentLength=8",
		"Http_X_Forwarded_By=one", "Http_Cookie=k=v", "Http_Content_Type=text/x-test", "own=a b=c", "LANG=C.UTF-8",
		"Http_Host=" + strings.TrimPrefix(p.url, "http://"),
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	if !strings.HasSuffix(text, "\n\nthe body") {
		t.Errorf("body: %q", text)
	}
	if strings.Contains(text, "GOPATH") || strings.Contains(text, roleVariable) {
		t.Errorf("the provider's own environment leaks:\n%s", text)
	}
	_, text, _ = p.exchange("POST", "/function/show", io.MultiReader(strings.NewReader("chunked")), nil)
	if !strings.Contains(text, "Http_Transfer_Encoding=chunked\n") || !strings.Contains(text, "Http_Content_Length=-1\n") {
		t.Errorf("chunked:\n%s", text)
	}
	p.want(400, "NUL", "GET", "/function/show/a%00b", nil)
	for _, method := range []string{"GET", "DELETE", "PATCH", "OPTIONS", "REPORT"} {
		p.want(200, "Http_Method="+method+"\n", method, "/function/show", nil)
	}
}

func TestContentType(t *testing.T) {
	p := startNew(t)
	p.deploy("plain", "cat", nil)
	p.deploy("fixed", "cat", map[string]string{"content_type": "image/png"})
	if _, _, header := p.exchange("GET", "/function/plain", nil, nil); header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("plain: %v", header)
	}
	if _, _, header := p.exchange("GET", "/function/fixed", nil, nil); header.Get("Content-Type") != "image/png" {
		t.Errorf("fixed: %v", header)
	}
}

// Bodies of every size that takes another way: none, held in the first buffer,
// in memory, in a file; of known and of unknown length.
func TestBodiesComeBackWhole(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	p := start(t, o)
	p.deploy("serializing", "cat", nil)
	p.deploy("streaming", "cat", map[string]string{"mode": "streaming"})
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, holdBack - 1, holdBack, holdBack + 1, spoolInMemory, spoolInMemory + 1, 10 << 20} {
		body := make([]byte, size)
		_, _ = random.Read(body)
		for _, name := range []string{"serializing", "streaming"} {
			for kind, reader := range map[string]io.Reader{
				"known": bytes.NewReader(body), "unknown": io.MultiReader(bytes.NewReader(body)),
			} {
				status, text := p.do("POST", "/function/"+name, reader)
				if status != 200 || text != string(body) {
					t.Errorf("%s, %d bytes of %s length: %d, %d bytes", name, size, kind, status, len(text))
				}
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(o.StateDir, "spool", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	o.MaxBody, o.MaxOutput = 1000, holdBack+1000
	p := start(t, o)
	p.deploy("fails", script(t, `echo half an answer; echo secret of the inside >&2; exit 3`), nil)
	text := p.want(500, "exit status 3", "GET", "/function/fails", nil)
	if strings.Contains(text, "inside") || strings.Contains(text, "half") {
		t.Errorf("the answer tells too much: %s", text)
	}
	p.deploy("slow", "sleep 60", map[string]string{"exec_timeout": "100ms"})
	p.want(504, "exec_timeout", "GET", "/function/slow", nil)
	p.deploy("killed", script(t, `kill -9 $$`), nil)
	p.want(500, "signal: killed", "GET", "/function/killed", nil)
	p.deploy("large", "yes", nil)
	if status, text := p.do("GET", "/function/large", nil); status != 200 || !strings.HasSuffix(text, "BROKEN") {
		t.Errorf("endless output: %d, %d bytes", status, len(text))
	}
	p.deploy("cat", "cat", nil)
	p.want(413, "too large", "POST", "/function/cat", strings.Repeat("x", 1001))
	p.want(413, "too large", "POST", "/function/cat", io.MultiReader(strings.NewReader(strings.Repeat("x", 1001))))
	p.want(200, "", "POST", "/function/cat", strings.Repeat("x", 1000))
	p.deploy("late", script(t, fmt.Sprintf("head -c %d /dev/zero; exit 1", holdBack+1)), nil)
	if status, text := p.do("GET", "/function/late", nil); status != 200 || !strings.HasSuffix(text, "BROKEN") {
		t.Errorf("failure after the output began: %d, %d bytes", status, len(text))
	}
}

// A program that vanished after it was deployed fails its calls, not the provider.
func TestVanishedProgram(t *testing.T) {
	p := startNew(t)
	program := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink("/bin/cat", program); err != nil {
		t.Fatal(err)
	}
	p.deploy("cat", program, nil)
	p.want(200, "x", "POST", "/function/cat", "x")
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	p.want(500, "could not be run", "POST", "/function/cat", "x")
	if text := p.want(200, `"replicas":1`, "GET", "/system/function/cat", nil); strings.Contains(text, "availableReplicas") {
		t.Errorf("available: %s", text)
	}
}

func TestOutputLimitWithinHeldBack(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxOutput = 100
	p := start(t, o)
	p.deploy("large", "yes", nil)
	p.want(502, "--max-output", "GET", "/function/large", nil)
}

// A function's whole process group ends: with its leader, its time, its client.
func TestNothingIsLeftRunning(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		script string
		env    map[string]string
		call   func()
	}{
		"background": {"sleep 60 & echo $! >PID; exit 0", nil, func() { p.want(200, "", "GET", "/function/background", nil) }},
		"timeout": {"sleep 60 & echo $! >PID; wait", map[string]string{"exec_timeout": "4s"}, // of which it needs some to begin
			func() { p.want(504, "", "GET", "/function/timeout", nil) }},
		"client": {"sleep 60 & echo $! >PID; wait", nil, func() { hangUp(t, p, "/function/client", filepath.Join(dir, "client")) }},
		"streaming": {"sleep 60 & echo $! >PID; wait", map[string]string{"mode": "streaming"},
			func() { hangUp(t, p, "/function/streaming", filepath.Join(dir, "streaming")) }},
	} {
		path := filepath.Join(dir, name)
		p.deploy(name, script(t, strings.ReplaceAll(test.script, "PID", path)), test.env)
		test.call()
		gone(t, pidIn(t, path))
	}
}

// What left the process group of a call and holds its output open, or even writes
// on, neither holds the call up nor spoils its answer.
func TestOutputHeldOpen(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	for name, leftover := range map[string]string{
		"silent": "exec sleep 60",
		"busy":   `trap "" PIPE; while :; do echo tick; sleep 0.02; done`,
	} {
		path := filepath.Join(t.TempDir(), name)
		p.deploy(name, script(t, fmt.Sprintf("setsid sh -c 'echo $$ >%[1]s; %[2]s' & until [ -s %[1]s ]; do sleep 0.01; done; echo done",
			path, leftover)), nil)
		p.want(200, "done", "GET", "/function/"+name, nil)
		if err := syscall.Kill(-pidIn(t, path), syscall.SIGKILL); err != nil {
			t.Errorf("%s: the leftover has ended: %v", name, err)
		}
	}
}

// hangUp calls a function and drops the connection when its process runs.
func hangUp(t *testing.T, p *testProvider, path, pidFile string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", path)
	pidIn(t, pidFile)
}

func TestInflightLimit(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p.deploy("gate", "cat "+fifo, map[string]string{"max_inflight": "2"})
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			_, text := p.do("GET", "/function/gate", nil)
			answers <- text
		}()
	}
	eventually(t, "two calls under way", func() bool {
		_, text := p.do("GET", "/metrics", nil)
		return strings.Contains(text, `gateway_function_invocation_started{function_name="gate.openfaas-fn"} 2`)
	})
	status, text, header := p.exchange("GET", "/function/gate", nil, nil)
	if status != 429 || header.Get("Retry-After") == "" || !strings.Contains(text, "max_inflight") {
		t.Errorf("third call: %d %v %s", status, header, text)
	}
	// Two writers may meet one reader each or one both: what counts is that both
	// calls end.
	for range 2 {
		go func() { _ = os.WriteFile(fifo, []byte("open"), 0) }()
	}
	first := <-answers
	go func() { _ = os.WriteFile(fifo, []byte("open"), 0) }()
	if all := first + <-answers; !strings.Contains(all, "open") {
		t.Errorf("the calls under way answered %q", all)
	}
	go func() { _ = os.WriteFile(fifo, []byte("again"), 0) }()
	p.want(200, "", "GET", "/function/gate", nil)
}

func TestStreaming(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.deploy("lines", script(t, `while read line; do echo "got $line"; done`), map[string]string{"mode": "streaming"})
	body, input := io.Pipe()
	request, err := http.NewRequest("POST", p.url+"/function/lines", body)
	if err != nil {
		t.Fatal(err)
	}
	go fmt.Fprintln(input, "one")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	for _, want := range []string{"one", "two", "three"} {
		if want != "one" {
			fmt.Fprintln(input, want)
		}
		if line, err := lines.ReadString('\n'); line != "got "+want+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	input.Close()
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// A process may answer without having read its input.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	for _, mode := range []string{"serializing", "streaming"} {
		p.deploy(mode, "echo done", map[string]string{"mode": mode})
		p.want(200, "done", "POST", "/function/"+mode, bytes.NewReader(make([]byte, 256<<10)))
	}
	// The rest of this body never comes.
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /function/streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); string(text) != "done\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// stuckClient takes nothing until taking is closed.
type stuckClient struct {
	http.ResponseWriter
	asked  chan struct{} // gets a value when there is something to take
	taking chan struct{}
}

func (c *stuckClient) Write(p []byte) (int, error) {
	select {
	case c.asked <- struct{}{}:
	default:
	}
	<-c.taking
	return c.ResponseWriter.Write(p)
}

func (c *stuckClient) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// However long a client takes, it gets all that a process wrote before it ended.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	for mode, first := range map[string]int{"serializing": holdBack, "streaming": 10} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const rest = 40000 // fits into a pipe
			pidFile, gate := filepath.Join(t.TempDir(), "pid"), filepath.Join(t.TempDir(), "gate")
			if err := syscall.Mkfifo(gate, 0o600); err != nil {
				t.Fatal(err)
			}
			f := testFunction(t, mode, fmt.Sprintf("echo $$ >%s; head -c %d /dev/zero; read open <%s; head -c %d /dev/zero",
				pidFile, first, gate, rest))
			l, err := newLauncher(1<<20, 1<<20, 100, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			client := &stuckClient{asked: make(chan struct{}, 1), taking: make(chan struct{})}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				client.ResponseWriter = w
				l.serve(&call{w: &recorder{ResponseWriter: client}, r: r, path: "/"}, f)
			}))
			defer server.Close()
			p := &testProvider{t: t, url: server.URL}
			type result struct {
				status int
				text   string
			}
			answered := make(chan result, 1)
			go func() {
				status, text := p.do("GET", "/", nil)
				answered <- result{status, text}
			}()
			<-client.asked
			if err := os.WriteFile(gate, []byte("open\n"), 0); err != nil {
				t.Fatal(err)
			}
			gone(t, pidIn(t, pidFile))
			time.Sleep(time.Second) // nothing to wait for: the client is that slow
			close(client.taking)
			if got := <-answered; got.status != 200 || got.text != strings.Repeat("\x00", first+rest) {
				t.Errorf("%d, %d bytes of %d", got.status, len(got.text), first+rest)
			}
		})
	}
}

// testFunction is a function outside of any registry that runs a shell script.
func testFunction(t *testing.T, mode, text string) *function {
	t.Helper()
	d := types.FunctionDeployment{Service: "test", Namespace: "openfaas-fn", Image: "local", EnvProcess: script(t, text),
		EnvVars: map[string]string{"mode": mode}}
	s, err := testResolver(t, true).resolve(d)
	if err != nil {
		t.Fatal(err)
	}
	dir := &stateDir{path: t.TempDir()}
	if err := dir.clearMounts(); err != nil {
		t.Fatal(err)
	}
	g := newRegistry(dir, nil, newMetrics(), 1<<20, nil, zerolog.Nop())
	f, err := g.newFunction(record{Deployment: d, Replicas: 1}, s, nil, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.end() })
	return f
}

// Half a body is no body: the process must not take it for the whole.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	path := filepath.Join(t.TempDir(), "done")
	for kind, half := range map[string]string{
		"known":   "Content-Length: 100\r\n\r\nhalf",
		"chunk":   "Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",                         // broken off within a chunk
		"chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",                      // before the next one
		"buffer":  fmt.Sprintf("Content-Length: %d\r\n\r\n%0*d", holdBack+1, holdBack, 0), // as much as is read at once
	} {
		for _, mode := range []string{"serializing", "streaming"} {
			name := kind + "-" + mode
			p.deploy(name, script(t, "cat; echo whole >"+path), map[string]string{"mode": mode})
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST /function/%s HTTP/1.1\r\nHost: x\r\n%s", name, half)
			conn.Close()
			counted := fmt.Sprintf(`gateway_function_invocation_total{code="499",function_name="%s.openfaas-fn"} 1`, name)
			eventually(t, counted, func() bool {
				_, text := p.do("GET", "/metrics", nil)
				return strings.Contains(text, counted)
			})
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a process took half a body for the whole")
	}
}

// That the connection's end cancels the call must not be all that keeps half a
// body of unknown length from a process.
func TestHalfABodyIsNotSpooled(t *testing.T) {
	l, err := newLauncher(1<<20, 1<<20, 100, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, size := range []int{0, 4, holdBack - 1, holdBack, holdBack + 1} {
		for _, broken := range []bool{false, true} {
			handler := func(w http.ResponseWriter, r *http.Request) {
				var body io.Reader = strings.NewReader(strings.Repeat("x", size))
				if broken {
					body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF)) // as of a chunked body
				}
				r.Body, r.ContentLength = io.NopCloser(body), -1
				file, err := l.spool(w, r, time.Minute)
				if err == nil {
					file.Close()
				}
				if refused := failureStatus(err) == statusClientGone; refused != broken || (err == nil) == broken {
					t.Errorf("%d bytes, broken off: %t: %v", size, broken, err)
				}
			}
			server := httptest.NewServer(http.HandlerFunc(handler))
			p := &testProvider{t: t, url: server.URL}
			p.want(200, "", "GET", "/", nil)
			server.Close()
		}
	}
}

// A client that does not send its body in the function's time is told so, and
// costs no process.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.deploy("cat", "cat", map[string]string{"exec_timeout": "200ms"})
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /function/cat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%s", response.Status)
	}
}

// Calls, deployments and removals of one function at the same time: every call is
// answered, by one deployment or the other.
func TestCallsDuringDeployments(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	p.deploy("busy", "echo 0", nil)
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
				if status, text := p.do("GET", "/function/busy", nil); status != 200 {
					t.Errorf("%d %s", status, text)
					return
				}
			}
		})
	}
	for i := range 20 {
		p.want(202, "", "PUT", "/system/functions",
			object{"service": "busy", "image": "local", "envProcess": fmt.Sprintf("echo %d", i)})
	}
	close(stop)
	calls.Wait()
}

// A function that is replaced or removed lets the calls under way end: also those
// that still write to its log.
func TestCallsOutliveTheirFunction(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	for name, end := range map[string]func(name string){
		"removed": func(name string) {},
		"replaced": func(name string) {
			p.want(202, "", "PUT", "/system/functions", object{"service": name, "image": "local", "envProcess": "cat"})
		},
	} {
		for _, mode := range []string{"serializing", "streaming"} {
			name := name + "-" + mode
			pidFile, gate := filepath.Join(t.TempDir(), "pid"), filepath.Join(t.TempDir(), "gate")
			if err := syscall.Mkfifo(gate, 0o600); err != nil {
				t.Fatal(err)
			}
			p.deploy(name, script(t, fmt.Sprintf("echo $$ >%s; read open <%s; echo trouble >&2; echo done", pidFile, gate)),
				map[string]string{"mode": mode})
			log, err := http.Get(p.url + "/system/logs?follow=true&name=" + name)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Body.Close()
			answered := make(chan string, 1)
			go func() {
				status, text := p.do("GET", "/function/"+name, nil)
				answered <- fmt.Sprint(status, " ", text)
			}()
			pidIn(t, pidFile)
			end(name)
			p.want(202, "", "DELETE", "/system/functions", object{"functionName": name})
			p.want(404, "", "GET", "/function/"+name, nil)
			if err := os.WriteFile(gate, []byte("open\n"), 0); err != nil {
				t.Fatal(err)
			}
			if got := <-answered; got != "200 done\n" {
				t.Errorf("%s: %q", name, got)
			}
			// The log ends with the last call, whose line is in it.
			if text, err := io.ReadAll(log.Body); err != nil || !strings.Contains(string(text), "trouble") {
				t.Errorf("%s: log: %q, %v", name, text, err)
			}
		}
	}
}

// BenchmarkCat is a call that starts one cat, on a kept connection: the sum of
// what the provider, the kernel and cat need. CPU-ms/op is the processor time.
func BenchmarkCat(b *testing.B) {
	p := startNew(b)
	p.deploy("cat", "cat", map[string]string{"max_inflight": "10000"})
	body := strings.Repeat("x", 100)
	before := cpuMillis(b)
	b.ReportAllocs()
	for b.Loop() {
		p.want(200, "x", "POST", "/function/cat", body)
	}
	b.ReportMetric((cpuMillis(b)-before)/float64(b.N), "CPU-ms/op")
}

// cpuMillis is the processor time that this process and its ended children took.
func cpuMillis(b *testing.B) float64 {
	total := 0.0
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			b.Fatal(err)
		}
		total += float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
	}
	return total
}

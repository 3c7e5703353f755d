package provider

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/faasd/queue"
)

// asyncOptions are those of a provider that may call the tests back.
func asyncOptions(t testing.TB) Options {
	o := testOptions(t.TempDir())
	o.CallbackAllow = []string{"127.0.0.0/8"}
	return o
}

// impatient are annotations that have calls tried again soon.
func impatient(attempts int) map[string]string {
	return map[string]string{
		"com.openfaas.retry.attempts": strconv.Itoa(attempts), "com.openfaas.retry.min_wait": "100ms", "com.openfaas.retry.max_wait": "200ms",
	}
}

// deployAsync deploys a script with annotations.
func (p *testProvider) deployAsync(name, text string, annotations, env map[string]string) {
	p.t.Helper()
	p.want(202, "", "POST", "/system/functions",
		object{"service": name, "image": "local", "envProcess": script(p.t, text), "envVars": env, "annotations": annotations})
}

// lines returns a file's lines, none if it is not there.
func lines(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// metric reads one sample from /metrics; 0 if it is not there.
func (p *testProvider) metric(series string) float64 {
	p.t.Helper()
	for _, line := range strings.Split(p.want(200, "", "GET", "/metrics", nil), "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// callback is a request that a callback has made.
type callback struct {
	header http.Header
	body   string
}

// listener takes in callbacks, answering with the statuses in turn, and then 200.
func listener(t testing.TB, statuses ...int) (url string, got <-chan callback) {
	t.Helper()
	all := make(chan callback, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status := 200
		if len(statuses) > 0 {
			status, statuses = statuses[0], statuses[1:]
		}
		w.WriteHeader(status)
		all <- callback{r.Header, string(body)}
	}))
	t.Cleanup(server.Close)
	return server.URL, all
}

func next(t testing.TB, got <-chan callback) callback {
	t.Helper()
	select {
	case c := <-got:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("never called back")
	}
	return callback{}
}

// TestAsync: the call is accepted, executed with all that came with it, and its
// result delivered.
func TestAsync(t *testing.T) {
	t.Parallel()
	p := start(t, asyncOptions(t))
	url, got := listener(t)
	p.deployAsync("show", `env; echo; cat`, nil, nil)
	status, text, header := p.exchange("POST", "/async-function/show/a%20b//c?x=1&y=%20", "the body", http.Header{
		"X-Callback-Url": {url + "/here"}, "X-Call-Id": {"mine"}, "Content-Type": {"text/x-test"}, "X-Odd": {"caf\xe9"},
		"X-Forwarded-For": {"192.0.2.7"},
	})
	if status != 202 || text != "" || header.Get("X-Call-Id") != "mine" {
		t.Fatalf("%d %q %v", status, text, header)
	}
	if begun, err := strconv.ParseInt(header.Get("X-Start-Time"), 10, 64); err != nil || time.Since(time.Unix(0, begun)).Abs() > time.Minute {
		t.Errorf("X-Start-Time: %q", header.Get("X-Start-Time"))
	}
	c := next(t, got)
	for name, want := range map[string]string{
		"X-Call-Id": "mine", "X-Function-Name": "show", "X-Function-Status": "200", "Content-Type": "text/x-test",
	} {
		if c.header.Get(name) != want {
			t.Errorf("%s: %q", name, c.header.Get(name))
		}
	}
	if seconds, err := strconv.ParseFloat(c.header.Get("X-Duration-Seconds"), 64); err != nil || seconds <= 0 || seconds > 20 {
		t.Errorf("X-Duration-Seconds: %q", c.header.Get("X-Duration-Seconds"))
	}
	for _, line := range []string{
		"Http_Method=POST", "Http_Path=/a b//c", "Http_Query=x=1&y=%20", "Http_Content_Length=8", "Http_X_Call_Id=mine", "Http_X_Odd=caf\xe9",
		"Http_X_Forwarded_For=192.0.2.7, 127.0.0.1", "Http_Host=" + strings.TrimPrefix(p.url, "http://"),
	} {
		if !strings.Contains(c.body, line+"\n") {
			t.Errorf("no %q in\n%s", line, c.body)
		}
	}
	if !strings.HasSuffix(c.body, "\n\nthe body") {
		t.Errorf("body: %q", c.body)
	}
	eventually(t, "the queue is empty", func() bool {
		return p.metric(`dfaas_provider_async_calls{state="callback"}`) == 0 && p.metric(`dfaas_provider_async_bytes`) == 0 &&
			p.metric(`dfaas_provider_async_done_total{outcome="served"}`) == 1 &&
			p.metric(`dfaas_provider_async_callbacks_total{outcome="delivered"}`) == 1
	})
	p.want(200, `"async":true`, "GET", "/system/info", nil)
}

// TestAsyncInEveryMode has calls executed in each mode, and scaled up from zero.
func TestAsyncInEveryMode(t *testing.T) {
	t.Parallel()
	p := start(t, asyncOptions(t))
	url, got := listener(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.deploy("serializing", "cat", nil)
	p.deploy("streaming", "cat", map[string]string{"mode": "streaming"})
	p.deploy("http", self, httpFunction())
	p.want(202, "", "POST", "/system/scale-function/serializing", object{"serviceName": "serializing", "replicas": 0})
	for name, want := range map[string]string{"serializing": "hello", "streaming": "hello", "http": "body=hello"} {
		status, _, _ := p.exchange("POST", "/async-function/"+name, "hello", http.Header{"X-Callback-Url": {url}})
		c := next(t, got)
		if status != 202 || !strings.HasSuffix(c.body, want) || c.header.Get("X-Function-Name") != name {
			t.Errorf("%s: %d, %v %q", name, status, c.header, c.body)
		}
		if name == "http" && (c.header.Get("X-Function-Status") != "201" || c.header.Get("X-Greeting") != "hello") {
			t.Errorf("http: %v", c.header)
		}
	}
	// An answer that breaks off is none, and one without end is no answer for a callback.
	p.deploy("late", script(t, fmt.Sprintf("head -c %d /dev/zero; exit 1", holdBack+1)), map[string]string{"mode": "streaming"})
	p.deployAsync("huge", fmt.Sprintf("head -c %d /dev/zero", queue.MaxBody+1), map[string]string{"com.openfaas.retry.attempts": "1"}, nil)
	for name, want := range map[string]string{"huge": "more than"} {
		_, _, _ = p.exchange("POST", "/async-function/"+name, nil, http.Header{"X-Callback-Url": {url}})
		if c := next(t, got); c.header.Get("X-Function-Status") != "502" || !strings.Contains(c.body, want) {
			t.Errorf("%s: %v %q", name, c.header, c.body)
		}
	}
}

// TestAsyncIsRefused: what is not accepted is answered at once, and says why.
func TestAsyncIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, asyncOptions(t))
	p.deploy("cat", "cat", nil)
	p.want(404, "not deployed", "POST", "/async-function/nope", "x")
	p.want(404, "async-function/NAME", "POST", "/async-function/", "x")
	p.want(400, "NUL", "POST", "/async-function/cat/a%00b", "x")
	if status, text, header := p.exchange("GET", "/async-function/cat", nil, nil); status != 405 || header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %s %v", status, text, header)
	}
	large := strings.Repeat("x", queue.MaxBody+1)
	p.want(413, "at most 1048576 bytes", "POST", "/async-function/cat", large)
	p.want(413, "at most 1048576 bytes", "POST", "/async-function/cat", io.MultiReader(strings.NewReader(large)))
	p.want(202, "", "POST", "/async-function/cat", large[1:])
	for _, bad := range []string{"ftp://example.com/", "/relative", "http://", "http://user:pass@example.com/", "javascript:alert(1)",
		"http://example.com:0/", "http://example.com/" + strings.Repeat("x", 2048)} {
		status, text, _ := p.exchange("POST", "/async-function/cat", "x", http.Header{"X-Callback-Url": {bad}})
		if status != 400 || !strings.Contains(text, "X-Callback-Url") {
			t.Errorf("%.60q: %d %s", bad, status, text)
		}
	}

	without := asyncOptions(t)
	without.QueueCalls = 0
	p = start(t, without)
	p.deploy("cat", "cat", nil)
	p.want(501, "queue", "POST", "/async-function/cat", "x")
	p.want(200, `"async":false`, "GET", "/system/info", nil)
}

// TestAsyncIsTriedAgain: a call is tried again as the function's annotations say, and
// the callback hears of the end.
func TestAsyncIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := start(t, asyncOptions(t))
	url, got := listener(t)
	dir := t.TempDir()
	count := func(name string) string { return filepath.Join(dir, name) }
	p.deployAsync("third", fmt.Sprintf(`echo x >>%[1]s; [ $(wc -l <%[1]s) -ge 3 ] || exit 1; echo fine`, count("third")), impatient(5), nil)
	p.deployAsync("never", fmt.Sprintf(`echo x >>%s; exit 1`, count("never")), impatient(3), nil)
	slow := impatient(2)
	slow["com.openfaas.retry.codes"] = "504"
	p.deployAsync("slow", fmt.Sprintf(`echo x >>%s; sleep 60`, count("slow")), slow, map[string]string{"exec_timeout": "3s"}) // of which it needs some to begin
	p.deployAsync("other", fmt.Sprintf(`echo x >>%s; exit 1`, count("other")), slow, nil)                                     // 500 is not among its codes
	for _, test := range []struct {
		name, status, body string
		tries              int
	}{{"third", "200", "fine\n", 3}, {"never", "500", "failed", 3}, {"slow", "504", "exec_timeout", 2}, {"other", "500", "failed", 1}} {
		if status, text, _ := p.exchange("POST", "/async-function/"+test.name, "x", http.Header{"X-Callback-Url": {url}}); status != 202 {
			t.Fatalf("%s: %d %s", test.name, status, text)
		}
		c := next(t, got)
		if c.header.Get("X-Function-Status") != test.status || !strings.Contains(c.body, test.body) {
			t.Errorf("%s: %v %q", test.name, c.header, c.body)
		}
		if n := len(lines(t, count(test.name))); n != test.tries {
			t.Errorf("%s was called %d times, not %d", test.name, n, test.tries)
		}
	}
	if n := p.metric("dfaas_provider_async_retries_total"); n != 2+2+1 {
		t.Errorf("%v retries", n)
	}
}

// TestAsyncKeepsTheFunctionsLimits: no more calls at once than half of max_inflight,
// so that who waits finds a place.
func TestAsyncKeepsTheFunctionsLimits(t *testing.T) {
	t.Parallel()
	p := start(t, asyncOptions(t))
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	began, ended := filepath.Join(dir, "began"), filepath.Join(dir, "ended")
	p.deployAsync("waits", fmt.Sprintf(`[ "$Http_X_Now" ] && exit 0; echo x >>%s; read x <%s; echo x >>%s`, began, gate, ended), nil,
		map[string]string{"max_inflight": "4"})
	for range 6 {
		p.want(202, "", "POST", "/async-function/waits", nil)
	}
	eventually(t, "two have begun", func() bool { return len(lines(t, began)) == 2 })
	for range 2 { // the other two places
		if status, text, _ := p.exchange("POST", "/function/waits", nil, http.Header{"X-Now": {"1"}}); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	if n := len(lines(t, began)); n != 2 || p.metric(`dfaas_provider_async_calls{state="running"}`) != 2 ||
		p.metric(`dfaas_provider_async_calls{state="queued"}`) != 4 || p.metric("dfaas_provider_async_oldest_seconds") <= 0 {
		t.Errorf("%d have begun\n%s", n, p.want(200, "", "GET", "/metrics", nil))
	}
	file, err := os.OpenFile(gate, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	eventually(t, "all have ended", func() bool {
		_, _ = file.WriteString("go\n")
		return len(lines(t, ended)) == 6
	})
}

// TestAcceptedCallsSurvive kills a provider between its 202 and the execution, and
// one while the function runs: the call is executed by the next one.
func TestAcceptedCallsSurvive(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), t.TempDir()
	pid, done := filepath.Join(dir, "pid"), filepath.Join(dir, "done")
	c := startChild(t, state)
	// One place: the second call waits in the queue while the first is under way.
	c.deployAsync("keeps", fmt.Sprintf(`input=$(cat); [ "$input" ] || exit 0; echo $$ >%[1]s; [ -e %[2]s.go ] || sleep 60; echo $input >>%[2]s`, pid, done), nil,
		map[string]string{"max_inflight": "1"})
	c.want(202, "", "POST", "/async-function/keeps", "first")
	pidIn(t, pid)
	c.want(202, "", "POST", "/async-function/keeps", "second")
	c.kill(syscall.SIGKILL)
	if got := lines(t, done); len(got) != 0 {
		t.Fatalf("done already: %v", got)
	}
	if err := os.WriteFile(done+".go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c = startChild(t, state)
	eventually(t, "both are done", func() bool { return strings.Join(lines(t, done), " ") == "first second" })
	// A stop in an orderly way loses none either.
	if err := os.Remove(done + ".go"); err != nil {
		t.Fatal(err)
	}
	before := pidIn(t, pid)
	c.want(202, "", "POST", "/async-function/keeps", "third")
	eventually(t, "the third is under way", func() bool { return pidIn(t, pid) != before })
	c.kill(syscall.SIGTERM)
	if err := os.WriteFile(done+".go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	startChild(t, state)
	eventually(t, "the third is done", func() bool { return strings.Join(lines(t, done), " ") == "first second third" })
}

// TestQueueIsBounded: a source has its share, a full queue and a full disk are no
// 202, and what was accepted before is executed.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	o := asyncOptions(t)
	o.QueueCalls = 8
	p := start(t, o)
	dir := t.TempDir()
	gate, done := filepath.Join(dir, "gate"), filepath.Join(dir, "done")
	p.deployAsync("waits", fmt.Sprintf(`while [ ! -e %s ]; do sleep 0.01; done; echo x >>%s`, gate, done), nil, map[string]string{"max_inflight": "1"})
	send := func(from string) (int, http.Header) {
		t.Helper()
		status, _, header := p.exchange("POST", "/async-function/waits", "x", http.Header{"X-Forwarded-For": {"198.51.100.1, " + from}})
		return status, header
	}
	accepted := 0
	for _, test := range []struct {
		from         string
		calls, taken int
	}{
		{"192.0.2.1", 8, 4}, {"192.0.2.2", 8, 2}, {"2001:db8::1", 8, 1}, {"2001:db8::2", 1, 0}, {"192.0.2.4", 1, 1}, {"192.0.2.5", 1, 0},
	} {
		taken := 0
		for range test.calls {
			status, header := send(test.from)
			switch {
			case status == 202:
				taken++
			case status != 429 && status != 503, header.Get("Retry-After") == "", status == 503 && accepted+taken < 8:
				t.Fatalf("%s: %d %v", test.from, status, header)
			}
		}
		if accepted += taken; taken != test.taken {
			t.Errorf("%s has %d calls taken, not %d", test.from, taken, test.taken)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all accepted calls are executed", func() bool { return len(lines(t, done)) == accepted })
	if status, _ := send("192.0.2.1"); status != 202 {
		t.Errorf("when there is room again: %d", status)
	}
}

// TestQueueOnAFullDisk: what the disk does not take is not accepted; what it took is
// executed.
func TestQueueOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), t.TempDir()
	gate, done := filepath.Join(dir, "gate"), filepath.Join(dir, "done")
	c := startChild(t, state, "prlimit", "--fsize=2097152")
	c.deployAsync("waits", fmt.Sprintf(`while [ ! -e %s ]; do sleep 0.01; done; echo x >>%s`, gate, done), nil, map[string]string{"max_inflight": "1"})
	accepted, status, text := 0, 0, ""
	for range 20 {
		status, text, _ = c.exchange("POST", "/async-function/waits", strings.Repeat("x", 300<<10), http.Header{
			"X-Forwarded-For": {"192.0.2." + strconv.Itoa(accepted)}})
		if status != 202 {
			break
		}
		accepted++
	}
	if status != 507 || !strings.Contains(text, "disk") || accepted < 2 {
		t.Fatalf("after %d calls: %d %s\n%s", accepted, status, text, c.stderr)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all accepted calls are executed", func() bool {
		return len(lines(t, done)) == accepted && c.metric(`dfaas_provider_async_bytes`) == 0
	})
	c.want(202, "", "POST", "/async-function/waits", strings.Repeat("x", 300<<10))
}

// TestCallbacksGoWhereTheyMay: neither to this machine nor to its network, whatever
// a name leads to, and no redirect is followed.
func TestCallbacksGoWhereTheyMay(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir())
	p := start(t, o)
	url, got := listener(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	p.deploy("cat", "cat", nil)
	hosts := []string{"127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"}
	for _, host := range hosts {
		status, text, _ := p.exchange("POST", "/async-function/cat", "secret", http.Header{"X-Callback-Url": {"http://" + host + ":" + port}})
		if status != 202 {
			t.Errorf("%s: %d %s", host, status, text)
		}
	}
	refused := func() float64 { return p.metric(`dfaas_provider_async_callbacks_total{outcome="refused"}`) }
	eventually(t, "the callbacks are refused", func() bool { return refused() >= float64(len(hosts)-1) })
	select {
	case c := <-got:
		t.Errorf("called back: %v", c)
	default:
	}

	p = start(t, asyncOptions(t))
	p.deploy("cat", "cat", nil)
	redirect := httptest.NewServer(http.RedirectHandler(url, http.StatusTemporaryRedirect))
	defer redirect.Close()
	p.want(202, "", "POST", "/async-function/cat", "x") // without anybody to tell
	if status, _, _ := p.exchange("POST", "/async-function/cat", "x", http.Header{"X-Callback-Url": {redirect.URL}}); status != 202 {
		t.Fatal(status)
	}
	eventually(t, "the redirect has failed", func() bool { return p.metric(`dfaas_provider_async_callbacks_total{outcome="failed"}`) == 1 })
	select {
	case c := <-got:
		t.Errorf("called back: %v", c)
	default:
	}
}

// FuzzAsyncTarget: what is kept of a call's path leads to the same function as a
// synchronous call of it.
func FuzzAsyncTarget(f *testing.F) {
	for _, seed := range []string{"/async-function/figlet", "/async-function/a.b/c%2Fd//e?f=g", "/async-function/%66/x?%zz", "/async-function//x", "/async-function/a%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST " + text + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || !strings.HasPrefix(r.URL.Path, asyncPrefix) {
			return
		}
		target, name, rest, ok := asyncTarget(r.URL)
		if !ok {
			return
		}
		again, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatalf("%q is kept as %q: %v", text, target, err)
		}
		sameName, sameRest, ok := splitPath(again.Path)
		if !ok || name != sameName || rest != sameRest || again.RawQuery != r.URL.RawQuery {
			t.Errorf("%q is kept as %q, which is %q %q", text, target, sameName, sameRest)
		}
	})
}

package provider

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"
)

// What OpenFaaS' gateway and watchdogs promise to callers and functions, and what
// its conformance tests for providers ask for, beside what other tests cover.
var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestCallsAreIdentified(t *testing.T) {
	p := startNew(t)
	p.deploy("process", "env", nil)
	p.deploy("streaming", "env", map[string]string{"mode": "streaming"})
	p.startHTTP("http", nil)
	for _, path := range []string{"/function/process", "/function/streaming", "/function/http", "/function/none"} {
		for _, sent := range []string{"", "of-the-caller", strings.Repeat("x", maxCallID+1)} {
			before := time.Now()
			_, text, header := p.exchange("POST", path, "x", http.Header{"X-Call-Id": {sent}, "X-Start-Time": {"5"}})
			id := header.Get("X-Call-Id")
			if sent == "of-the-caller" && id != sent || sent != "of-the-caller" && !uuidPattern.MatchString(id) {
				t.Errorf("%s with %q: X-Call-Id: %s", path, sent, id)
			}
			nanos, err := strconv.ParseInt(header.Get("X-Start-Time"), 10, 64)
			if began := time.Unix(0, nanos); err != nil || began.Before(before) || began.After(time.Now()) {
				t.Errorf("%s: X-Start-Time: %s", path, header.Get("X-Start-Time"))
			}
			seconds, err := strconv.ParseFloat(header.Get("X-Duration-Seconds"), 64)
			if err != nil || seconds <= 0 || seconds > time.Since(before).Seconds() {
				t.Errorf("%s: X-Duration-Seconds: %s", path, header.Get("X-Duration-Seconds"))
			}
			for _, name := range []string{"X-Call-Id", "X-Start-Time", "X-Duration-Seconds"} {
				if len(header.Values(name)) != 1 {
					t.Errorf("%s: %s: %q", path, name, header.Values(name))
				}
			}
			// The function knows them, too.
			if path == "/function/process" && (!strings.Contains(text, "Http_X_Call_Id="+id+"\n") ||
				!strings.Contains(text, "Http_X_Start_Time="+header.Get("X-Start-Time")+"\n")) {
				t.Errorf("%s: %s", path, text)
			}
			if path == "/function/http" && !strings.Contains(text, "call="+id+" ") {
				t.Errorf("%s: %s", path, text)
			}
		}
	}
}

func TestInvokeWithVerbsAndQuery(t *testing.T) {
	p := startNew(t)
	p.deploy("env-test", "env", map[string]string{"custom_env": "custom_env_value"})
	for _, verb := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		p.want(200, "Http_Method="+verb+"\n", verb, "/function/env-test", nil)
	}
	p.want(200, "custom_env=custom_env_value\n", "POST", "/function/env-test", nil)
	p.want(200, "Http_Query=testing=1\n", "POST", "/function/env-test?testing=1", nil)
	p.want(200, "Http_Path=/\n", "POST", "/function/env-test", nil)
	p.want(200, "Http_Path=/\n", "POST", "/function/env-test/", nil)
	p.want(200, "Http_Path=/a/b\n", "POST", "/function/env-test/a/b", nil)
	if text := p.want(200, "", "GET", "/function/env-test", nil); strings.Contains(text, "Http_Query") {
		t.Errorf("without a query: %s", text)
	}
}

func TestInfoIsWhole(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Version = types.VersionInfo{Release: "v1.2.3", SHA: "abc"}
	var info struct {
		Provider types.ProviderInfo
		Version  types.VersionInfo
	}
	if err := json.Unmarshal([]byte(start(t, o).want(200, "", "GET", "/system/info", nil)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Version != o.Version || info.Provider.Version == nil || *info.Provider.Version != o.Version ||
		info.Provider.Name == "" || info.Provider.Orchestration == "" {
		t.Errorf("%+v", info)
	}
}

// When its caller goes, a call's process ends at once, whatever the caller still
// had to send, and the process to say.
func TestGoneCallerEndsTheProcess(t *testing.T) {
	t.Parallel()
	p := startNew(t)
	for name, test := range map[string]struct{ mode, request string }{
		"no-body":          {"serializing", "GET /function/%s HTTP/1.1\r\nHost: x\r\n\r\n"},
		"body":             {"serializing", "POST /function/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"},
		"chunked":          {"serializing", "POST /function/%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
		"http-10":          {"serializing", "GET /function/%s HTTP/1.0\r\n\r\n"},
		"pipelined":        {"serializing", "GET /function/%s HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"},
		"streaming":        {"streaming", "POST /function/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"},
		"streaming-partly": {"streaming", "POST /function/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"},
	} {
		pidFile := t.TempDir() + "/pid"
		// Of its own, or by its time limit, it would end long after gone has given up.
		p.deploy(name, script(t, "echo $$ >"+pidFile+"; exec sleep 60"), map[string]string{"mode": test.mode, "exec_timeout": "60s"})
		conn := p.dial()
		if _, err := conn.Write([]byte(strings.Replace(test.request, "%s", name, 1))); err != nil {
			t.Fatal(err)
		}
		pid := pidIn(t, pidFile)
		conn.Close()
		gone(t, pid)
	}
}

package provider

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/faasd/functions"
)

func testResolver(tb testing.TB, allowProcesses bool) *resolver {
	tb.Helper()
	catalogue, err := functions.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return &resolver{
		catalogue: catalogue, allowProcesses: allowProcesses, path: "/usr/bin:/bin",
		timeout: time.Minute, maxInflight: 10,
	}
}

// Whatever is sent, a deployment is refused as the client's fault or is ready to
// run; and without --allow-processes it runs nothing but the catalogue.
func FuzzDeployment(f *testing.F) {
	for _, seed := range []string{
		`{"service":"figlet","image":"ghcr.io/openfaas/figlet:latest"}`,
		`{"service":"x","image":"alpine","envProcess":"cat","envVars":{"exec_timeout":"10s","max_inflight":"3","mode":"streaming"}}`,
		`{"service":"x","image":"y","envProcess":"sh -c id","labels":{"a":"b"},"annotations":null,"secrets":["s"]}`,
		`{"service":"x","image":"alpine","envVars":{"fprocess":"env","LD_PRELOAD":"x"}}`,
		`{"service":5}`, `[]`, `null`, `{`, "",
	} {
		f.Add(seed)
	}
	strict, free := testResolver(f, false), testResolver(f, true)
	self, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	var commands []string
	for _, entry := range strict.catalogue.Entries() {
		commands = append(append(commands, entry.Command), entry.Others...)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, r := range []*resolver{strict, free} {
			s, err := resolveBody(r, body)
			var api *apiError
			if err != nil {
				if !errors.As(err, &api) || api.code != http.StatusBadRequest || len(err.Error()) > 2000 {
					t.Errorf("%s: %v", body, err)
				}
				continue
			}
			if !filepath.IsAbs(s.argv[0]) || !faasd.ValidLabel(s.name) || !faasd.ValidLabel(s.namespace) ||
				s.timeout <= 0 || s.timeout > maxExecTimeout || s.maxInflight < 1 || s.maxInflight > maxInflight {
				t.Errorf("%s: %+v", body, s)
			}
			for _, variable := range s.env {
				if strings.ContainsRune(variable, 0) || !strings.Contains(variable, "=") {
					t.Errorf("%s: variable %q", body, variable)
				}
			}
			if r.allowProcesses {
				continue
			}
			program := filepath.Base(s.argv[0])
			if s.argv[0] == self {
				program = functions.Program
			}
			command := strings.Join(append([]string{program}, s.argv[1:]...), " ")
			if !slices.Contains(commands, command) || (s.mode == modeHTTP) != (s.argv[0] == self) {
				t.Errorf("%s: runs %q in mode %s", body, command, s.mode)
			}
			for _, variable := range s.env[3:] { // behind the provider's own
				name, _, _ := strings.Cut(variable, "=")
				if _, ok := settings[name]; !ok {
					t.Errorf("%s: sets %q", body, variable)
				}
			}
		}
	})
}

func resolveBody(r *resolver, body string) (*spec, error) {
	var d types.FunctionDeployment
	if err := decode(httptest.NewRequest("POST", "/system/functions", strings.NewReader(body)), &d); err != nil {
		return nil, err
	}
	if err := r.checkDeployment(&d); err != nil {
		return nil, err
	}
	return r.resolve(d)
}

// Whatever two requests to the REST API do one after the other, they are answered
// as the API answers, what is deployed is valid and outlives a restart, and
// nothing is written but the state.
func FuzzAPI(f *testing.F) {
	deploy := `{"service":"x","image":"ghcr.io/openfaas/figlet:latest","labels":{"dfaas.maxrate":"5"}}`
	f.Add("POST", "/system/functions", deploy, "GET", "/system/functions?namespace=openfaas-fn", "")
	f.Add("POST", "/system/functions", deploy, "PUT", "/system/functions", deploy)
	f.Add("POST", "/system/functions", deploy, "POST", "/system/scale-function/x", `{"serviceName":"x","replicas":0}`)
	f.Add("POST", "/system/functions", deploy, "GET", "/system/logs?name=x&follow=true&tail=1", "")
	f.Add("POST", "/system/functions", deploy, "DELETE", "/system/functions", `{"functionName":"x"}`)
	f.Add("POST", "/system/secrets", `{"name":"../../x","value":"y"}`, "GET", "/system/secrets?namespace=..", "")
	f.Add("PUT", "/system/secrets", `{"name":"x","namespace":"a/../../b"}`, "DELETE", "/system/secrets", `{"name":"x"}`)
	f.Add("GET", "/system/info", "", "GET", "/system/function/a%2F..%2Fb?x=%zz", "")
	root := f.TempDir()
	dir, err := openStateDir(filepath.Join(root, "state"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = dir.close() })
	if err := dir.clearMounts(); err != nil {
		f.Fatal(err)
	}
	stopping := make(chan struct{})
	close(stopping) // so that following a log ends
	p := &server{registry: newRegistry(dir, testResolver(f, false), newMetrics(), 1<<20, nil, zerolog.Nop()), metrics: newMetrics(), stopping: stopping}
	go p.registry.run(f.Context())
	handler := p.handler(nil)
	f.Fuzz(func(t *testing.T, method1, target1, body1, method2, target2, body2 string) {
		defer p.registry.stop() // nothing is deployed when the next one begins
		checkAPI(t, handler, method1, target1, body1)
		checkAPI(t, handler, method2, target2, body2)
		all := p.registry.all()
		for name, function := range all {
			bare, namespace := faasd.SplitName(name, faasd.DefaultNamespace)
			if !faasd.ValidLabel(bare) || !faasd.ValidLabel(namespace) || function.record.Replicas > 1 {
				t.Errorf("deployed as %q: %+v", name, function.record)
			}
		}
		if saved, err := dir.load(); err != nil || (len(all) > 0 && len(saved) != len(all)) {
			t.Errorf("%d functions are deployed, %d saved, %v", len(all), len(saved), err)
		}
		if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
			t.Errorf("beside the state: %v, %v", entries, err)
		}
	})
}

// checkAPI sends one request to the REST API; calls of functions are left out.
func checkAPI(t *testing.T, handler http.Handler, method, target, body string) {
	u, err := url.ParseRequestURI(target)
	if err != nil || strings.HasPrefix(u.Path, functionPrefix) || strings.HasPrefix(u.Path, asyncPrefix) {
		return
	}
	r := &http.Request{
		Method: method, URL: u, Host: "localhost", Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), RequestURI: target,
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r.WithContext(t.Context()))
	text := strings.TrimSuffix(w.Body.String(), "\n")
	switch {
	case w.Code == http.StatusOK && strings.HasPrefix(u.Path, "/system/") && u.Path != "/system/logs":
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: no JSON: %q", method, target, text)
		}
	case w.Code < http.StatusBadRequest, w.Code == http.StatusNotImplemented:
	case w.Code >= http.StatusInternalServerError, strings.Contains(text, "\n"), len(text) > 2000:
		t.Errorf("%s %s %q: %d with %q", method, target, body, w.Code, text)
	}
}

func FuzzState(f *testing.F) {
	f.Add(`{"version":1,"functions":[{"deployment":{"service":"x","image":"cat"},"created_at":"2026-01-01T00:00:00Z","replicas":1}]}`)
	f.Add(`{"version":2}`)
	f.Add(`{"version":1,"functions":[{"deployment":{"service":"x","labels":{"a":"b"}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		records, err := parseState([]byte(text))
		if err != nil {
			return
		}
		saved, err := json.Marshal(stateFile{Version: stateVersion, Functions: records})
		if err != nil {
			return // a year that RFC 3339 cannot write does not come from this program
		}
		again, err := parseState(saved)
		if err != nil || len(again) != len(records) {
			t.Errorf("%s is saved as %s: %v", text, saved, err)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/function/figlet", "/function/a.b/c%2Fd//e?f=g", "/function/", "/function//x", "/functionx", "//"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.ParseRequestURI(text)
		if err != nil {
			return
		}
		name, rest, ok := splitPath(u.Path)
		if !ok {
			return
		}
		if functionPrefix+name+rest != u.Path || strings.Contains(name, "/") || (rest != "" && rest[0] != '/') {
			t.Errorf("%q is %q and %q", u.Path, name, rest)
		}
		if raw := rawRest(u.RawPath, rest); raw != "" {
			if decoded, err := url.PathUnescape(raw); err != nil || decoded != rest {
				t.Errorf("%q has the rest %q, escaped as %q", text, rest, raw)
			}
		}
	})
}

// A name that may lead anywhere is never taken for an address.
func FuzzAddressHost(f *testing.F) {
	for _, seed := range []string{"localhost:8080", "127.0.0.1", "[::1]:1", "evil.example", "", ":80", "[fe80::1%25lo]:1", "1.2.3.4.evil.example", "]["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !addressHost(host) {
			return
		}
		u := url.URL{Host: host}
		name := u.Hostname()
		if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.EqualFold(name, "localhost") {
			return
		}
		if _, err := netip.ParseAddr(name); err != nil {
			t.Errorf("%q is called by the name %q", host, name)
		}
	})
}

func FuzzLogQuery(f *testing.F) {
	f.Add("name=x&tail=5&since=2026-01-01T00:00:00Z&follow=true")
	f.Add("tail=-1&follow=0")
	f.Add("%zz&tail=%00")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseLogQuery(&http.Request{URL: &url.URL{RawQuery: query}})
		if err == nil && q.tail < 0 {
			t.Errorf("%q: %+v", query, q)
		}
	})
}

func TestParseSettings(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": time.Minute, "0": time.Minute, "0s": time.Minute, "10": 10 * time.Second, "10s": 10 * time.Second,
		"250ms": 250 * time.Millisecond, "1h": time.Hour, "3600": time.Hour,
		"3601": 0, "-1": 0, "1.5": 0, "x": 0, "65536": 0, "99999999999999999999": 0,
	} {
		if got, err := parseTimeout(text, time.Minute); got != want || (err != nil) != (want == 0) {
			t.Errorf("parseTimeout(%q) = %s, %v", text, got, err)
		}
	}
	for text, want := range map[string]int64{"": 7, "0": 7, "1": 1, "10000": 10000, "10001": 0, "-1": 0, "x": 0, "1e3": 0} {
		if got, err := parseInflight(text, 7); got != want || (err != nil) != (want == 0) {
			t.Errorf("parseInflight(%q) = %d, %v", text, got, err)
		}
	}
}

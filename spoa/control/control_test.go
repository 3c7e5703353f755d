package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// serve runs a server on a unix socket until the test ends.
func serve(t *testing.T) (*route.Router, string, time.Time) {
	t.Helper()
	start := time.Now()
	router := route.NewRouter(meter.New(start))
	server := control.NewServer(router, agent.New(router, zerolog.Nop()), "v1.2.3", start, zerolog.Nop())
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: server.Handler(), ReadHeaderTimeout: time.Second}}
	srv.Start()
	t.Cleanup(srv.Close)
	return router, socket, start
}

func TestTableAndBack(t *testing.T) {
	router, socket, _ := serve(t)
	c := control.New(testvalue.Path(socket))
	defer c.Close()
	ctx := t.Context()
	if got, err := c.Table(ctx); got != nil || err != nil {
		t.Errorf("before the first table: %v, %v", got, err)
	}
	want := testtable.New(2, 2)
	want.Peers[1].Token = ""
	if err := c.PutTable(ctx, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, router.Status(time.Now()).Table, testvalue.Comparable()); diff != "" {
		t.Errorf("the router's table differs (-want +got):\n%s", diff)
	}
	want.Peers[0].Token = "redacted"
	got, err := c.Table(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, testvalue.Comparable()); diff != "" {
		t.Errorf("the table shown differs (-want +got):\n%s", diff)
	}
	if router.Status(time.Now()).Table.Peers[0].Token != "token-for-1" {
		t.Error("redacting changed the router's table")
	}
}

func TestBadTableIsRefusedWhole(t *testing.T) {
	router, socket, _ := serve(t)
	c := control.New(testvalue.Path(socket))
	ctx := t.Context()
	good := testtable.New(1, 1)
	if err := c.PutTable(ctx, good); err != nil {
		t.Fatal(err)
	}
	bad := testtable.New(1, 1)
	bad.Version, bad.Functions[0].Local.Share = 2, 7
	err := c.PutTable(ctx, bad)
	if !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "function f0: local: share: 7 is not within 0 and 1") {
		t.Errorf("error %v, want ErrRefused with the reason", err)
	}
	if diff := cmp.Diff(good, router.Status(time.Now()).Table, testvalue.Comparable()); diff != "" {
		t.Errorf("the router's table differs (-want +got):\n%s", diff)
	}
	h, err := c.Health(ctx)
	if err != nil || h.TablesRefused != 1 {
		t.Errorf("%d tables refused, %v, want 1", h.TablesRefused, err)
	}
}

func TestHealthAndMeter(t *testing.T) {
	router, socket, start := serve(t)
	c := control.New(testvalue.Path(socket))
	h, err := c.Health(t.Context())
	if err != nil || h.Fresh || h.TableVersion != 0 || h.Version != "v1.2.3" || h.StartMillis != start.UnixMilli() {
		t.Errorf("health without a table %+v, %v", h, err)
	}
	tab := testtable.New(1, 1)
	tab.Version = 42
	if err := c.PutTable(t.Context(), tab); err != nil {
		t.Fatal(err)
	}
	router.Route(time.Now(), route.Request{Path: "/function/f0"})
	h, err = c.Health(t.Context())
	if err != nil || !h.Fresh || h.TableVersion != 42 || h.ExpiresMillis <= 0 || h.ExpiresMillis > tab.TTLMillis {
		t.Errorf("health %+v, %v", h, err)
	}
	r, err := c.Meter(t.Context())
	want := []meter.Function{{Name: "f0", User: meter.User{Local: 1}}}
	if diff := cmp.Diff(want, r.Functions); err != nil || diff != "" {
		t.Errorf("%v, functions differ (-want +got):\n%s", err, diff)
	}
	if r.TableVersion != 42 || !r.TableFresh || r.StartMillis != start.UnixMilli() || r.UptimeMicros <= 0 {
		t.Errorf("report %+v", r)
	}
}

// request makes a request by hand and returns status and body.
func request(t *testing.T, socket, method, path string, body io.Reader) (int, string) {
	t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestStatuses(t *testing.T) {
	testvalue.SkipPrevious(t, "it knows no patches")
	_, socket, _ := serve(t)
	for _, test := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"PUT", "/v1/table", `{`, 400, "cut short"},
		{"PUT", "/v1/table", ``, 400, "empty"},
		{"PUT", "/v1/table", `{"version":1,"nonsense":2}`, 400, "ttl_ms: 0 is not"},
		{"PUT", "/v1/table", `{"speaks":9,"needs":9,"version":1}`, 400, "upgrade dfaas-spoa"},
		{"PUT", "/v1/table", strings.Repeat(" ", table.MaxBytes+1), 413, "16 MiB"},
		{"POST", "/v1/table", ``, 405, ""},
		{"PATCH", "/v1/table", `{}`, 428, "If-Match"},
		{"GET", "/v1/tables", ``, 404, ""},
		{"DELETE", "/v1/meter", ``, 405, ""},
		{"GET", "/v1/meter", ``, 200, `"denied":{}`},
		{"GET", "/v1/meter", ``, 200, `"table_oldest":1,"table_newest":2`},
		{"GET", "/v1/health", ``, 200, `"table_oldest":1,"table_newest":2`},
		{"GET", "/v1/health", ``, 200, `"version":"v1.2.3"`},
	} {
		status, text := request(t, socket, test.method, test.path, strings.NewReader(test.body))
		if status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%s %s %.30s: %d %s, want %d with %q", test.method, test.path, test.body, status, text, test.status, test.text)
		}
	}
}

// TestNewerController: fields of a newer controller are ignored and counted.
func TestNewerController(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads and writes tables of version 1 only")
	router, socket, _ := serve(t)
	body, err := table.Encode(testtable.New(1, 1), table.Newest())
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(body), `"speaks":2`, `"speaks":7,"cost":{"f0":1}`, 1)
	if status, text := request(t, socket, "PUT", "/v1/table", strings.NewReader(newer)); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
	if tab := router.Status(time.Now()).Table; tab.Speaks != 7 || tab.Needs != 1 {
		t.Errorf("table %+v", tab)
	}
	h, err := control.New(testvalue.Path(socket)).Health(t.Context())
	if err != nil || h.TablesNewer != 1 || h.TablesRefused != 0 {
		t.Errorf("%+v, %v", h, err)
	}
	if _, text := request(t, socket, "GET", "/metrics", http.NoBody); !strings.Contains(text, "dfaas_spoa_tables_newer_total 1") {
		t.Error("not counted in the metrics")
	}
}

// TestOlderSPOA: one that names no version gets the table of the first release.
func TestOlderSPOA(t *testing.T) {
	testvalue.SkipPrevious(t, "it reads and writes tables of version 1 only")
	var got string
	meters := []string{`{"start_ms":1,"table_version":0}`, `{"start_ms":2,"table_version":0,"table_oldest":1,"table_newest":2}`, `{"start_ms":3}`}
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/meter" {
			_, _ = io.WriteString(w, meters[0])
			meters = meters[1:]
			return
		}
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		w.WriteHeader(http.StatusNoContent)
	})
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: old, ReadHeaderTimeout: time.Second}}
	srv.Start()
	defer srv.Close()
	c := control.New(testvalue.Path(socket))
	defer c.Close()
	for _, ranged := range []bool{false, false, true, false} {
		if err := c.PutTable(t.Context(), testtable.New(1, 1)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got, `"speaks":2,"needs":1`) != ranged || strings.Contains(got, "speaks") != ranged {
			t.Errorf("%d meters left: sent %s", len(meters), got)
		}
		if len(meters) > 0 {
			if _, err := c.Meter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	router, socket, _ := serve(t)
	tab := testtable.New(1, 1)
	tab.Version = 7
	router.Swap(testtable.Valid(t, tab), time.Now())
	router.Route(time.Now(), route.Request{Path: "/function/f0"})
	router.Route(time.Now(), route.Request{Path: "/function/f1"})
	router.Route(time.Now(), route.Request{Path: "/function/f0", Claimed: true, Node: "x"})
	status, text := request(t, socket, "GET", "/metrics", http.NoBody)
	for _, want := range []string{
		`dfaas_spoa_decisions_total{outcome="local",source="user"} 1`,
		`dfaas_spoa_decisions_total{outcome="not_found",source="any"} 1`,
		`dfaas_spoa_denied_total{reason="unknown_peer"} 1`,
		`dfaas_spoa_table_version 7`, `dfaas_spoa_table_fresh 1`, `dfaas_spoa_panics_total 0`, `dfaas_spoa_info{version="v1.2.3"} 1`,
		`dfaas_spoa_function_decisions_total{function="f0",outcome="local",source="user"} 1`,
		`dfaas_spoa_function_capacity_requests_per_second{function="f0"} 10`,
		`dfaas_spoa_peer_forwarded_total{peer="` + testtable.ID(1).String() + `"} 0`,
		`dfaas_spoa_decision_seconds_count 0`,
		`go_goroutines`, `process_resident_memory_bytes`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics (%d)", want, status)
		}
	}
}

func TestClientWithoutServer(t *testing.T) {
	c := control.New(testvalue.Path(filepath.Join(t.TempDir(), "s")))
	for what, err := range map[string]error{
		"PutTable": c.PutTable(t.Context(), testtable.New(0, 0)),
		"Health":   second(c.Health(t.Context())),
		"Meter":    second(c.Meter(t.Context())),
	} {
		if err == nil || errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "is dfaas-spoa running?") {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestClientAgainstNonsense answers with things that no SPOA answers.
func TestClientAgainstNonsense(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
	}{{200, "<html>"}, {200, ""}, {500, "oops"}, {404, "not here"}, {200, `{"start_ms":"x"}`}} {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		})}}
		srv.Start()
		if h, err := control.New(testvalue.Path(socket)).Health(t.Context()); err == nil {
			t.Errorf("%d %q: health %+v", test.status, test.body, h)
		}
		srv.Close()
	}
}

// FuzzHandler: whatever comes over the control socket, a table is taken whole or
// not at all, and a refusal is one line.
func FuzzHandler(f *testing.F) {
	good := testtable.New(2, 2)
	body, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("PUT", "/v1/table", body)
	f.Add("PUT", "/v1/table", bytes.Replace(body, []byte(`"share":1`), []byte(`"share":-1`), 1))
	f.Add("PUT", "/v1/table", bytes.Replace(body, []byte(`"version":1`), []byte(`"speaks":3,"needs":2,"version":2,"later":{}`), 1))
	f.Add("PUT", "/v1//table", body)
	change := table.Patch{Head: *good, Functions: []table.Function{{Name: testvalue.Name("f1"), Admit: good.Functions[1].Admit}}}
	patch, err := table.EncodePatch(&change)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("PATCH", "/v1/table", patch)
	f.Add("PATCH", "/v1/table", bytes.Replace(patch, []byte(`"f1"`), []byte(`"f9"`), 1))
	f.Add("PATCH", "/v1/table", []byte(`{"version":2,"node_id":"`+good.NodeID.String()+`","ttl_ms":1,"functions_gone":["f0"],"peers_gone":["x"]}`))
	for _, path := range []string{"/v1/table", "/v1/meter", "/v1/health", "/metrics", "/v1/../metrics", "*", ""} {
		f.Add("GET", path, []byte{})
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		router := route.NewRouter(meter.New(time.Now()))
		router.Swap(testtable.Valid(t, good), time.Now())
		server := control.NewServer(router, agent.New(router, zerolog.Nop()), "v1", time.Now(), zerolog.Nop())
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path}, Host: "spoa", Header: http.Header{},
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/table", http.NoBody))
		r.Header.Set("If-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r.WithContext(t.Context()))
		now := router.Status(time.Now()).Table
		switch text := strings.TrimSuffix(w.Body.String(), "\n"); w.Code {
		case http.StatusNoContent:
			if _, err := now.Validate(table.Limits{}); now == good || err != nil {
				t.Errorf("accepted %q", body)
			}
			return
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
			if len(text) > 1000 || strings.ContainsAny(text, "\n\r") {
				t.Errorf("%s %q: %d with %q", method, path, w.Code, text)
			}
		case http.StatusOK, http.StatusMovedPermanently, http.StatusTemporaryRedirect: // the last two for paths that are not clean
			if strings.Contains(text, good.Peers[0].Token) {
				t.Errorf("%s %q shows a token", method, path)
			}
		default:
			t.Errorf("%s %q: %d with %q", method, path, w.Code, text)
		}
		if now != good {
			t.Errorf("%s %q: %d, and another table", method, path, w.Code)
		}
	})
}

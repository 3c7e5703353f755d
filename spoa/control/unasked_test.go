package control_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/grant"
	"github.com/dfaas/dfaas/spoa/route"
)

func TestUnasked(t *testing.T) {
	testvalue.SkipPrevious(t, "it decides every call")
	router, socket, start := serve(t)
	c := control.New(testvalue.Path(socket))
	defer c.Close()
	tab := testtable.New(2, 0)
	tab.Functions[0].Local.Rate, tab.Functions[0].Local.TimeoutMillis = testvalue.Bound(1000), 1500
	if err := c.PutTable(t.Context(), tab); err != nil {
		t.Fatal(err)
	}
	router.Route(time.Now(), route.Request{Path: "/function/f0"})
	got, err := c.Unasked(t.Context(), grant.Report{Run: "1", Counted: map[string]uint32{"f0": 5}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grant.Grants{Functions: map[string]grant.Grant{"f0": {Calls: 125, TimeoutMillis: 1500}}}, got); diff != "" {
		t.Errorf("grants differ (-want +got):\n%s", diff)
	}
	if _, err := c.Unasked(t.Context(), grant.Report{Run: "1", Counted: map[string]uint32{"f0": 25}}); err != nil {
		t.Fatal(err)
	}
	report, err := c.Meter(t.Context())
	if err != nil || report.StartMillis != start.UnixMilli() || report.Functions[0].User.Local != 21 {
		t.Errorf("%+v, %v; want 21 calls served here", report.Functions, err)
	}
	if _, err := c.Unasked(t.Context(), grant.Report{}); err == nil || !strings.Contains(err.Error(), "run: 1 to 64 bytes") {
		t.Errorf("a report without a run: %v", err)
	}
}

// TestUnaskedOfAnOlderSPOA, which knows of no such path.
func TestUnaskedOfAnOlderSPOA(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.NewServeMux(), ReadHeaderTimeout: time.Second}}
	srv.Start()
	defer srv.Close()
	c := control.New(testvalue.Path(socket))
	defer c.Close()
	if _, err := c.Unasked(t.Context(), grant.Report{Run: "1"}); !errors.Is(err, control.ErrOlder) {
		t.Errorf("%v, want %v", err, control.ErrOlder)
	}
}

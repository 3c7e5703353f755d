package bench

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPaced(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path != "/function/f" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	latencies, err := paced(t.Context(), address, "/function/f", 500, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(latencies) != 100 || requests.Load() != 100 {
		t.Errorf("%d latencies of %d requests, want 100 of 100", len(latencies), requests.Load())
	}
	for i, l := range latencies {
		if l <= 0 {
			t.Errorf("request %d took %v us", i, l)
		}
	}
	if _, err := paced(t.Context(), address, "/refused", 500, 200*time.Millisecond); err == nil {
		t.Error("refusals passed as measurements")
	}
	server.Close()
	if _, err := paced(t.Context(), address, "/function/f", 500, 200*time.Millisecond); err == nil {
		t.Error("a server that is not there passed as a measurement")
	}
}

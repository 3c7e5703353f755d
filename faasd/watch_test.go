package faasd

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// changing is a gateway whose whole behaviour can be exchanged while it runs.
type changing struct {
	answer atomic.Pointer[http.HandlerFunc]
}

func (c *changing) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*c.answer.Load())(w, r) }

func (c *changing) be(h http.HandlerFunc) { c.answer.Store(&h) }

func lists(names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/system/namespaces" {
			http.NotFound(w, r)
			return
		}
		functions := []map[string]string{}
		for _, name := range names {
			functions = append(functions, map[string]string{"name": name})
		}
		_ = json.NewEncoder(w).Encode(functions)
	}
}

func TestWatchSeesEverything(t *testing.T) {
	gateway := &changing{}
	gateway.be(lists("a"))
	server := httptest.NewServer(gateway)
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	snapshots := client(t, server.URL).Watch(ctx, 10*time.Millisecond)
	has := func(want string) func(Snapshot) bool {
		return func(s Snapshot) bool { return s.Err == nil && strings.Join(names(s.List), " ") == want }
	}
	says := func(want string) func(Snapshot) bool {
		return func(s Snapshot) bool { return s.Err != nil && strings.Contains(s.Err.Error(), want) }
	}
	waitFor(t, "the first list", snapshots, has("a"))
	gateway.be(lists("a", "b"))
	waitFor(t, "a function deployed", snapshots, has("a b"))
	gateway.be(lists("b"))
	waitFor(t, "a function removed", snapshots, has("b"))
	gateway.be(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out of order", http.StatusBadGateway) })
	waitFor(t, "an error of the gateway", snapshots, says("out of order"))
	gateway.be(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("\x00garbage")) })
	waitFor(t, "garbage", snapshots, says("does not answer as an OpenFaaS gateway"))
	gateway.be(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	waitFor(t, "a gateway that hangs", snapshots, says("did not answer in time"))
	gateway.be(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	waitFor(t, "a gateway that hangs up", snapshots, says("EOF"))
	gateway.be(lists())
	waitFor(t, "an empty list", snapshots, has(""))
	cancel()
	for range snapshots { // ends
	}
}

// A consumer that does not come stops nothing, and then gets the newest look.
func TestWatchNeverWaits(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/system/functions" {
			lists(strings.Repeat("x", int(min(asked.Add(1), 50))))(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	snapshots := client(t, server.URL).Watch(ctx, time.Millisecond)
	deadline := time.After(20 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for asked.Load() < 30 {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the watcher asked %d times", asked.Load())
		}
	}
	if s := <-snapshots; s.Err != nil || len(s.Functions[0].Name.String()) < 28 {
		t.Errorf("an old look: %+v", s)
	}
}

// waitFor reads snapshots until one is as wanted.
func waitFor(t *testing.T, what string, snapshots <-chan Snapshot, wanted func(Snapshot) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case s, ok := <-snapshots:
			if !ok {
				t.Fatalf("%s: the channel is closed", what)
			}
			if (s.Err != nil) == (s.Functions != nil) {
				t.Fatalf("neither error nor list, or both: %+v", s)
			}
			if wanted(s) {
				return
			}
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	peerA = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	peerB = "12D3KooWHvNfkyfYkYm2P7cwZg6qDkXQ7mVbLPYNqX1t7y3kQkXk"
	peerC = "12D3KooWLpgRXUSyXNbhCMG5nKEGSXpcnEqVHqBcBKzWQwkx6nXTN"
)

var peers = []api.Peer{
	{ID: peerA, Name: "edge-3", State: "alive", HTTP: "192.0.2.1:8180", Strategy: "headroom", AgeMillis: 412, RTTMicros: 1234, ClockSkewMillis: -2,
		Functions: []string{"figlet", "ocr"}, Server: "up"},
	{ID: peerB, State: "expired", HTTP: "[2001:db8::2]:8180", Strategy: "recalc", AgeMillis: 63_000, ClockSkewMillis: 14_500,
		Functions: []string{"resize-images-for-the-web", "figlet", "a-function-with-a-long-name.staging", "ocr"}, Server: "down"},
	{ID: peerC, State: "refused", AgeMillis: -1, Server: "none", Reason: "not in allow_peers\x1b[2J"},
}

var golden = []struct {
	name  string
	table table
}{
	{"status", statusTable(api.Status{
		NodeID: peerA, NodeName: "edge-1", Version: "1.2.0", Federation: "lab", Strategy: "headroom", PeriodMillis: 1000, UptimeMillis: 93_784_000,
		HTTPAddress: "192.0.2.1:8180", Peers: 2, Functions: 3, TableVersion: 4711,
		Addresses: []string{"/ip4/192.0.2.1/tcp/31600/p2p/" + peerA, "/ip6/2001:db8::1/tcp/31600/p2p/" + peerA},
	})},
	{"status-placeholder", statusTable(api.Status{
		NodeID: peerA, HTTPAddress: "192.0.2.10:8180", Addresses: []string{"/ip4/10.1.0.1/tcp/31600/p2p/" + peerA},
	})},
	{"components", componentTable([]api.Component{
		{Name: "spoa", OK: true, Since: 1_799_999_995_000},
		{Name: "haproxy", Error: "no permission to open /run/haproxy/admin.sock", Since: 1_799_996_400_000},
		{Name: "gateway"},
	}, time.UnixMilli(1_800_000_000_000))},
	{"peers", peerTable(peers, false, false)},
	{"peers-wide", peerTable(peers, true, true)},
	{"peers-none", peerTable(nil, false, false)},
	{"functions", functionTable([]api.Function{
		{Name: "figlet", Local: true, State: "ready", Capacity: 10, UserRate: 50.04, OutRate: 39.96, Peers: 2},
		{Name: "ocr.staging", Capacity: 0, UserRate: 0.01, Refused: 0.01, Peers: 1},
		{Name: "thumb", Local: true, State: "idle", Capacity: -1, InRate: 2.25, Warning: `label dfaas.maxrate="ten": use a number`},
	})},
	{"routes", routeTable([]api.Route{
		{Function: "figlet", Kind: "local", Weight: 1, Rate: 10, Measured: 10.02},
		{Function: "figlet", Kind: "out", Peer: peerA, PeerName: "edge-3", Weight: 0.333, Rate: 20, Measured: 13.3},
		{Function: "figlet", Kind: "out", Peer: peerB, Weight: 0.667, Rate: -1, Measured: 26.6},
		{Function: "figlet", Kind: "in", Peer: peerA, PeerName: "edge-3", Rate: 0},
	}, false)},
	{"routes-no-trunc", routeTable([]api.Route{{Function: "figlet", Kind: "in", Peer: peerA, Rate: 2.5, Measured: 0.01}}, true)},
}

func TestTables(t *testing.T) {
	for _, c := range golden {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if err := c.table.write(&out); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, c.name, out.String())
		})
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", path, diff)
	}
}

func TestShortener(t *testing.T) {
	for _, c := range []struct {
		name string
		ids  []string
		id   string
		want string
	}{
		{"eight are enough", []string{peerA, peerB}, peerA, "4kx6nXTN"},
		{"as many as it takes", []string{"12D3KooWa-123456789", "12D3KooWb-123456789"}, "12D3KooWa-123456789", "a-123456789"},
		{"the same twice", []string{peerA, peerA}, peerA, "4kx6nXTN"},
		{"one the end of another", []string{"x123456789", "123456789"}, "123456789", "123456789"},
		{"no id", []string{"", peerA}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := shortener(c.ids)(c.id); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRate(t *testing.T) {
	for perSecond, want := range map[float64]string{
		-1: "unlimited", 0: "0", 0.01: "<0.1", 0.05: "0.1", 9.96: "10", 12.34: "12.3", 1e6: "1000000",
	} {
		if got := rate(perSecond); got != want {
			t.Errorf("rate(%v) = %q, want %q", perSecond, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0µs", 999 * time.Microsecond: "999µs", 1299 * time.Microsecond: "1.2ms", 42 * time.Millisecond: "42ms",
		time.Second: "1s", 9999 * time.Millisecond: "9.9s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m1s",
		time.Hour: "1h", 26*time.Hour + time.Minute: "1d2h", -1500 * time.Millisecond: "-1.5s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestCleanKeepsTheTerminalSafe(t *testing.T) {
	for cell, want := range map[string]string{
		"": "-", "figlet": "figlet", "a\tb\nc": "a?b?c", "\x1b[31m": "?[31m", "\xff": "?", "\u202egpj": "?gpj", "naïve": "naïve",
	} {
		if got := clean(cell); got != want {
			t.Errorf("clean(%q) = %q, want %q", cell, got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		a := appWith(&out)
		ctx, cancel := context.WithCancel(t.Context())
		start, shown := time.Now(), 0
		w := watch{on: true, interval: 2 * time.Second}
		err := w.run(ctx, a, func(context.Context) error {
			if shown++; shown == 4 {
				cancel()
			}
			return errors.New("the controller is just restarting")
		})
		if err != nil || shown != 4 || time.Since(start) != 6*time.Second {
			t.Errorf("%v after %d prints in %s", err, shown, time.Since(start))
		}
		if n := strings.Count(out.String(), "just restarting\n"); n != 4 {
			t.Errorf("%d failures were shown: %q", n, out.String())
		}
	})
}

func TestWithoutWatchAFailureIsOne(t *testing.T) {
	failure := errors.New("broken")
	err := new(watch).run(t.Context(), appWith(nil), func(context.Context) error { return failure })
	if !errors.Is(err, failure) {
		t.Error(err)
	}
}

package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// sample has numbers that meet every aim.
func sample() *measurements {
	return &measurements{
		setting:    setting{taken: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), commit: "abc1234", cores: 2, haproxy: "2.6.12", golang: "go1.26"},
		route:      []goBenchmark{{name: "Compile", nanos: 85e6, bytes: 3 << 20, allocs: 7}, {name: decisions + "local", nanos: 120}},
		agent:      []goBenchmark{{name: "Agent", nanos: 2000, bytes: 64, allocs: 2}},
		smallTable: reaction{1, 2, 3}, largeTable: reaction{100}, label: reaction{500, 1500},
		flood: []round[flood]{{others: 0.02, by: [sides]flood{
			bare: {60000, 10, 0}, unasked: {50000, 12, 0}, dfaas: {35000, 18.5, 7},
		}}},
		spoaMemory: 90 << 20,
		wakeUps:    []float64{10, 20, 30},
		latency: []round[latency]{{others: 0.03, by: [sides]latency{
			bare: {100, 300}, unasked: {110, 310}, dfaas: {200, 500},
		}}},
		rest: map[scenario.Part]rest{
			scenario.SPOA: {memory: 20 << 20, cpu: 0.0001}, scenario.Controller: {memory: 60 << 20, cpu: 0.005},
		},
	}
}

// line returns the report's line that contains all words.
func line(t *testing.T, report string, words ...string) string {
	t.Helper()
	for l := range strings.Lines(report) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(l, w)
		}
		if found {
			return l
		}
	}
	t.Errorf("no line with %q in:\n%s", words, report)
	return ""
}

func TestReport(t *testing.T) {
	report := sample().report()
	line(t, report, "2026-05-04", "abc1234", "HAProxy 2.6.12", "2 cores")
	line(t, report, "up to 2 %", "up to 3 % during those of latency")
	line(t, report, decisions+"local", "120 ns, 0 B, 0 allocations", "| met |")
	line(t, report, "Compile", "85 ms, 3.0 MB, 7 allocations")
	line(t, report, "| throughput |", "50000 req/s", "35000 req/s", "0.70", ">= 0.68", "| met |")
	line(t, report, "without the drop-in", "60000 req/s", "0.58")
	line(t, report, "CPU of HAProxy", "12.0 us", "18.5 us", "+6.5 us")
	line(t, report, "p50 at 2000", "110 us", "200 us", "+90 us", "| met |")
	line(t, report, "p99 at 2000", "+190 us", "| met |")
	line(t, report, "the machine alone", "p50 20 us, p99 30 us, p99.9 30 us")
	line(t, report, "table of 3 nodes", "median 2.0 ms, max 3.0 ms (3 times)")
	line(t, report, "label changed", "median 1000 ms, max 1500 ms (2 times)")
	line(t, report, "after the load", "90.0 MB")
	if strings.Contains(report, string(missed)) || strings.Contains(report, "quick run") {
		t.Errorf("no aim was missed, nothing was quick:\n%s", report)
	}
	for l := range strings.Lines(report) {
		if strings.HasPrefix(l, "|") && strings.Count(l, "|") != 7 {
			t.Errorf("a row without 6 cells: %s", l)
		}
	}
}

// Every aim can be missed.
func TestReportMissed(t *testing.T) {
	for name, spoil := range map[string]func(*measurements){
		decisions + "local": func(m *measurements) { m.route[1].nanos = 201 },
		"1 allocations":     func(m *measurements) { m.route[1].allocs = 1 },
		"| throughput |":    func(m *measurements) { m.flood[0].by[dfaas].perSecond = 30000 },
		"p50":               func(m *measurements) { m.latency[0].by[dfaas].p50 = 999 },
		"p99":               func(m *measurements) { m.latency[0].by[dfaas].p99 = 999 },
		"memory of dfaas-spoa at rest": func(m *measurements) {
			m.rest[scenario.SPOA] = rest{memory: 31 << 20}
		},
		"memory of dfaas-controller": func(m *measurements) { m.rest[scenario.Controller] = rest{memory: 71 << 20} },
		"CPU of dfaas-controller":    func(m *measurements) { m.rest[scenario.Controller] = rest{cpu: 0.02} },
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			spoil(m)
			report := m.report()
			line(t, report, name, string(missed))
			if n := strings.Count(report, string(missed)); n != 1 {
				t.Errorf("%d aims missed, expected one", n)
			}
		})
	}
}

func TestReportOfABusyMachine(t *testing.T) {
	const warning = "not to be relied on"
	m := sample()
	if report := m.report(); strings.Contains(report, warning) {
		t.Errorf("a quiet machine is called busy:\n%s", report)
	}
	m.latency[0].others = 0.3
	line(t, m.report(), warning)
}

func TestHAProxyVersion(t *testing.T) {
	for output, want := range map[string]string{
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus": "2.6.12-1+deb12u4",
		"": "unknown",
	} {
		if got := haproxyVersion(output); got != want {
			t.Errorf("%q: got %s, want %s", output, got, want)
		}
	}
}

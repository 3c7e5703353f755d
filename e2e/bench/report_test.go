package bench

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// sample has numbers that meet every aim.
func sample() *measurements {
	counted := func(f map[kind]flood, l map[kind]latency) found {
		one := found{flood: rounds[flood]{all: 3, asked: 1, counted: []round[flood]{{others: 0.02, asked: 0.995, by: f}}}}
		for i := range one.latency {
			one.latency[i] = rounds[latency]{all: 2, asked: 1, counted: []round[latency]{{others: 0.03, asked: 1, by: l}}}
		}
		return one
	}
	return &measurements{
		setting:    setting{taken: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), commit: "abc1234", cores: 2, golang: "go1.26"},
		route:      []goBenchmark{{name: "Compile", nanos: 85e6, bytes: 3 << 20, allocs: 7}, {name: decisions + "local", nanos: 120}},
		agent:      []goBenchmark{{name: "Agent", nanos: 2000, bytes: 64, allocs: 2}},
		smallTable: reaction{1, 2, 3}, largeTable: reaction{100}, change: reaction{1.2, 1.4}, longest: longest{[]float64{0.4}, []float64{9.5, 12.5}, []float64{0.8}}, label: reaction{500, 1500},
		groups: []group{
			{version: "2.6.12", sides: []side{{kind: bare}, {kind: unasked}, {kind: dfaas}, {kind: fast}, {kind: lua}, {kind: goProxy}, {kind: caddy}}},
			{version: "3.4.7", release: "experimental", sides: []side{{kind: bare}, {kind: unasked}, {kind: dfaas}, {kind: fast}}},
		},
		found: []found{
			counted(map[kind]flood{
				bare: {60000, 10, 0}, unasked: {50000, 12, 0}, dfaas: {35000, 18.5, 3.5}, fast: {49000, 12.4, 0.1}, lua: {30000, 25, 0}, goProxy: {9000, 145, 9}, caddy: {8000, 150, 0},
			}, map[kind]latency{
				bare: {100, 300, 30, 0}, unasked: {110, 310, 31, 0}, dfaas: {180, 500, 40, 33}, fast: {112, 312, 32, 1}, lua: {150, 400, 50, 0}, goProxy: {300, 900, 200, 0}, caddy: {310, 910, 210, 0},
			}),
			counted(map[kind]flood{bare: {50000, 14, 0}, unasked: {40000, 16, 0}, dfaas: {20000, 38, 14}, fast: {39000, 16, 0}},
				map[kind]latency{bare: {100, 300, 30, 0}, unasked: {110, 310, 31, 0}, dfaas: {250, 700, 60, 40}, fast: {111, 311, 31, 0}}),
		},
		spoaMemory: 90 << 20,
		wakeUps:    []float64{10, 20, 30},
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
	line(t, report, "up to 3 % of the CPU during the rounds that count")
	line(t, report, "**DFaaS**", "35000 req/s", "22.0 us", "180 / 500 us | 73 us")
	line(t, report, "a reverse proxy in Go", "9000 req/s", "145.0 us", "300 / 900 us | 200 us")
	line(t, report, "| 2.6.12 |", "10.0 | 12.0 | 6.5 | 3.5 | **10.0**", "0.70", "+70 us, +190 us", "99.5 %", "1 of 3")
	line(t, report, "| 3.4.7 |", "14.0 | 16.0 | 22.0 | 14.0 | **36.0**", "0.50", "0.97")
	line(t, report, decisions+"local", "120 ns, 0 B, 0 allocations", "| met |")
	line(t, report, "Compile", "85 ms, 3.0 MB, 7 allocations")
	line(t, report, "| throughput |", "50000 req/s", "35000 req/s", "0.70", ">= 0.68", "| met |")
	line(t, report, "| throughput on the fast path |", "50000 req/s", "49000 req/s", "0.98", ">= 0.97", "| met |")
	line(t, report, "on the fast path: nobody", "49000 req/s", "12.5 us", "112 / 312 us | 33 us")
	line(t, report, "without the drop-in", "60000 req/s", "0.58")
	line(t, report, "CPU of HAProxy", "12.0 us", "18.5 us", "+6.5 us")
	line(t, report, "p50 at 2000", "110 us", "180 us", "+70 us", "| met |")
	line(t, report, "p99 at 2000", "+190 us", "| met |")
	line(t, report, "CPU of dfaas-spoa per request |", "3.5 us", "<= 4 us", "| met |")
	line(t, report, "CPU of dfaas-spoa per request at 2000", "33.0 us", "| met |")
	line(t, report, "p50 at 1000", "+70 us")
	line(t, report, "the machine alone", "p50 20 us, p99 30 us, p99.9 30 us")
	line(t, report, "table of 3 nodes", "median 2.0 ms, max 3.0 ms (3 times)")
	line(t, report, "a change of one function", "median 1.3 ms, max 1.4 ms (2 times)")
	line(t, report, "while a whole table", "median 11 ms, max 12 ms (2 times)")
	line(t, report, "while a change", "median 0.8 ms")
	line(t, report, "while no table", "median 0.4 ms")
	line(t, report, "label changed", "median 1000 ms, max 1500 ms (2 times)")
	line(t, report, "after the load", "90.0 MB")
	if strings.Contains(report, string(missed)) || strings.Contains(report, "quick run") {
		t.Errorf("no aim was missed, nothing was quick:\n%s", report)
	}
	for l := range strings.Lines(report) {
		if strings.HasPrefix(l, "|") && !slices.Contains([]int{7, 8, 12}, strings.Count(l, "|")) {
			t.Errorf("a row that is of none of the tables: %s", l)
		}
	}
}

// change changes what was measured with DFaaS.
func change[T any](r rounds[T], how func(*T)) { changeOf(r, dfaas, how) }

func changeOf[T any](r rounds[T], k kind, how func(*T)) {
	x := r.counted[0].by[k]
	how(&x)
	r.counted[0].by[k] = x
}

// Every aim can be missed.
func TestReportMissed(t *testing.T) {
	for name, spoil := range map[string]func(*measurements){
		decisions + "local": func(m *measurements) { m.route[1].nanos = 201 },
		"1 allocations":     func(m *measurements) { m.route[1].allocs = 1 },
		"| throughput |":    func(m *measurements) { change(m.found[0].flood, func(f *flood) { f.perSecond = 30000 }) },
		"| throughput on the fast path |": func(m *measurements) {
			changeOf(m.found[0].flood, fast, func(f *flood) { f.perSecond = 48000 })
		},
		"CPU of dfaas-spoa per request |": func(m *measurements) { change(m.found[0].flood, func(f *flood) { f.spoaCPU = 5 }) },
		"CPU of dfaas-spoa per request at 2000": func(m *measurements) {
			change(m.found[0].latency[0], func(l *latency) { l.spoaCPU = 36 })
		},
		"throughput: none of 24 rounds counts, 44.0 % were asked about at best": func(m *measurements) {
			m.found[0].flood = rounds[flood]{all: 24, asked: 0.44}
		},
		"p50": func(m *measurements) { change(m.found[0].latency[0], func(l *latency) { l.p50 = 999 }) },
		"p99": func(m *measurements) { change(m.found[0].latency[0], func(l *latency) { l.p99 = 999 }) },
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
	m.found[1].latency[0].counted[0].others = 0.3
	line(t, m.report(), warning)
}

func TestSeries(t *testing.T) {
	for version, want := range map[string]string{"2.6.12-1+deb12u4": "2.6", "3.4.7-1": "3.4", "unknown": "unknown", "3.5-dev5": "3.5-dev5"} {
		if got := series(version); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

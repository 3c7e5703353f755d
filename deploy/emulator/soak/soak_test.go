package soak

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/testprogram"
)

// A seed decides what happens, and each script is another.
func TestScripts(t *testing.T) {
	draw := func(seed uint64, script string) (faults []fault, phases []phase, stays []stay) {
		r := random(seed, script)
		for range 300 {
			faults, phases, stays = append(faults, nextFault(r)), append(phases, nextPhase(r)), append(stays, nextStay(r))
		}
		return faults, phases, stays
	}
	all, phases, stays := draw(1, "a")
	again, _, _ := draw(1, "a")
	options := cmp.AllowUnexported(fault{})
	if diff := cmp.Diff(all, again, options); diff != "" {
		t.Errorf("not the same with the same seed:\n%s", diff)
	}
	for name, other := range map[string]func() ([]fault, []phase, []stay){
		"another seed":   func() ([]fault, []phase, []stay) { return draw(2, "a") },
		"another script": func() ([]fault, []phase, []stay) { return draw(1, "b") },
	} {
		if got, _, _ := other(); cmp.Equal(all, got, options) {
			t.Errorf("the same with %s", name)
		}
	}
	seen, harmful := make(map[string]bool), 0
	for _, f := range all {
		if f.do == scenario.Partition || f.do == jump {
			if f.part != "" || f.lasting == 0 || (f.by != 0) != (f.do == jump) || f.by.Abs() > maxJump || f.harmful() != (f.do == scenario.Partition) {
				t.Errorf("%+v", f)
			}
		} else if err := scenario.CheckFault(f.do, f.part); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if f.pause < minPause || f.pause > maxPause || (f.lasting != 0 && (f.lasting < minAway || f.lasting > maxAway)) {
			t.Errorf("%s after %v", f, f.pause)
		}
		seen[fmt.Sprint(f.do, " ", f.part)] = true
		if f.harmful() {
			harmful++
		}
	}
	if len(seen) != 5*3+3 || harmful < 90 || harmful > 150 {
		t.Errorf("%d kinds of faults, %d of %d harmful", len(seen), harmful, len(all))
	}
	for _, p := range phases {
		if p.rate < 1 || p.rate > maxRate || p.duration < minPhase || p.duration > maxPhase || p.body < 0 || p.body > maxBody || len(p.text()) != p.body {
			t.Errorf("%+v", p)
		}
	}
	for _, s := range stays {
		if s.capacity < 1 || s.life < time.Second || s.function == "" {
			t.Errorf("%+v", s)
		}
	}
}

// What is answered, what a fault explains, and what is lost.
func TestTally(t *testing.T) {
	var tally tally
	at := func(status int, from, took time.Duration) {
		tally.answered("load", summary.Sample{At: from * time.Second, Latency: took * time.Second, Status: status})
	}
	at(200, 1, 0)
	at(429, 1, 0)
	at(503, 1, 0)
	at(502, 2, 1) // lost: nothing had happened
	kill := tally.begin("edge-1", fault{do: scenario.Kill, part: scenario.Provider}, 10*time.Second)
	at(0, 9, 2)    // on its way when the provider died
	at(500, 11, 0) // while it was dead
	at(0, 5, 1)    // lost: over before
	tally.change(kill, func(i *incident) { i.undone, i.normal = 12*time.Second, 15*time.Second })
	at(0, 13, 1) // right after
	at(0, 15, 1) // lost: too late
	at(200, 14, 0)
	at(200, 16, 0)
	tally.begin("edge-2", fault{do: scenario.Kill, part: scenario.SPOA}, 20*time.Second)
	tally.begin("edge-2", fault{do: scenario.Reload, part: scenario.HAProxy}, 20*time.Second)
	at(403, 21, 0) // lost: a SPOA or a reload is no excuse
	o := tally.outcome()
	if o.sent != 12 || o.served != 3 || o.refused != 2 || o.explained != 3 || len(o.lost) != 4 || o.unseen != 0 {
		t.Errorf("%+v", o)
	}
	// Sent in calm: all of 1, 2, 5, 9 and 16 s; served of them those of 1 and 16 s.
	if o.calm != 7 || o.calmServed != 2 {
		t.Errorf("%d in calm, %d of them served", o.calm, o.calmServed)
	}
	if got := o.now(); got != "now: kill spoa of edge-2, reload haproxy of edge-2" {
		t.Error(got)
	}
	for range maxBroken {
		at(0, 30, 0)
	}
	if o := tally.outcome(); o.unseen != 7 || o.explained+len(o.lost) != maxBroken {
		t.Errorf("%d not remembered, %d explained, %d lost", o.unseen, o.explained, len(o.lost))
	}
}

func readingsOf(values ...int) []reading {
	all := make([]reading, len(values))
	for k, v := range values {
		all[k] = reading{goroutines: v, memory: v << 20, files: v}
	}
	return all
}

func TestTrends(t *testing.T) {
	ramp := func(n int, value func(k int) int) []reading {
		values := make([]int, n)
		for k := range values {
			values[k] = value(k)
		}
		return readingsOf(values...)
	}
	for name, test := range map[string]struct {
		all   []reading
		known bool
		grows bool
	}{
		"none":            {nil, false, false},
		"too short":       {ramp(10, func(int) int { return 5 }), false, false},
		"level":           {ramp(100, func(int) int { return 500 }), true, false},
		"leak":            {ramp(100, func(k int) int { return 10 * k }), true, true},
		"falling":         {ramp(100, func(k int) int { return 1000 - 10*k }), true, false},
		"warming up":      {ramp(100, func(k int) int { return min(1000, 50*k) }), true, false},
		"a few more":      {ramp(100, func(k int) int { return k / 2 }), true, false},
		"peaks":           {ramp(100, func(k int) int { return 100 + 5000*(k%10/9) }), true, false},
		"grown, then not": {ramp(100, func(k int) int { return 100 + 1000*(min(k, 45)/45) }), true, false},
		"never known":     {ramp(100, func(int) int { return -1 }), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, known := trendOf(test.all, func(r reading) int { return r.goroutines })
			if known != test.known || got.grows(goroutineSlack) != test.grows {
				t.Errorf("%+v, %v", got, known)
			}
		})
	}
}

// TestShortLives: a life much shorter than the longest has no trend.
func TestShortLives(t *testing.T) {
	rising := func(n int) []reading {
		values := make([]int, n)
		for k := range values {
			values[k] = 100 * k
		}
		return readingsOf(values...)
	}
	r := readings{{node: "a", part: scenario.SPOA}: rising(100), {node: "b", part: scenario.SPOA}: rising(19), {node: "c", part: scenario.SPOA}: rising(20)}
	for _, u := range r.usages() {
		if judged := u.goroutines != nil; judged != (u.life.node != "b") {
			t.Errorf("%s with %d readings is judged: %v", u.life.node, u.readings, judged)
		}
	}
}

// good is the report of a soak in which all went well.
func good() Report {
	r := Report{Race: true, Wanted: time.Minute, Lasted: time.Minute}
	r.outcome.counts = counts{sent: 100, served: 90, refused: 10, calm: 50, calmServed: 45}
	r.outcome.incidents = []incident{{node: "edge-1", undone: 2 * time.Second, normal: 3 * time.Second}}
	leakless := &trend{100, 100, 100}
	r.usages = []usage{{life: life{node: anchor, part: scenario.SPOA}, goroutines: leakless, memory: leakless, files: leakless}}
	return r
}

func TestVerdicts(t *testing.T) {
	leak := &trend{100 << 20, 200 << 20, 300 << 20}
	for name, test := range map[string]struct {
		spoil  func(*Report)
		missed string // what is asked for and not met
	}{
		"good":                {func(*Report) {}, ""},
		"lost":                {func(r *Report) { r.outcome.lost = []broken{{}} }, "every request answered"},
		"lost and unseen":     {func(r *Report) { r.outcome.unseen = 1 }, "every request answered"},
		"no load":             {func(r *Report) { r.outcome.counts = counts{} }, "every request answered"},
		"nobody asks in calm": {func(r *Report) { r.outcome.calm, r.outcome.calmServed = 0, 0 }, "at least 50 %"},
		"nobody is served":    {func(r *Report) { r.outcome.calmServed = 24 }, "at least 50 %"},
		"slow to recover":     {func(r *Report) { r.outcome.incidents[0].err = errors.New("x") }, "every node well"},
		"unwell":              {func(r *Report) { r.unwell = []string{"x"} }, "every node well"},
		"race":                {func(r *Report) { r.logs.races = 1 }, "no data race"},
		"not looked for":      {func(r *Report) { r.Race = false }, "no data race"},
		"panic":               {func(r *Report) { r.logs.panics = 1 }, "no panic"},
		"crash":               {func(r *Report) { r.crashed = "x" }, "no part ended"},
		"reload":              {func(r *Report) { r.Reloads = 1 }, "no HAProxy reloaded"},
		"goroutines":          {func(r *Report) { r.usages[0].goroutines = leak }, "goroutines"},
		"memory":              {func(r *Report) { r.usages[0].memory = leak }, "resident memory"},
		"files":               {func(r *Report) { r.usages[0].files = leak }, "open files"},
		"leftovers":           {func(r *Report) { r.Leftovers = []string{"x"} }, "no process left"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			test.spoil(&r)
			r.judge()
			var missed []string
			for _, v := range r.Checks {
				if !v.Met {
					missed = append(missed, v.Asked)
				}
			}
			if test.missed == "" != r.Met() || len(missed) > 1 || (len(missed) == 1 && !strings.HasPrefix(missed[0], test.missed)) {
				t.Errorf("not met: %q", missed)
			}
			var text strings.Builder
			if err := r.WriteMarkdown(&text, report.Setting{}); err != nil || strings.Contains(text.String(), "not met") == r.Met() {
				t.Errorf("%v\n%s", err, text.String())
			}
		})
	}
	r := good()
	r.usages = nil
	if r.judge(); r.Met() {
		t.Error("met without a process that could be judged")
	}
	r.Interrupted = true
	if r.judge(); !r.Met() {
		t.Errorf("cut short, and found wanting: %+v", r.Checks)
	}
}

func TestLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var b logbook
	write := func(text string) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := b.readFile(path); err != nil {
			t.Fatal(err)
		}
	}
	write("==================\nWARNING: DATA RACE\nRead at 0x1\nWARNING: DATA")
	if b.races != 1 || b.panics != 0 || !strings.Contains(b.first, path+": WARNING: DATA RACE") {
		t.Errorf("%+v", b)
	}
	write(" RACE\npanic: runtime error\n\"panic: no\"\nfatal error: x\n{\"level\":\"error\",\"panic\":\"x\"}\nno panic here\n")
	if b.races != 2 || b.panics != 3 {
		t.Errorf("%+v", b)
	}
}

// TestSoak soaks for as short as it can be: too short for much of a verdict, but
// everything is done once and counted, and nothing stays behind.
func TestSoak(t *testing.T) {
	programs := testprogram.Dir(t)
	binaries, err := federation.FindBinaries(programs)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	r, err := Run(t.Context(), Options{
		Binaries: binaries, Emulator: filepath.Join(programs, "dfaas-emulator"), PeerTLS: true, Duration: 15 * time.Second, Seed: 3, Logs: t.TempDir(),
		Progress: func(line string) { lines = append(lines, line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Checks {
		// These programs are not built to find races, and a busy machine looks at them too seldom to tell how much they use.
		if !v.Met && v.Asked != "no data race" && v.Measured != tooShort {
			t.Errorf("%s: %s", v.Asked, v.Measured)
		}
	}
	if r.Race || r.outcome.sent < 100 || len(r.outcome.incidents) == 0 || len(lines) == 0 || len(r.usages) != 12 {
		t.Errorf("%+v", r)
	}
}

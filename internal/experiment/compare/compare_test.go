package compare

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// run is one of two loads, of which a part is served.
func run(name string, repeat, served int) Run {
	s := summary.Summary{Scenario: "s", Strategy: name, Seed: uint64(repeat), Version: "v1"}
	for i, target := range []string{"node-1", "node-2"} {
		l := summary.Load{
			Target: target, Function: "f", Sent: 100, Status: map[string]int{"200": 10 * served, "429": 100 - 10*served},
			ByNode: map[string]int{"node-1": 10 * served}, Latency: summary.Latency{P50: 1, P99: float64(10 * (i + 1))},
		}
		for t := range 10 {
			l.Seconds = append(l.Seconds, summary.Second{T: t + i, Status: map[string]int{"200": served, "429": 10 - served}, ByNode: map[string]int{"node-1": served}})
		}
		l.Seconds = append(l.Seconds, summary.Second{T: 10 + i, Status: map[string]int{}}) // in which nothing was sent
		s.Loads = append(s.Loads, l)
	}
	return Run{name, repeat, s}
}

func example() Comparison {
	return Comparison{Title: "title", Made: "dfaas v1", Runs: []Run{run("recalc", 1, 4), run("headroom", 1, 10), run("recalc", 2, 6), run("headroom", 2, 10)}}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := example().Text(&b); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := `title
dfaas v1

NAME LOAD RUNS SENT SERVED LEAST MOST SERVED BY, EACH SECOND P50 MS P99 MS
recalc all 2 200 50.00 % 40.00 60.00 node-1 9.1 1.0 20.0
recalc 1: node-1 2 100 50.00 % 40.00 60.00 node-1 5.0 1.0 10.0
recalc 2: node-2 2 100 50.00 % 40.00 60.00 node-1 5.0 1.0 20.0
headroom all 2 200 100.00 % 100.00 100.00 node-1 18.2 1.0 20.0
headroom 1: node-1 2 100 100.00 % 100.00 100.00 node-1 10.0 1.0 10.0
headroom 2: node-2 2 100 100.00 % 100.00 100.00 node-1 10.0 1.0 20.0`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// TestSave: all files are there, known as those of a comparison, and say the seed and the
// version.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	if err := example().Save(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if !Ours(e.Name()) {
			t.Errorf("%s is not known", e.Name())
		}
	}
	if Ours("comparison.doc") || Ours("other.csv") || Ours("comparison") || Ours("") {
		t.Error("a foreign file is known as ours")
	}
	read := func(name string) [][]string {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		rows, err := csv.NewReader(file).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows := read(baseName + ".csv")
	if len(rows) != 1+4*3 || fmt.Sprint(rows[1][:13]) != "[recalc 1 1 v1 s 0   200 80 40.000 1 20]" || rows[12][2] != "2" {
		t.Errorf("%d rows: %v", len(rows), rows)
	}
	seconds := read(secondsName)
	found := false
	for _, row := range seconds {
		found = found || fmt.Sprint(row) == "[recalc 2 1 status 429 5.000 4.000 6.000]"
	}
	if !found {
		t.Errorf("%v", seconds)
	}
	drawing, err := os.ReadFile(filepath.Join(dir, "comparison.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">recalc<", ">headroom<", ">429<", "load on node-2, per second", "title; dfaas v1"} {
		if !strings.Contains(string(drawing), want) {
			t.Errorf("%q is not in the drawing", want)
		}
	}
}

// TestManyLoads: they are drawn together.
func TestManyLoads(t *testing.T) {
	c := example()
	for i := range c.Runs {
		loads := &c.Runs[i].Summary.Loads
		*loads = append(*loads, append(*loads, *loads...)...)
	}
	if p := c.picture(); len(p.Rows) != 1 || p.Labels[0] != "all loads" || len(p.Rows[0]) != 2 {
		t.Errorf("%d rows, %v", len(p.Rows), p.Labels)
	} else if got := p.Rows[0][0][1]["status 429"].Mean; got != 30 {
		t.Errorf("%v were refused in second 1, want 30", got)
	}
	if err := (Comparison{}).Save(t.TempDir()); err == nil {
		t.Error("nothing is compared")
	}
}

package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/plotter"
	_ "gonum.org/v1/plot/vg/vgimg" // to look at what is drawn

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

func example() summary.Summary {
	s := summary.Summary{Scenario: "three <nodes>", Strategy: "headroom", Nodes: []summary.Node{
		{Name: "node-1"}, {Name: "node-2"}, {Name: "node-3"},
	}}
	first := summary.Load{
		Target: "node-1", Function: "funca", Sent: 1500,
		Status: map[string]int{"200": 1300, "429": 200, "0": 10}, ByNode: map[string]int{"node-1": 10, "node-2": 20, "stranger": 5},
	}
	second := summary.Load{Target: "node-2", Function: "funca", Sent: 100, Status: map[string]int{"403": 100}, ByNode: map[string]int{}}
	for t := range 30 {
		first.Seconds = append(first.Seconds, summary.Second{
			T: t, Status: map[string]int{"200": 10 + t%7 + 20 + 3, "429": 10 - t%7, "0": t / 15 * 5},
			ByNode: map[string]int{"node-1": 10 + t%7, "node-2": 20, "stranger": 3},
		})
		if t >= 10 && t < 20 {
			second.Seconds = append(second.Seconds, summary.Second{T: t, Status: map[string]int{"403": 20}})
		}
	}
	s.Loads = []summary.Load{first, second}
	return s
}

// What is drawn is an SVG that parses and has a panel for each load with the
// names of all who served and of all refusals.
func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plot.svg")
	if err := Save(path, example()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := texts(t, data)
	for _, want := range []string{
		"three <nodes>, strategy headroom", "load 1: funca at node-1, 1500 sent", "load 2: funca at node-2, 100 sent",
		"node-1", "node-2", "stranger", "429", "403", "no answer", "seconds", "requests/s",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is not in the drawing", want)
		}
	}
	if strings.Contains(text, "node-3\n") {
		t.Error("node-3 served nothing and is in the legend")
	}
}

func texts(t *testing.T, data []byte) string {
	t.Helper()
	var all strings.Builder
	decoder := xml.NewDecoder(strings.NewReader(string(data)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if chars, ok := token.(xml.CharData); ok && strings.TrimSpace(string(chars)) != "" {
			all.WriteString(strings.TrimSpace(string(chars)) + "\n")
		}
	}
}

// Everything that can be summarised can be drawn.
func TestSaveOddities(t *testing.T) {
	for name, s := range map[string]summary.Summary{
		"nothing":           {},
		"a load of nothing": {Loads: []summary.Load{{Seconds: []summary.Second{{T: 3}}}}},
		"a status of no 200": {Loads: []summary.Load{
			{Status: map[string]int{"500": 1}, Seconds: []summary.Second{{Status: map[string]int{"500": 1}}}},
		}},
	} {
		if err := Save(filepath.Join(t.TempDir(), "plot.svg"), s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Save(filepath.Join(t.TempDir(), "plot.doc"), example()); err == nil {
		t.Error("an unknown format is drawn")
	}
	if err := Save(filepath.Join(t.TempDir(), "missing", "plot.svg"), example()); err == nil {
		t.Error("a missing directory is no error")
	}
}

func TestSteps(t *testing.T) {
	base := []float64{1, 0}
	seconds := []summary.Second{{T: 4, ByNode: map[string]int{"a": 2}}, {T: 5, ByNode: map[string]int{"a": 3}}}
	got := steps(len(seconds), func(i int) (from, to float64) { return float64(seconds[i].T), float64(seconds[i].T + 1) }, base,
		func(i int) float64 { return float64(seconds[i].ByNode["a"]) })
	want := plotter.XYs{
		{X: 4, Y: 3}, {X: 5, Y: 3}, {X: 5, Y: 3}, {X: 6, Y: 3},
		{X: 6, Y: 0}, {X: 5, Y: 0}, {X: 5, Y: 1}, {X: 4, Y: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outline (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{3, 3}, base); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		low, high float64
		want      string
	}{
		{0, 50, "0 5 10 15 20 25 30 35 40 45 50"},
		{0, 52.5, "0 10 20 30 40 50"},
		{0.9, 1.2, "0.9 0.95 1 1.05 1.1 1.15 1.2"},
		{0, 1.05, "0 0.2 0.4 0.6 0.8 1"},
		{0, 315, "0 50 100 150 200 250 300"},
	} {
		var labels []string
		for _, tick := range (Ticks{}).Ticks(test.low, test.high) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != test.want {
			t.Errorf("%v to %v: %s, want %s", test.low, test.high, got, test.want)
		}
	}
}

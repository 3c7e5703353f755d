package simulator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProfiles(t *testing.T) {
	p, err := ReadProfiles("testdata/profiles")
	if err != nil {
		t.Fatal(err)
	}
	g := Generate{Nodes: 30, EdgeProb: 1, Functions: 1, Capacity: [2]float64{1, 1}, Profiles: p, Seed: 3}
	i, err := g.Instance()
	if err != nil {
		t.Fatal(err)
	}
	rates, cpus := make(map[float64]bool), make(map[float64]bool)
	for _, n := range i.Nodes {
		cpus[n.CPUs] = true
		for _, f := range n.Functions {
			if f.Name == "resize" {
				rates[f.Maxrate] = true
				if f.ServiceMillis < 30 || f.ServiceMillis > 40 {
					t.Errorf("resize takes %v ms", f.ServiceMillis)
				}
			}
		}
	}
	if len(rates) != 3 || !cpus[1] || !cpus[4] {
		t.Errorf("30 nodes drawn: resize with %v, CPUs %v", rates, cpus)
	}
}

func TestProfilesThatMakeNoSense(t *testing.T) {
	good, err := os.ReadFile("testdata/profiles/small/0.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{
		{`"max_rate": 12`, `"max_rate": -1`, "x.json: output[0].functions[0].max_rate: -1 requests/s of resize"},
		{`"afet": 0.04`, `"afet": -0.04`, "x.json: output[1].functions[0].afet: -0.04 s"},
		{`"resize"`, `"../x"`, `x.json: output[0].functions[0].name: "../x"`},
		{`"max_rate": 12`, `"max_rate": "12"`, "x.json: line 19: output.functions.max_rate: a JSON string is not expected here"},
		{`"cpus": 1`, `"cpus": -1`, "x.json: input.cpus: -1"},
		{`"node": "small"`, `"nod": "small"`, "x.json: no profile"},
		{`{`, `[`, "x.json: line 2: "},
	} {
		dir := t.TempDir()
		text := strings.Replace(string(good), test[0], test[1], 1)
		if text == string(good) {
			t.Fatalf("the profile has no %s", test[0])
		}
		if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadProfiles(dir); err == nil || !strings.Contains(err.Error(), test[2]) {
			t.Errorf("%s: %v, want %q", test[1], err, test[2])
		}
	}
	if _, err := ReadProfiles(t.TempDir()); err == nil || !strings.Contains(err.Error(), "has a function") {
		t.Error(err)
	}
}

func FuzzParseProfile(f *testing.F) {
	if data, err := os.ReadFile("testdata/profiles/small/0.json"); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProfile(data)
		if err != nil {
			return
		}
		n := Node{Name: "x", CPUs: p.cpus, Functions: p.functions}
		if err := n.normalize(); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	})
}

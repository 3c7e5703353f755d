package demo

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// The demo's own results: 50 requests/s served by three nodes, 2/s refused.
func results() summary.Summary {
	s := summary.Summary{Scenario: "demo", Nodes: []summary.Node{{Name: "node-1"}, {Name: "node-2"}, {Name: "node-3"}}}
	users := summary.Load{Status: map[string]int{"200": 1500}, ByNode: map[string]int{"node-1": 900, "node-2": 300, "node-3": 300}}
	for t := range 30 {
		users.Seconds = append(users.Seconds, summary.Second{
			T: t, Status: map[string]int{"200": 50}, ByNode: map[string]int{"node-1": 30, "node-2": 10, "node-3": 10},
		})
	}
	forger := summary.Load{Status: map[string]int{"403": 40}}
	for t := range 20 {
		forger.Seconds = append(forger.Seconds, summary.Second{T: 5 + t, Status: map[string]int{"403": 2}})
	}
	s.Loads = []summary.Load{users, forger}
	return s
}

func conclude(t *testing.T, sum summary.Summary, v views) (string, error) {
	t.Helper()
	s, err := Scenario()
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	d := &show{Options: Options{Screen: &screen, Out: "OUT"}, scenario: s}
	err = d.conclude(sum, v)
	return screen.String(), err
}

func TestConclude(t *testing.T) {
	seen := views{call: "curl", refusal: "403 not a peer", peers: "PEERS", routes: "ROUTES"}
	screen, err := conclude(t, results(), seen)
	if err != nil {
		t.Errorf("good results fail: %v", err)
	}
	for _, want := range []string{"403 not a peer", "PEERS", "ROUTES", "OUT/plot.svg", "reloaded 0 times", "200: 1500", "Everything held"} {
		if !strings.Contains(screen, want) {
			t.Errorf("%q is not on the screen:\n%s", want, screen)
		}
	}
	for name, test := range map[string]struct {
		spoil func(*summary.Summary, *views)
		want  string
	}{
		"a forger is served": {
			func(s *summary.Summary, _ *views) { s.Loads[1].Seconds[3].Status = map[string]int{"200": 2} }, "load 2, seconds 5 to 25",
		},
		"users are refused": {
			func(s *summary.Summary, _ *views) { s.Loads[0].Seconds = s.Loads[0].Seconds[:20] }, "load 1, seconds 1 to 30",
		},
		"HAProxy was reloaded":     {func(s *summary.Summary, _ *views) { s.Nodes[2].HAProxyReloads = 1 }, "node-3: HAProxy was reloaded"},
		"dfaasctl does not answer": {func(_ *summary.Summary, v *views) { v.err = errors.New("dfaasctl peers: no") }, "dfaasctl peers: no"},
	} {
		sum, v := results(), seen
		test.spoil(&sum, &v)
		screen, err := conclude(t, sum, v)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(screen, "Everything held") {
			t.Errorf("%s: %v\n%s", name, err, screen)
		}
	}
}

// The picture that the demo has read says what the demo expects.
func TestPicture(t *testing.T) {
	cmd := exec.Command("tesseract", "stdin", "stdout")
	cmd.Stdin = bytes.NewReader(picture)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("tesseract (apt-get install tesseract-ocr): %v", err)
	}
	if !strings.Contains(string(text), pictureText) {
		t.Errorf("tesseract reads %q", text)
	}
}

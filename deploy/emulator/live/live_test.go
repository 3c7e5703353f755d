package live

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

func TestLine(t *testing.T) {
	tests := []struct {
		name   string
		style  Style
		counts Counts
		want   string
	}{
		{
			"plain", Style{Nodes: []string{"node-1", "node-2"}, Full: 50},
			Counts{50, map[string]int{"node-1": 20, "node-2": 10}, map[string]int{"429": 15, "0": 5}},
			"   3 s    50/s  " + strings.Repeat("1", 20) + strings.Repeat("2", 10) + strings.Repeat("x", 20) +
				"  node-1 20    node-2 10    no answer 5  429 15",
		},
		{
			"nothing sent", Style{Nodes: []string{"node-1"}, Full: 50}, Counts{},
			"   3 s     0/s  " + strings.Repeat(" ", 50) + "  node-1 0   ",
		},
		{
			"no scale", Style{Nodes: []string{"node-1"}}, Counts{Sent: 1, ByNode: map[string]int{"node-1": 1}},
			"   3 s     1/s  " + strings.Repeat(" ", 50) + "  node-1 1   ",
		},
		{
			"more than the full rate", Style{Nodes: []string{"node-1"}, Full: 10},
			Counts{60, map[string]int{"node-1": 30}, map[string]int{"503": 30}},
			"   3 s    60/s  " + strings.Repeat("1", 50) + "  node-1 30    503 30",
		},
		{
			"an unknown node", Style{Full: 50}, Counts{50, map[string]int{"stranger": 50}, nil},
			"   3 s    50/s  " + strings.Repeat("1", 50) + "  stranger 50  ",
		},
		{
			"coloured", Style{Nodes: []string{"a"}, Full: 50, Color: true}, Counts{3, map[string]int{"a": 2}, map[string]int{"429": 1}},
			"   3 s     3/s  \x1b[36m██\x1b[0m\x1b[31m░\x1b[0m" + strings.Repeat(" ", 47) +
				"  \x1b[36ma\x1b[0m 2     \x1b[31m429\x1b[0m 1",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.style.Line(3, test.counts); got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// screen may be read while the board draws.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A second is drawn once it is over, with what came in time; late results of
// it do not turn up in another one.
func TestBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out screen
		b := NewBoard(&out, Style{Nodes: []string{"a"}, Full: 50})
		zero := time.Now()
		done := make(chan struct{})
		go func() {
			b.Run(t.Context(), zero, 2500*time.Millisecond)
			close(done)
		}()
		b.Observe(summary.Sample{At: 0, Status: 200, Node: "a"})
		b.Observe(summary.Sample{At: 1500 * time.Millisecond, Status: 429})
		time.Sleep(1300 * time.Millisecond)
		b.Observe(summary.Sample{At: 900 * time.Millisecond, Status: 200, Node: "a"})
		synctest.Wait()
		if out.String() != "" {
			t.Errorf("drawn too early: %s", out.String())
		}
		time.Sleep(200 * time.Millisecond)
		b.Observe(summary.Sample{At: 950 * time.Millisecond, Status: 200, Node: "a"}) // too late
		<-done
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "a 2") || !strings.Contains(lines[1], "429 1") ||
			!strings.Contains(lines[1], "a 0") || !strings.Contains(lines[2], "2 s     0/s") {
			t.Errorf("drawn:\n%s", out.String())
		}
	})
}

package report

import (
	"fmt"
	"testing"

	"github.com/dfaas/dfaas/controller/simulator"
)

// TestLinesDiffer: no two strategies have the same line, nor one that of the oracle, and
// each has the same in all figures.
func TestLinesDiffer(t *testing.T) {
	seen := map[string]int{}
	for i := oracle; i < 2*len(simulator.Strategies()); i++ {
		look := fmt.Sprint(palette(i), dashes(i))
		if other, there := seen[look]; there {
			t.Errorf("lines %d and %d look the same: %s", other, i, look)
		}
		seen[look] = i
	}
	var d Document
	for _, name := range []string{"static", "headroom", "recalc@60s", "headroom", "recalc"} {
		d.Rows = append(d.Rows, simulator.Row{Result: simulator.Result{Strategy: name}})
	}
	if got := fmt.Sprint(numbers(d)); got != "map[headroom:0 recalc:1 recalc@60s:2 static:3]" {
		t.Error(got)
	}
}

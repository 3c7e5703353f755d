package node

import (
	"testing"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// The weight of a peer is its part of what is sent, in whatever unit a strategy has it.
func TestWeightsAreParts(t *testing.T) {
	for _, weights := range [][3]float64{{100, 300, 0.25}, {0.5, 1.5, 0.25}, {0, 0, 0}} {
		rows := new(snapshot).routes(strategy.FunctionPlan{
			Name: testvalue.Name("figlet"),
			Out:  []strategy.Flow{{Peer: "a", Weight: weights[0]}, {Peer: "b", Weight: weights[1]}},
		})
		if len(rows) != 2 || rows[0].Weight != weights[2] || weights[2] > 0 && rows[0].Weight+rows[1].Weight != 1 {
			t.Errorf("%v: %+v", weights, rows)
		}
	}
}

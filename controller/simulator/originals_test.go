package simulator

import (
	"math"
	"testing"
	"time"
)

// weights are those that a node of the original's strategies has set.
func weights(n node) *weighted {
	switch n := n.(type) {
	case *empirical:
		return &n.weighted
	case *nodeMargin:
		return &n.weighted
	}
	return nil
}

// TestWeights: whatever the demand, calls are spread over this node and its peers,
// and a node that is asked for too much sends some away, but not to a full one.
func TestWeights(t *testing.T) {
	for _, strategy := range []string{"empirical", "node-margin"} {
		for _, kind := range []MachineKind{TokenMachine, SharedMachine} {
			c := Defaults()
			c.Instance, c.Strategy, c.Machine.Kind, c.Demand.Pattern, c.Demand.Move = federation(t, 5), strategy, kind, Moving, 2*time.Second
			c.Load, c.Duration = 0.7, 10*time.Second
			w, err := newWorld(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.run(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			sends := 0
			for n := range w.nodes {
				sum := 0.0
				for _, x := range weights(w.nodes[n]).weights[0] {
					if !(x > -1e-9) {
						t.Errorf("%s, %s: node %d has weight %v", strategy, kind, n, x)
					}
					sum += x
				}
				if math.Abs(sum-1) > 1e-6 {
					t.Errorf("%s, %s: the weights of node %d sum up to %v", strategy, kind, n, sum)
				}
				if weights(w.nodes[n]).weights[0][0] < 0.99 {
					sends++
				}
			}
			if sends == 0 {
				t.Errorf("%s, %s: nobody sends anything away", strategy, kind)
			}
		}
	}
}

// TestNodeMarginTakesTurns: steps of 1 % go to each peer whose margin allows, and end
// with the margins.
func TestNodeMarginTakesTurns(t *testing.T) {
	c := Defaults()
	c.Instance, c.Strategy = &Instance{Nodes: []Node{
		{Functions: []Function{{Name: "f", Maxrate: 100}}}, {Functions: []Function{{Name: "f", Maxrate: 100}}}, {Functions: []Function{{Name: "f", Maxrate: 100}}},
	}}, "node-margin"
	if err := c.Instance.normalize(); err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(c)
	if err != nil {
		t.Fatal(err)
	}
	m := w.nodes[0].(*nodeMargin)
	for _, test := range []struct {
		margins map[int]float64 // of peers
		sent    [2]float64      // to them, of 150 requests/s
	}{
		{map[int]float64{1: 1, 2: 1}, [2]float64{0.2, 0.2}},        // until this node is at 90 %
		{map[int]float64{1: 0, 2: 1}, [2]float64{0, 0.4}},          // one is full
		{map[int]float64{1: 0.1, 2: 0.05}, [2]float64{0.06, 0.03}}, // margins of 10 and 5 %: 6 and 3 steps of 1.5/s
	} {
		m.margins = test.margins
		row := []float64{1, 0, 0}
		m.move(&usage{users: []float64{150}, peers: []float64{0}, rates: []float64{150}}, 0, row)
		for i, want := range test.sent {
			if math.Abs(row[1+i]-want) > 0.011 {
				t.Errorf("margins %v: weights %v, want %v for the peers", test.margins, row, test.sent)
			}
		}
	}
}

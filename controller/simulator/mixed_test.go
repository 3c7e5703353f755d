package simulator

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
)

// older is headroom as members of earlier releases have it: they go by the claims that
// they hear themselves, also where they exchange calls with some members only, and do not
// say what they count, nor what room they could make.
type older struct{ strategy.Strategy }

func (s older) Plan(o strategy.Observation) strategy.Plan {
	o.Sparse = false
	return s.Strategy.Plan(o)
}

// mixed simulates a federation of which so many are older.
func mixed(t *testing.T, c Config, old int) Result {
	t.Helper()
	w, err := newWorld(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range rand.New(rand.NewPCG(c.Seed, 1)).Perm(len(w.nodes))[:old] {
		w.nodes[n] = newProductionBy(older{w.nodes[n].(*production).rule}, w, n)
	}
	if err := w.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return w.tally.result(w)
}

// TestOlderNeighbours: while some of a federation where not everybody reaches everybody are
// older, it serves no less than where all are, or all are new.
func TestOlderNeighbours(t *testing.T) {
	const nodes = 10
	mixtures := []int{0, nodes, 2, 5, 8}
	served := make([]float64, len(mixtures))
	for seed := uint64(701); seed <= 710; seed++ {
		i, err := Generate{Nodes: nodes, Functions: 1, EdgeProb: 0.3, Capacity: [2]float64{10, 50}, Seed: seed}.Instance()
		if err != nil {
			t.Fatal(err)
		}
		c := Defaults()
		c.Duration, c.Links.Delay, c.Instance, c.Load, c.Seed = 30*time.Second, 50*time.Millisecond, i, 1, seed
		for k, old := range mixtures {
			r := mixed(t, c, old)
			served[k] += of(r.Served, r.Oracle) / 10
		}
	}
	t.Logf("with %v older ones, %.3f of what the oracle serves", mixtures, served)
	for k := 2; k < len(mixtures); k++ {
		if served[k] < min(served[0], served[1])-0.01 {
			t.Errorf("with %v older ones, %.3f of what the oracle serves", mixtures, served)
		}
	}
}

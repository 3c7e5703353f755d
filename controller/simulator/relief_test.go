package simulator

import (
	"testing"
	"time"
)

// TestRoomBeyondNeighbours: in a federation where not everybody reaches everybody, what
// only neighbours of neighbours have room for is served: a full node makes room and
// sends its own users on.
func TestRoomBeyondNeighbours(t *testing.T) {
	for seed := uint64(701); seed < 704; seed++ {
		i, err := Generate{Nodes: 10, Functions: 1, EdgeProb: 0.3, Capacity: [2]float64{10, 50}, Seed: seed}.Instance()
		if err != nil {
			t.Fatal(err)
		}
		served := make(map[string]float64)
		for _, name := range []string{"headroom", "random", "omniscient"} {
			r := simulate(t, func(c *Config) {
				c.Strategy, c.Instance, c.Load, c.Seed, c.Links.Delay, c.Duration = name, i, 0.6, seed, 20*time.Millisecond, 30*time.Second
			})
			served[name] = of(r.Served, r.Oracle)
		}
		t.Logf("seed %d: %v", seed, served)
		if served["headroom"] < 0.95 || served["headroom"] < served["random"] || served["headroom"] < served["omniscient"]-0.005 {
			t.Errorf("seed %d: served, of what the oracle serves: %v", seed, served)
		}
	}
}

// TestSpareOfWhomOthersReach: where not everybody reaches everybody, a node's spare is
// claimed by some who do not know of each other. Little is sent in vain nevertheless, and
// nearly all that the oracle serves is served, with more than the federation can serve, too.
func TestSpareOfWhomOthersReach(t *testing.T) {
	for _, load := range []float64{0.8, 1.2} {
		mean := 0.0
		for seed := uint64(701); seed <= 710; seed++ {
			i, err := Generate{Nodes: 10, Functions: 1, EdgeProb: 0.3, Capacity: [2]float64{10, 50}, Seed: seed}.Instance()
			if err != nil {
				t.Fatal(err)
			}
			r := simulate(t, func(c *Config) { c.Instance, c.Load, c.Seed = i, load, seed })
			part, inVain := of(r.Served, r.Oracle), of(r.InVain, r.Sent)
			if mean += part / 10; part < 0.92 || inVain > 0.06 {
				t.Errorf("seed %d, load %v: %.3f of the oracle's are served, and %.3f of all sent in vain", seed, load, part, inVain)
			}
		}
		if mean < 0.98 {
			t.Errorf("load %v: on average, %.3f of the oracle's are served", load, mean)
		}
	}
}

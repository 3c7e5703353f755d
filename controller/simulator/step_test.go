package simulator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// witness sees what a node decides on its users' calls, and how its calls to peers end.
type witness struct {
	*production
	wanted func(now time.Duration)           // a call was not served here
	ended  func(now time.Duration, a answer) // a call to a peer came back
}

func (w witness) user(now time.Duration, fn int) decision {
	d := w.production.user(now, fn)
	if d.verdict != serve {
		w.wanted(now)
	}
	return d
}

func (w witness) answered(now time.Duration, a answer) {
	w.production.answered(now, a)
	w.ended(now, a)
}

// witnessed simulates, with what is seen of the first so many nodes.
func witnessed(t *testing.T, c Config, seen int, wanted func(time.Duration), ended func(time.Duration, answer)) Result {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(c)
	if err != nil {
		t.Fatal(err)
	}
	for n := range seen {
		w.nodes[n] = witness{w.nodes[n].(*production), wanted, ended}
	}
	if err := w.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return w.tally.result(w)
}

// step is a federation in which the users of all nodes but the last ask for twice as
// much as before from one moment on, and only the last has room.
func step(senders int, before, capacity, spare float64, delay time.Duration, seed uint64) (c Config, at time.Duration) {
	c, at = Defaults(), 6*time.Second
	c.Instance, c.Seed, c.Links.Delay, c.Duration = &Instance{}, seed, delay, 9*time.Second
	for n := range senders + 1 {
		name, rate := fmt.Sprintf("node-%d", n+1), capacity
		if n == senders {
			rate = spare
		}
		c.Instance.Nodes = append(c.Instance.Nodes, Node{Name: name, Functions: []Function{{Name: "funca", Maxrate: rate, ServiceMillis: 5}}})
		if n == senders {
			continue
		}
		for i, l := range []scenario.Load{{Rate: before, Duration: at}, {Rate: 2 * before, Start: at, Duration: 3 * time.Second}} {
			l.Target, l.Function, l.Arrivals, l.Seed = name, "funca", shape.Poisson, seed<<16+uint64(2*n+i)
			c.Loads = append(c.Loads, l)
		}
	}
	return c, c.Warmup + at
}

// TestStepIsObeyedAtOnce: from the first call on that a node cannot serve itself, it
// takes at most 100 ms until one goes to the peer that has room, and is served there,
// in 99 of 100 federations.
func TestStepIsObeyedAtOnce(t *testing.T) {
	var took []time.Duration
	for seed := range uint64(100) {
		const delay = 20 * time.Millisecond
		c, at := step(1, 20, 25, 100, delay, seed+1)
		first, obeyed := time.Duration(0), time.Duration(0)
		witnessed(t, c, 1, func(now time.Duration) {
			if now >= at && first == 0 {
				first = now
			}
		}, func(now time.Duration, a answer) {
			if a.served && first != 0 && obeyed == 0 && now >= first+2*delay {
				obeyed = now - 2*delay // when it was sent, at the earliest: what it took to serve counts
			}
		})
		if first == 0 || obeyed == 0 {
			t.Fatalf("seed %d: nothing was to be forwarded, or nothing was", seed)
		}
		took = append(took, obeyed-first)
	}
	slices.Sort(took)
	t.Logf("median %v, p99 %v, longest %v", took[50], took[98], took[99])
	if took[98] > 100*time.Millisecond {
		t.Errorf("p99 of %v until the step is obeyed", took[98])
	}
}

// TestStepDoesNotOvershoot: thirty nodes that find one peer with room all at once send
// it, and in vain to others, no more than it takes, on average over several steps: what
// it can serve, what its bucket holds, and the debt in which it keeps its word.
func TestStepDoesNotOvershoot(t *testing.T) {
	const steps, senders = 3, 30
	for _, spare := range []float64{150, 300, 600} {
		sent, served, oracle := 0, uint64(0), uint64(0)
		for seed := range uint64(steps) {
			c, at := step(senders, 10, 10, spare, 20*time.Millisecond, seed+1)
			r := witnessed(t, c, senders, func(time.Duration) {}, func(now time.Duration, a answer) {
				if now >= at && (a.peer == senders || !a.served) {
					sent++
				}
			})
			served, oracle = served+r.Served, oracle+r.Oracle
		}
		mean, takes := float64(sent)/steps, spare*(3+2*seconds(bucketDepth))
		t.Logf("room for %.0f/s: %.0f sent, where %.0f are taken; %.3f of the oracle's served", spare, mean, takes, of(served, oracle))
		if mean > takes {
			t.Errorf("room for %.0f/s: %.0f sent, where %.0f are taken", spare, mean, takes)
		}
		if of(served, oracle) < 0.99 {
			t.Errorf("room for %.0f/s: %.4f of what the oracle serves", spare, of(served, oracle))
		}
	}
}

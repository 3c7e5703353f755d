package simulator

import (
	"testing"
	"time"
)

// TestLateNews: who knows all, but late, serves about what the oracle does and forwards
// little in vain, also where users come and go faster than news of them gets around
// and there is not enough for all.
func TestLateNews(t *testing.T) {
	for _, nodes := range []int{3, 10} {
		for _, load := range []float64{0.8, 1, 1.5} {
			r := simulate(t, func(c *Config) {
				c.Strategy, c.Instance, c.Load, c.Demand.Pattern, c.Links.Delay = "late-news", federation(t, nodes), load, OnOff, 200*time.Millisecond
			})
			served, inVain := of(r.Served, r.Oracle), of(r.InVain, r.Sent)
			t.Logf("%d nodes, load %v: %.3f of the oracle's, %.1f %% in vain", nodes, load, served, 100*inVain)
			if served < 0.98 || inVain > 0.04 {
				t.Errorf("%d nodes, load %v: %.3f of the oracle's, %.1f %% in vain", nodes, load, served, 100*inVain)
			}
		}
	}
}

// TestNewsIsLate: what is known of a peer is as old as the way from there is long.
func TestNewsIsLate(t *testing.T) {
	w, err := newWorld(func() Config {
		c := Defaults()
		c.Strategy, c.Instance, c.Links.Delay = "late-news", federation(t, 2), 100*time.Millisecond
		c.Demand.Pattern, c.Demand.Move = Moving, time.Second
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	from, peer := w.nodes[0].(*lateNews), w.nodes[1].(*lateNews)
	room := func(now time.Duration) float64 { r, _ := from.room(now, 0, peer); return r }
	before := room(500 * time.Millisecond)
	for peer.users[0].take(400 * time.Millisecond) {
		peer.all[0].take(400 * time.Millisecond)
	}
	peer.note(400*time.Millisecond, 0)
	if got := room(499 * time.Millisecond); got != before {
		t.Errorf("room of %v is known before the news is there, want %v", got, before)
	}
	if got := room(500 * time.Millisecond); got >= before {
		t.Errorf("room of %v when the news is there, %v before", got, before)
	}
}

package paper

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The aims of the judged strategy.
const (
	aimServed      = 0.99 // of what the oracle serves
	aimServedFar   = 0.97 // where announcements and calls take farDelay or longer
	farDelay       = 200 * time.Millisecond
	aimInVain      = 0.02 // of all calls
	aimInVainAbove = 0.04 // above the federation's capacity
	aimBelowOthers = 0.003
)

// mean is a strategy in a cell, over all repeats, as fractions of the calls.
type mean struct {
	Strategy                 string
	Repeats                  int
	Served, OfOracle, InVain float64
	P99Millis, Gossip        float64
}

// table has the strategies' means by cell.
type table map[Cell][]mean

func tabulate(results []result) table {
	type key struct {
		Cell
		strategy string
	}
	sums := make(map[key]*mean)
	oracle := make(map[key]float64)
	for _, r := range results {
		k := key{r.Cell, r.Strategy}
		m := sums[k]
		if m == nil {
			m = &mean{Strategy: r.Strategy}
			sums[k] = m
		}
		sent := max(1, float64(r.Sent))
		m.Repeats++
		m.Served += float64(r.Served) / sent
		m.InVain += float64(r.InVain) / sent
		m.P99Millis += r.P99Millis
		m.Gossip += r.GossipBytes
		oracle[k] += float64(r.Oracle) / sent
	}
	t := make(table)
	for k, m := range sums {
		n := float64(m.Repeats)
		m.OfOracle = m.Served / max(oracle[k], 1e-9)
		for _, x := range []*float64{&m.Served, &m.InVain, &m.P99Millis, &m.Gossip} {
			*x /= n
		}
		t[k.Cell] = append(t[k.Cell], *m)
	}
	for _, means := range t {
		slices.SortFunc(means, func(a, b mean) int { return cmp.Compare(a.Strategy, b.Strategy) })
	}
	return t
}

// repeats says how often the cells were simulated.
func (t table) repeats() string {
	least, most := 1<<30, 0
	for _, means := range t {
		for _, m := range means {
			least, most = min(least, m.Repeats), max(most, m.Repeats)
		}
	}
	switch {
	case most == 1:
		return "one run"
	case least < most:
		return fmt.Sprintf("%d to %d runs", least, most)
	}
	return fmt.Sprintf("%d runs", most)
}

func (t table) of(c Cell, strategy string) (mean, bool) {
	i := slices.IndexFunc(t[c], func(m mean) bool { return m.Strategy == strategy })
	if i < 0 {
		return mean{}, false
	}
	return t[c][i], true
}

// lateNews is the strategy that knows all that can be known of peers.
const lateNews = "late-news"

// best is the other strategy that serves most, but for those that cannot be built.
func (t table) best(c Cell, bounds []string) mean {
	var best mean
	for _, m := range t[c] {
		if m.Strategy != Judged && !slices.Contains(bounds, m.Strategy) && m.Served > best.Served {
			best = m
		}
	}
	return best
}

// aim is something that the judged strategy is to reach in each cell.
type aim int

const (
	served aim = iota
	inVain
	notBelow
	aims // so many
)

func (a aim) String() string {
	return [...]string{
		served:   "served: 0.99 of the oracle's, 0.97 at a delay of 200 ms",
		inVain:   "forwarded in vain: 2 % at most, 4 % above capacity",
		notBelow: "at most 0.3 % of the calls below the best other strategy",
	}[a]
}

// verdict is the judged strategy in a cell.
type verdict struct {
	Cell
	ours, best mean
	late       mean // zero: not simulated
	missed     [aims]bool
	// beyond is that what was missed is missed with late news, too, or the other of
	// served and inVain.
	beyond bool
}

// judge holds the judged strategy against its aims in each cell that has been simulated.
// Bounds are strategies with which it is not compared.
func judge(cells []Cell, t table, bounds ...string) []verdict {
	var out []verdict
	for _, c := range cells {
		ours, ok := t.of(c, Judged)
		if !ok {
			continue
		}
		v := verdict{Cell: c, ours: ours, best: t.best(c, bounds)}
		least, most := aimServed, aimInVain
		if c.Delay >= farDelay {
			least = aimServedFar
		}
		if c.Load > 1 {
			most = aimInVainAbove
		}
		v.missed[served] = ours.OfOracle < least
		v.missed[inVain] = ours.InVain > most
		v.late, ok = t.of(c, lateNews)
		v.beyond = ok && (v.missed[served] || v.missed[inVain]) && (v.late.OfOracle < least || v.late.InVain > most)
		v.missed[notBelow] = v.best.Served-ours.Served > aimBelowOthers
		out = append(out, v)
	}
	return out
}

// count is in how many verdicts an aim is met.
func count(verdicts []verdict, a aim) (met int) {
	for _, v := range verdicts {
		if !v.missed[a] {
			met++
		}
	}
	return met
}

func (v verdict) String() string {
	return fmt.Sprintf("%s: %.3f of the oracle's, %.1f %% in vain; %s %+.1f %%", v.Cell, v.ours.OfOracle, 100*v.ours.InVain,
		v.best.Strategy, 100*(v.best.Served-v.ours.Served))
}

// Package report writes the results of simulations: as a table for people, as
// CSV and JSON for programs, and as figures.
package report

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dfaas/dfaas/controller/simulator"
)

// Document is what results.json holds.
type Document struct {
	Version  string          `json:"version"` // of the program
	Command  string          `json:"command"` // that makes the same again
	Pattern  string          `json:"pattern"`
	Arrivals string          `json:"arrivals"`
	DelayMs  float64         `json:"delay_ms"`
	Loss     float64         `json:"loss"`
	PeriodMs float64         `json:"period_ms"`
	Duration float64         `json:"duration_s"`
	Rows     []simulator.Row `json:"rows"`
}

// made says what made the document's figures: the program's version and the seeds. It is
// empty for a document without a version.
func (d Document) made() string {
	if d.Version == "" || len(d.Rows) == 0 {
		return ""
	}
	first, last := d.Rows[0].Seed, d.Rows[0].Seed
	for _, r := range d.Rows {
		first, last = min(first, r.Seed), max(last, r.Seed)
	}
	if first == last {
		return fmt.Sprintf("dfaasctl %s, seed %d", d.Version, first)
	}
	return fmt.Sprintf("dfaasctl %s, seeds %d to %d", d.Version, first, last)
}

// JSON writes the document.
func JSON(out io.Writer, d Document) error {
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(d)
}

// columns are those of results.csv.
var columns = []string{
	"strategy", "load", "repeat", "seed", "nodes", "sent", "served", "oracle", "refused", "avoidable", "in_vain", "forwarded",
	"p50_ms", "p99_ms", "gossip_bytes_per_node_s", "pattern", "arrivals", "delay_ms", "loss", "period_ms", "duration_s",
	"version",
}

// CSV writes one row for each run.
func CSV(out io.Writer, d Document) error {
	w := csv.NewWriter(out)
	if err := w.Write(columns); err != nil {
		return err
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	for _, r := range d.Rows {
		err := w.Write([]string{
			r.Strategy, number(r.Load), strconv.Itoa(r.Repeat), count(r.Seed), strconv.Itoa(r.Nodes), count(r.Sent), count(r.Served), count(r.Oracle),
			count(r.Refused), count(r.Avoidable), count(r.InVain), count(r.Forwarded), number(r.P50Millis), number(r.P99Millis), number(r.GossipBytes),
			d.Pattern, d.Arrivals, number(d.DelayMs), number(d.Loss), number(d.PeriodMs), number(d.Duration),
			d.Version,
		})
		if err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// Mean is a strategy at a load, over all repeats.
type Mean struct {
	Strategy string
	Load     float64
	Repeats  int
	// Fractions of what was sent.
	Served, Oracle, Avoidable, InVain, Forwarded float64
	// Worst is the least part of the oracle's calls that a repeat served.
	Worst                        float64
	P50Millis, P99Millis, Gossip float64
}

// Means sums up the repeats, sorted by load and strategy.
func Means(rows []simulator.Row) []Mean {
	type key struct {
		strategy string
		load     float64
	}
	sums := make(map[key]*Mean)
	var order []key
	for _, r := range rows {
		k := key{r.Strategy, r.Load}
		m := sums[k]
		if m == nil {
			m = &Mean{Strategy: r.Strategy, Load: r.Load, Worst: 2}
			sums[k] = m
			order = append(order, k)
		}
		sent := max(1, float64(r.Sent))
		m.Repeats++
		m.Served += float64(r.Served) / sent
		m.Oracle += float64(r.Oracle) / sent
		m.Avoidable += float64(r.Avoidable) / sent
		m.InVain += float64(r.InVain) / sent
		m.Forwarded += float64(r.Forwarded) / sent
		m.Worst = min(m.Worst, float64(r.Served)/max(1, float64(r.Oracle)))
		m.P50Millis += r.P50Millis
		m.P99Millis += r.P99Millis
		m.Gossip += r.GossipBytes
	}
	out := make([]Mean, 0, len(order))
	for _, k := range order {
		m := *sums[k]
		n := float64(m.Repeats)
		for _, x := range []*float64{&m.Served, &m.Oracle, &m.Avoidable, &m.InVain, &m.Forwarded, &m.P50Millis, &m.P99Millis, &m.Gossip} {
			*x /= n
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Mean) int { return cmp.Or(cmp.Compare(a.Load, b.Load), cmp.Compare(a.Strategy, b.Strategy)) })
	return out
}

// Text writes the table that people read.
func Text(out io.Writer, d Document) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "LOAD\tSTRATEGY\tSERVED\tOF ORACLE\tWORST\tAVOIDABLE\tIN VAIN\tFORWARDED\tP50\tP99\tGOSSIP\t")
	for _, m := range Means(d.Rows) {
		fmt.Fprintf(t, "%.2f\t%s\t%.2f %%\t%.3f\t%.3f\t%.2f %%\t%.2f %%\t%.1f %%\t%.0f ms\t%.0f ms\t%.0f B/s\t\n", m.Load, m.Strategy, 100*m.Served,
			m.Served/max(m.Oracle, 1e-9), m.Worst, 100*m.Avoidable, 100*m.InVain, 100*m.Forwarded, m.P50Millis, m.P99Millis, m.Gossip)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, b.String())
	return err
}

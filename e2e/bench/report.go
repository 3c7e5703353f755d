package bench

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// What DFaaS aims at.
const (
	aimDecision         = 200      // ns, and no allocation, with a large table
	aimThroughput       = 0.68     // of HAProxy's without SPOE, everything on two cores
	aimP50              = 100      // us more, at pacedRate
	aimP99              = 250      // us more, at pacedRate
	aimSPOAMemory       = 30 << 20 // bytes at rest
	aimControllerMemory = 70 << 20 // bytes at rest
	aimControllerCPU    = 0.01     // of a core, at rest
)

// measurements are everything that a run has measured.
type measurements struct {
	quick        bool
	setting      setting
	route, agent []goBenchmark
	smallTable   reaction // from a PUT of a table of a small federation
	largeTable   reaction // of the large table
	flood        []round[flood]
	spoaMemory   int64     // bytes, resident, of the SPOA with the large table, after the flood
	wakeUps      []float64 // us, of the machine itself, around the rounds of latency
	latency      []round[latency]
	rest         map[scenario.Part]rest
	label        reaction
}

// row is a line of the report's table. Empty cells stay empty.
type row struct {
	what, plain, with, change, aim string
	verdict                        verdict
}

// verdict is whether an aim was met.
type verdict string

const (
	noAim  verdict = ""
	met    verdict = "met"
	missed verdict = "**missed**"
)

func verdictOf(ok bool) verdict {
	if ok {
		return met
	}
	return missed
}

// report returns the whole report in Markdown.
func (m *measurements) report() string {
	var b strings.Builder
	b.WriteString("# Performance\n\n")
	b.WriteString("Written by `make bench`. What counts are the ratios and differences: both sides of each were measured in turn,\n" +
		"seconds apart, on the same machine. The absolute numbers belong to that machine.\n\n")
	if m.quick {
		b.WriteString("**A quick run: it shows that everything can be measured, its numbers are noise.**\n\n")
	}
	s := m.setting
	fmt.Fprintf(&b, "%s, commit `%s`, %s, HAProxy %s, Linux %s, %d cores (%s).\n"+
		"Other programs had up to %.0f %% of the CPU during the rounds of throughput and up to %.0f %% during those of latency.\n\n",
		s.taken.Format("2006-01-02 15:04 UTC"), s.commit, s.golang, s.haproxy, s.kernel, s.cores, s.cpu,
		100*mostByOthers(m.flood), 100*mostByOthers(m.latency))
	if max(mostByOthers(m.flood), mostByOthers(m.latency)) > tolerable {
		b.WriteString("**That is too much: what follows on throughput and latency is not to be relied on.**\n\n")
	}
	b.WriteString("| what | plain | with DFaaS | ratio or difference | aim | |\n| --- | ---: | ---: | ---: | ---: | --- |\n")
	for _, r := range m.rows() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.plain, r.with, r.change, r.aim, r.verdict)
	}
	b.WriteString("\n" + m.explanation())
	return b.String()
}

func mostByOthers[T any](rounds []round[T]) float64 {
	most := 0.0
	for _, r := range rounds {
		most = max(most, r.others)
	}
	return most
}

func (m *measurements) rows() []row {
	var rows []row
	for _, b := range m.route {
		rows = append(rows, decisionRow(b))
	}
	for _, b := range m.agent {
		rows = append(rows, row{what: "agent: " + b.name, with: cost(b)})
	}
	rows = append(rows, m.throughputRows()...)
	rows = append(rows, m.latencyRows()...)
	rows = append(rows, m.restRows()...)
	return append(rows,
		reactionRow("table of 3 nodes: from its PUT to the first request that obeys", m.smallTable),
		reactionRow(fmt.Sprintf("table of %d functions x %d peers: the same", manyFunctions, manyPeers), m.largeTable),
		reactionRow("label changed at one node: to the first request at another that obeys", m.label),
	)
}

// decisionRow has an aim for the decision itself. The other benchmark of its
// package is the compilation of a table.
func decisionRow(b goBenchmark) row {
	r := row{what: "decision: " + b.name, with: cost(b)}
	if strings.HasPrefix(b.name, decisions) {
		r.aim = fmt.Sprintf("< %d ns, 0 allocations", aimDecision)
		r.verdict = verdictOf(b.nanos < aimDecision && b.allocs == 0)
	}
	return r
}

// decisions begins the names of the decision's benchmarks, all with a table of
// manyFunctions and manyPeers.
const decisions = "Route/"

func cost(b goBenchmark) string {
	if b.nanos >= 1e6 {
		return fmt.Sprintf("%.0f ms, %.1f MB, %.0f allocations", b.nanos/1e6, b.bytes/(1<<20), b.allocs)
	}
	return fmt.Sprintf("%.0f ns, %.0f B, %.0f allocations", b.nanos, b.bytes, b.allocs)
}

func (m *measurements) throughputRows() []row {
	rates := func(s side) []float64 { return column(m.flood, s, func(f flood) float64 { return f.perSecond }) }
	proxy := func(s side) []float64 { return column(m.flood, s, func(f flood) float64 { return f.proxyCPU }) }
	spoa := column(m.flood, dfaas, func(f flood) float64 { return f.spoaCPU })
	rate := func(s side) string { return fmt.Sprintf("%.0f req/s", quantile(rates(s), 0.5)) }
	cpu := func(xs []float64) string { return fmt.Sprintf("%.1f us", quantile(xs, 0.5)) }
	asked := spreadOf(pairwise(rates(dfaas), rates(unasked), ratio))
	whole := spreadOf(pairwise(rates(dfaas), rates(bare), ratio))
	more := spreadOf(pairwise(proxy(dfaas), proxy(unasked), difference))
	return []row{
		{
			what: "throughput", plain: rate(unasked), with: rate(dfaas), change: asRatio(asked),
			aim: fmt.Sprintf(">= %.2f", aimThroughput), verdict: verdictOf(asked.median >= aimThroughput),
		},
		{what: "throughput, against an HAProxy without the drop-in", plain: rate(bare), with: rate(dfaas), change: asRatio(whole)},
		{what: "CPU of HAProxy per request", plain: cpu(proxy(unasked)), with: cpu(proxy(dfaas)), change: asDifference(more, "us", 1)},
		{what: "CPU of dfaas-spoa per request", with: cpu(spoa)},
	}
}

func (m *measurements) latencyRows() []row {
	line := func(name string, figure func(latency) float64, aim float64) row {
		plain, with := column(m.latency, unasked, figure), column(m.latency, dfaas, figure)
		more := spreadOf(pairwise(with, plain, difference))
		return row{
			what:  fmt.Sprintf("%s at %d req/s", name, pacedRate),
			plain: fmt.Sprintf("%.0f us", quantile(plain, 0.5)), with: fmt.Sprintf("%.0f us", quantile(with, 0.5)),
			change: asDifference(more, "us", 0), aim: fmt.Sprintf("<= +%.0f us", aim), verdict: verdictOf(more.median <= aim),
		}
	}
	rows := []row{
		line("p50", func(l latency) float64 { return l.p50 }, aimP50),
		line("p99", func(l latency) float64 { return l.p99 }, aimP99),
	}
	if len(m.wakeUps) > 0 {
		rows = append(rows, row{what: "the machine alone: waking a thread on another CPU, and being woken", plain: fmt.Sprintf(
			"p50 %.0f us, p99 %.0f us, p99.9 %.0f us", quantile(m.wakeUps, 0.5), quantile(m.wakeUps, 0.99), quantile(m.wakeUps, 0.999))})
	}
	return rows
}

func (m *measurements) restRows() []row {
	memory := func(what string, bytes int64) row {
		return row{what: what, with: fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20))}
	}
	withAim := func(r row, aim string, ok bool) row {
		r.aim, r.verdict = aim, verdictOf(ok)
		return r
	}
	cpu := func(what string, share float64) row {
		return row{what: what, with: fmt.Sprintf("%.2f %% of a core", 100*share)}
	}
	spoa, controller := m.rest[scenario.SPOA], m.rest[scenario.Controller]
	return []row{
		withAim(memory("memory of dfaas-spoa at rest", spoa.memory), fmt.Sprintf("< %d MB", aimSPOAMemory>>20), spoa.memory < aimSPOAMemory),
		cpu("CPU of dfaas-spoa at rest", spoa.cpu),
		memory(fmt.Sprintf("memory of dfaas-spoa with %d functions x %d peers, after the load", manyFunctions, manyPeers), m.spoaMemory),
		withAim(memory("memory of dfaas-controller at rest", controller.memory),
			fmt.Sprintf("< %d MB", aimControllerMemory>>20), controller.memory < aimControllerMemory),
		withAim(cpu("CPU of dfaas-controller at rest", controller.cpu),
			fmt.Sprintf("< %.0f %%", 100*aimControllerCPU), controller.cpu < aimControllerCPU),
	}
}

func reactionRow(what string, r reaction) row {
	digits := 0
	if quantile(r, 0.5) < 10 {
		digits = 1
	}
	with := fmt.Sprintf("median %.*f ms, max %.*f ms (%d times)", digits, quantile(r, 0.5), digits, quantile(r, 1), len(r))
	return row{what: what, with: with}
}

// asRatio shows the median, and between what half of the rounds lay.
func asRatio(s spread) string { return fmt.Sprintf("**%.2f** (%.2f to %.2f)", s.median, s.low, s.high) }

func asDifference(s spread, unit string, digits int) string {
	return fmt.Sprintf("**%+.*f %s** (%+.*f to %+.*f)", digits, s.median, unit, digits, s.low, digits, s.high)
}

//go:embed explanation.md
var explanation string

// explanation is the text below the table.
func (m *measurements) explanation() string { return explanation }

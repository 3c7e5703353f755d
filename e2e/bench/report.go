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
	aimFastPath         = 0.97     // of the same, on the fast path
	aimAgentCPU         = 4        // us per request, at full load
	aimP50              = 80       // us more, at the first of pacedRates
	aimP99              = 250      // us more, there
	aimPacedCPU         = 35       // us per request, there
	aimSPOAMemory       = 30 << 20 // bytes at rest
	aimControllerMemory = 70 << 20 // bytes at rest
	aimControllerCPU    = 0.01     // of a core, at rest
)

// measurements are everything that a run has measured.
type measurements struct {
	quick        bool
	setting      setting
	route, agent []goBenchmark
	smallTable   reaction  // from a PUT of a table of a small federation
	largeTable   reaction  // of the large table
	change       reaction  // from sending a change of one function in that
	longest      longest   // questions while it, or a change of it, came in
	groups       []group   // the installed HAProxy first
	found        []found   // of each
	spoaMemory   int64     // bytes, resident, of the SPOA with the large table, after the floods
	wakeUps      []float64 // us, of the machine itself, before and after the rounds
	rest         map[scenario.Part]rest
	label        reaction
}

// found is what was measured of one group.
type found struct {
	flood   rounds[flood]
	latency [len(pacedRates)]rounds[latency]
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
	b.WriteString("Written by `make bench`. What counts are the ratios and differences: what is compared was measured in turn,\n" +
		"seconds apart, on the same machine. The absolute numbers belong to that machine.\n\n")
	if m.quick {
		b.WriteString("**A quick run: it shows that everything can be measured, its numbers are noise.**\n\n")
	}
	s, byOthers := m.setting, m.mostByOthers()
	fmt.Fprintf(&b, "%s, commit `%s`, %s, HAProxy %s, Linux %s, %d cores (%s).\n"+
		"Other programs had up to %.0f %% of the CPU during the rounds that count.\n\n",
		s.taken.Format("2006-01-02 15:04 UTC"), s.commit, s.golang, m.groups[0].version, s.kernel, s.cores, s.cpu, 100*byOthers)
	if byOthers > tolerable {
		b.WriteString("**That is too much: what follows on throughput and latency is not to be relied on.**\n\n")
	}
	m.writeInstead(&b)
	m.writeVersions(&b)
	fmt.Fprintf(&b, "## All of it, with HAProxy %s\n\n", m.groups[0].version)
	b.WriteString("| what | plain | with DFaaS | ratio or difference | aim | |\n| --- | ---: | ---: | ---: | ---: | --- |\n")
	for _, r := range m.rows() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.plain, r.with, r.change, r.aim, r.verdict)
	}
	b.WriteString("\n" + explanation)
	return b.String()
}

// writeInstead writes what one would take instead of DFaaS, side by side.
func (m *measurements) writeInstead(b *strings.Builder) {
	f := m.found[0]
	b.WriteString("## What one would take instead\n\n" +
		"The same calls, one function and two places where it could be served, by what one would write or install instead. CPU is that of the\n" +
		"proxy and, with DFaaS, of dfaas-spoa.\n\n" +
		"| | throughput | CPU a request, full load |")
	for _, rate := range pacedRates {
		fmt.Fprintf(b, " p50 / p99 at %d/s | CPU a request |", rate)
	}
	b.WriteString("\n| --- | ---: | ---: |" + strings.Repeat(" ---: | ---: |", len(pacedRates)) + "\n")
	for _, s := range m.groups[0].sides {
		fmt.Fprintf(b, "| %s | %s | %s |", insteadOf[s.kind],
			median(f.flood, s.kind, "%.0f req/s", func(f flood) float64 { return f.perSecond }),
			median(f.flood, s.kind, "%.1f us", func(f flood) float64 { return f.proxyCPU + own(s.kind, f.spoaCPU) }))
		for _, l := range f.latency {
			fmt.Fprintf(b, " %s / %s us | %s |",
				median(l, s.kind, "%.0f", func(l latency) float64 { return l.p50 }),
				median(l, s.kind, "%.0f", func(l latency) float64 { return l.p99 }),
				median(l, s.kind, "%.0f us", func(l latency) float64 { return l.proxyCPU + own(s.kind, l.spoaCPU) }))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// insteadOf names the sides in the first table.
var insteadOf = [...]string{
	bare:    "HAProxy alone: no limits, no peers",
	unasked: "the drop-in without SPOE: nobody decides",
	dfaas:   "**DFaaS**",
	fast:    "**DFaaS**, on the fast path: nobody is asked, as long as the function is far from its limit",
	lua:     "the drop-in with a Lua action: a token bucket, one Lua state for all threads",
	goProxy: "a reverse proxy in Go: a token bucket, nothing else of the drop-in",
	caddy:   "Caddy: the peer only if the gateway is down, nothing else of the drop-in",
}

// own is the CPU time of dfaas-spoa, as far as it is this side's.
func own(k kind, spoa float64) float64 {
	if k == dfaas || k == fast {
		return spoa
	}
	return 0
}

// writeVersions writes what each HAProxy makes of it.
func (m *measurements) writeVersions(b *strings.Builder) {
	b.WriteString("## By version of HAProxy\n\n" +
		"CPU is us per request under full load. Rounds count in which dfaas-spoa was asked about 99 % of the requests and more.\n\n" +
		"| HAProxy | bare | drop-in without SPOE | HAProxy's part of SPOE | dfaas-spoa | SPOE altogether | throughput, of that without SPOE | on the fast path | p50 and p99 " +
		fmt.Sprintf("at %d/s, more than without SPOE", pacedRates[0]) + " | asked about | rounds |\n" +
		"| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for i, g := range m.groups {
		f, l := m.found[i].flood, m.found[i].latency[0]
		proxy := func(k kind) []float64 { return column(f, k, func(f flood) float64 { return f.proxyCPU }) }
		rate := func(k kind) []float64 { return column(f, k, func(f flood) float64 { return f.perSecond }) }
		spoa := column(f, dfaas, func(f flood) float64 { return f.spoaCPU })
		if len(f.counted) == 0 || len(l.counted) == 0 {
			fmt.Fprintf(b, "| %s | none of %d rounds counts: %.1f %% were asked about at best %s|\n",
				g.version, f.all, 100*min(f.asked, l.asked), strings.Repeat("| ", 9))
			continue
		}
		part := spreadOf(pairwise(proxy(dfaas), proxy(unasked), difference))
		whole := spreadOf(pairwise(pairwise(proxy(dfaas), spoa, sum), proxy(unasked), difference))
		more := func(figure func(latency) float64) float64 {
			return spreadOf(pairwise(column(l, dfaas, figure), column(l, unasked, figure), difference)).median
		}
		fmt.Fprintf(b, "| %s | %.1f | %.1f | %.1f | %.1f | **%.1f** (%.1f to %.1f) | %s | %s | %+.0f us, %+.0f us | %.1f %% | %d of %d |\n", g.version,
			quantile(proxy(bare), 0.5), quantile(proxy(unasked), 0.5), part.median, quantile(spoa, 0.5), whole.median, whole.low, whole.high,
			asRatio(spreadOf(pairwise(rate(dfaas), rate(unasked), ratio))), asRatio(spreadOf(pairwise(rate(fast), rate(unasked), ratio))),
			more(func(l latency) float64 { return l.p50 }), more(func(l latency) float64 { return l.p99 }),
			100*min(f.leastAsked(), l.leastAsked()), len(f.counted), f.all)
	}
	b.WriteString("\n")
}

// median writes that of one side's figure, or that no round counts.
func median[T any](r rounds[T], k kind, format string, figure func(T) float64) string {
	if len(r.counted) == 0 {
		return "none counts"
	}
	return fmt.Sprintf(format, quantile(column(r, k, figure), 0.5))
}

// mostByOthers is the largest share of others in a round that counts.
func (m *measurements) mostByOthers() float64 {
	most := 0.0
	for _, f := range m.found {
		most = max(most, f.flood.mostByOthers())
		for _, l := range f.latency {
			most = max(most, l.mostByOthers())
		}
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
		reactionRow(fmt.Sprintf("a change of one function in a table of %d x %d: from its sending to the first request that obeys", manyFunctions, manyPeers), m.change),
		reactionRow("longest question while a whole table of that size comes in", m.longest.whole),
		reactionRow("longest question while a change of it comes in", m.longest.change),
		reactionRow("longest question while no table comes", m.longest.none),
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
	f := m.found[0].flood
	if len(f.counted) == 0 {
		return []row{{what: fmt.Sprintf("throughput: none of %d rounds counts, %.1f %% were asked about at best", f.all, 100*f.asked), verdict: missed}}
	}
	rates := func(k kind) []float64 { return column(f, k, func(f flood) float64 { return f.perSecond }) }
	proxy := func(k kind) []float64 { return column(f, k, func(f flood) float64 { return f.proxyCPU }) }
	spoa := column(f, dfaas, func(f flood) float64 { return f.spoaCPU })
	rate := func(k kind) string { return fmt.Sprintf("%.0f req/s", quantile(rates(k), 0.5)) }
	cpu := func(xs []float64) string { return fmt.Sprintf("%.1f us", quantile(xs, 0.5)) }
	asked := spreadOf(pairwise(rates(dfaas), rates(unasked), ratio))
	whole := spreadOf(pairwise(rates(dfaas), rates(bare), ratio))
	notAsked := spreadOf(pairwise(rates(fast), rates(unasked), ratio))
	more := spreadOf(pairwise(proxy(dfaas), proxy(unasked), difference))
	agent := quantile(spoa, 0.5)
	return []row{
		{
			what: "throughput", plain: rate(unasked), with: rate(dfaas), change: asRatio(asked),
			aim: fmt.Sprintf(">= %.2f", aimThroughput), verdict: verdictOf(asked.median >= aimThroughput),
		},
		{
			what: "throughput on the fast path", plain: rate(unasked), with: rate(fast), change: asRatio(notAsked),
			aim: fmt.Sprintf(">= %.2f", aimFastPath), verdict: verdictOf(notAsked.median >= aimFastPath),
		},
		{what: "throughput, against an HAProxy without the drop-in", plain: rate(bare), with: rate(dfaas), change: asRatio(whole)},
		{what: "CPU of HAProxy per request", plain: cpu(proxy(unasked)), with: cpu(proxy(dfaas)), change: asDifference(more, "us", 1)},
		{what: "CPU of dfaas-spoa per request", with: cpu(spoa), aim: fmt.Sprintf("<= %d us", aimAgentCPU), verdict: verdictOf(agent <= aimAgentCPU)},
	}
}

func (m *measurements) latencyRows() []row {
	var rows []row
	for i, rate := range pacedRates {
		rows = append(rows, m.latencyAt(i, rate)...)
	}
	if len(m.wakeUps) > 0 {
		rows = append(rows, row{what: "the machine alone: waking a thread on another CPU, and being woken", plain: fmt.Sprintf(
			"p50 %.0f us, p99 %.0f us, p99.9 %.0f us", quantile(m.wakeUps, 0.5), quantile(m.wakeUps, 0.99), quantile(m.wakeUps, 0.999))})
	}
	return rows
}

// latencyAt has aims for the first rate only.
func (m *measurements) latencyAt(i, rate int) []row {
	l := m.found[0].latency[i]
	if len(l.counted) == 0 {
		return []row{{what: fmt.Sprintf("latency at %d req/s: none of %d rounds counts, %.1f %% were asked about at best", rate, l.all, 100*l.asked), verdict: missed}}
	}
	line := func(name string, figure func(latency) float64, aim float64) row {
		plain, with := column(l, unasked, figure), column(l, dfaas, figure)
		more := spreadOf(pairwise(with, plain, difference))
		r := row{
			what:  fmt.Sprintf("%s at %d req/s", name, rate),
			plain: fmt.Sprintf("%.0f us", quantile(plain, 0.5)), with: fmt.Sprintf("%.0f us", quantile(with, 0.5)),
			change: asDifference(more, "us", 0),
		}
		if i == 0 {
			r.aim, r.verdict = fmt.Sprintf("<= +%.0f us", aim), verdictOf(more.median <= aim)
		}
		return r
	}
	cpu := quantile(column(l, dfaas, func(l latency) float64 { return l.spoaCPU }), 0.5)
	agent := row{what: fmt.Sprintf("CPU of dfaas-spoa per request at %d req/s", rate), with: fmt.Sprintf("%.1f us", cpu)}
	if i == 0 {
		agent.aim, agent.verdict = fmt.Sprintf("<= %d us", aimPacedCPU), verdictOf(cpu <= aimPacedCPU)
	}
	return []row{
		line("p50", func(l latency) float64 { return l.p50 }, aimP50),
		line("p99", func(l latency) float64 { return l.p99 }, aimP99),
		agent,
	}
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

// explanation is the text below the tables.
//
//go:embed explanation.md
var explanation string

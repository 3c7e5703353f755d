package paper

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/atomicfile"
)

// Blocks of a page that are made here stand between two comments:
//
//	<!-- paper:NAME -->
//	<!-- paper:end -->
const blockEnd = "<!-- paper:end -->"

// replaceBlock returns the page with another text in the block of that name.
func replaceBlock(page, name, text string) (string, error) {
	begin := "<!-- paper:" + name + " -->\n"
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("the page has no block %s", strings.TrimSpace(begin))
	}
	_, after, ok := strings.Cut(rest, blockEnd)
	if !ok {
		return "", fmt.Errorf("the page's block %s has no end", name)
	}
	return before + begin + strings.TrimRight(text, "\n") + "\n" + blockEnd + after, nil
}

// writeBlocks replaces blocks of the page at path.
func writeBlocks(path string, blocks map[string]string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	page := string(data)
	for name, text := range blocks {
		if page, err = replaceBlock(page, name, text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := atomicfile.Replace(path, []byte(page), 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// row writes a line of a Markdown table.
func row(b *strings.Builder, cells ...string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }

func header(b *strings.Builder, cells ...string) {
	row(b, cells...)
	row(b, strings.Split(strings.TrimSuffix(strings.Repeat("---,", len(cells)), ","), ",")...)
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// figureOf is the figure of a pattern, below docs.
func figureOf(p Pattern) string {
	name, _, _ := strings.Cut(string(p), ",")
	return "goodput-" + strings.ReplaceAll(name, " ", "-")
}

// worth is the block with the tables of the cells that the page shows.
func (g Grid) worth(t table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Ten nodes of 10 to 50 requests/s, delay 50 ms, Poisson arrivals, very uneven demand, %s of %s: served, as a fraction of what\n"+
		"the oracle serves of the same arrivals, and in brackets what was forwarded in vain, in percent of all calls.\n", t.repeats(), g.Lasting)
	for _, p := range patterns() {
		fmt.Fprintf(&b, "\n![goodput against load, demand %s](figures/%s.svg)\n\n", p, figureOf(p))
		head := []string{string(p)}
		for _, l := range g.Loads {
			head = append(head, number(l))
		}
		header(&b, head...)
		for _, s := range g.strategies(Cell{Nodes: shownNodes, Delay: shownDelay}) {
			cells := []string{"`" + s + "`"}
			for _, l := range g.Loads {
				m, _ := t.of(Cell{shownNodes, p, l, shownDelay, 0}, s)
				cells = append(cells, fmt.Sprintf("%.3f (%.1f)", m.OfOracle, 100*m.InVain))
			}
			row(&b, cells...)
		}
	}
	return b.String()
}

// aimsBlock is the block with the verdict on the whole grid.
func (g Grid) aimsBlock(t table, verdicts []verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d cells, %s of %s each, %s with 50 nodes. In how many each aim of `%s` is met:\n\n", len(verdicts), t.repeats(), g.Lasting,
		g.lasting(Cell{Nodes: fewNodes + 1}), Judged)
	head := []string{"nodes", "delay", "loss"}
	for a := range aims {
		head = append(head, a.String())
	}
	header(&b, append(head, "least of the oracle's", "most in vain")...)
	line := func(name []string, some []verdict) {
		if len(some) == 0 {
			return
		}
		least, most := some[0], some[0]
		for _, v := range some {
			if v.ours.OfOracle < least.ours.OfOracle {
				least = v
			}
			if v.ours.InVain > most.ours.InVain {
				most = v
			}
		}
		for a := range aims {
			name = append(name, fmt.Sprintf("%d of %d", count(some, a), len(some)))
		}
		row(&b, append(name, fmt.Sprintf("%.3f: %s, load %g", least.ours.OfOracle, least.Pattern, least.Load),
			fmt.Sprintf("%.1f %%: %s, load %g", 100*most.ours.InVain, most.Pattern, most.Load))...)
	}
	for _, nodes := range g.Nodes {
		for _, delay := range g.Delays {
			for _, loss := range g.Losses {
				var some []verdict
				for _, v := range verdicts {
					if v.Nodes == nodes && v.Delay == delay && v.Loss == loss {
						some = append(some, v)
					}
				}
				line([]string{strconv.Itoa(nodes), delay.String(), fmt.Sprintf("%g %%", 100*loss)}, some)
			}
		}
	}
	line([]string{"all", "", ""}, verdicts)
	missedBlock(&b, verdicts)
	b.WriteString("\nEach cell is in [figures/grid.csv](figures/grid.csv).\n")
	return b.String()
}

// missedBlock lists the cells in which one of the first two aims is missed, beside what
// late news would do; nothing if there are none.
func missedBlock(b *strings.Builder, verdicts []verdict) {
	var missed []verdict
	beyond := 0
	for _, v := range verdicts {
		if v.missed[served] || v.missed[inVain] {
			missed = append(missed, v)
		}
		if v.beyond {
			beyond++
		}
	}
	if len(missed) == 0 {
		return
	}
	fmt.Fprintf(b, "\nIn %d cells one of the first two aims is missed. `%s`, which knows all that can be known of peers by then, misses one of them in %d of these.\n",
		len(missed), lateNews, beyond)
	b.WriteString("\n")
	header(b, "nodes", "demand", "load", "delay", "loss", "`"+Judged+"`", "`"+lateNews+"`")
	for _, v := range missed {
		text := func(m mean) string { return fmt.Sprintf("%.3f (%.1f)", m.OfOracle, 100*m.InVain) }
		row(b, strconv.Itoa(v.Nodes), string(v.Pattern), number(v.Load), v.Delay.String(), fmt.Sprintf("%g %%", 100*v.Loss), text(v.ours), text(v.late))
	}
}

// writeCSV writes a row for each cell.
func writeCSV(out io.Writer, verdicts []verdict) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{
		"nodes", "pattern", "load", "delay_ms", "loss", "served_of_oracle", "served", "in_vain", "p99_ms", "gossip_bytes_per_node_s",
		"best_other", "best_other_served", "served_aim", "in_vain_aim", "others_aim",
	}); err != nil {
		return err
	}
	word := map[bool]string{false: "met", true: "missed"}
	for _, v := range verdicts {
		f := func(x float64) string { return strconv.FormatFloat(x, 'f', 4, 64) }
		if err := w.Write([]string{
			strconv.Itoa(v.Nodes), string(v.Pattern), number(v.Load), strconv.FormatInt(v.Delay.Milliseconds(), 10), number(v.Loss),
			f(v.ours.OfOracle), f(v.ours.Served), f(v.ours.InVain), f(v.ours.P99Millis), f(v.ours.Gossip), v.best.Strategy, f(v.best.Served),
			word[v.missed[served]], word[v.missed[inVain]], word[v.missed[notBelow]],
		}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

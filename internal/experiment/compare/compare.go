// Package compare puts runs of one scenario beside each other: with several
// strategies, several times each, in whatever world.
package compare

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/dfaas/dfaas/internal/experiment/plot"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// Run is one run of the scenario.
type Run struct {
	// Name is what runs are compared by: the strategy, and the world if there are two.
	Name    string
	Repeat  int // from 1
	Summary summary.Summary
}

// Comparison is of runs in the order in which their names are to be shown.
type Comparison struct {
	Title string
	// Made says what made it, for whoever wants to make it again: program, version,
	// command.
	Made string
	Runs []Run
}

// Files of a comparison, with their extensions behind them.
const (
	baseName    = "comparison"
	secondsName = "comparison-seconds.csv"
)

// Ours reports whether a file of that name is one of a comparison.
func Ours(name string) bool {
	stem := name[:len(name)-len(filepath.Ext(name))]
	return stem == baseName && slices.Contains([]string{".csv", ".txt", ".svg", ".png"}, filepath.Ext(name)) || name == secondsName
}

// Save writes the comparison below dir: a table for people (comparison.txt) and one for
// programs (comparison.csv), a picture (svg and png) and what it shows by seconds
// (comparison-seconds.csv).
func (c Comparison) Save(dir string) error { return c.SaveAs(filepath.Join(dir, baseName)) }

// SaveAs writes the files with another path than comparison before the extensions.
func (c Comparison) SaveAs(path string) error {
	for name, write := range map[string]func(io.Writer) error{path + ".csv": c.CSV, path + ".txt": c.Text, path + "-seconds.csv": c.seconds} {
		if err := report.WriteFile(name, write); err != nil {
			return err
		}
	}
	picture := c.picture()
	for _, format := range []string{".svg", ".png"} {
		if err := picture.Save(path + format); err != nil {
			return err
		}
	}
	return nil
}

// names lists what is compared, in the order of the runs.
func (c Comparison) names() []string {
	var names []string
	for _, r := range c.Runs {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// outcome is what became of requests.
type outcome struct {
	sent, served int
	p50, p99     float64 // ms, over all requests; of several loads, the highest
}

func (o *outcome) add(l summary.Load) {
	o.sent += l.Sent
	o.served += l.Status["200"]
	o.p50, o.p99 = max(o.p50, l.Latency.P50), max(o.p99, l.Latency.P99)
}

func (o outcome) percent() float64 { return 100 * float64(o.served) / float64(max(1, o.sent)) }

// outcomes are those of a run: of all loads together, and of each.
func outcomes(s summary.Summary) (all outcome, loads []outcome) {
	for _, l := range s.Loads {
		all.add(l)
		var one outcome
		one.add(l)
		loads = append(loads, one)
	}
	return all, loads
}

// CSV writes a row for each load of each run, and one, with load 0, for all loads of it.
func (c Comparison) CSV(out io.Writer) error {
	nodes, statuses := make(map[string]bool), make(map[string]bool)
	for _, r := range c.Runs {
		for _, l := range r.Summary.Loads {
			for name := range l.ByNode {
				nodes[name] = true
			}
			for name := range l.Status {
				statuses[name] = true
			}
		}
	}
	w := csv.NewWriter(out)
	head := []string{"name", "repeat", "seed", "version", "scenario", "load", "target", "function", "sent", "served", "served_percent", "p50_ms", "p99_ms"}
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		head = append(head, "status_"+status)
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		head = append(head, "by_"+node)
	}
	if err := w.Write(head); err != nil {
		return err
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	for _, r := range c.Runs {
		all, each := outcomes(r.Summary)
		rows := append([]summary.Load{together(r.Summary.Loads)}, r.Summary.Loads...)
		for i, o := range append([]outcome{all}, each...) {
			row := []string{
				r.Name, strconv.Itoa(r.Repeat), strconv.FormatUint(r.Summary.Seed, 10), r.Summary.Version, r.Summary.Scenario, strconv.Itoa(i),
				rows[i].Target, rows[i].Function, strconv.Itoa(o.sent), strconv.Itoa(o.served), strconv.FormatFloat(o.percent(), 'f', 3, 64), number(o.p50), number(o.p99),
			}
			for _, status := range slices.Sorted(maps.Keys(statuses)) {
				row = append(row, strconv.Itoa(rows[i].Status[status]))
			}
			for _, node := range slices.Sorted(maps.Keys(nodes)) {
				row = append(row, strconv.Itoa(rows[i].ByNode[node]))
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}

// together counts all loads as one, without its course.
func together(loads []summary.Load) summary.Load {
	sum := summary.Load{Status: map[string]int{}, ByNode: map[string]int{}}
	for _, l := range loads {
		for name, n := range l.Status {
			sum.Status[name] += n
		}
		for name, n := range l.ByNode {
			sum.ByNode[name] += n
		}
	}
	return sum
}

// Text writes the table that people read: what was served by name and load, on average
// over the repeats and, where there are several, with the least and the most.
func (c Comparison) Text(out io.Writer) error {
	fmt.Fprintf(out, "%s\n%s\n\n", c.Title, c.Made)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tLOAD\tRUNS\tSENT\tSERVED\tLEAST\tMOST\tSERVED BY, EACH SECOND\tP50 MS\tP99 MS")
	for _, name := range c.names() {
		runs := c.of(name)
		for load := range 1 + len(runs[0].Summary.Loads) {
			if load == 1 && len(runs[0].Summary.Loads) == 1 {
				continue // it is all loads
			}
			c.line(t, name, load, runs)
		}
	}
	return t.Flush()
}

// of returns the runs of a name that have as many loads as the first.
func (c Comparison) of(name string) []Run {
	var runs []Run
	for _, r := range c.Runs {
		if r.Name == name && (len(runs) == 0 || len(r.Summary.Loads) == len(runs[0].Summary.Loads)) {
			runs = append(runs, r)
		}
	}
	return runs
}

func (c Comparison) line(t io.Writer, name string, load int, runs []Run) {
	var sum outcome
	mean, least, most, by := 0.0, 100.0, 0.0, make(map[string]float64)
	n := float64(len(runs))
	for _, r := range runs {
		o, each := outcomes(r.Summary)
		loads := r.Summary.Loads
		if load > 0 {
			o, loads = each[load-1], loads[load-1:load]
		}
		sum.sent += o.sent
		sum.p50, sum.p99 = sum.p50+o.p50/n, sum.p99+o.p99/n
		mean += o.percent() / n
		least, most = min(least, o.percent()), max(most, o.percent())
		for node, count := range together(loads).ByNode {
			by[node] += float64(count) / float64(max(1, lasting(loads))) / n
		}
	}
	what := "all"
	if load > 0 {
		what = fmt.Sprintf("%d: %s", load, runs[0].Summary.Loads[load-1].Target)
	}
	text := ""
	for _, node := range slices.Sorted(maps.Keys(by)) {
		text += fmt.Sprintf("%s %.1f, ", node, by[node])
	}
	fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.2f %%\t%.2f\t%.2f\t%s\t%.1f\t%.1f\n", name, what, len(runs), sum.sent/len(runs), mean, least, most,
		cmp.Or(text[:max(0, len(text)-2)], "-"), sum.p50, sum.p99)
}

// lasting is from the first second of loads to the last, in which there is something.
func lasting(loads []summary.Load) int {
	first, last := 0, -1
	for _, l := range loads {
		for _, s := range l.Seconds {
			if len(s.Status) == 0 {
				continue
			}
			if last < 0 {
				first, last = s.T, s.T
			}
			first, last = min(first, s.T), max(last, s.T)
		}
	}
	return last - first + 1
}

// seconds writes what the picture shows: means over the repeats.
func (c Comparison) seconds(out io.Writer) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{"name", "load", "second", "what", "mean", "least", "most"}); err != nil {
		return err
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', 3, 64) }
	p := c.picture()
	for k, name := range p.Columns {
		for load, courses := range p.Rows {
			for t, second := range courses[k] {
				for _, key := range slices.Sorted(maps.Keys(second)) {
					v := second[key]
					if err := w.Write([]string{name, strconv.Itoa(load + 1), strconv.Itoa(t), key, number(v.Mean), number(v.Least), number(v.Most)}); err != nil {
						return err
					}
				}
			}
		}
	}
	w.Flush()
	return w.Error()
}

// maxRows is how many loads have a row of their own in the picture.
const maxRows = 4

// picture is the means over the repeats, by load.
func (c Comparison) picture() plot.Comparison {
	p := plot.Comparison{Title: c.Title, Footer: c.Made, Columns: c.names()}
	for _, name := range p.Columns {
		runs := c.of(name)
		loads := len(runs[0].Summary.Loads)
		if loads > maxRows {
			loads = 1
		}
		for load := range loads {
			if len(p.Rows) <= load {
				p.Rows = append(p.Rows, nil)
				l := runs[0].Summary.Loads[load]
				label := fmt.Sprintf("load on %s", l.Target)
				if len(runs[0].Summary.Loads) > maxRows {
					label = "all loads"
				}
				p.Labels = append(p.Labels, label)
			}
			var courses [][]summary.Second
			for _, r := range runs {
				some := r.Summary.Loads
				if loads > 1 || len(some) == 1 {
					some = some[load : load+1]
				}
				courses = append(courses, course(some))
			}
			p.Rows[load] = append(p.Rows[load], means(courses))
		}
	}
	return p
}

// course is what became of loads together, second by second from 0 on.
func course(loads []summary.Load) []summary.Second {
	var all []summary.Second
	for _, l := range loads {
		for _, s := range l.Seconds {
			if len(s.Status) == 0 {
				continue
			}
			for len(all) <= s.T {
				all = append(all, summary.Second{T: len(all), Status: map[string]int{}, ByNode: map[string]int{}})
			}
			for key, n := range s.Status {
				all[s.T].Status[key] += n
			}
			for key, n := range s.ByNode {
				all[s.T].ByNode[key] += n
			}
		}
	}
	return all
}

// means are those of several courses, by node that served and by status.
func means(courses [][]summary.Second) []map[string]plot.Value {
	length := 0
	for _, c := range courses {
		length = max(length, len(c))
	}
	out := make([]map[string]plot.Value, length)
	for t := range out {
		var counts []map[string]float64
		keys := make(map[string]bool)
		for _, c := range courses {
			count := make(map[string]float64)
			counts = append(counts, count)
			if t >= len(c) {
				continue
			}
			sent := 0.0
			for status, n := range c[t].Status {
				sent += float64(n)
				if status != "200" {
					count[plot.StatusKey+status] = float64(n)
				}
			}
			for node, n := range c[t].ByNode {
				count[plot.NodeKey+node] = float64(n)
			}
			if sent > 0 {
				count[plot.ServedKey] = 100 * float64(c[t].Status["200"]) / sent
			}
			for key := range count {
				keys[key] = true
			}
		}
		out[t] = make(map[string]plot.Value, len(keys))
		for key := range keys {
			v := plot.Value{Least: counts[0][key], Most: counts[0][key]}
			for _, count := range counts {
				v.Mean += count[key] / float64(len(counts))
				v.Least, v.Most = min(v.Least, count[key]), max(v.Most, count[key])
			}
			out[t][key] = v
		}
	}
	return out
}

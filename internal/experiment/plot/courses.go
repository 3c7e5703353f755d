package plot

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/results"
)

// MaxCourses is how many can be drawn side by side.
const MaxCourses = 12

// Courses is what is to be drawn of vegeta's results.
type Courses struct {
	Courses []*results.Course // a column each
	Rate    float64           // that was asked for, requests/s; 0: not known
	Footer  string            // says what made the drawing
}

// Formats are the extensions of what Save writes.
func Formats() []string { return []string{"svg", "png", "html", "csv"} }

// Save draws the courses side by side and writes them in the format of the path's
// extension.
func (cs Courses) Save(path string) error {
	if filepath.Ext(path) == ".csv" {
		return report.WriteFile(path, cs.writeCSV)
	}
	s, err := cs.sheet()
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	if filepath.Ext(path) == ".html" {
		return report.WriteFile(path, func(w io.Writer) error { return cs.writeHTML(w, s) })
	}
	return s.save(path)
}

// quantiles are those that are drawn.
var quantiles = [...]struct {
	name  string
	q     float64
	color color.Color
}{
	{"p50", 0.5, color.RGBA{0x00, 0x72, 0xb2, 0xff}}, {"p90", 0.9, color.RGBA{0xe6, 0x9f, 0x00, 0xff}}, {"p99", 0.99, color.RGBA{0xd5, 0x5e, 0x00, 0xff}},
}

func (cs Courses) sheet() (sheet, error) {
	status, node, latency, success := newRow(), newRow(), newRow(), newRow()
	statuses, nodes := cs.legend(func(c *results.Course) ([]string, func(int) uint64) { return c.Statuses, c.Total.Of }),
		cs.legend(func(c *results.Course) ([]string, func(int) uint64) { return c.Nodes, c.Total.By })
	slices.SortFunc(statuses, servedFirst)
	slices.SortFunc(nodes, natural)
	last, scale := 1.0, scaleFor(cs.latencies())
	for k, c := range cs.Courses {
		from := c.Offset + cs.shift(k)
		span := func(i int) (float64, float64) {
			at := from + time.Duration(i)*c.Width
			return at.Seconds(), (at + c.Width).Seconds()
		}
		if _, to := span(len(c.Bins) - 1); to > last {
			last = to
		}
		perSecond := 1 / c.Width.Seconds()
		top := status.panel("requests/s")
		top.Title.Text, top.Title.Padding = cs.title(c), 4
		top.Title.TextStyle.Font.Size = 11
		layers := stack(c.Statuses, statuses, colorsOfStatuses(statuses), func(bin, i int) float64 { return perSecond * float64(c.Bins[bin].Of(i)) })
		if err := areas(top, len(c.Bins), span, layers); err != nil {
			return sheet{}, err
		}
		byNode := node.panel("served/s")
		layers = stack(c.Nodes, nodes, colorsOfNodes(nodes), func(bin, i int) float64 { return perSecond * float64(c.Bins[bin].By(i)) })
		if err := areas(byNode, len(c.Bins), span, layers); err != nil {
			return sheet{}, err
		}
		if err := cs.lines(c, span, scale, latency.panel("latency of served, ms"), success.panel("served, %")); err != nil {
			return sheet{}, err
		}
	}
	for i, name := range slices.Backward(statuses) {
		status.explain(statusName(name), swatch(colorsOfStatuses(statuses)[i]))
	}
	for i, name := range slices.Backward(nodes) {
		node.explain(name, swatch(colorsOfNodes(nodes)[i]))
	}
	for _, q := range quantiles {
		latency.explain(q.name, line(q.color))
	}
	success.explain("served", line(servedColor))
	if cs.Rate > 0 {
		status.explain("asked for", dashed())
		for _, p := range status.panels {
			asked := dashed()
			asked.XYs = plotter.XYs{{X: 0, Y: cs.Rate}, {X: last, Y: cs.Rate}}
			p.Add(asked)
			p.Y.Max = max(p.Y.Max, cs.Rate)
		}
	}
	s := sheet{rows: []row{status, node, latency, success}, footer: cs.Footer}
	align(s.rows, last)
	scale.apply(latency.panels)
	return s, nil
}

// align gives all panels of a row the same axes, so that they can be compared.
func align(rows []row, last float64) {
	for i, r := range rows {
		highest := 0.0
		for _, p := range r.panels {
			highest = max(highest, p.Y.Max)
		}
		if highest == 0 {
			highest = 1
		}
		for _, p := range r.panels {
			p.X.Max, p.Y.Max = last, highest*1.05
			if i == len(rows)-1 {
				p.X.Label.Text = "seconds"
			}
		}
	}
}

// lines draws the latencies and what part was served.
func (cs Courses) lines(c *results.Course, span func(int) (float64, float64), scale scale, latency, success *plot.Plot) error {
	middle := func(i int) float64 { from, to := span(i); return (from + to) / 2 }
	for _, q := range quantiles {
		// What nobody was served in has no latency: the line has a gap there.
		var stretch plotter.XYs
		for i := range c.Bins {
			if c.Bins[i].Served > 0 {
				ms := c.Bins[i].Latency.Quantile(q.q)
				stretch = append(stretch, plotter.XY{X: middle(i), Y: scale.of(ms)})
				latency.Y.Max = max(latency.Y.Max, ms)
			}
			if len(stretch) > 0 && (c.Bins[i].Served == 0 || i == len(c.Bins)-1) {
				l := line(q.color)
				l.XYs = stretch
				latency.Add(l)
				stretch = nil
			}
		}
	}
	served, asked := line(servedColor), cs.asked(c)
	for i := range c.Bins {
		if sent := asked[i]; sent > 0 {
			served.XYs = append(served.XYs, plotter.XY{X: middle(i), Y: min(100, 100*float64(c.Bins[i].Served)/sent)})
		}
	}
	success.Y.Max = 100
	success.Add(served)
	return nil
}

// asked is how many requests were asked for in each bin: those that were sent, and what the
// rate has more until its end. One more or less is a request that was sent just before or
// after the end of a second.
func (cs Courses) asked(c *results.Course) []float64 {
	asked, before := make([]float64, len(c.Bins)), 0.0
	for i := range c.Bins {
		asked[i] = float64(c.Bins[i].Sent)
		until := c.Offset + time.Duration(i+1)*c.Width
		if i == len(c.Bins)-1 && cs.Rate > 0 { // in which the load ends
			until = min(until, c.End.Sub(c.Start)+time.Duration(float64(time.Second)/cs.Rate))
		}
		if lacks := cs.Rate*until.Seconds() - before - asked[i]; lacks >= 2 {
			asked[i] += lacks
		}
		before += asked[i]
	}
	return asked
}

// latencies are the bounds of what is drawn, ms.
func (cs Courses) latencies() (low, high float64) {
	for _, c := range cs.Courses {
		for i := range c.Bins {
			if c.Bins[i].Served == 0 {
				continue
			}
			least, most := c.Bins[i].Latency.Quantile(quantiles[0].q), c.Bins[i].Latency.Quantile(quantiles[len(quantiles)-1].q)
			if low == 0 || least < low {
				low = least
			}
			high = max(high, most)
		}
	}
	return low, high
}

// shift is when a course begins: courses that overlap are of one experiment and have
// their time in common, any other begins at 0.
func (cs Courses) shift(k int) time.Duration {
	start := cs.Courses[k].Start
	for again := true; again; {
		again = false
		for _, c := range cs.Courses {
			if c.Start.Before(start) && !c.End.Before(start) {
				start, again = c.Start, true
			}
		}
	}
	return cs.Courses[k].Start.Sub(start)
}

func (cs Courses) title(c *results.Course) string {
	width := 70
	if len(cs.Courses) > 1 {
		width = 44
	}
	return fmt.Sprintf("%s\n%d sent, %.1f/s, %.2f %% served", clip(c.Name, width), c.Total.Sent, c.Rate(), percent(c))
}

func percent(c *results.Course) float64 {
	return 100 * float64(c.Total.Served) / float64(max(1, c.Total.Sent))
}

// legend lists the names of all courses, those that were counted most; what has no place
// is others.
func (cs Courses) legend(of func(*results.Course) ([]string, func(int) uint64)) []string {
	counts := make(map[string]uint64)
	for _, c := range cs.Courses {
		names, count := of(c)
		for i, name := range names {
			counts[name] += count(i)
		}
	}
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	if len(names) > maxLegend-1 { // one more line stands for the rate
		names = append(slices.DeleteFunc(names[:maxLegend-2], func(name string) bool { return name == results.Others }), results.Others)
	}
	return names
}

// stack is what is drawn of a course's counts, in the order of the legend.
func stack(names, legend []string, colors []color.Color, value func(bin, i int) float64) []area {
	layers := make([]area, len(legend))
	for k, name := range legend {
		var members []int
		for i, own := range names {
			if own == name || name == results.Others && !slices.Contains(legend, own) {
				members = append(members, i)
			}
		}
		layers[k] = area{colors[k], func(bin int) float64 {
			sum := 0.0
			for _, i := range members {
				sum += value(bin, i)
			}
			return sum
		}}
	}
	return layers
}

func colorsOfStatuses(statuses []string) []color.Color {
	colors := make([]color.Color, len(statuses))
	for i, name := range statuses {
		colors[i] = statusColor(name)
	}
	return colors
}

func colorsOfNodes(nodes []string) []color.Color {
	colors := make([]color.Color, len(nodes))
	for i, name := range nodes {
		colors[i] = nodeColor(i)
		if name == results.Others {
			colors[i] = otherNodes
		}
	}
	return colors
}

// servedFirst sorts statuses as they stand upon each other: what was served at the
// bottom, what had no answer at the top.
func servedFirst(a, b string) int {
	rank := func(status string) int {
		switch {
		case status[0] == '2':
			return 0
		case status == "0":
			return 2
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
}

// natural sorts node-2 before node-10, and others behind all.
func natural(a, b string) int {
	if a == b {
		return 0
	} else if a == results.Others {
		return 1
	} else if b == results.Others {
		return -1
	}
	stem := func(s string) string { return strings.TrimRight(s, "0123456789") }
	if stem(a) == stem(b) && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func line(c color.Color) *plotter.Line {
	l := &plotter.Line{LineStyle: plotter.DefaultLineStyle}
	l.Color, l.Width = c, 1.2
	return l
}

func dashed() *plotter.Line {
	l := line(color.Black)
	l.Dashes = []vg.Length{4, 3}
	return l
}

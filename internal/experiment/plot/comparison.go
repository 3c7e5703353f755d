package plot

import (
	"fmt"
	"image/color"
	"maps"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/dfaas/dfaas/internal/experiment/results"
)

// Comparison is several runs side by side.
type Comparison struct {
	Title, Footer string
	Columns       []string // what is compared
	Labels        []string // of the rows
	// Rows are courses by row and column: for each second from 0 on, requests/s by
	// NodeKey and StatusKey, and percents by ServedKey.
	Rows [][][]map[string]Value
}

// Value is over several runs.
type Value struct{ Mean, Least, Most float64 }

// Keys of values: what a node served, what had another status than 200, and the part
// that was served, %.
const (
	NodeKey   = "node "
	StatusKey = "status "
	ServedKey = "served %"
)

// Save draws the comparison and writes it in the format of the path's extension: svg or
// png.
func (c Comparison) Save(path string) error {
	if len(c.Columns) == 0 || len(c.Rows) == 0 {
		return fmt.Errorf("drawing %s: there is nothing to compare", path)
	}
	s, err := c.sheet()
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	return s.save(path)
}

func (c Comparison) sheet() (sheet, error) {
	keys := c.keys()
	s := sheet{footer: c.Title + "; " + c.Footer}
	last := 1.0
	span := func(i int) (from, to float64) { return float64(i), float64(i + 1) }
	for i, courses := range c.Rows {
		r := newRow()
		for k, course := range courses {
			p := r.panel(c.Labels[i] + ", per second")
			if i == 0 {
				p.Title.Text, p.Title.Padding = clip(c.Columns[k], 44), 4
				p.Title.TextStyle.Font.Size = 11
			}
			last = max(last, float64(len(course)))
			var layers []area
			for _, key := range keys {
				layers = append(layers, area{key.color, func(t int) float64 {
					sum := 0.0
					for _, member := range key.members {
						sum += course[t][member].Mean
					}
					return sum
				}})
			}
			if err := areas(p, len(course), span, layers); err != nil {
				return s, err
			}
		}
		for _, key := range slices.Backward(keys) {
			r.explain(key.name, swatch(key.color))
		}
		s.rows = append(s.rows, r)
	}
	for i, courses := range c.Rows {
		r := newRow()
		for _, course := range courses {
			p := r.panel(c.Labels[i] + ": served, %")
			p.Y.Max = 100
			if err := band(p, course); err != nil {
				return s, err
			}
		}
		r.explain("served", line(servedColor))
		if spread(courses) {
			r.explain("least to most", swatch(bandColor))
		}
		s.rows = append(s.rows, r)
	}
	align(s.rows, last)
	return s, nil
}

var (
	bandColor  = color.RGBA{0xb0, 0xdf, 0xd2, 0xff}
	otherNodes = color.Gray{0xb0}
)

// spread reports whether the runs of a row differ.
func spread(courses [][]map[string]Value) bool {
	for _, course := range courses {
		for _, second := range course {
			if v := second[ServedKey]; v.Least < v.Most {
				return true
			}
		}
	}
	return false
}

// band draws what part was served, on average, and between what it was.
func band(p *plot.Plot, course []map[string]Value) error {
	var mean, upper, lower plotter.XYs
	for t, second := range course {
		v, ok := second[ServedKey]
		if !ok {
			continue
		}
		x := float64(t) + 0.5
		mean = append(mean, plotter.XY{X: x, Y: v.Mean})
		upper, lower = append(upper, plotter.XY{X: x, Y: v.Most}), append(lower, plotter.XY{X: x, Y: v.Least})
	}
	if len(mean) == 0 {
		return nil
	}
	slices.Reverse(lower)
	between, err := plotter.NewPolygon(append(upper, lower...))
	if err != nil {
		return err
	}
	between.Color, between.LineStyle.Width = bandColor, 0
	served := line(servedColor)
	served.XYs = mean
	p.Add(between, served)
	return nil
}

// key is a layer of the panels: the sum of the members.
type key struct {
	name    string
	color   color.Color
	members []string
}

// keys lists the layers from the bottom up: nodes, then statuses. Nodes for which the
// legend has no place are others.
func (c Comparison) keys() []key {
	seen := make(map[string]bool)
	for _, courses := range c.Rows {
		for _, course := range courses {
			for _, second := range course {
				for k := range second {
					seen[k] = true
				}
			}
		}
	}
	var nodes, statuses []string
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		if name, ok := strings.CutPrefix(k, NodeKey); ok {
			nodes = append(nodes, name)
		} else if name, ok := strings.CutPrefix(k, StatusKey); ok {
			statuses = append(statuses, name)
		}
	}
	slices.SortFunc(nodes, natural)
	slices.SortFunc(statuses, servedFirst)
	var all []key
	place := max(1, maxLegend-len(statuses)-1)
	for i, name := range nodes {
		if i < place {
			all = append(all, key{name, nodeColor(i), nil})
		} else if i == place {
			all = append(all, key{results.Others, otherNodes, nil})
		}
		last := &all[len(all)-1]
		last.members = append(last.members, NodeKey+name)
	}
	for _, name := range statuses {
		all = append(all, key{statusName(name), statusColor(name), []string{StatusKey + name}})
	}
	return all
}

package report

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgimg" // png
	_ "gonum.org/v1/plot/vg/vgsvg" // svg

	"github.com/dfaas/dfaas/controller/simulator"
	experiment "github.com/dfaas/dfaas/internal/experiment/plot"
)

// Figures fit one column of a paper.
const (
	width  = 14 * vg.Centimeter
	height = 9 * vg.Centimeter
)

// oracle is the number of the oracle's line; those of strategies are from 0 on.
const oracle = -1

// palette is one that people with any colour vision can tell apart (Okabe and Ito), with
// black for the oracle only.
func palette(i int) color.Color {
	if i == oracle {
		return color.Black
	}
	return colors[i%len(colors)]
}

var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0x80, 0x80, 0x80, 0xff},
}

// dashes tells lines apart where there is no colour, and those of the same colour always.
func dashes(i int) []vg.Length {
	kinds := [][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}}
	if i == oracle {
		return kinds[3]
	}
	return kinds[(i%len(colors)+i/len(colors))%len(kinds)]
}

// numbers gives each strategy of the document the same line in all figures of it.
func numbers(d Document) map[string]int {
	var names []string
	for _, r := range d.Rows {
		names = append(names, r.Strategy)
	}
	slices.Sort(names)
	of := make(map[string]int)
	for i, name := range slices.Compact(names) {
		of[name] = i
	}
	return of
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size, p.Title.Padding = 12, 6
	p.X.Tick.Marker, p.Y.Tick.Marker = experiment.Ticks{}, experiment.Ticks{}
	p.Add(plotter.NewGrid())
	return p
}

// withLegend draws the plot with its legend beside it, so that it hides nothing, and what
// made it below.
func withLegend(p *plot.Plot, format, made string) (io.WriterTo, error) {
	legend := p.Legend
	p.Legend = plot.NewLegend()
	canvas, c, err := signed(width, height, format, made)
	if err != nil {
		return nil, err
	}
	side := legend.Rectangle(c).Size().X + 2*margin
	p.Draw(draw.Crop(c, margin, -side, 0, -margin))
	legend.Top, legend.Left, legend.Padding = true, true, 2
	legend.Draw(draw.Crop(c, c.Size().X-side+margin, -margin, 0, -3*margin))
	return canvas, nil
}

const margin = 0.2 * vg.Centimeter

// signed returns a white canvas that says at its bottom what made it, and the place that
// is left above.
func signed(width, height vg.Length, format, made string) (io.WriterTo, draw.Canvas, error) {
	canvas, err := draw.NewFormattedCanvas(width, height, format)
	if err != nil {
		return nil, draw.Canvas{}, err
	}
	c := draw.New(canvas)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	if made == "" {
		return canvas, draw.Crop(c, 0, 0, margin, 0), nil
	}
	style := plot.NewLegend().TextStyle
	style.Font.Size, style.Color = 6, color.Gray{0x60}
	c.FillText(style, vg.Point{X: margin, Y: margin}, made)
	return canvas, draw.Crop(c, 0, 0, margin+0.3*vg.Centimeter, 0), nil
}

// Figure is a drawing that is written in the formats that are asked for.
type Figure struct {
	Name string // of the files, without their extension
	draw func(format string) (io.WriterTo, error)
}

// Save writes the figure as NAME.svg and NAME.png below dir.
func (f Figure) Save(dir string) error {
	for _, format := range []string{"svg", "png"} {
		if err := f.save(fmt.Sprintf("%s/%s.%s", dir, f.Name, format), format); err != nil {
			return err
		}
	}
	return nil
}

// SaveSVG writes the figure to the file at path.
func (f Figure) SaveSVG(path string) error { return f.save(path, "svg") }

func (f Figure) save(path, format string) error {
	drawing, err := f.draw(format)
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	_, err = drawing.WriteTo(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	return nil
}

// line adds a strategy's line to a plot.
func line(p *plot.Plot, name string, i int, points plotter.XYs, marks bool) error {
	l, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	l.Color, l.Dashes, l.Width = palette(i), dashes(i), 1.2
	p.Add(l)
	if marks {
		s, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		s.Color, s.Radius, s.Shape = palette(i), 2, draw.CircleGlyph{}
		p.Add(s)
	}
	p.Legend.Add(name, l)
	return nil
}

// Goodput is the fraction of calls served against the load, by strategy, with
// the oracle above them.
func Goodput(d Document) Figure {
	return Figure{"goodput", func(format string) (io.WriterTo, error) {
		p := newPlot("Goodput", "load (fraction of the federation's capacity)", "served (fraction of calls)")
		var names []string
		lines := make(map[string]plotter.XYs)
		best := make(map[float64]float64)
		var loads []float64
		for _, m := range Means(d.Rows) {
			if lines[m.Strategy] == nil {
				names = append(names, m.Strategy)
			}
			lines[m.Strategy] = append(lines[m.Strategy], plotter.XY{X: m.Load, Y: m.Served})
			if _, known := best[m.Load]; !known {
				loads = append(loads, m.Load)
			}
			best[m.Load] = m.Oracle
		}
		if len(loads) == 1 { // or the axis would go below 0
			p.X.Min, p.X.Max = 0, 2*loads[0]
		}
		p.Y.Min, p.Y.Max = 0.95, 1
		number := numbers(d)
		for _, name := range names {
			for _, point := range lines[name] {
				p.Y.Min = min(p.Y.Min, math.Floor(point.Y*20)/20)
			}
			if err := line(p, name, number[name], lines[name], true); err != nil {
				return nil, err
			}
		}
		var top plotter.XYs
		for _, l := range loads {
			top = append(top, plotter.XY{X: l, Y: best[l]})
		}
		if err := line(p, "oracle", oracle, top, false); err != nil {
			return nil, err
		}
		return withLegend(p, format, d.made())
	}}
}

// Course is the fraction served in each second of the first repeat at one load,
// by strategy.
func Course(d Document, load float64) Figure {
	return Figure{fmt.Sprintf("course-%g", load), func(format string) (io.WriterTo, error) {
		p := newPlot(fmt.Sprintf("Success at load %g", load), "time (s)", "served (fraction of calls)")
		p.Y.Min, p.Y.Max = 0, 1
		number := numbers(d)
		for _, r := range d.Rows {
			if r.Load != load || r.Repeat != 1 {
				continue
			}
			var points plotter.XYs
			for t, s := range r.Seconds {
				if s.Sent > 0 {
					points = append(points, plotter.XY{X: float64(t), Y: float64(s.Served) / float64(s.Sent)})
				}
			}
			if len(points) == 0 {
				continue
			}
			if err := line(p, r.Strategy, number[r.Strategy], points, false); err != nil {
				return nil, err
			}
		}
		return withLegend(p, format, d.made())
	}}
}

// maxDrawn is how many nodes a drawing of a topology can show.
const maxDrawn = 200

// Topology draws who reaches whom in the instance of the document's first seed: nodes on a
// circle, their size by capacity.
func Topology(d Document, i *simulator.Instance) Figure {
	d.Rows = d.Rows[:min(1, len(d.Rows))]
	return Figure{"topology", func(format string) (io.WriterTo, error) {
		p := plot.New()
		p.Title.Text = fmt.Sprintf("%d nodes", len(i.Nodes))
		p.HideAxes()
		nodes := i.Nodes[:min(len(i.Nodes), maxDrawn)]
		at := func(n int) plotter.XY {
			angle := 2*math.Pi*float64(n)/float64(len(nodes)) + math.Pi/2
			return plotter.XY{X: math.Cos(angle), Y: math.Sin(angle)}
		}
		edges := i.Edges
		if edges == nil {
			for b := range nodes {
				for a := range b {
					edges = append(edges, [2]int{a, b})
				}
			}
		}
		for _, e := range edges {
			if max(e[0], e[1]) >= len(nodes) {
				continue
			}
			l, err := plotter.NewLine(plotter.XYs{at(e[0]), at(e[1])})
			if err != nil {
				return nil, err
			}
			l.Color, l.Width = color.Gray{0xb0}, 0.4
			p.Add(l)
		}
		most := 0.0
		sum := make([]float64, len(nodes))
		for n := range nodes {
			for _, f := range nodes[n].Functions {
				sum[n] += f.Maxrate
			}
			most = max(most, sum[n])
		}
		for n := range nodes {
			s, err := plotter.NewScatter(plotter.XYs{at(n)})
			if err != nil {
				return nil, err
			}
			s.Shape, s.Color = draw.CircleGlyph{}, palette(0)
			s.Radius = vg.Points(2 + 6*math.Sqrt(sum[n]/max(most, 1e-9)))
			p.Add(s)
		}
		if len(nodes) <= 60 {
			labels := plotter.XYLabels{}
			for n := range nodes {
				xy := at(n)
				labels.XYs = append(labels.XYs, plotter.XY{X: xy.X * 1.13, Y: xy.Y * 1.13})
				labels.Labels = append(labels.Labels, nodes[n].Name)
			}
			l, err := plotter.NewLabels(labels)
			if err != nil {
				return nil, err
			}
			for k := range l.TextStyle {
				// Names lead away from their node: on its left they end there.
				xy := at(k)
				l.TextStyle[k].XAlign, l.TextStyle[k].YAlign, l.TextStyle[k].Font.Size = text.XAlignment(xy.X-1)/2, text.YAlignment(xy.Y-1)/2, 7
			}
			p.Add(l)
		}
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = -1.4, 1.4, -1.25, 1.25
		canvas, c, err := signed(height, height, format, d.made())
		if err != nil {
			return nil, err
		}
		p.Draw(c)
		return canvas, nil
	}}
}

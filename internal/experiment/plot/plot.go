// Package plot draws the summary of an experiment: for every load, who served
// how many requests in each second, and how many were refused.
package plot

import (
	"errors"
	"fmt"
	"image/color"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format of Save

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// Size of the drawing.
const (
	sheetWidth  = 24 * vg.Centimeter
	panelHeight = 8 * vg.Centimeter
	headHeight  = 1.2 * vg.Centimeter
	legendWidth = 3.5 * vg.Centimeter
)

// Colours that people with any colour vision can tell apart (Okabe and Ito).
var nodeColors = []color.Color{
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xf0, 0xe4, 0x42, 0xff}, color.RGBA{0x00, 0x72, 0xb2, 0xff},
}

var (
	refusedColors = map[string]color.Color{
		"429": color.Gray{0xc8}, "503": color.Gray{0x96}, "403": color.Gray{0x5a}, "0": color.Black,
		"404": nodeColors[3], "502": nodeColors[1], "504": nodeColors[4],
	}
	servedColor = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	otherColor  = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
)

// nodeColor is that of node i: those behind the first have darker and lighter shades.
func nodeColor(i int) color.Color {
	base := nodeColors[i%len(nodeColors)].(color.RGBA)
	towards := func(x uint8) uint8 { return x }
	switch i / len(nodeColors) % 3 {
	case 1:
		towards = func(x uint8) uint8 { return uint8(int(x) * 11 / 20) }
	case 2:
		towards = func(x uint8) uint8 { return uint8(255 - (255-int(x))*9/20) }
	}
	return color.RGBA{towards(base.R), towards(base.G), towards(base.B), 0xff}
}

func statusColor(status string) color.Color {
	if paint, ok := refusedColors[status]; ok {
		return paint
	}
	if status[0] == '2' {
		return servedColor
	}
	return otherColor
}

func statusName(status string) string {
	if status == "0" {
		return "no answer"
	}
	return status
}

// Save writes the drawing to path in the format of its extension, svg.
func Save(path string, s summary.Summary) (err error) {
	sheet, err := drawSheet(s, strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	_, err = sheet.WriteTo(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	return nil
}

func drawSheet(s summary.Summary, format string) (vg.CanvasWriterTo, error) {
	height := headHeight + vg.Length(len(s.Loads))*panelHeight
	sheet, err := draw.NewFormattedCanvas(sheetWidth, height, format)
	if err != nil {
		return nil, err
	}
	canvas := draw.New(sheet)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	if len(s.Loads) == 0 {
		return sheet, nil
	}
	head, panels := headline(s), make([][]*plot.Plot, len(s.Loads))
	highest, last := extent(s.Loads)
	for i, l := range s.Loads {
		panel, err := drawPanel(i+1, l, nodeNames(s))
		if err != nil {
			return nil, err
		}
		panel.Y.Max = highest
		panel.X.Min, panel.X.Max = 0, last
		panels[i] = []*plot.Plot{panel}
	}
	head.Draw(draw.Crop(canvas, 0, 0, height-headHeight, -0.3*vg.Centimeter))
	body := draw.Crop(canvas, 0.3*vg.Centimeter, -legendWidth, 0.2*vg.Centimeter, -headHeight)
	for i, row := range plot.Align(panels, draw.Tiles{Rows: len(panels), Cols: 1, PadY: 0.5 * vg.Centimeter}, body) {
		panels[i][0].Draw(row[0])
	}
	return sheet, nil
}

// headline is the line above the panels: a plot with nothing but a title.
func headline(s summary.Summary) *plot.Plot {
	p := plot.New()
	p.HideAxes()
	p.Title.Text = fmt.Sprintf("%s, strategy %s", s.Scenario, s.Strategy)
	if s.Version != "" {
		p.Title.Text += fmt.Sprintf(" (seed %d, version %s)", s.Seed, s.Version)
	}
	p.Title.TextStyle.Font.Size = 14
	p.Title.Padding = 4
	return p
}

// extent gives all panels the same axes, so that they can be compared.
func extent(loads []summary.Load) (highest, last float64) {
	highest, last = 1, 1
	for _, l := range loads {
		for _, second := range l.Seconds {
			sent := 0
			for _, n := range second.Status {
				sent += n
			}
			highest = max(highest, float64(sent))
			if sent > 0 {
				last = max(last, float64(second.T+1))
			}
		}
	}
	return highest * 1.05, last
}

// nodeNames lists the nodes in their order, then others that served.
func nodeNames(s summary.Summary) []string {
	var names []string
	for _, n := range s.Nodes {
		names = append(names, n.Name)
	}
	for _, l := range s.Loads {
		for _, name := range slices.Sorted(maps.Keys(l.ByNode)) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// layer is one colour of a panel.
type layer struct {
	name  string
	color color.Color
	count func(summary.Second) int
}

func layers(l summary.Load, nodes []string) []layer {
	var all []layer
	for i, name := range nodes {
		if l.ByNode[name] == 0 {
			continue
		}
		all = append(all, layer{name, nodeColor(i), func(s summary.Second) int { return s.ByNode[name] }})
	}
	for _, status := range slices.Sorted(maps.Keys(l.Status)) {
		if status == "200" {
			continue
		}
		all = append(all, layer{statusName(status), statusColor(status), func(s summary.Second) int { return s.Status[status] }})
	}
	return all
}

// drawPanel draws one load: layers of steps, one step a second.
func drawPanel(number int, l summary.Load, nodes []string) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("load %d: %s at %s, %d sent", number, l.Function, l.Target, l.Sent)
	p.Title.TextStyle.Font.Size = 11
	p.X.Label.Text = "seconds"
	p.Y.Label.Text = "requests/s"
	p.Y.Min = 0
	p.Legend.Top = true
	p.Legend.XOffs = legendWidth - 0.3*vg.Centimeter
	p.Legend.Padding = 2
	p.X.Tick.Marker, p.Y.Tick.Marker = Ticks{}, Ticks{}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{0xdc}
	p.Add(grid)
	base := make([]float64, len(l.Seconds))
	all := layers(l, nodes)
	thumbnails := make([]*plotter.Polygon, len(all))
	for i, layer := range all {
		polygon, err := plotter.NewPolygon(steps(len(l.Seconds), func(i int) (from, to float64) {
			return float64(l.Seconds[i].T), float64(l.Seconds[i].T + 1)
		}, base, func(i int) float64 { return float64(layer.count(l.Seconds[i])) }))
		if err != nil {
			return nil, fmt.Errorf("load %d: %w", number, err)
		}
		polygon.Color = layer.color
		polygon.LineStyle.Width = 0
		p.Add(polygon)
		thumbnails[i] = polygon
	}
	// The legend from the top down as the layers are. The space keeps a viewer's
	// wider font off the colour.
	for i := len(all) - 1; i >= 0; i-- {
		p.Legend.Add(all[i].name+"   ", thumbnails[i])
	}
	return p, nil
}

// steps is the outline of a layer of n stretches of time upon base, which it raises.
func steps(n int, span func(i int) (from, to float64), base []float64, value func(i int) float64) plotter.XYs {
	var top, bottom plotter.XYs
	for i := range n {
		from, to := span(i)
		bottom = append(bottom, plotter.XY{X: from, Y: base[i]}, plotter.XY{X: to, Y: base[i]})
		base[i] += value(i)
		top = append(top, plotter.XY{X: from, Y: base[i]}, plotter.XY{X: to, Y: base[i]})
	}
	slices.Reverse(bottom)
	return append(top, bottom...)
}

// Ticks marks multiples of 1, 2 or 5 times a power of ten, ten at most.
type Ticks struct{}

// Ticks implements plot.Ticker.
func (Ticks) Ticks(low, high float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/10)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*factor) <= 10 {
			step *= factor
			break
		}
	}
	var marks []plot.Tick
	// 3*0.4 is a little more than 1.2, and nothing is -0.
	for i := math.Ceil(low/step-1e-9) + 0; i*step <= high+step*1e-9; i++ {
		marks = append(marks, plot.Tick{Value: max(low, min(i*step, high)), Label: strconv.FormatFloat(i*step, 'g', 4, 64)})
	}
	return marks
}

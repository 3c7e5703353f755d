package plot

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/dfaas/dfaas/internal/experiment/report"
)

// sheet is panels in rows and columns. Those of a row have one legend, which stands
// beside them and so hides nothing.
type sheet struct {
	rows   []row
	footer string // small, below everything
}

type row struct {
	panels []*plot.Plot
	legend plot.Legend
}

// Sizes of a sheet. Its lines are wide enough and its letters large enough to be read in
// one column of a paper.
const (
	rowHeight    = 6 * vg.Centimeter
	oneColumn    = 17 * vg.Centimeter
	eachColumn   = 11 * vg.Centimeter // of several
	margin       = 0.3 * vg.Centimeter
	titleHeight  = 1.4 * vg.Centimeter
	footerHeight = 0.5 * vg.Centimeter
	dotsPerInch  = 150
	maxLegend    = 12 // entries that a row has place for
	maxLabel     = 28 // characters of an entry
)

// newRow returns a row whose panels are to be added.
func newRow() row {
	r := row{legend: plot.NewLegend()}
	r.legend.Top, r.legend.Left, r.legend.Padding = true, true, 3
	r.legend.TextStyle.Font.Size = 10
	return r
}

// explain adds an entry to the row's legend.
func (r *row) explain(name string, thumbnail plot.Thumbnailer) {
	r.legend.Add(clip(name, maxLabel), thumbnail)
}

// panel adds a panel.
func (r *row) panel(y string) *plot.Plot {
	p := plot.New()
	p.X.Min, p.X.Max, p.Y.Min = 0, 1, 0
	p.X.Tick.Marker, p.Y.Tick.Marker = Ticks{}, Ticks{}
	if len(r.panels) == 0 {
		p.Y.Label.Text = y
	}
	p.X.Padding, p.Y.Padding = 2, 2
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{0xdc}
	p.Add(grid)
	r.panels = append(r.panels, p)
	return p
}

// swatch is the thumbnail of an area.
func swatch(c color.Color) plot.Thumbnailer { return &plotter.Polygon{Color: c} }

// draw returns the sheet in a format, svg or png.
func (s sheet) draw(format string) (io.WriterTo, error) {
	columns, panels := len(s.rows[0].panels), make([][]*plot.Plot, len(s.rows))
	width := oneColumn
	if columns > 1 {
		width = vg.Length(columns) * eachColumn
	}
	side := vg.Length(0)
	for i, r := range s.rows {
		panels[i] = r.panels
		side = max(side, r.legend.Rectangle(draw.Canvas{}).Size().X)
	}
	side += 3 * margin // a viewer's font may be wider than ours
	width, height := width+side, vg.Length(len(s.rows))*rowHeight+titleHeight+footerHeight
	var sheet vg.CanvasWriterTo
	switch format {
	case "svg":
		sheet = vgsvg.New(width, height)
	case "png":
		sheet = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch))}
	default:
		return nil, fmt.Errorf("unknown format %q: use svg or png", format)
	}
	canvas := draw.New(sheet)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	body := draw.Crop(canvas, margin, -side, footerHeight, -margin)
	tiles := draw.Tiles{Rows: len(panels), Cols: columns, PadX: 0.5 * vg.Centimeter, PadY: 0.4 * vg.Centimeter}
	for i, cells := range plot.Align(panels, tiles, body) {
		for k, cell := range cells {
			panels[i][k].Draw(cell)
		}
		data := panels[i][0].DataCanvas(cells[0])
		beside := canvas
		beside.Min, beside.Max = vg.Point{X: width - side + margin, Y: data.Min.Y}, vg.Point{X: width, Y: data.Max.Y}
		s.rows[i].legend.Draw(beside)
	}
	if s.footer != "" {
		style := s.rows[0].legend.TextStyle
		style.Font.Size, style.Color, style.YAlign = 7, color.Gray{0x60}, 0
		text := []rune(s.footer)
		for len(text) > 0 && style.Width(string(text)) > width-2*margin {
			text = append(text[:len(text)*9/10], '…')
			if len(text) < 10 {
				break
			}
		}
		canvas.FillText(style, vg.Point{X: margin, Y: margin / 2}, string(text))
	}
	return sheet, nil
}

// save writes the sheet in the format of the path's extension, whole or not at all.
func (s sheet) save(path string) error {
	drawing, err := s.draw(strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	return report.WriteFile(path, func(w io.Writer) error {
		_, err := drawing.WriteTo(w)
		return err
	})
}

// areas draws counts of bins upon each other, the first at the bottom.
func areas(p *plot.Plot, n int, span func(i int) (from, to float64), layers []area) error {
	base := make([]float64, n)
	for _, l := range layers {
		polygon, err := plotter.NewPolygon(steps(n, span, base, l.value))
		if err != nil {
			return err
		}
		polygon.Color, polygon.LineStyle.Width = l.color, 0
		p.Add(polygon)
	}
	p.Y.Max = max(p.Y.Max, slices.Max(append(base, 0)))
	return nil
}

type area struct {
	color color.Color
	value func(i int) float64
}

// scale is that of an axis: as values are, or their decimal logarithms. (With the
// logarithmic axis of the library, a panel has empty space above it for a label that
// stands elsewhere.)
type scale struct {
	logarithmic bool
	low, high   float64 // of the axis, if it is
}

// scaleFor is logarithmic if values span much.
func scaleFor(low, high float64) scale {
	if low <= 0 || high < 30*low {
		return scale{}
	}
	return scale{true, math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))}
}

// of is where a value stands.
func (s scale) of(value float64) float64 {
	if s.logarithmic {
		return math.Log10(value)
	}
	return value
}

// apply gives panels the axis.
func (s scale) apply(panels []*plot.Plot) {
	if !s.logarithmic {
		return
	}
	for _, p := range panels {
		p.Y.Min, p.Y.Max, p.Y.Tick.Marker = s.low, s.high, decades{}
	}
}

// decades marks powers of ten and, without a number, what lies between them.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for power := low; power <= high; power++ {
		ticks = append(ticks, plot.Tick{Value: power, Label: strconv.FormatFloat(math.Pow(10, power), 'f', -1, 64)})
		for factor := 2.0; factor < 10 && power < high; factor++ {
			ticks = append(ticks, plot.Tick{Value: power + math.Log10(factor)})
		}
	}
	return ticks
}

// clip keeps the end of a text: names differ there.
func clip(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return "…" + string(runes[len(runes)-most+1:])
}

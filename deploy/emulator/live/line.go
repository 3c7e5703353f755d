// Package live draws, second by second, which node served how many requests.
package live

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// width is the number of columns of a full bar.
const width = 50

// palette are the terminal colours of the nodes, which begin anew after the
// last, and refused that of everything but a 200.
var palette = []string{"36", "33", "35", "34", "32", "96", "93", "95"}

const refused = "31"

// Style says how to draw.
type Style struct {
	Nodes []string // names, in the order of their bars
	// Full is the rate in requests/s of a bar over the whole width.
	Full  float64
	Color bool // for terminals; otherwise bars consist of digits and x
}

// Counts are the requests sent within one second.
type Counts struct {
	Sent    int
	ByNode  map[string]int // 200s by the executing node
	Refused map[string]int // all others by status
}

// Line draws one second.
func (s Style) Line(second int, c Counts) string {
	var bar, text strings.Builder
	total, columns := 0, 0
	// The bar's parts end where the running total does, so that rounding never
	// changes its length.
	grow := func(n int, glyph, color string) {
		total += n
		end := columns
		if s.Full > 0 {
			end = max(columns, min(width, int(float64(total)/s.Full*width+0.5)))
		}
		bar.WriteString(s.paint(strings.Repeat(glyph, end-columns), color))
		columns = end
	}
	for i, node := range s.order(c.ByNode) {
		color := palette[i%len(palette)]
		glyph := strconv.Itoa((i + 1) % 10)
		if s.Color {
			glyph = "█"
		}
		grow(c.ByNode[node], glyph, color)
		fmt.Fprintf(&text, "  %s %s", s.paint(node, color), s.amount(c.ByNode[node]))
	}
	for _, status := range sortedKeys(c.Refused) {
		glyph := "x"
		if s.Color {
			glyph = "░"
		}
		grow(c.Refused[status], glyph, refused)
		name := status
		if status == "0" {
			name = "no answer"
		}
		fmt.Fprintf(&text, "  %s %d", s.paint(name, refused), c.Refused[status])
	}
	return fmt.Sprintf("%4d s %5d/s  %s%s%s", second, c.Sent, bar.String(), strings.Repeat(" ", width-columns), text.String())
}

// amount keeps the columns in place from one line to the next.
func (s Style) amount(n int) string { return fmt.Sprintf("%-4d", n) }

// order lists the known nodes, then those that answered although unknown.
func (s Style) order(byNode map[string]int) []string {
	order := slices.Clone(s.Nodes)
	for _, node := range sortedKeys(byNode) {
		if !slices.Contains(order, node) {
			order = append(order, node)
		}
	}
	return order
}

func (s Style) paint(text, color string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

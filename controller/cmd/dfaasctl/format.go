package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// format is how a command prints; a flag.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(s string) error {
	if format(s) != formatTable && format(s) != formatJSON {
		return errors.New("use table or json")
	}
	*f = format(s)
	return nil
}

// print writes value as JSON, or as the table that rows makes of it.
func (a *app) print(value any, rows func() table) error {
	if a.format == formatJSON {
		return printJSON(a.Out, value)
	}
	return rows().write(a.Out)
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// table is lines of cells. Empty cells are printed as a dash.
type table [][]string

func (t *table) add(cells ...string) { *t = append(*t, cells) }

func (t table) write(w io.Writer) error {
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range t {
		cells := make([]string, len(line))
		for i, cell := range line {
			cells[i] = clean(cell)
		}
		// tabwriter keeps the first error for Flush.
		_, _ = io.WriteString(tabs, strings.Join(cells, "\t")+"\n")
	}
	return tabs.Flush()
}

// clean makes a cell fit to be seen: peers wrote some of them, and what they
// wrote must not move the cursor.
func clean(cell string) string {
	if cell == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, cell)
}

// minShortID is what is left of a peer id in a table: all begin the same, so it
// is the end that tells them apart.
const minShortID = 8

// shortener returns a function that cuts ids to their ends, as long as needed
// to tell these ids apart.
func shortener(ids []string) func(string) string {
	length := minShortID
	for ambiguous(ids, length) {
		length++
	}
	return func(id string) string { return suffix(id, length) }
}

func ambiguous(ids []string, length int) bool {
	seen := map[string]string{}
	for _, id := range ids {
		end := suffix(id, length)
		if other, ok := seen[end]; ok && other != id {
			return true
		}
		seen[end] = id
	}
	return false
}

func suffix(s string, length int) string { return s[max(0, len(s)-length):] }

// rate prints requests/s with at most one decimal; -1 is unlimited.
func rate(perSecond float64) string {
	switch {
	case perSecond < 0:
		return "unlimited"
	case perSecond > 0 && perSecond < 0.05:
		return "<0.1"
	default:
		return strconv.FormatFloat(math.Round(perSecond*10)/10, 'f', -1, 64)
	}
}

// span prints a duration in its two largest units, as people say it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + "µs"
	case d < 10*time.Millisecond:
		return decimal(float64(d.Microseconds())/1e3) + "ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return decimal(float64(d.Milliseconds())/1e3) + "s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return pair(d, time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return pair(d, time.Hour, "h", time.Minute, "m")
	default:
		return pair(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

// decimal cuts to one decimal; cutting, not rounding, keeps 9.99 s below 10 s.
func decimal(f float64) string { return strconv.FormatFloat(math.Floor(f*10)/10, 'f', -1, 64) }

func pair(d, large time.Duration, largeUnit string, small time.Duration, smallUnit string) string {
	text := strconv.Itoa(int(d/large)) + largeUnit
	if rest := int(d % large / small); rest > 0 {
		text += strconv.Itoa(rest) + smallUnit
	}
	return text
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

package plot

import (
	"bytes"
	"encoding/csv"
	"html/template"
	"io"
	"strconv"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/results"
)

// writeCSV writes what is drawn: a row for each file and stretch of time.
func (cs Courses) writeCSV(out io.Writer) error {
	statuses, nodes := union(cs.Courses, func(c *results.Course) []string { return c.Statuses }), union(cs.Courses, func(c *results.Course) []string { return c.Nodes })
	head := []string{"file", "second", "seconds", "sent", "served"}
	for _, q := range quantiles {
		head = append(head, q.name+"_ms")
	}
	for _, name := range statuses {
		head = append(head, "status_"+name)
	}
	for _, name := range nodes {
		head = append(head, "by_"+name)
	}
	w := csv.NewWriter(out)
	if err := w.Write(head); err != nil {
		return err
	}
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	for k, c := range cs.Courses {
		status, node := columns(statuses, c.Statuses), columns(nodes, c.Nodes)
		for i := range c.Bins {
			b := &c.Bins[i]
			at := (c.Offset + cs.shift(k) + time.Duration(i)*c.Width).Round(time.Millisecond)
			row := []string{c.Name, number(at.Seconds()), number(c.Width.Seconds()), count(b.Sent), count(b.Served)}
			for _, q := range quantiles {
				ms := ""
				if b.Served > 0 {
					ms = strconv.FormatFloat(b.Latency.Quantile(q.q), 'f', 3, 64)
				}
				row = append(row, ms)
			}
			for _, column := range status {
				row = append(row, count(b.Of(column)))
			}
			for _, column := range node {
				row = append(row, count(b.By(column)))
			}
			if err := w.Write(row); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}

// union lists the names of all courses, in their order.
func union(courses []*results.Course, of func(*results.Course) []string) []string {
	var all []string
	seen := make(map[string]bool)
	for _, c := range courses {
		for _, name := range of(c) {
			if !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all
}

// nowhere is the place of a name that a course does not have: nothing was counted.
const nowhere = 1 << 30

// columns is where the names stand in another list.
func columns(names, in []string) []int {
	places := make([]int, len(names))
	for k, name := range names {
		places[k] = nowhere
		for i, own := range in {
			if own == name {
				places[k] = i
			}
		}
	}
	return places
}

// writeHTML writes a page of its own: the drawing, and its numbers in a table.
func (cs Courses) writeHTML(out io.Writer, s sheet) error {
	drawing, err := s.draw("svg")
	if err != nil {
		return err
	}
	var svg bytes.Buffer
	if _, err := drawing.WriteTo(&svg); err != nil {
		return err
	}
	// Of a page, the drawing is an element: what stands before it is for files.
	_, element, _ := bytes.Cut(svg.Bytes(), []byte("<svg"))
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	type file struct {
		Name           string
		Sent           uint64
		Rate, Served   string
		Status, ByNode []named
		P50, P90, P99  string
	}
	var files []file
	decimal := func(x float64, places int) string { return strconv.FormatFloat(x, 'f', places, 64) }
	for _, c := range cs.Courses {
		ms := func(i int) string { return decimal(c.Total.Latency.Quantile(quantiles[i].q), 1) }
		files = append(files, file{
			Name: c.Name, Sent: c.Total.Sent, Rate: decimal(c.Rate(), 1), Served: decimal(percent(c), 2),
			Status: counts(c.Statuses, c.Total.Of), ByNode: counts(c.Nodes, c.Total.By), P50: ms(0), P90: ms(1), P99: ms(2),
		})
	}
	return page.Execute(out, map[string]any{
		"Files": files, "Footer": cs.Footer, "Drawing": template.HTML(append([]byte("<svg"), element...)), // made here; its texts are escaped
	})
}

type named struct {
	Name  string
	Count uint64
}

func counts(names []string, of func(int) uint64) []named {
	var all []named
	for i, name := range names {
		all = append(all, named{statusName(name), of(i)})
	}
	return all
}

const pageText = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{range $i, $f := .Files}}{{if $i}}, {{end}}{{$f.Name}}{{end}}</title>
<style>
body { font-family: sans-serif; margin: 1em }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ccc; vertical-align: top }
td:first-child, th:first-child { text-align: left }
</style>
{{.Drawing}}
<table>
<tr><th>file<th>sent<th>per second<th>served, %<th>status<th>by node<th>p50, ms<th>p90, ms<th>p99, ms</tr>
{{range .Files}}<tr><td>{{.Name}}<td>{{.Sent}}<td>{{.Rate}}<td>{{.Served}}<td>{{range .Status}}{{.Name}}: {{.Count}}<br>{{end}}<td>{{range .ByNode}}{{.Name}}: {{.Count}}<br>{{end}}<td>{{.P50}}<td>{{.P90}}<td>{{.P99}}</tr>
{{end}}</table>
<p><small>{{.Footer}}</small></p>
</html>
`

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/clip"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/plot"
	"github.com/dfaas/dfaas/internal/experiment/results"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// drawing is what the flags of plot say.
type drawing struct {
	outputs []string
	rate    float64
	nodes   []string // NAME=ID
	quiet   bool
}

// stdin is the name of what is read from there.
const stdin = "-"

func (a *app) plotCommand() *cobra.Command {
	var d drawing
	c := &cobra.Command{
		Use:   "plot RESULTS...",
		Short: "Draw the results of load: who served, how fast, what was refused",
		Long: `Draw what vegeta measured, as "vegeta attack" and "vegeta encode" write it (gob, JSON, CSV), or the load-N.json
of dfaas-emulator: requests per second by status, what was served by the node that executed it, latency percentiles of
what was served, and the part that was served. Several files stand side by side; those that overlap in time have their
time in common. A second counts the requests that were sent within it. Files may be of any size; above 2000 seconds,
several are put together. - reads from standard input.

Nodes have the names that summary.json, beside the file, gives them, or --node; else the end of their ids.

-o may be repeated: PLOT.svg, PLOT.png, PLOT.html (one file with drawing and numbers) and PLOT.csv (the numbers by
seconds). -o json and -o table print a summary, as it is printed without -o.`,
		Example: `  dfaasctl plot results.json -o plot.svg --rate 50
  dfaasctl plot out/recalc/load-1.json out/headroom/load-1.json -o compare.png -o compare.csv
  dfaasctl plot results.bin -o plot.html --node $(dfaas-emulator ps -o nodes)
  vegeta encode results.bin | dfaasctl plot - -o plot.svg`,
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"json", "csv", "bin", "gob"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(c *cobra.Command, args []string) error { return a.plot(c.Context(), d, args) },
	}
	c.Flags().StringArrayVarP(&d.outputs, "output", "o", nil, "file to draw: .svg, .png, .html or .csv, may be repeated; or json or table, to print only that")
	c.Flags().Float64Var(&d.rate, "rate", 0, "requests/s that were asked for: drawn as a line, and what was not sent of it counts as not served")
	c.Flags().StringSliceVar(&d.nodes, "node", nil, "names of nodes, NAME=ID, separated by commas; may be repeated")
	c.Flags().BoolVarP(&d.quiet, "quiet", "q", false, "show no progress")
	return c
}

// maxRate bounds --rate, requests/s.
const maxRate = 1e6

func (a *app) plot(ctx context.Context, d drawing, paths []string) error {
	files, given, err := d.check(a, paths)
	if err != nil {
		return cli.Usage(err)
	}
	bar := newBar(a.Err, !d.quiet)
	var courses []*results.Course
	for i, path := range paths {
		show := func(done float64) { bar.show(path, (float64(i)+done)/float64(len(paths))) }
		var course *results.Course
		if path == stdin {
			course, err = results.Read(ctx, "standard input", a.In, func(int64) {})
		} else {
			course, err = results.ReadFile(ctx, path, show)
		}
		if err != nil {
			bar.end()
			if ctx.Err() == nil {
				err = cli.Usage(err)
			}
			return err
		}
		courses = append(courses, course)
	}
	bar.end()
	nameNodes(courses, given)
	shorten(courses)
	drawn := plot.Courses{Courses: courses, Rate: d.rate, Footer: fmt.Sprintf("dfaasctl %s: %s", a.Version, strings.Join(a.Args, " "))}
	for _, file := range files {
		if err := drawn.Save(file); err != nil {
			return err
		}
	}
	return a.print(courseSummaries(courses), func() table { return courseTable(courses) })
}

// check returns the files to write and the names of nodes by their ids. Everything is
// checked before anything is read.
func (d *drawing) check(a *app, paths []string) (files []string, names map[string]string, err error) {
	if len(paths) > plot.MaxCourses {
		return nil, nil, fmt.Errorf("%d files: at most %d can be drawn side by side", len(paths), plot.MaxCourses)
	}
	if n := len(paths) - len(slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return path == stdin })); n > 1 {
		return nil, nil, errors.New("standard input can be read once only")
	}
	if !(d.rate >= 0 && d.rate <= maxRate) {
		return nil, nil, fmt.Errorf("--rate %v: it may be 0 to %g requests/s", d.rate, maxRate)
	}
	for _, output := range d.outputs {
		switch format(output) {
		case formatJSON, formatTable:
			a.format = format(output)
			continue
		}
		if !slices.Contains(plot.Formats(), strings.TrimPrefix(filepath.Ext(output), ".")) {
			return nil, nil, fmt.Errorf("--output %s: a file that ends in .%s is drawn, and json or table printed", clip.Text(output), strings.Join(plot.Formats(), ", ."))
		}
		if slices.Contains(paths, output) {
			return nil, nil, fmt.Errorf("--output %s: that would replace the results", clip.Text(output))
		}
		files = append(files, output)
	}
	named, err := pairs("--node", d.nodes)
	if err != nil {
		return nil, nil, err
	}
	names = make(map[string]string, len(named))
	for name, id := range named {
		names[id] = name
	}
	return files, names, nil
}

// nameNodes gives nodes the names that are given, or that the experiment's summary beside
// their file gives them.
func nameNodes(courses []*results.Course, given map[string]string) {
	for _, c := range courses {
		beside := summaryNames(filepath.Join(filepath.Dir(c.Name), experiment.SummaryFile))
		c.Rename(func(id string) string {
			for _, names := range []map[string]string{given, beside} {
				if name, ok := names[id]; ok {
					return name
				}
			}
			return id
		})
	}
}

const maxSummary = 256 << 20 // bytes

// summaryNames reads names by ids. Without a summary that can be read there are none.
func summaryNames(path string) map[string]string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	var s struct{ Nodes []summary.Node }
	if err := json.NewDecoder(io.LimitReader(file, maxSummary)).Decode(&s); err != nil {
		return nil
	}
	names := make(map[string]string, len(s.Nodes))
	for _, n := range s.Nodes {
		names[n.PeerID] = clean(n.Name)
	}
	return names
}

// shorten cuts ids to their ends, the same in all courses, and names too long for a
// title to what tells them apart.
func shorten(courses []*results.Course) {
	var ids []string
	isID := func(name string) bool { return strings.HasPrefix(name, "12D3KooW") }
	for _, c := range courses {
		for _, name := range c.Nodes {
			if isID(name) {
				ids = append(ids, name)
			}
		}
	}
	short := shortener(ids)
	for _, c := range courses {
		c.Rename(func(name string) string {
			if isID(name) {
				return "…" + short(name)
			}
			return name
		})
	}
}

// courseSummary is what is printed of a file as JSON.
type courseSummary struct {
	File    string            `json:"file"`
	Sent    uint64            `json:"sent"`
	Rate    float64           `json:"rate"`
	Served  uint64            `json:"served"`
	Status  map[string]uint64 `json:"status"`
	ByNode  map[string]uint64 `json:"by_node"`
	Latency struct {
		P50 float64 `json:"p50"`
		P90 float64 `json:"p90"`
		P99 float64 `json:"p99"`
	} `json:"served_latency_ms"`
}

func courseSummaries(courses []*results.Course) []courseSummary {
	all := make([]courseSummary, len(courses))
	for i, c := range courses {
		s := courseSummary{File: c.Name, Sent: c.Total.Sent, Rate: c.Rate(), Served: c.Total.Served, Status: map[string]uint64{}, ByNode: map[string]uint64{}}
		for k, name := range c.Statuses {
			s.Status[name] += c.Total.Of(k)
		}
		for k, name := range c.Nodes {
			s.ByNode[name] += c.Total.By(k)
		}
		s.Latency.P50, s.Latency.P90, s.Latency.P99 = c.Total.Latency.Quantile(0.5), c.Total.Latency.Quantile(0.9), c.Total.Latency.Quantile(0.99)
		all[i] = s
	}
	return all
}

func courseTable(courses []*results.Course) table {
	t := table{{"FILE", "SENT", "RATE", "SERVED", "STATUS", "SERVED BY", "P50 MS", "P99 MS"}}
	for _, s := range courseSummaries(courses) {
		t.add(s.File, strconv.FormatUint(s.Sent, 10), fmt.Sprintf("%.1f/s", s.Rate), fmt.Sprintf("%.2f %%", 100*float64(s.Served)/float64(max(1, s.Sent))),
			listed(s.Status), listed(s.ByNode), fmt.Sprintf("%.1f", s.Latency.P50), fmt.Sprintf("%.1f", s.Latency.P99))
	}
	return t
}

func listed(counts map[string]uint64) string {
	var words []string
	for name, n := range counts {
		words = append(words, fmt.Sprintf("%s: %d", name, n))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

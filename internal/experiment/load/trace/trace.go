// Package trace reads measured load: how often which function was called, at which
// node, in the course of time. It knows the forms in which clouds and the DFaaS group
// have published theirs, and others by their columns.
package trace

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/clip"
	"github.com/dfaas/dfaas/internal/experiment/load/shape"
)

// Bounds of a trace. A file outside them is refused; of series, those that are called
// most are kept.
const (
	MaxFile    = 2 << 30 // bytes
	MaxLine    = 4 << 20 // bytes of a record
	MaxColumns = 10_000
	maxKnown   = 200_000 // series that are told apart while reading
	maxPoints  = 20_000_000
	MaxSeries  = 1000 // that are kept
	maxSteps   = 100_000
	maxCount   = 1e12 // requests in a step
	maxTime    = 10 * 366 * 86_400.0
)

// byteOrderMark is what some spreadsheets begin a file with.
const byteOrderMark = "\ufeff"

// Trace is the load that was measured.
type Trace struct {
	Form   string   // the name of the form that it has
	Series []Series // most called first
	Lasts  time.Duration
}

// Series is what was called of one function, at one node.
type Series struct {
	Node, Function string // as the trace calls them; empty if it does not tell
	Calls          float64
	Steps          []shape.Step // from 0 on, in the order of time
}

// Options say what to take of a trace.
type Options struct {
	Columns Columns       // the zero value: as its first line says
	Speed   float64       // seconds of the trace that pass in one; 0 is 1
	Scale   float64       // of all rates; 0 is 1
	From    time.Duration // of the trace, is the begin
	// Top is how many series are kept; 0 is MaxSeries.
	Top int
}

// Check reports what makes no sense.
func (o Options) Check() error {
	switch {
	case !(o.Speed >= 0 && o.Speed <= 1e6):
		return fmt.Errorf("speed %v: it may be up to 1000000", o.Speed)
	case !(o.Scale >= 0 && o.Scale <= 1e6):
		return fmt.Errorf("scale %v: it may be up to 1000000", o.Scale)
	case o.From < 0 || o.From.Seconds() > maxTime:
		return fmt.Errorf("from %s: it may be 0 to ten years", o.From)
	case o.Top < 0 || o.Top > MaxSeries:
		return fmt.Errorf("top %d: it may be up to %d", o.Top, MaxSeries)
	}
	return nil
}

// ReadFile reads the trace in the file of that path. An error names the file, the line
// and the reason.
func ReadFile(path string, o Options) (*Trace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the trace: %w", err)
	}
	defer file.Close()
	return Read(path, file, o)
}

// Read reads the trace in the text of a file of that name.
func Read(name string, text io.Reader, o Options) (*Trace, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.Speed, o.Scale, o.Top = cmp.Or(o.Speed, 1), cmp.Or(o.Scale, 1), cmp.Or(o.Top, MaxSeries)
	r := &reader{name: name, options: o, series: make(map[key]*points)}
	bounded := &bound{r: text, left: MaxFile, line: MaxLine}
	buffered := bufio.NewReader(bounded)
	if mark, _ := buffered.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = buffered.Discard(len(mark)) // it was peeked at
	}
	r.csv = csv.NewReader(buffered)
	r.csv.TrimLeadingSpace, r.csv.Comment, r.csv.ReuseRecord = true, '#', true
	head, err := r.record()
	if errors.Is(err, io.EOF) {
		return nil, r.refuse(1, "the trace is empty")
	} else if err != nil {
		return nil, err
	}
	line, _ := r.csv.FieldPos(0)
	if len(head) > MaxColumns {
		return nil, r.refuse(line, "%d columns, at most %d can be read", len(head), MaxColumns)
	}
	f, err := o.Columns.form(slices.Clone(head))
	if err != nil {
		return nil, r.refuse(line, "%w", err)
	}
	for {
		record, err := r.record()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		line, _ := r.csv.FieldPos(0)
		if err := f.row(r, record); err != nil {
			return nil, r.refuse(line, "%w", err)
		}
	}
	t := &Trace{Form: f.name}
	if err := r.finish(t, f); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// Of returns the series of n targets: those of the targets' names, if the trace names them
// all, else the ones that are called most, from number first on, counted from 0. A
// function, unless the trace does not name it, is one to choose from the series of a name.
func (t *Trace) Of(targets []string, function string, first int) ([]Series, error) {
	named := make([]Series, 0, len(targets))
	for _, target := range targets {
		i := slices.IndexFunc(t.Series, func(s Series) bool { return s.Node == target && (s.Function == "" || s.Function == function) })
		if i < 0 {
			break
		}
		named = append(named, t.Series[i])
	}
	if len(named) == len(targets) {
		return named, nil
	}
	if first < 0 || first+len(targets) > len(t.Series) {
		return nil, fmt.Errorf("the trace has %d series, which are too few for %d targets from number %d on", len(t.Series), len(targets), first+1)
	}
	return t.Series[first : first+len(targets)], nil
}

// reader collects what rows say.
type reader struct {
	name    string
	options Options
	csv     *csv.Reader
	series  map[key]*points
	total   int // points
	began   bool
	first   float64 // second of the first row
}

type key struct{ node, function string }

// points are what is known of a series: values by second of the trace.
type points struct {
	at    []float64
	value []float64
}

func (r *reader) refuse(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", r.name, line, fmt.Errorf(format, args...))
}

func (r *reader) record() ([]string, error) {
	record, err := r.csv.Read()
	var malformed *csv.ParseError
	switch {
	case errors.As(err, &malformed):
		return nil, r.refuse(malformed.Line, "%v", malformed.Err)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return record, err
}

// add keeps a value of a series, which a second of the trace, counted from its first
// row, has.
func (r *reader) add(k key, second, value float64) error {
	p := r.series[k]
	if p == nil {
		if len(r.series) == maxKnown {
			return fmt.Errorf("more than %d functions and nodes", maxKnown)
		}
		p = new(points)
		r.series[key{strings.Clone(k.node), strings.Clone(k.function)}] = p
	}
	if r.total++; r.total > maxPoints {
		return fmt.Errorf("more than %d values", maxPoints)
	}
	p.at, p.value = append(p.at, second), append(p.value, value)
	return nil
}

// finish makes steps of what was collected.
func (r *reader) finish(t *Trace, f *form) error {
	step := f.step
	if step == 0 {
		step = r.gap()
	}
	begin, end := r.options.From.Seconds(), 0.0
	for _, p := range r.series {
		for _, at := range p.at {
			end = max(end, at+step)
		}
	}
	if len(r.series) == 0 {
		return errors.New("the trace has no rows")
	}
	if begin >= end {
		return fmt.Errorf("from %s: the trace ends after %s", r.options.From, seconds(end))
	}
	t.Lasts = seconds((end - begin) / r.options.Speed)
	keys := slices.SortedFunc(maps.Keys(r.series), func(a, b key) int {
		return cmp.Or(strings.Compare(a.node, b.node), strings.Compare(a.function, b.function))
	})
	for _, k := range keys {
		s := Series{Node: k.node, Function: k.function}
		var err error
		if s.Steps, err = r.steps(r.series[k], f, begin, step); err != nil {
			return fmt.Errorf("series %q: %w", clip.Text(strings.Trim(k.node+"/"+k.function, "/")), err)
		}
		s.Calls = shape.Requests(shape.Shape{Kind: shape.Steps, Steps: s.Steps}.Course(t.Lasts), t.Lasts)
		t.Series = append(t.Series, s)
	}
	slices.SortStableFunc(t.Series, func(a, b Series) int { return cmp.Compare(b.Calls, a.Calls) })
	t.Series = slices.Clip(t.Series[:min(len(t.Series), r.options.Top)])
	return nil
}

// gap is the time between two rows, s: the least that there is.
func (r *reader) gap() float64 {
	least := math.Inf(1)
	for _, p := range r.series {
		for i := 1; i < len(p.at); i++ {
			if gap := math.Abs(p.at[i] - p.at[i-1]); gap > 0 {
				least = min(least, gap)
			}
		}
	}
	if math.IsInf(least, 1) {
		return 1
	}
	return max(least, 0.001)
}

// steps are the rates of a series.
func (r *reader) steps(p *points, f *form, begin, step float64) ([]shape.Step, error) {
	c := course{speed: r.options.Speed, scale: r.options.Scale}
	if f.counts {
		c.count(p, begin, step)
	} else {
		c.follow(p, begin, step)
	}
	if len(c.steps) == 0 || c.steps[0].At > 0 {
		c.steps = slices.Insert(c.steps, 0, shape.Step{})
	}
	if len(c.steps) > maxSteps {
		return nil, fmt.Errorf("more than %d steps", maxSteps)
	}
	for _, s := range c.steps {
		if s.Rate > shape.MaxRate {
			return nil, fmt.Errorf("%.6g requests/s after %s, more than %d: give a smaller scale", s.Rate, s.At, shape.MaxRate)
		}
	}
	return c.steps, nil
}

// course is a series' steps.
type course struct {
	speed, scale float64
	steps        []shape.Step
}

// add has the rate change after so many seconds of the trace.
func (c *course) add(after, rate float64) {
	at, last := seconds(after/c.speed), len(c.steps)-1
	rate *= c.scale
	switch {
	case last >= 0 && c.steps[last].Rate == rate || last < 0 && rate == 0:
	case last >= 0 && c.steps[last].At >= at:
		c.steps[last].Rate = rate
	default:
		c.steps = append(c.steps, shape.Step{At: at, Rate: rate})
	}
}

// count makes rates of requests. Those of the same step are summed; in a step without
// any, nothing was called.
func (c *course) count(p *points, begin, step float64) {
	sums := make(map[int]float64, len(p.at))
	for i, at := range p.at {
		if at >= begin {
			sums[int(math.Floor((at-begin)/step+1e-6))] += p.value[i]
		}
	}
	last := -1
	for _, number := range slices.Sorted(maps.Keys(sums)) {
		if number > last+1 {
			c.add(float64(last+1)*step, 0)
		}
		c.add(float64(number)*step, sums[number]/step)
		last = number
	}
	c.add(float64(last+1)*step, 0)
}

// follow takes rates as they are: each holds until the next, the last for a step. Those
// of the same time are summed.
func (c *course) follow(p *points, begin, step float64) {
	rates := make(map[float64]float64, len(p.at))
	for i, at := range p.at {
		rates[at] += p.value[i]
	}
	before, end := 0.0, 0.0
	for _, at := range slices.Sorted(maps.Keys(rates)) {
		if end = at + step; at < begin {
			before = rates[at]
			continue
		}
		if at > begin && len(c.steps) == 0 {
			c.add(0, before)
		}
		c.add(at-begin, rates[at])
	}
	if end > begin {
		c.add(end-begin, 0)
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(math.Round(min(s, 1e9) * float64(time.Second)))
}

// bound refuses a file, or a line, that is larger than may be.
type bound struct {
	r    io.Reader
	left int64
	line int64
	long int64 // bytes since the last end of a line
}

func (b *bound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the trace is larger than %d bytes", MaxFile)
	}
	if b.long > b.line {
		return 0, fmt.Errorf("a line is longer than %d bytes", b.line)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if end := strings.LastIndexByte(string(p[:n]), '\n'); end >= 0 {
		b.long = int64(n - end - 1)
	} else {
		b.long += int64(n)
	}
	return n, err
}

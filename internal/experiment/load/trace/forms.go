package trace

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/clip"
	"github.com/dfaas/dfaas/internal/experiment/load/shape"
)

// form is how the rows of a trace are read.
type form struct {
	name   string
	step   float64 // s; 0: the time between two rows
	counts bool    // values are requests in a step, else requests/s
	row    func(*reader, []string) error
}

// Columns say what stands where, for a trace that has none of the known forms.
type Columns struct {
	Time string // the column with the time, s; or the step's number, if there is Step
	Step time.Duration
	// Either a row is of one series: Node and Function are columns that say which (or
	// empty), and Rate (requests/s) or Count (requests in the step) has its value.
	Node, Function string
	Rate, Count    string
	// Or a row has the requests/s of all: Series are the columns, by NODE or
	// NODE/FUNCTION.
	Series []SeriesColumn
	// Where, unless empty, is a column; only rows are read that have Value there.
	Where, Value string
}

// SeriesColumn is a column with the values of a series.
type SeriesColumn struct{ Node, Function, Column string }

// ParseColumns reads KEY=COLUMN, separated by commas. Keys are time, node, function, rate,
// count, step (a duration), where (COLUMN:VALUE), and NODE or NODE/FUNCTION for a column
// with the requests/s of those.
func ParseColumns(text string) (Columns, error) {
	var c Columns
	if text == "" {
		return c, nil
	}
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(text, ",") {
		name, column, ok := strings.Cut(part, "=")
		if !ok || name == "" || column == "" || seen[name] {
			return c, fmt.Errorf("columns: KEY=COLUMN is expected, each key once, not %q", clip.Text(part))
		}
		seen[name] = true
		switch name {
		case "time":
			c.Time = column
		case "node":
			c.Node = column
		case "function":
			c.Function = column
		case "rate":
			c.Rate = column
		case "count":
			c.Count = column
		case "step":
			var err error
			if c.Step, err = time.ParseDuration(column); err != nil || c.Step < time.Millisecond || c.Step > 7*24*time.Hour {
				return c, fmt.Errorf("columns: step=%s: a duration of 1ms to 168h is expected", clip.Text(column))
			}
		case "where":
			if c.Where, c.Value, ok = strings.Cut(column, ":"); !ok {
				return c, fmt.Errorf("columns: where=COLUMN:VALUE is expected, not %q", clip.Text(part))
			}
		default:
			node, function, _ := strings.Cut(name, "/")
			c.Series = append(c.Series, SeriesColumn{node, function, column})
		}
		if len(seen) > MaxColumns {
			return c, fmt.Errorf("columns: more than %d", MaxColumns)
		}
	}
	return c, c.check()
}

func (c Columns) check() error {
	values := 0
	for _, given := range []bool{c.Rate != "", c.Count != "", len(c.Series) > 0} {
		if given {
			values++
		}
	}
	switch {
	case c.Time == "":
		return errors.New("columns: time=COLUMN is missing")
	case values != 1:
		return errors.New("columns: one is needed of rate=COLUMN, count=COLUMN and NODE=COLUMN")
	case len(c.Series) > 0 && (c.Node != "" || c.Function != ""):
		return errors.New("columns: node and function are columns that name the series of a row; with NODE=COLUMN, a row is of all")
	}
	return nil
}

// Forms lists the known forms and the first lines by which they are told.
func Forms() []string {
	return []string{
		"azure-2019: HashOwner,HashApp,HashFunction,Trigger,1,...,1440", "azure-2021: app,func,end_timestamp,duration",
		"huawei-2023: day,time,0,1,...", "dfaas: 0,1,...,time,trace_type", "rates: second,rate, with node and function or without",
	}
}

// ErrUnknown is of a trace that has none of the known forms.
var ErrUnknown = errors.New("the first line is that of no known form")

// form tells how rows are read, by the first.
func (c Columns) form(head []string) (*form, error) {
	if c.Time != "" {
		return c.own(head)
	}
	at := func(name string) int { return slices.Index(head, name) }
	switch {
	case len(head) > 4 && head[0] == "HashOwner" && head[1] == "HashApp" && head[2] == "HashFunction":
		return azure2019(head)
	case slices.Equal(head, []string{"app", "func", "end_timestamp", "duration"}):
		return azure2021(), nil
	case len(head) > 2 && head[0] == "day" && head[1] == "time":
		return huawei2023(head), nil
	case at("time") >= 0 && at("trace_type") >= 0 && len(head) > 2:
		return dfaas(head)
	case at("second") >= 0 && at("rate") >= 0:
		c = Columns{Time: "second", Rate: "rate"}
		if at("node") >= 0 {
			c.Node = "node"
		}
		if at("function") >= 0 {
			c.Function = "function"
		}
		f, err := c.own(head)
		if err == nil {
			f.name = "rates"
		}
		return f, err
	}
	return nil, fmt.Errorf("%w; say what its columns are. Known are %s", ErrUnknown, strings.Join(Forms(), "; "))
}

// azure2019 is invocations_per_function_md.anon.dNN.csv of the Azure Functions Trace 2019:
// a row is a function, its columns are minutes.
func azure2019(head []string) (*form, error) {
	for i, name := range head[4:] {
		if name != strconv.Itoa(i+1) {
			return nil, fmt.Errorf("column %d: minute %d is expected, not %q", i+5, i+1, clip.Text(name))
		}
	}
	return &form{name: "azure-2019", step: 60, counts: true, row: func(r *reader, row []string) error {
		k := key{function: row[1] + "/" + row[2]}
		for i, text := range row[4:] {
			if text == "0" && i > 0 && i < len(row)-5 {
				continue // mostly
			}
			count, err := shape.ParseNumber(text, maxCount)
			if err != nil {
				return fmt.Errorf("minute %d: %w", i+1, err)
			}
			if err := r.add(k, float64(60*i), count); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// azure2021 is the Azure Functions Invocation Trace 2021: a row is a call. It began as long
// before its end as it lasted. Calls are counted by the second.
func azure2021() *form {
	return &form{name: "azure-2021", step: 1, counts: true, row: func(r *reader, row []string) error {
		end, err := shape.ParseNumber(row[2], maxTime)
		if err != nil {
			return fmt.Errorf("end_timestamp: %w", err)
		}
		duration, err := shape.ParseNumber(row[3], maxTime)
		if err != nil {
			return fmt.Errorf("duration: %w", err)
		}
		return r.add(key{function: row[0] + "/" + row[1]}, max(0, end-duration), 1)
	}}
}

// huawei2023 is requests_minute or requests_second of the Huawei private or public trace
// of 2023: a row is a minute or a second, its columns are functions.
func huawei2023(head []string) *form {
	functions := slices.Clone(head[2:])
	return &form{name: "huawei-2023", counts: true, row: func(r *reader, row []string) error {
		second, err := r.second(row[1])
		if err != nil {
			return fmt.Errorf("time: %w", err)
		}
		for i, text := range row[2:] {
			if text == "" { // nothing is known
				continue
			}
			count, err := shape.ParseNumber(text, maxCount)
			if err != nil {
				return fmt.Errorf("function %s: %w", clip.Text(functions[i]), err)
			}
			if err := r.add(key{function: functions[i]}, second, count); err != nil {
				return err
			}
		}
		return nil
	}}
}

// dfaas is the form of the DFaaS group's learning environment: a row is a step, its
// columns are the nodes' rates, and several traces of different types stand one behind
// the other, of which the first is read unless Columns.Where says another.
func dfaas(head []string) (*form, error) {
	c := Columns{Time: "time", Where: "trace_type", Step: time.Second}
	for _, name := range head {
		if name != c.Time && name != c.Where && name != "" { // pandas' index has no name
			c.Series = append(c.Series, SeriesColumn{Node: name, Column: name})
		}
	}
	if len(c.Series) == 0 {
		return nil, errors.New("no column has a node's rates")
	}
	f, err := c.own(head)
	if err == nil {
		f.name = "dfaas"
	}
	return f, err
}

// own is what the columns say.
func (c Columns) own(head []string) (*form, error) {
	place := func(what, name string) (int, error) {
		if name == "" {
			return -1, nil
		}
		i := slices.Index(head, name)
		if i < 0 {
			return -1, fmt.Errorf("columns: %s: there is no column %q, only %s", what, clip.Text(name), clip.Text(strings.Join(head, ",")))
		}
		return i, nil
	}
	var at struct{ time, node, function, value, where int }
	var errs []error
	for _, one := range []struct {
		what, name string
		at         *int
	}{
		{"time", c.Time, &at.time}, {"node", c.Node, &at.node}, {"function", c.Function, &at.function}, {"rate or count", c.Rate + c.Count, &at.value},
		{"where", c.Where, &at.where},
	} {
		var err error
		*one.at, err = place(one.what, one.name)
		errs = append(errs, err)
	}
	series := make([]int, len(c.Series))
	for i, s := range c.Series {
		var err error
		series[i], err = place(s.Node, s.Column)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	value := c.Value
	f := &form{name: "columns", step: c.Step.Seconds(), counts: c.Count != ""}
	f.row = func(r *reader, row []string) error {
		if at.where >= 0 {
			if value == "" {
				value = strings.Clone(row[at.where])
			}
			if row[at.where] != value {
				return nil
			}
		}
		second, err := r.second(row[at.time])
		if err != nil {
			return fmt.Errorf("%s: %w", c.Time, err)
		}
		if c.Step > 0 {
			second *= c.Step.Seconds()
		}
		if at.value < 0 {
			for i, s := range c.Series {
				rate, err := shape.ParseNumber(row[series[i]], maxCount)
				if err != nil {
					return fmt.Errorf("%s: %w", clip.Text(s.Column), err)
				}
				if err := r.add(key{s.Node, s.Function}, second, rate); err != nil {
					return err
				}
			}
			return nil
		}
		k := key{}
		if at.node >= 0 {
			k.node = row[at.node]
		}
		if at.function >= 0 {
			k.function = row[at.function]
		}
		x, err := shape.ParseNumber(row[at.value], maxCount)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Rate+c.Count, err)
		}
		return r.add(k, second, x)
	}
	return f, nil
}

// second reads the time of a row; the first row's is where the trace begins.
func (r *reader) second(text string) (float64, error) {
	x, err := shape.ParseNumber(text, maxTime)
	if err != nil {
		return 0, err
	}
	if !r.began {
		r.began, r.first = true, x
	}
	if x < r.first {
		return 0, fmt.Errorf("%s comes before %g, that of the first row", clip.Text(text), r.first)
	}
	return x - r.first, nil
}

package trace

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
)

const samples = "../../../../deploy/emulator/scenarios/traces/"

func text(s []shape.Step) string {
	var b strings.Builder
	for _, step := range s {
		fmt.Fprintf(&b, "%g:%g ", step.At.Seconds(), step.Rate)
	}
	return strings.TrimSpace(b.String())
}

func read(t *testing.T, data string, o Options) *Trace {
	t.Helper()
	got, err := Read("x.csv", strings.NewReader(data), o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestForms: each form is known by its first line, and gives what it says.
func TestForms(t *testing.T) {
	columns, err := ParseColumns("time=step,step=5m,where=kind:b,edge-1=x,edge-2/f=y")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		form, text string
		options    Options
		want       []string
	}{
		{"azure-2019", "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,60,0,120\no,a,g,timer,0,600,0\n", Options{}, []string{
			"/a/g 0:0 60:10 120:0", "/a/f 0:1 60:0 120:2 180:0",
		}},
		{"azure-2019", "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,60,0,120\n", Options{Speed: 60, Scale: 2, From: time.Minute}, []string{"/a/f 0:0 1:4 2:0"}},
		{"azure-2021", "app,func,end_timestamp,duration\na,f,0.5,0.1\na,f,1.2,0.5\na,f,3.25,0\nb,f,2.5,9\n", Options{}, []string{
			"/a/f 0:2 1:0 3:1 4:0", "/b/f 0:1 1:0",
		}},
		{"huawei-2023", "day,time,0,7\n3,120,60,\n3,180,0,30\n3,240,,30\n", Options{}, []string{"/0 0:1 60:0", "/7 0:0 60:0.5 180:0"}},
		{"dfaas", "0,1,time,trace_type\n4,2,0,a\n6,2,1,a\n9,9,0,b\n", Options{}, []string{"0/ 0:4 1:6 2:0", "1/ 0:2 2:0"}},
		{"rates", "\ufeffsecond,rate\n5,1\n7,4\n15,2\n", Options{}, []string{"/ 0:1 2:4 10:2 12:0"}},
		{"rates", "second,node,function,rate\n0,n1,f,1\n0,n2,f,3\n10,n1,f,2\n20,n2,f,0\n", Options{From: 5 * time.Second}, []string{"n2/f 0:3 15:0", "n1/f 0:1 5:2 15:0"}},
		{"columns", "step,kind,x,y\n1,a,9,9\n2,b,1,2\n3,b,0,4\n", Options{Columns: columns, Speed: 300}, []string{"edge-2/f 0:2 1:4 2:0", "edge-1/ 0:1 1:0"}},
	} {
		got := read(t, test.text, test.options)
		var series []string
		for _, s := range got.Series {
			series = append(series, s.Node+"/"+s.Function+" "+text(s.Steps))
		}
		if got.Form != test.form || !slices.Equal(series, test.want) {
			t.Errorf("%s: %q gives %s\n%s\nwant\n%s", test.form, test.text, got.Form, strings.Join(series, "\n"), strings.Join(test.want, "\n"))
		}
	}
}

// TestRefused: errors have the file, the line and the reason.
func TestRefused(t *testing.T) {
	azure := "HashOwner,HashApp,HashFunction,Trigger,1,2\n"
	for data, want := range map[string]string{
		"":                        "x.csv:1: the trace is empty",
		"a,b\n1,2\n":              "x.csv:1: the first line is that of no known form; say what its columns are. Known are azure-2019: ",
		"# x\nsecond,rate\n":      "x.csv: the trace has no rows",
		"second,rate\n0,fast\n":   `x.csv:2: rate: a number is expected, not "fast"`,
		"second,rate\n5,1\n2,1\n": "x.csv:3: second: 2 comes before 5, that of the first row",
		"second,rate\n0,60000\n":  `x.csv: series "": 60000 requests/s after 0s, more than 50000: give a smaller scale`,
		"second,rate\n0,1,2\n":    "x.csv:2: wrong number of fields",
		"HashOwner,HashApp,HashFunction,Trigger,2\n":           "x.csv:1: column 5: minute 1 is expected, not \"2\"",
		azure + "o,a,f,http,1\n":                               "x.csv:2: wrong number of fields",
		azure + "o,a,f,http,1,-1\n":                            "x.csv:2: minute 2: -1 is outside of 0 to 1e+12",
		"app,func,end_timestamp,duration\na,b,c,d\n":           "x.csv:2: end_timestamp: a number is expected",
		"day,time,0\n0,0,NaN\n":                                "x.csv:2: function 0: a number is expected",
		"second,rate\n0," + strings.Repeat("1", MaxLine+1<<20): "a line is longer than",
	} {
		if _, err := Read("x.csv", strings.NewReader(data), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", data, err, want)
		}
	}
	for text, want := range map[string]string{
		"time":                     "KEY=COLUMN is expected",
		"rate=x":                   "time=COLUMN is missing",
		"time=t":                   "one is needed of rate=COLUMN, count=COLUMN and NODE=COLUMN",
		"time=t,rate=r,n=x":        "one is needed of",
		"time=t,n=x,node=y":        "a row is of all",
		"time=t,time=u,rate=x":     "each key once",
		"time=t,rate=x,step=0s":    "a duration of 1ms to 168h is expected",
		"time=t,rate=x,where=kind": "where=COLUMN:VALUE is expected",
	} {
		if _, err := ParseColumns(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	columns, err := ParseColumns("time=t,rate=r")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read("x.csv", strings.NewReader("t,x\n0,1\n"), Options{Columns: columns}); err == nil || !strings.Contains(err.Error(), `x.csv:1: columns: rate or count: there is no column "r", only t,x`) {
		t.Error(err)
	}
	for _, o := range []Options{{Speed: -1}, {Scale: math.NaN()}, {From: -1}, {Top: MaxSeries + 1}} {
		if _, err := Read("x.csv", strings.NewReader("second,rate\n0,1\n"), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := Read("x.csv", strings.NewReader("second,rate\n0,1\n"), Options{From: time.Hour}); err == nil || !strings.Contains(err.Error(), "the trace ends after 1s") {
		t.Error(err)
	}
}

// TestOf: targets get the series of their names, or else those that are called most.
func TestOf(t *testing.T) {
	trace := read(t, "second,node,function,rate\n0,a,f,1\n0,a,g,9\n0,b,f,2\n", Options{})
	names := func(series []Series, err error) string {
		if err != nil {
			return err.Error()
		}
		var all []string
		for _, s := range series {
			all = append(all, s.Node+s.Function)
		}
		return strings.Join(all, " ")
	}
	for want, got := range map[string]string{
		"bf af":  names(trace.Of([]string{"b", "a"}, "f", 0)),
		"ag bf":  names(trace.Of([]string{"x", "y"}, "f", 0)),
		"bf af ": names(trace.Of([]string{"x", "y"}, "f", 1)) + " ",
		"the trace has 3 series, which are too few for 2 targets from number 3 on": names(trace.Of([]string{"x", "y"}, "f", 2)),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSamples: those that come with the project are read.
func TestSamples(t *testing.T) {
	paths, err := filepath.Glob(samples + "*.csv")
	if err != nil || len(paths) != 5 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		got, err := ReadFile(path, Options{})
		if err != nil || got.Form != strings.TrimSuffix(filepath.Base(path), ".csv") || len(got.Series) < 3 {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	if _, err := ReadFile("missing.csv", Options{}); err == nil {
		t.Error("a file that is not there was read")
	}
}

func FuzzRead(f *testing.F) {
	paths, _ := filepath.Glob(samples + "*.csv")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", data[:min(len(data), 2000)])
	}
	f.Add("time=t,count=c,node=n,step=1ms", []byte("t,n,c\n0,a,1e308\n"))
	f.Add("time=t,a/b=c,where=k:", []byte("t,k,c\n0,x,1\n9,x,0\n"))
	f.Fuzz(func(t *testing.T, columns string, data []byte) {
		c, err := ParseColumns(columns)
		if err != nil {
			return
		}
		got, err := Read("x.csv", strings.NewReader(string(data)), Options{Columns: c})
		if err != nil {
			return
		}
		if len(got.Series) == 0 || len(got.Series) > MaxSeries || got.Lasts <= 0 {
			t.Errorf("%d series, %s", len(got.Series), got.Lasts)
		}
		for i, s := range got.Series {
			peak := shape.Shape{Kind: shape.Steps, Steps: s.Steps}.Peak()
			if err := shape.CheckOrder(s.Steps); err != nil || s.Steps[0].At != 0 || !(peak <= shape.MaxRate) || !(s.Calls >= 0) {
				t.Errorf("series %d: %v, peak %v, %v calls", i, err, peak, s.Calls)
			}
		}
	})
}

package shape

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// all returns all times of a shape.
func all(s Shape, lasting time.Duration, a Arrivals, seed uint64) []time.Duration {
	var out []time.Duration
	times := NewTimes(s.Course(lasting), lasting, a, seed)
	for at, more := times.Next(); more; at, more = times.Next() {
		out = append(out, at)
	}
	return out
}

// between counts the times in [from, to) seconds.
func between(times []time.Duration, from, to float64) int {
	n := 0
	for _, at := range times {
		if s := at.Seconds(); s >= from && s < to {
			n++
		}
	}
	return n
}

var shapes = map[string]Shape{
	"flat":   {Rate: 50},
	"slow":   {Rate: 0.3},
	"steps":  {Kind: Steps, Steps: []Step{{0, 10}, {5 * time.Second, 0}, {7 * time.Second, 100}}},
	"late":   {Kind: Steps, Steps: []Step{{5 * time.Second, 10}}},
	"ramp":   {Kind: Ramp, Rate: 10, To: 90},
	"down":   {Kind: Ramp, Rate: 90, To: 0},
	"from 0": {Kind: Ramp, Rate: 0, To: 20},
	"moving": {Kind: Moving, Rate: 200, Every: time.Second, Skew: 3, Targets: 3, Index: 1},
	"once":   {Kind: Moving, Rate: 200, Skew: 1, Targets: 3, Index: 1},
	"onoff":  {Kind: OnOff, Rate: 100, On: time.Second, Off: time.Second},
	"nobody": {},
}

// Whatever the shape, times are within the load and in order, the same each time, and
// as many as the rate says.
func TestTimes(t *testing.T) {
	const lasting = 10 * time.Second
	for name, s := range shapes {
		expected := Requests(s.Course(lasting), lasting)
		for _, a := range []Arrivals{Constant, Poisson} {
			times := all(s, lasting, a, 7)
			if !slices.IsSorted(times) || len(times) > 0 && (times[0] < 0 || times[len(times)-1] > lasting) {
				t.Errorf("%s, %s: times are out of order or outside of the load", name, a)
			}
			if !slices.Equal(times, all(s, lasting, a, 7)) {
				t.Errorf("%s, %s: the same load, other times", name, a)
			}
			off := math.Abs(float64(len(times)) - expected)
			if a == Constant && off > 0.5 || off > 1+4*math.Sqrt(expected) {
				t.Errorf("%s, %s: %d requests, %.1f are to be expected", name, a, len(times), expected)
			}
		}
	}
}

func TestConstantTimes(t *testing.T) {
	flat := all(Shape{Rate: 3}, 10*time.Second, Constant, 0)
	for k, at := range flat {
		if want := time.Duration(math.Round(float64(k) / 3 * 1e9)); at != want {
			t.Errorf("request %d at %s, want %s", k, at, want)
		}
	}
	for _, test := range []struct {
		shape    string
		from, to float64
		want     int
	}{
		{"flat", 3, 4, 50},
		{"steps", 0, 5, 50},
		{"steps", 5, 7, 0},
		{"steps", 7, 10, 300},
		{"late", 0, 5, 0},
		{"ramp", 0, 5, 150},
		{"ramp", 5, 10, 350},
		{"from 0", 0, 5, 25},
	} {
		if got := between(all(shapes[test.shape], 10*time.Second, Constant, 0), test.from, test.to); max(got-test.want, test.want-got) > 1 {
			t.Errorf("%s, %v to %v s: %d requests, want %d", test.shape, test.from, test.to, got, test.want)
		}
	}
}

// TestMoving: at every moment the targets together have the whole rate, and not
// always the same has the most.
func TestMoving(t *testing.T) {
	const lasting = 20 * time.Second
	s := shapes["moving"]
	var courses [][]Piece
	for s.Index = range s.Targets {
		courses = append(courses, s.Course(lasting))
	}
	first := 0
	for i := range courses[0] {
		sum := 0.0
		for _, c := range courses {
			sum += c[i].Rate
		}
		if math.Abs(sum-s.Rate) > 1e-6 {
			t.Errorf("%s: %v requests/s on all targets, want %v", courses[0][i].At, sum, s.Rate)
		}
		if courses[0][i].Rate > sum/2 {
			first++
		}
	}
	if len(courses[0]) != 20 || first == 0 || first == 20 {
		t.Errorf("%d pieces, in %d the first target has most", len(courses[0]), first)
	}
}

func TestPoisson(t *testing.T) {
	a, b := all(shapes["flat"], time.Minute, Poisson, 1), all(shapes["flat"], time.Minute, Poisson, 2)
	if slices.Equal(a, b) {
		t.Error("two seeds, the same times")
	}
	// The gaps' standard deviation is their mean.
	mean := a[len(a)-1].Seconds() / float64(len(a))
	squares := 0.0
	for i := 1; i < len(a); i++ {
		squares += math.Pow((a[i]-a[i-1]).Seconds()-mean, 2)
	}
	if got := math.Sqrt(squares/float64(len(a))) / mean; math.Abs(got-1) > 0.1 {
		t.Errorf("the gaps' standard deviation is %.2f of their mean", got)
	}
}

func TestParseTrace(t *testing.T) {
	got, err := ParseTrace("x.csv", []byte("\ufeffsecond,rate\n# night\n0, 5\n60,0\n90.5,7.25\n"))
	want := []Step{{0, 5}, {time.Minute, 0}, {90*time.Second + 500*time.Millisecond, 7.25}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                     "x.csv:1: the trace is empty",
		"second,rate\n":        "x.csv:1: the trace is empty",
		"0,5\n1\n":             "x.csv:2: two numbers",
		"0,5\n\"\n":            "x.csv:2: two numbers",
		"0,5\n1,fast\n":        `x.csv:2: rate: a number is expected, not "fast"`,
		"0,5\n1,NaN\n":         "x.csv:2: rate: a number is expected",
		"0,5\n1,1e9\n":         "x.csv:2: rate: 1e9 is outside of 0 to 50000",
		"0,5\n1,-1\n":          "x.csv:2: rate: -1 is outside",
		"0,5\n5,1\n\n# x\n5,2": "x.csv:5: second 5 does not come after 5",
		"-1,5\n":               "x.csv:1: second: -1 is outside of 0 to 86400",
	} {
		if _, err := ParseTrace("x.csv", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseTrace("x.csv", make([]byte, MaxTrace+1)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Error(err)
	}
	if _, err := ReadTrace("missing.csv"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add([]byte("second,rate\n0,5\n60,0\n"))
	f.Add([]byte("0,1e308\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		steps, err := ParseTrace("x.csv", data)
		if err != nil {
			return
		}
		if err := CheckOrder(steps); err != nil || len(steps) == 0 || steps[0].At < 0 {
			t.Errorf("%q: %v, %v", data, steps, err)
		}
		if s := (Shape{Kind: Steps, Steps: steps}); !(s.Mean(time.Minute) >= 0 && s.Peak() <= MaxRate) {
			t.Errorf("%q: mean %v, peak %v", data, s.Mean(time.Minute), s.Peak())
		}
	})
}

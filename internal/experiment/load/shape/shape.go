// Package shape says when the requests of a load are sent: how its rate changes
// over time, and how requests follow each other at that rate. The emulator sends
// by it and the simulator has calls arrive by it, so the same load with the same
// seed is the same requests at the same times in both.
package shape

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Arrivals is how requests follow each other at a given rate.
type Arrivals string

// The kinds of arrivals.
const (
	Constant Arrivals = "constant" // evenly spaced
	Poisson  Arrivals = "poisson"  // independent of each other
)

// ParseArrivals returns the arrivals of that name.
func ParseArrivals(name string) (Arrivals, error) {
	if a := Arrivals(name); a == Constant || a == Poisson {
		return a, nil
	}
	return "", fmt.Errorf("unknown arrivals %q: use %s or %s", name, Constant, Poisson)
}

// Kind is how a load's rate changes over time.
type Kind string

// The kinds of shapes.
const (
	Flat   Kind = ""       // Rate, all the time
	Steps  Kind = "steps"  // Steps, one after the other; also a trace
	Ramp   Kind = "ramp"   // evenly from Rate to To
	Moving Kind = "moving" // a part of Rate that is drawn anew every Every
	OnOff  Kind = "onoff"  // Rate for On on average, then nothing for Off on average
)

// Shape is the rate of a load over time. The zero value sends nothing.
type Shape struct {
	Kind Kind
	// Rate is requests/s, >= 0: see Kind. With Moving it is that of all targets
	// together.
	Rate  float64
	Steps []Step  // with Steps: in the order of time
	To    float64 // with Ramp: the rate at the end
	// With Moving, the rate is spread anew over Targets every Every (never, if 0):
	// each gets it in proportion to an exponential number to the power of Skew. The
	// load is what the Index-th of them gets, from 0.
	Every          time.Duration
	Skew           float64
	Targets, Index int
	On, Off        time.Duration // with OnOff: mean times, exponentially distributed
	// Seed is of what is drawn. All targets of a moving load have the same.
	Seed uint64
}

// Step is a rate from a time on.
type Step struct {
	At   time.Duration // after the load's start
	Rate float64       // requests/s, >= 0
}

// Piece is a stretch of time in which the rate changes evenly, or not at all. It
// ends where the next begins.
type Piece struct {
	At    time.Duration
	Rate  float64 // at the beginning, requests/s
	Slope float64 // requests/s²
}

// minStay bounds how short a stay or an absence of users is, so that a load has a
// bounded number of pieces.
const minStay = 10 * time.Millisecond

// Course is the rate from 0 to lasting, as pieces in the order of time, of which
// the first is at 0.
func (s Shape) Course(lasting time.Duration) []Piece {
	random := rand.New(rand.NewPCG(s.Seed, streamShape))
	switch s.Kind {
	case Steps:
		return pieces(s.Steps, lasting)
	case Ramp:
		return []Piece{{Rate: s.Rate, Slope: (s.To - s.Rate) / lasting.Seconds()}}
	case Moving:
		var out []Piece
		for at := time.Duration(0); at < lasting; at += s.Every {
			out = append(out, Piece{At: at, Rate: s.Rate * s.part(random)})
			if s.Every <= 0 {
				break
			}
		}
		return out
	case OnOff:
		return s.onOff(random, lasting)
	}
	return []Piece{{Rate: s.Rate}}
}

func pieces(steps []Step, lasting time.Duration) []Piece {
	out := []Piece{{}}
	for _, step := range steps {
		if step.At >= lasting {
			break
		}
		if step.At == out[len(out)-1].At {
			out = out[:len(out)-1]
		}
		out = append(out, Piece{At: step.At, Rate: step.Rate})
	}
	return out
}

// part draws what every target gets and returns this one's fraction.
func (s Shape) part(random *rand.Rand) float64 {
	sum, own := 0.0, 0.0
	for i := range s.Targets {
		weight := math.Pow(random.ExpFloat64(), s.Skew)
		sum += weight
		if i == s.Index {
			own = weight
		}
	}
	return own / max(sum, math.SmallestNonzeroFloat64)
}

func (s Shape) onOff(random *rand.Rand, lasting time.Duration) []Piece {
	var out []Piece
	on := random.Float64() < s.On.Seconds()/(s.On.Seconds()+s.Off.Seconds())
	for at := time.Duration(0); at < lasting; on = !on {
		piece, mean := Piece{At: at}, s.Off
		if on {
			piece.Rate, mean = s.Rate, s.On
		}
		out = append(out, piece)
		at += max(minStay, time.Duration(random.ExpFloat64()*float64(mean)))
	}
	return out
}

// Peak is the highest rate that the shape can reach, requests/s.
func (s Shape) Peak() float64 {
	switch s.Kind {
	case Steps:
		peak := 0.0
		for _, step := range s.Steps {
			peak = max(peak, step.Rate)
		}
		return peak
	case Ramp:
		return max(s.Rate, s.To)
	}
	return s.Rate
}

// Mean is the rate that is to be expected on average over the time, requests/s.
func (s Shape) Mean(lasting time.Duration) float64 {
	switch s.Kind {
	case Steps:
		return Requests(pieces(s.Steps, lasting), lasting) / lasting.Seconds()
	case Ramp:
		return (s.Rate + s.To) / 2
	case Moving:
		return s.Rate / float64(max(1, s.Targets))
	case OnOff:
		return s.Rate * s.On.Seconds() / (s.On.Seconds() + s.Off.Seconds())
	}
	return s.Rate
}

// Requests is how many requests a course has until lasting, a fraction included.
func Requests(course []Piece, lasting time.Duration) float64 {
	sum := 0.0
	for i, p := range course {
		until := lasting
		if i+1 < len(course) {
			until = min(until, course[i+1].At)
		}
		sum += p.requests((until - p.At).Seconds())
	}
	return sum
}

// requests is how many there are in the piece's first seconds.
func (p Piece) requests(seconds float64) float64 {
	return max(0, seconds*(p.Rate+p.Slope*seconds/2))
}

// after is the reverse of requests: the seconds that it takes until there were so
// many.
func (p Piece) after(requests float64) float64 {
	if requests <= 0 {
		return 0
	}
	return 2 * requests / (p.Rate + math.Sqrt(max(0, p.Rate*p.Rate+2*p.Slope*requests)))
}

// Times are the times of a load's requests, one after the other.
type Times struct {
	course  []Piece
	lasting time.Duration
	left    int        // requests, with constant arrivals
	random  *rand.Rand // nil: constant
	next    float64    // in how many requests, from the beginning, the next one is due
	before  float64    // requests in the pieces before the first of course
}

// Streams of random numbers, so that what is drawn for one thing moves no other.
const (
	streamShape = iota + 101
	streamArrivals
)

// NewTimes returns the times of a course that ends after lasting. Evenly spaced
// requests are as many as the course has, rounded. The seed is of Poisson arrivals:
// each load needs its own.
func NewTimes(course []Piece, lasting time.Duration, a Arrivals, seed uint64) *Times {
	t := &Times{course: course, lasting: lasting, left: math.MaxInt}
	if a == Poisson {
		t.random = rand.New(rand.NewPCG(seed, streamArrivals))
		t.next = t.random.ExpFloat64()
	} else {
		t.left = int(math.Round(Requests(course, lasting)))
	}
	return t
}

// Next is when the next request is sent, after the load's start. Times do not
// decrease. It reports false when there is none any more.
func (t *Times) Next() (time.Duration, bool) {
	for t.left > 0 && len(t.course) > 0 {
		piece, until := t.course[0], t.lasting
		if len(t.course) > 1 {
			until = min(until, t.course[1].At)
		}
		lasts := (until - piece.At).Seconds()
		holds := piece.requests(lasts)
		if wanted := t.next - t.before; wanted < holds {
			if t.left--; t.random != nil {
				t.next += t.random.ExpFloat64()
			} else {
				t.next++
			}
			at := piece.At + time.Duration(math.Round(piece.after(wanted)*float64(time.Second)))
			return min(at, until), true
		}
		t.before += holds
		t.course = t.course[1:]
	}
	return 0, false
}

// CheckOrder reports steps that are not in the order of time.
func CheckOrder(steps []Step) error {
	for i := 1; i < len(steps); i++ {
		if steps[i].At <= steps[i-1].At {
			return fmt.Errorf("the rate at %s comes after that at %s: write them in the order of time", steps[i].At, steps[i-1].At)
		}
	}
	return nil
}

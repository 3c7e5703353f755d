package results

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dfaas/dfaas/internal/experiment/histogram"
)

const (
	// MaxBins is how many stretches of time are told apart. They are a second long, and
	// twice as long whenever there would be more.
	MaxBins = 2000
	// maxNames is how many statuses or nodes are told apart; Others are the rest.
	maxNames = 100
	maxName  = 80 // bytes of a node's id
	// MaxSpan is how far apart the first and the last request may be.
	MaxSpan = 366 * 24 * time.Hour
)

// Others are the statuses and nodes for which there was no place.
const Others = "others"

// Course is what became of an attack's requests in the course of time.
type Course struct {
	Name        string
	Start, End  time.Time // when the first and the last request were sent
	Statuses    []string  // that there were: "200"; "0" is no answer
	Nodes       []string  // that executed what was served, as the answers name them
	Total       Bin
	Width       time.Duration // of a bin
	Bins        []Bin         // without a gap; the first begins Offset after Start
	Offset      time.Duration
	open        map[int64]*Bin // by number, from zero on
	zero        time.Time      // begin of bin 0
	first, last int64
}

// Bin counts the requests that were sent in one stretch of time.
type Bin struct {
	Sent, Served uint64
	Status       []uint64 // as Course.Statuses
	ByNode       []uint64 // of those served, as Course.Nodes
	Latency      histogram.Histogram
}

// sample is what is kept of a result.
type sample struct {
	at      time.Time
	latency time.Duration
	status  uint16
	node    string
}

func (s *sample) served() bool { return s.status >= 200 && s.status < 300 }

// add counts samples; the earliest of the first is where time begins.
func (c *Course) add(samples []sample) {
	if c.open == nil && len(samples) > 0 {
		c.open, c.Width, c.zero = make(map[int64]*Bin), time.Second, samples[0].at
		for _, s := range samples {
			if s.at.Before(c.zero) {
				c.zero = s.at
			}
		}
		c.Start, c.End = c.zero, c.zero
	}
	for _, s := range samples {
		if s.at.Before(c.Start) {
			c.Start = s.at
		}
		if s.at.After(c.End) {
			c.End = s.at
		}
		status, node := place(&c.Statuses, strconv.Itoa(int(s.status))), -1
		if s.served() {
			node = place(&c.Nodes, s.node)
		}
		c.Total.count(s, status, node)
		c.bin(s.at).count(s, status, node)
	}
}

func (b *Bin) count(s sample, status, node int) {
	b.Sent++
	increase(&b.Status, status, 1)
	if node >= 0 {
		b.Served++
		b.Latency.Add(s.latency)
		increase(&b.ByNode, node, 1)
	}
}

func (b *Bin) merge(other *Bin) {
	b.Sent += other.Sent
	b.Served += other.Served
	b.Latency.Merge(&other.Latency)
	for i, n := range other.Status {
		increase(&b.Status, i, n)
	}
	for i, n := range other.ByNode {
		increase(&b.ByNode, i, n)
	}
}

func increase(counts *[]uint64, i int, by uint64) {
	for len(*counts) <= i {
		*counts = append(*counts, 0)
	}
	(*counts)[i] += by
}

// at is a count that may not have been made.
func at(counts []uint64, i int) uint64 {
	if i < len(counts) {
		return counts[i]
	}
	return 0
}

// Of returns how many requests of the bin had the status Statuses[i].
func (b *Bin) Of(i int) uint64 { return at(b.Status, i) }

// By returns how many requests of the bin the node Nodes[i] served.
func (b *Bin) By(i int) uint64 { return at(b.ByNode, i) }

// place is where a name stands in the list, which it is added to.
func place(names *[]string, name string) int {
	if i := slices.Index(*names, name); i >= 0 {
		return i
	}
	if len(*names) == maxNames-1 {
		name = Others
	}
	if len(*names) >= maxNames {
		return maxNames - 1
	}
	*names = append(*names, name)
	return len(*names) - 1
}

// bin is the one of a time.
func (c *Course) bin(t time.Time) *Bin {
	at := c.number(t)
	if len(c.open) == 0 {
		c.first, c.last = at, at
	}
	for max(c.last, at)-min(c.first, at) >= MaxBins {
		c.widen()
		at = c.number(t)
	}
	c.first, c.last = min(c.first, at), max(c.last, at)
	b := c.open[at]
	if b == nil {
		b = new(Bin)
		c.open[at] = b
	}
	return b
}

func (c *Course) number(t time.Time) int64 { return floorDivide(int64(t.Sub(c.zero)), int64(c.Width)) }

func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// widen puts each two bins together.
func (c *Course) widen() {
	wider := make(map[int64]*Bin, len(c.open)/2+1)
	for at, b := range c.open {
		at = floorDivide(at, 2)
		if half := wider[at]; half != nil {
			half.merge(b)
		} else {
			wider[at] = b
		}
	}
	c.open, c.Width = wider, 2*c.Width
	c.first, c.last = floorDivide(c.first, 2), floorDivide(c.last, 2)
}

// close is told when there are no more samples.
func (c *Course) close() {
	c.Bins = make([]Bin, c.last-c.first+1)
	for at, b := range c.open {
		c.Bins[at-c.first] = *b
	}
	c.Offset = c.zero.Add(time.Duration(c.first) * c.Width).Sub(c.Start)
	c.open = nil
}

// Rename gives the nodes other names.
func (c *Course) Rename(name func(id string) string) {
	for i, id := range c.Nodes {
		if id != Others && id != Unknown {
			c.Nodes[i] = name(id)
		}
	}
}

// Rate is what was sent on average, requests/s: n requests have n-1 gaps between them.
func (c *Course) Rate() float64 {
	if lasted := c.End.Sub(c.Start).Seconds(); lasted > 0 {
		return float64(c.Total.Sent-1) / lasted
	}
	return float64(c.Total.Sent)
}

// printable is a node's id as it may be shown.
func printable(id string) string {
	id = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, id[:min(len(id), maxName)])
	if id == "" {
		return Unknown
	}
	return id
}

package live

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// patience is how long after its end a second is drawn; later results of it
// are in the summary only.
const patience = 400 * time.Millisecond

// backlog is the number of results that may wait to be counted.
const backlog = 10_000

// Board draws a line for every second of an experiment.
type Board struct {
	style   Style
	out     io.Writer
	samples chan summary.Sample
}

// NewBoard returns a board that writes to out.
func NewBoard(out io.Writer, style Style) *Board {
	return &Board{style: style, out: out, samples: make(chan summary.Sample, backlog)}
}

// Observe counts one result. It never blocks: what the board cannot follow is
// not drawn. Safe for concurrent use.
func (b *Board) Observe(s summary.Sample) {
	select {
	case b.samples <- s:
	default:
	}
}

// Run draws the whole seconds from zero until duration is over, or ctx ends.
func (b *Board) Run(ctx context.Context, zero time.Time, duration time.Duration) {
	open := make(map[int]*Counts)
	last := int((duration + time.Second - 1) / time.Second)
	for second := range last {
		due := time.NewTimer(time.Until(zero.Add(time.Duration(second+1)*time.Second + patience)))
		if !b.collect(ctx, due.C, open, second) {
			due.Stop()
			return
		}
		counts := Counts{}
		if c := open[second]; c != nil {
			counts = *c
		}
		delete(open, second)
		fmt.Fprintln(b.out, b.style.Line(second, counts))
	}
}

// collect counts results until it is time to draw the second.
func (b *Board) collect(ctx context.Context, due <-chan time.Time, open map[int]*Counts, second int) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-due:
			return true
		case s := <-b.samples:
			if at := int(s.At / time.Second); at >= second {
				count(open, at, s)
			}
		}
	}
}

func count(open map[int]*Counts, second int, s summary.Sample) {
	c := open[second]
	if c == nil {
		c = &Counts{ByNode: make(map[string]int), Refused: make(map[string]int)}
		open[second] = c
	}
	c.Sent++
	if s.Status == 200 {
		c.ByNode[s.Executor()]++
	} else {
		c.Refused[strconv.Itoa(s.Status)]++
	}
}

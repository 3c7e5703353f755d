package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/machine"
)

// round holds what was measured on all sides, one right after another.
type round[T any] struct {
	// others is the largest share of the machine's CPU that programs which are
	// none of ours used while one of the sides was measured.
	others float64
	by     [sides]T
}

// tolerable is the largest share of others that does not spoil a round.
const tolerable = 0.05

// inTurn measures all sides n times, one after another, with a break before each
// for the side before to come to rest. The order is reversed from round to round,
// so that neither going first nor going last is anybody's advantage.
//
// Rounds that other programs spoil are done again, until there are n good ones
// or twice n in all. The good ones are returned; if these are less than a third
// of n, that many which were disturbed least. They are chosen by the disturbance
// alone, never by what was measured.
func inTurn[T any](
	ctx context.Context, n int, now func() (usage, error), measure func(side) (T, error), progress func(string, ...any),
) ([]round[T], error) {
	var rounds []round[T]
	good := 0
	for good < n && len(rounds) < 2*n {
		var r round[T]
		for i := range sides {
			if len(rounds)%2 == 1 {
				i = sides - 1 - i
			}
			if err := pause.For(ctx, 200*time.Millisecond); err != nil {
				return nil, err
			}
			before, err := now()
			if err != nil {
				return nil, err
			}
			if r.by[i], err = measure(i); err != nil {
				return nil, fmt.Errorf("%s: %w", i, err)
			}
			after, err := now()
			if err != nil {
				return nil, err
			}
			r.others = max(r.others, othersBetween(before, after))
		}
		if rounds = append(rounds, r); r.others <= tolerable {
			good++
		} else {
			progress("  other programs used up to %.0f %% of the CPU: that round is repeated if possible", 100*r.others)
		}
	}
	slices.SortStableFunc(rounds, func(a, b round[T]) int { return cmp.Compare(a.others, b.others) })
	return rounds[:max(good, (n+2)/3)], nil
}

// column picks one figure of one side from all rounds.
func column[T any](rounds []round[T], s side, figure func(T) float64) []float64 {
	xs := make([]float64, len(rounds))
	for i, r := range rounds {
		xs[i] = figure(r.by[s])
	}
	return xs
}

// usage is CPU time: of the machine, and of what we run on it.
type usage struct {
	machine machine.CPU
	ours    time.Duration
}

// othersBetween is the share of the machine's CPU that was used by others.
func othersBetween(before, after usage) float64 {
	total := after.machine.Total - before.machine.Total
	if total <= 0 {
		return 0
	}
	others := (after.machine.Busy - before.machine.Busy) - (after.ours - before.ours)
	return max(0, float64(others)/float64(total))
}

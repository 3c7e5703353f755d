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
	// asked is the share of the requests that dfaas-spoa was asked about, on the side
	// where that is least.
	asked float64
	by    map[kind]T
}

const (
	// tolerable is the largest share of others that does not spoil a round.
	tolerable = 0.05
	// decided is the least share that was asked about: what is not, for want of time,
	// costs less.
	decided = 0.99
)

// rounds are those of one group that count, and what was seen of all.
type rounds[T any] struct {
	counted []round[T]
	all     int
	asked   float64 // the largest share that was asked about in any round
}

// inTurn measures all sides n times, one after another, with a break before each
// for the side before to come to rest. The order is reversed from round to round,
// so that neither going first nor going last is anybody's advantage. What was
// measured comes with the share of its requests that dfaas-spoa was asked about.
//
// Rounds that other programs spoil, or in which not all was asked about, are done
// again, until there are n good ones or twice n in all. The good ones count; if these
// are less than a third of n, that many which were disturbed least. They are chosen by
// the disturbance alone, never by what was measured. A round in which not all was
// asked about never counts.
func inTurn[T any](
	ctx context.Context, sides []side, n int, now func() (usage, error), measure func(side) (T, float64, error), progress func(string, ...any),
) (rounds[T], error) {
	var done rounds[T]
	good := 0
	for good < n && done.all < 2*n {
		r := round[T]{asked: 1, by: make(map[kind]T)}
		for i := range sides {
			s := sides[i]
			if done.all%2 == 1 {
				s = sides[len(sides)-1-i]
			}
			if err := pause.For(ctx, 200*time.Millisecond); err != nil {
				return done, err
			}
			before, err := now()
			if err != nil {
				return done, err
			}
			measured, asked, err := measure(s)
			if err != nil {
				return done, fmt.Errorf("%s: %w", s.name(), err)
			}
			after, err := now()
			if err != nil {
				return done, err
			}
			r.by[s.kind] = measured
			r.asked = min(r.asked, asked)
			r.others = max(r.others, othersBetween(before, after))
		}
		done.all++
		done.asked = max(done.asked, r.asked)
		switch {
		case r.asked < decided:
			progress("  only %.1f %% of the requests were asked about: that round does not count", 100*r.asked)
			continue
		case r.others <= tolerable:
			good++
		default:
			progress("  other programs used up to %.0f %% of the CPU: that round is repeated if possible", 100*r.others)
		}
		done.counted = append(done.counted, r)
	}
	slices.SortStableFunc(done.counted, func(a, b round[T]) int { return cmp.Compare(a.others, b.others) })
	done.counted = done.counted[:min(len(done.counted), max(good, (n+2)/3))]
	return done, nil
}

// column picks one figure of one side from all rounds that count.
func column[T any](rounds rounds[T], k kind, figure func(T) float64) []float64 {
	xs := make([]float64, len(rounds.counted))
	for i, r := range rounds.counted {
		xs[i] = figure(r.by[k])
	}
	return xs
}

// leastAsked is the smallest share that was asked about in a round that counts.
func (r rounds[T]) leastAsked() float64 {
	least := 1.0
	for _, one := range r.counted {
		least = min(least, one.asked)
	}
	return least
}

// mostByOthers is the largest share of others in a round that counts.
func (r rounds[T]) mostByOthers() float64 {
	most := 0.0
	for _, one := range r.counted {
		most = max(most, one.others)
	}
	return most
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
	others := (after.machine.Programs - before.machine.Programs) - (after.ours - before.ours)
	return max(0, float64(others)/float64(total))
}

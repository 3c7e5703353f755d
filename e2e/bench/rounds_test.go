package bench

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dfaas/dfaas/internal/machine"
)

// clock tells CPU times as they are when others use these shares, one for every
// measurement, of a machine with one CPU.
func clock(shares ...float64) func() (usage, error) {
	var u usage
	calls := 0
	return func() (usage, error) {
		if calls%2 == 1 {
			share := shares[min(calls/2, len(shares)-1)]
			u.machine.Total += time.Second
			u.machine.Busy += 500*time.Millisecond + time.Duration(share*float64(time.Second))
			u.ours += 500 * time.Millisecond
		}
		calls++
		return u, nil
	}
}

func silent(string, ...any) {}

func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []side
		rounds, err := inTurn(t.Context(), 2, clock(0), func(s side) (float64, error) {
			order = append(order, s)
			return float64(len(order)), nil
		}, silent)
		if err != nil {
			t.Fatal(err)
		}
		if want := []side{bare, unasked, dfaas, dfaas, unasked, bare}; !slices.Equal(order, want) {
			t.Errorf("measured %v, want %v", order, want)
		}
		got := column(rounds, unasked, func(x float64) float64 { return x })
		if want := []float64{2, 5}; !slices.Equal(got, want) {
			t.Errorf("of %s: %v, want %v", unasked, got, want)
		}
	})
}

// The second and the third round are spoilt, by the last and the first of their
// measurements.
func TestInTurnRepeatsSpoiltRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		rounds, err := inTurn(t.Context(), 2, clock(0, 0, 0.01, 0, 0, 0.5, 0.3, 0, 0, 0.02, 0.03, 0), func(side) (int, error) {
			calls++
			return (calls - 1) / int(sides), nil
		}, silent)
		if err != nil || calls != 4*int(sides) {
			t.Fatalf("%d measurements, %v", calls, err)
		}
		for i, want := range []int{0, 3} {
			if r := rounds[i]; r.by[bare] != want || r.others > tolerable {
				t.Errorf("kept round %d with %v by others, want round %d", r.by[bare], r.others, want)
			}
		}
	})
}

// On a machine that is never quiet there is an end to it, too.
func TestInTurnGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		rounds, err := inTurn(t.Context(), 3, clock(0.4), func(side) (int, error) { calls++; return 0, nil }, silent)
		if err != nil || len(rounds) != 1 || calls != 6*int(sides) {
			t.Errorf("%d rounds kept of %d measurements, %v", len(rounds), calls, err)
		}
	})
}

func TestInTurnStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, err := inTurn(ctx, 5, clock(0), func(side) (int, error) {
			calls++
			cancel()
			return 0, nil
		}, silent)
		if !errors.Is(err, context.Canceled) || calls != 1 {
			t.Errorf("%d measurements, %v", calls, err)
		}
		broken := errors.New("broken")
		if _, err := inTurn(t.Context(), 5, clock(0), func(side) (int, error) { return 0, broken }, silent); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOthersBetween(t *testing.T) {
	at := func(busy, total, ours time.Duration) usage { return usage{machine.CPU{Busy: busy, Total: total}, ours} }
	tests := []struct {
		name          string
		before, after usage
		want          float64
	}{
		{"nobody", at(0, 0, 0), at(2, 4, 2), 0},
		{"a quarter", at(10, 100, 5), at(13, 104, 7), 0.25},
		{"rounding below zero", at(0, 0, 0), at(2, 4, 3), 0},
		{"no time", at(1, 1, 1), at(1, 1, 1), 0},
	}
	for _, test := range tests {
		if got := othersBetween(test.before, test.after); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

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
			u.machine.Programs += 500*time.Millisecond + time.Duration(share*float64(time.Second))
			u.ours += 500 * time.Millisecond
		}
		calls++
		return u, nil
	}
}

func silent(string, ...any) {}

// three are the sides of most groups.
var three = []side{{kind: bare}, {kind: unasked}, {kind: dfaas}}

func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []kind
		rounds, err := inTurn(t.Context(), three, 2, clock(0), func(s side) (float64, float64, error) {
			order = append(order, s.kind)
			return float64(len(order)), 1, nil
		}, silent)
		if err != nil {
			t.Fatal(err)
		}
		if want := []kind{bare, unasked, dfaas, dfaas, unasked, bare}; !slices.Equal(order, want) {
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
		rounds, err := inTurn(t.Context(), three, 2, clock(0, 0, 0.01, 0, 0, 0.5, 0.3, 0, 0, 0.02, 0.03, 0), func(side) (int, float64, error) {
			calls++
			return (calls - 1) / len(three), 1, nil
		}, silent)
		if err != nil || calls != 4*len(three) || len(rounds.counted) != 2 {
			t.Fatalf("%d measurements, %d rounds, %v", calls, len(rounds.counted), err)
		}
		for i, want := range []int{0, 3} {
			if r := rounds.counted[i]; r.by[bare] != want || r.others > tolerable {
				t.Errorf("kept round %d with %v by others, want round %d", r.by[bare], r.others, want)
			}
		}
	})
}

// A round that left requests undecided never counts, however quiet the machine was.
func TestInTurnLeavesOutUndecidedRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shares, calls := []float64{0.44, 0.995, 0.98, 1}, 0
		measure := func(s side) (int, float64, error) {
			calls++
			if s.kind != dfaas {
				return 0, 1, nil
			}
			return calls, shares[min((calls-1)/len(three), len(shares)-1)], nil
		}
		rounds, err := inTurn(t.Context(), three, 2, clock(0), measure, silent)
		if err != nil || len(rounds.counted) != 2 || rounds.all != 4 || rounds.leastAsked() != 0.995 {
			t.Fatalf("%d of %d rounds count, from %v on, %v", len(rounds.counted), rounds.all, rounds.leastAsked(), err)
		}
		shares = []float64{0.5, 0.9}
		calls = 0
		if rounds, err = inTurn(t.Context(), three, 2, clock(0), measure, silent); err != nil || len(rounds.counted) != 0 || rounds.asked != 0.9 {
			t.Errorf("%d rounds count, %v asked at best, %v", len(rounds.counted), rounds.asked, err)
		}
	})
}

// On a machine that is never quiet there is an end to it, too.
func TestInTurnGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		rounds, err := inTurn(t.Context(), three, 3, clock(0.4), func(side) (int, float64, error) { calls++; return 0, 1, nil }, silent)
		if err != nil || len(rounds.counted) != 1 || calls != 6*len(three) {
			t.Errorf("%d rounds kept of %d measurements, %v", len(rounds.counted), calls, err)
		}
	})
}

func TestInTurnStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, err := inTurn(ctx, three, 5, clock(0), func(side) (int, float64, error) {
			calls++
			cancel()
			return 0, 1, nil
		}, silent)
		if !errors.Is(err, context.Canceled) || calls != 1 {
			t.Errorf("%d measurements, %v", calls, err)
		}
		broken := errors.New("broken")
		if _, err := inTurn(t.Context(), three, 5, clock(0), func(side) (int, float64, error) { return 0, 1, broken }, silent); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOthersBetween(t *testing.T) {
	at := func(busy, total, ours time.Duration) usage {
		return usage{machine.CPU{Programs: busy, Total: total}, ours}
	}
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

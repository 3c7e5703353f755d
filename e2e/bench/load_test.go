package bench

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []side
		note := func(s side) error { order = append(order, s); return nil }
		if err := inTurn(t.Context(), 2, note); err != nil {
			t.Fatal(err)
		}
		if want := []side{bare, unasked, dfaas, dfaas, unasked, bare}; !slices.Equal(order, want) {
			t.Errorf("measured %v, want %v", order, want)
		}
	})
}

func TestInTurnStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := inTurn(ctx, 5, func(side) error {
			calls++
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) || calls != 1 {
			t.Errorf("%d calls after the end, %v", calls, err)
		}
		broken := errors.New("broken")
		if err := inTurn(t.Context(), 5, func(side) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

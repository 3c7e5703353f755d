package faults

import (
	"context"
	"errors"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/clock"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// ownClock builds the two programs that look at the clock into dir.
func ownClock(ctx context.Context, dir string) (federation.Binaries, error) {
	programs, err := clock.Programs(ctx, dir, false)
	if errors.Is(err, clock.ErrUnavailable) {
		return nil, notPossible{err}
	}
	return programs, err
}

// jump sets the faulty node's clock wrong, and right after a while.
func jump(by time.Duration) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		err := steps(
			func() error { return clock.Set(b.own, by) },
			func() error { return pause.For(ctx, hang) },
		)
		return nil, errors.Join(err, clock.Set(b.own, 0))
	}
}

// wrongAtStart starts the faulty node's programs by a wrong clock, and anew when
// it is right.
func wrongAtStart(by time.Duration) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		start := func() error {
			return steps(
				func() error { return b.node(faulty).Do(ctx, scenario.Restart, scenario.Controller) },
				func() error { return b.node(faulty).Do(ctx, scenario.Restart, scenario.SPOA) },
			)
		}
		err := steps(
			func() error { return clock.Set(b.own, by) },
			start,
			func() error { return pause.For(ctx, hang) },
		)
		return nil, errors.Join(err, clock.Set(b.own, 0), start())
	}
}

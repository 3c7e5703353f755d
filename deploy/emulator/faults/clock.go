package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/clock"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// ownClock builds the two programs that look at the clock into dir.
func ownClock(ctx context.Context, dir string) (federation.Binaries, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("programs with a clock of their own: %w", err)
	}
	const module = "github.com/dfaas/dfaas/"
	err := clock.Build(ctx, ".", dir, false, module+"spoa/cmd/dfaas-spoa", module+"controller/cmd/dfaas-controller")
	if errors.Is(err, clock.ErrUnavailable) {
		return nil, notPossible{err}
	}
	return federation.Binaries{
		scenario.SPOA: filepath.Join(dir, "dfaas-spoa"), scenario.Controller: filepath.Join(dir, "dfaas-controller"),
	}, err
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

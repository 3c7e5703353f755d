package faults

import (
	"context"
	"errors"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

const (
	linkDelay = 5 * time.Millisecond   // of each link, each way, as in one city
	badDelay  = 200 * time.Millisecond // what a bad link has more
	badLoss   = 0.1
)

// halve cuts the faulty node and the partner off from the two others: each half has
// room for its users.
func halve(lasting time.Duration) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		err := steps(
			func() error { return b.f.Partition(faulty, partner) },
			func() error { return pause.For(ctx, lasting) },
		)
		return nil, errors.Join(err, b.f.Heal())
	}
}

// linkDown takes down the link between the two nodes that send each other requests.
func linkDown(lasting time.Duration) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		err := steps(
			func() error { return b.f.SetLinkDown(faulty, healthy, true) },
			func() error { return pause.For(ctx, lasting) },
		)
		return nil, errors.Join(err, b.f.SetLinkDown(faulty, healthy, false))
	}
}

// linkBad makes that link one over which there is no serving.
func linkBad(lasting time.Duration) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		was := topology.Link{Delay: linkDelay}
		set := func(to topology.Link) error {
			return b.f.ChangeLink(faulty, healthy, func(l *topology.Link) error { *l = to; return nil })
		}
		err := steps(
			func() error { return set(topology.Link{Delay: linkDelay + badDelay, Loss: badLoss}) },
			func() error { return pause.For(ctx, lasting) },
		)
		return nil, errors.Join(err, set(was))
	}
}

package faults

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/deploy/emulator/churn"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
)

const (
	churnMembers = 200
	churnTime    = time.Minute
	// churnLife is how long a member stays.
	churnLife = 3 * time.Second
	// churnCapacity is what each offers of the function of the faulty node's users.
	churnCapacity = 5.0
)

// comeAndGo lets members join and leave.
func comeAndGo(ctx context.Context, b *testbed) (notes []string, err error) {
	options, err := churn.OptionsFor(ctx, b.f, "127.0.0.1", false)
	if err != nil {
		return nil, err
	}
	house, err := churn.Open(options)
	if err != nil {
		return nil, err
	}
	defer house.Close()
	begin := time.Now()
	group, living := errgroup.WithContext(ctx)
	for i := range churnMembers {
		if pause.For(living, time.Until(begin.Add(time.Duration(i)*(churnTime-churnLife)/churnMembers))) != nil {
			break
		}
		visit := churn.Visit{Function: here, Capacity: churnCapacity, Life: churnLife, Polite: i%2 == 0}
		group.Go(func() error { return house.Receive(living, visit) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%d members joined and left in %.0f s", churnMembers, time.Since(begin).Seconds())}, nil
}

// Package pause lets time pass, as the faults and the load of an experiment need
// it, unless the experiment ends before.
package pause

import (
	"context"
	"time"
)

// For returns after d, or early, with the cause, when ctx ends.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

package faasd

import (
	"context"
	"time"
)

// DefaultInterval is how often Watch asks when nothing else is said.
const DefaultInterval = time.Second

// Snapshot is one look at the gateway. With Err set List is empty: it was not
// there.
type Snapshot struct {
	List
	Err error
}

// Watch looks at the gateway every interval (0: DefaultInterval), the first time
// at once, and publishes each look. The channel holds one snapshot, the newest:
// Watch never waits for its consumer, and a slow consumer misses older looks
// only. The channel is closed when ctx ends.
func (c *Client) Watch(ctx context.Context, interval time.Duration) <-chan Snapshot {
	if interval <= 0 {
		interval = DefaultInterval
	}
	snapshots := make(chan Snapshot, 1)
	go c.watch(ctx, interval, snapshots)
	return snapshots
}

func (c *Client) watch(ctx context.Context, interval time.Duration, snapshots chan Snapshot) {
	defer close(snapshots)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		list, err := c.List(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case <-snapshots: // the consumer did not come for it: outdated
		default:
		}
		snapshots <- Snapshot{List: list, Err: err} // room: this goroutine alone sends

		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

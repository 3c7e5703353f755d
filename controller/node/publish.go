package node

import (
	"context"
	"time"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/wire"
)

const publishTimeout = time.Second

// publisher sends announcements out. It has a goroutine of its own, since the
// overlay may make it wait.
type publisher struct {
	overlay Overlay
	outbox  mailbox[wire.Announcement]
	events  chan core.Event
}

func newPublisher(o Overlay) *publisher {
	return &publisher{overlay: o, outbox: newMailbox[wire.Announcement](), events: make(chan core.Event)}
}

func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-p.outbox:
			e := p.publish(ctx, a)
			select {
			case p.events <- e:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (p *publisher) publish(ctx context.Context, a wire.Announcement) core.Announced {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	left, err := p.overlay.Publish(ctx, a)
	return core.Announced{Left: left, Err: err}
}

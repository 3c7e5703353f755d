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
	outbox  mailbox[outgoing]
	events  chan core.Event
}

// outgoing is an announcement, and whether it is for those whom feeds do not reach, too.
type outgoing struct {
	wire.Announcement
	everybody bool
}

func newPublisher(o Overlay) *publisher {
	return &publisher{overlay: o, outbox: newMailbox[outgoing](), events: make(chan core.Event)}
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

// say sends an announcement out instead of one that still waits. If that was for
// everybody, so is this one. Only the loop may call it.
func (p *publisher) say(a wire.Announcement, everybody bool) {
	select {
	case waits := <-p.outbox:
		everybody = everybody || waits.everybody
	default:
	}
	p.outbox.put(outgoing{a, everybody})
}

func (p *publisher) publish(ctx context.Context, a outgoing) core.Announced {
	if !a.everybody {
		left, err := p.overlay.Tell(a.Announcement)
		return core.Announced{Left: left, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	left, err := p.overlay.Publish(ctx, a.Announcement)
	return core.Announced{Left: left, Err: err}
}

package overlay

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rs/zerolog"
)

const (
	// A peer out of reach is dialled again after a tenth of the time for which it
	// has been so, but neither sooner nor later than this: whatever parted the
	// two, they find each other again soon by that measure.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	retryShare = 10
	// stable is how long a connection must have lasted to be taken for a
	// success. A peer that does not allow this node lets it connect at first.
	stable = 5 * time.Second
	// forgetAfter is how long a peer that is not a bootstrap peer is dialled
	// in vain before it is given up.
	forgetAfter = time.Hour
	maxTargets  = 512
	maxDials    = 8 // at a time
)

// target is a peer that should be connected.
type target struct {
	info      peer.AddrInfo
	bootstrap bool // never given up
	connected bool
	opened    time.Time // when connected was last seen to begin
	dialling  bool
	dropped   int       // connections that did not last, since the last that did
	since     time.Time // out of reach, or dropped, since then
	next      time.Time // no dial before
}

// keeper keeps this node connected. It dials the bootstrap peers for ever, and
// peers that were found or lost for an hour, with growing pauses. Its run
// goroutine owns the targets.
type keeper struct {
	self      peer.ID
	connected func(peer.ID) bool
	dial      func(context.Context, peer.AddrInfo) error
	dropped   func(peer.ID) // told of connections that did not last
	log       zerolog.Logger

	targets map[peer.ID]*target
	dials   int
	found   chan peer.AddrInfo
	done    chan dialled
}

// dialled is the outcome of one dial.
type dialled struct {
	id  peer.ID
	err error
}

// newKeeper returns the overlay's keeper, with the bootstrap peers as its first
// targets.
func newKeeper(o *Overlay, bootstrap []peer.AddrInfo) *keeper {
	k := &keeper{
		self:      o.host.ID(),
		connected: o.connected,
		dial:      o.dial,
		dropped:   o.dropped,
		log:       o.log,
		targets:   make(map[peer.ID]*target),
		found:     make(chan peer.AddrInfo, 64),
		done:      make(chan dialled, maxDials),
	}
	for _, info := range bootstrap {
		k.targets[info.ID] = &target{info: info, bootstrap: true, since: time.Now()}
	}
	return k
}

// want asks for a connection to a peer that was heard of. It never blocks; when
// too many are asked for at once, some are forgotten until heard of again.
func (k *keeper) want(info peer.AddrInfo) {
	select {
	case k.found <- info:
	default:
	}
}

// run works until ctx ends and every dial has returned. events are libp2p's
// event.EvtPeerConnectednessChanged.
func (k *keeper) run(ctx context.Context, events <-chan any) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for ; k.dials > 0; k.dials-- {
				<-k.done
			}
			return
		case info := <-k.found:
			k.add(info, time.Now())
		case e := <-events:
			if change, ok := e.(event.EvtPeerConnectednessChanged); ok {
				k.changed(change.Peer, time.Now())
			}
		case d := <-k.done:
			k.returned(d, time.Now())
		case <-timer.C:
		}
		for _, info := range k.due(time.Now()) {
			go func() { k.done <- dialled{info.ID, k.dial(ctx, info)} }()
		}
		timer.Reset(k.pause(time.Now()))
	}
}

// add makes the peer a target, to be dialled at the given time.
func (k *keeper) add(info peer.AddrInfo, when time.Time) {
	if info.ID != k.self && k.targets[info.ID] == nil && len(k.targets) < maxTargets {
		t := &target{info: info, since: when, next: when}
		k.targets[info.ID] = t
		k.observe(t, when)
	}
}

// changed follows a peer that was connected or lost.
func (k *keeper) changed(id peer.ID, now time.Time) {
	k.add(peer.AddrInfo{ID: id}, now)
	if t := k.targets[id]; t != nil {
		k.observe(t, now)
	}
}

// returned takes in the outcome of a dial.
func (k *keeper) returned(d dialled, now time.Time) {
	k.dials--
	t := k.targets[d.id]
	t.dialling = false
	k.observe(t, now)
	if t.connected {
		return
	}
	if d.err == nil {
		t.turnedAway(now)
	} else {
		t.outOfReach(now)
		k.log.Debug().Stringer("peer", d.id).Dur("for_ms", now.Sub(t.since)).Str("error", oneLine(d.err)).Msg("cannot connect to peer")
	}
	if !t.bootstrap && now.Sub(t.since) > forgetAfter {
		delete(k.targets, d.id)
	}
}

// observe notes whether the target is connected. What counts is what is true by
// now, not what an event said: events arrive late.
func (k *keeper) observe(t *target, now time.Time) {
	was := t.connected
	t.connected = k.connected(t.info.ID)
	switch {
	case t.connected && !was:
		t.opened = now
	case was && !t.connected && now.Sub(t.opened) >= stable:
		t.dropped, t.since = 0, now
		t.outOfReach(now)
	case was && !t.connected:
		k.dropped(t.info.ID)
		t.turnedAway(now)
	}
}

// outOfReach puts off the next dial, the longer the peer has been out of reach.
func (t *target) outOfReach(now time.Time) { t.postpone(now, now.Sub(t.since)/retryShare) }

// turnedAway counts a connection that the peer did not keep, and puts off the
// next dial the longer the more there were.
func (t *target) turnedAway(now time.Time) {
	t.postpone(now, firstRetry<<min(t.dropped, 16))
	t.dropped++
}

func (t *target) postpone(now time.Time, pause time.Duration) {
	t.next = now.Add(jitter(min(max(pause, firstRetry), lastRetry)))
}

// due returns the peers to dial now and marks them as being dialled. When there are
// too many, bootstrap peers go first, then those that are due the longest: what
// others say of peers must not keep this node from those that it was told of.
func (k *keeper) due(now time.Time) []peer.AddrInfo {
	var targets []*target
	for _, t := range k.targets {
		if t.waiting() && !t.next.After(now) {
			targets = append(targets, t)
		}
	}
	slices.SortFunc(targets, func(a, b *target) int {
		switch {
		case a.bootstrap == b.bootstrap:
			return a.next.Compare(b.next)
		case a.bootstrap:
			return -1
		default:
			return 1
		}
	})
	targets = targets[:min(len(targets), maxDials-k.dials)]
	due := make([]peer.AddrInfo, len(targets))
	for i, t := range targets {
		t.dialling = true
		k.dials++
		due[i] = t.info
	}
	return due
}

// pause is how long there is nothing to do unless something happens.
func (k *keeper) pause(now time.Time) time.Duration {
	pause := time.Minute
	if k.dials == maxDials {
		return pause // until one returns
	}
	for _, t := range k.targets {
		if t.waiting() {
			pause = min(pause, t.next.Sub(now))
		}
	}
	return max(pause, 0)
}

func (t *target) waiting() bool { return !t.connected && !t.dialling }

// jitter varies a pause by a quarter, so that nodes do not dial in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + 0.5*rand.Float64()))
}

// oneLine shortens libp2p's dial errors, which list every address on a line of
// its own.
func oneLine(err error) string {
	const limit = 240
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return text
}

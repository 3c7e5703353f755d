package overlay

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
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
	// A peer that others only speak of may be made up. Few of these are dialled,
	// and not for long: those that are there will be heard of again.
	forgetHearsayAfter = 10 * time.Minute
	maxHearsay         = 128
	// What a packet on the local network says of a peer may be made up, too, and
	// who was connected for a moment only may be one of many that somebody throws
	// away. Fewer of these are kept, and none that was dialled in vain twice.
	maxStrangers  = 64
	strangerTries = 2
	maxDials      = 8 // at a time
	maxAddrs      = 8 // of one peer, besides those of the configuration
)

// target is a peer that should be connected.
type target struct {
	info      peer.AddrInfo  // with the addresses of the configuration
	addrs     []ma.Multiaddr // others where it was found, or connected last
	bootstrap bool           // never given up
	hearsay   bool           // others relayed what it announced, nothing else is known of it
	stranger  netip.Addr     // from where one hears of it that was never connected for long; else zero
	failed    int            // dials of a stranger in vain
	connected bool
	opened    time.Time     // when connected was last seen to begin
	lasted    time.Duration // the longest connection
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
	addrs     func(peer.ID) []ma.Multiaddr // where the peer is, or was until just now
	source    func(peer.ID) netip.Addr     // from where it is connected; never the zero Addr
	dial      func(context.Context, peer.AddrInfo) error
	dropped   func(peer.ID) // told of connections that did not last
	log       zerolog.Logger

	targets map[peer.ID]*target
	dials   int
	found   chan found
	done    chan dialled
}

// found is a peer to connect to.
type found struct {
	info    peer.AddrInfo
	hearsay bool
	met     bool       // it is connected, or was until just now
	source  netip.Addr // of that connection, or of the packet that told of it
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
		addrs:     o.host.Peerstore().Addrs,
		source:    o.source,
		dial:      o.dial,
		dropped:   o.dropped,
		log:       o.log,
		targets:   make(map[peer.ID]*target),
		found:     make(chan found, 64),
		done:      make(chan dialled, maxDials),
	}
	for _, info := range bootstrap {
		k.targets[info.ID] = &target{info: info, bootstrap: true, since: time.Now()}
	}
	return k
}

// want asks for a connection to a peer that was found. It never blocks; when
// too many are asked for at once, some are forgotten until found again.
func (k *keeper) want(info peer.AddrInfo) { k.offer(found{info: info}) }

// wantHearsay is want for a peer that others relayed the words of.
func (k *keeper) wantHearsay(id peer.ID) { k.offer(found{info: peer.AddrInfo{ID: id}, hearsay: true}) }

// wantNeighbour is want for a peer that a packet on the local network told of.
func (k *keeper) wantNeighbour(info peer.AddrInfo, source netip.Addr) {
	k.offer(found{info: info, source: source})
}

func (k *keeper) offer(f found) {
	select {
	case k.found <- f:
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
		case f := <-k.found:
			k.add(f, time.Now())
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

// add makes the peer a target, to be dialled at the given time, or learns where it
// is now.
func (k *keeper) add(f found, when time.Time) {
	t := k.targets[f.info.ID]
	switch {
	case f.info.ID == k.self:
	case t != nil && !f.hearsay:
		if t.hearsay { // it is there, after all
			t.hearsay, t.since, t.next, t.stranger = false, when, when, f.source
		}
		if !f.source.IsValid() { // somebody trusted names it
			t.stranger = netip.Addr{}
		}
		if t.moved(f.info.Addrs) && t.next.After(when.Add(firstRetry)) {
			t.next = when.Add(firstRetry)
		}
	case t != nil || f.hearsay && k.hearsay() >= maxHearsay:
	case !f.met && f.source.IsValid() && !k.makeRoomFor(f.source):
	case len(k.targets) >= maxTargets && (f.hearsay || !f.met && f.source.IsValid() || !k.makeRoom()):
	default:
		t = &target{info: peer.AddrInfo{ID: f.info.ID}, hearsay: f.hearsay, stranger: f.source, since: when, next: when}
		t.moved(f.info.Addrs)
		k.targets[f.info.ID] = t
		k.observe(t, when)
	}
}

// makeRoom gives up the peer out of reach to which the longest connection was the
// shortest, and of several the one that has been so for the longest: whoever makes
// peers up would have to keep them connected for as long as others are.
func (k *keeper) makeRoom() bool {
	var worst *target
	for _, t := range k.targets {
		if t.waiting() && !t.bootstrap && (worst == nil ||
			cmp.Or(cmp.Compare(t.lasted, worst.lasted), t.since.Compare(worst.since)) < 0) {
			worst = t
		}
	}
	if worst == nil {
		return false
	}
	delete(k.targets, worst.info.ID)
	return true
}

// makeRoomFor gives up a stranger out of reach, if there are too many, of the source that has
// told of the most, and reports whether one more from this source may be kept:
// whoever makes peers up makes room for those that others tell of.
func (k *keeper) makeRoomFor(source netip.Addr) bool {
	strangers, most := 0, 0
	count := make(map[netip.Addr]int)
	for _, t := range k.targets {
		if t.stranger.IsValid() && !t.connected {
			strangers++
			count[t.stranger]++
			most = max(most, count[t.stranger])
		}
	}
	if strangers < maxStrangers {
		return true
	}
	var worst *target
	for _, t := range k.targets {
		if t.waiting() && t.stranger.IsValid() && count[t.stranger] == most && (worst == nil || t.since.Before(worst.since)) {
			worst = t
		}
	}
	if worst == nil || count[source] >= most {
		return false
	}
	delete(k.targets, worst.info.ID)
	return true
}

// moved notes where else the peer is, the newest first, and reports whether that is
// new.
func (t *target) moved(addrs []ma.Multiaddr) bool {
	known := func(addr ma.Multiaddr) bool {
		return ma.Contains(t.addrs, addr) || ma.Contains(t.info.Addrs, addr)
	}
	fresh := slices.DeleteFunc(slices.Clone(addrs), known)
	t.addrs = append(fresh, t.addrs...)
	t.addrs = t.addrs[:min(len(t.addrs), maxAddrs)]
	return len(fresh) > 0
}

// where returns what to dial.
func (t *target) where() peer.AddrInfo {
	return peer.AddrInfo{ID: t.info.ID, Addrs: slices.Concat(t.info.Addrs, t.addrs)}
}

// hearsay returns how many targets are known by hearsay alone.
func (k *keeper) hearsay() int {
	n := 0
	for _, t := range k.targets {
		if t.hearsay {
			n++
		}
	}
	return n
}

// changed follows a peer that was connected or lost.
func (k *keeper) changed(id peer.ID, now time.Time) {
	k.add(found{info: peer.AddrInfo{ID: id}, met: true, source: k.source(id)}, now)
	if t := k.targets[id]; t != nil {
		k.observe(t, now)
	}
}

// returned takes in the outcome of a dial.
func (k *keeper) returned(d dialled, now time.Time) {
	k.dials--
	t := k.targets[d.id]
	t.dialling = false
	was := t.connected
	k.observe(t, now)
	switch {
	case t.connected:
		return
	case was: // observe saw to it
	case d.err != nil:
		t.outOfReach(now)
		t.failed++
		k.log.Debug().Stringer("peer", d.id).Dur("for_ms", now.Sub(t.since)).Str("error", oneLine(d.err)).Msg("cannot connect to peer")
	default: // it came and went between two looks
		k.turnedAway(t, now)
	}
	patience := forgetAfter
	if t.hearsay {
		patience = forgetHearsayAfter
	}
	if !t.bootstrap && (now.Sub(t.since) > patience || t.stranger.IsValid() && t.failed >= strangerTries) {
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
		t.opened, t.hearsay = now, false
		return
	case t.connected || !was:
		return
	}
	// libp2p forgets soon where a peer was.
	t.moved(k.addrs(t.info.ID))
	lasted := now.Sub(t.opened)
	t.lasted = max(t.lasted, lasted)
	if lasted < stable {
		k.turnedAway(t, now)
		if t.stranger.IsValid() && !t.dialling && (len(t.addrs) == 0 || !k.makeRoomFor(t.stranger)) {
			delete(k.targets, t.info.ID)
		}
		return
	}
	t.dropped, t.since, t.stranger = 0, now, netip.Addr{}
	t.outOfReach(now)
}

// outOfReach puts off the next dial, the longer the peer has been out of reach.
func (t *target) outOfReach(now time.Time) { t.postpone(now, now.Sub(t.since)/retryShare) }

// turnedAway tells of a connection that the peer did not keep, and puts off the
// next dial the longer the more there were.
func (k *keeper) turnedAway(t *target, now time.Time) {
	k.dropped(t.info.ID)
	t.failed++
	t.postpone(now, firstRetry<<min(t.dropped, 16))
	t.dropped++
}

func (t *target) postpone(now time.Time, pause time.Duration) {
	t.next = now.Add(jitter(min(max(pause, firstRetry), lastRetry)))
}

// due returns the peers to dial now and marks them as being dialled. When there are
// too many, bootstrap peers go first and those known by hearsay last, then those
// that are due the longest: what others say of peers must not keep this node from
// those that it was told of, or has found.
func (k *keeper) due(now time.Time) []peer.AddrInfo {
	var targets []*target
	for _, t := range k.targets {
		if t.waiting() && !t.next.After(now) {
			targets = append(targets, t)
		}
	}
	slices.SortFunc(targets, func(a, b *target) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.next.Compare(b.next))
	})
	targets = targets[:min(len(targets), maxDials-k.dials)]
	due := make([]peer.AddrInfo, len(targets))
	for i, t := range targets {
		t.dialling = true
		k.dials++
		due[i] = t.where()
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

// rank is small for those that are dialled before others.
func (t *target) rank() int {
	switch {
	case t.bootstrap:
		return 0
	case t.hearsay:
		return 3
	case t.stranger.IsValid():
		return 2
	}
	return 1
}

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

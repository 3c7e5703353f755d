package overlay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"golang.org/x/time/rate"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Gossip reaches everybody, of any release and over any number of hops, several times
// over, signed each time. Most of what nodes say is for those that they are connected to,
// and hardly differs from what they said before. So each node has a stream to each of its
// peers, its feed, on which it tells all at first and then what is other (wire.Follower);
// gossip has the whole from time to time, and always while there is anybody whom no feed
// reaches. Who is on the other end of a stream is known from the connection. A peer of
// an earlier release does not know the protocol, and is reached by gossip.

// feedSuffix ends the name of the protocol, after the federation's.
const feedSuffix = "/feed/1"

const (
	// feedTimeout is how long a peer may take to take in what it is told.
	feedTimeout = 10 * time.Second
	// feedRetry is how soon a feed that ended begins anew. The pause doubles, up to
	// feedRetryAtMost, each time that it lasted less than feedBrief: all is told again.
	feedRetry       = time.Second
	feedRetryAtMost = time.Minute
	feedBrief       = 5 * time.Second
	// feedBegins is how many feeds a second of one peer may begin, and feedBeginsAtOnce how
	// many at once: each has it tell everything.
	feedBegins       = 0.2
	feedBeginsAtOnce = 10
	// feedBar is how long no feed is heard of a peer that sent maxFaults messages of gossip
	// that nobody may send, each of them so long after the last at most, or one such frame
	// of a feed.
	feedBar   = time.Minute
	maxFaults = 4
	// feedSlack is how much longer than promised a peer may be silent until gossip is
	// for it, too.
	feedSlack = time.Second
)

// feeds are those to and from all peers. Safe for concurrent use.
type feeds struct {
	o        *Overlay
	protocol protocol.ID

	mu     sync.Mutex
	newest *wire.Announcement // nil: nothing announced yet
	last   written
	out    map[peer.ID]*feed
	in     map[peer.ID]*intake
	limits map[peer.ID]*feedLimit
	faults map[peer.ID]faults
	closed bool

	readers sync.WaitGroup // of in, and who resets their streams
}

// feed is what a peer is told.
type feed struct {
	wake chan struct{}      // holds one: there is something newer
	anew chan struct{}      // holds one: there is a new connection
	told *wire.Announcement // on the stream of now, nil: nothing. Under feeds.mu
}

// intake is what a peer tells.
type intake struct {
	stream network.Stream
	limit  *rate.Limiter // of frames
	track  membership.Track
	heard  time.Time // the last announcement; zero: none
	period time.Duration
}

// feedLimit bounds what a peer tells, over however many streams, one after the other.
type feedLimit struct {
	frames, begins *rate.Limiter
	last           time.Time // when a stream began
}

// faults are messages that nobody may send.
type faults struct {
	count int
	last  time.Time
}

// written are the frames that most peers are told, since all have heard the same before.
type written struct {
	before, next *wire.Announcement
	frames       []byte
}

func newFeeds(o *Overlay, federation string) *feeds {
	f := &feeds{
		o: o, protocol: protocol.ID("/dfaas/" + federation + feedSuffix),
		out: make(map[peer.ID]*feed), in: make(map[peer.ID]*intake), limits: make(map[peer.ID]*feedLimit),
		faults: make(map[peer.ID]faults),
	}
	o.host.SetStreamHandler(f.protocol, f.follow)
	return f
}

// run has a feed to each peer that follows one, as soon as it is known to.
func (f *feeds) run() error {
	identified, err := f.o.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(256))
	if err != nil {
		return err
	}
	f.o.work.Go(func() {
		defer identified.Close()
		for {
			select {
			case <-f.o.ctx.Done():
				return
			case e := <-identified.Out():
				if i, ok := e.(event.EvtPeerIdentificationCompleted); ok && slices.Contains(i.Protocols, f.protocol) {
					f.begin(i.Peer)
				}
			}
		}
	})
	return nil
}

// begin begins to tell the peer, at once if that is put off; unless it is under way.
func (f *feeds) begin(id peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.o.ctx.Err() != nil {
		return
	}
	if to := f.out[id]; to != nil {
		select {
		case to.anew <- struct{}{}:
		default:
		}
		return
	}
	to := &feed{wake: make(chan struct{}, 1), anew: make(chan struct{}, 1)}
	f.out[id] = to
	f.o.work.Go(func() { f.tellAll(id, to) })
}

// tellAll tells the peer for as long as it is connected.
func (f *feeds) tellAll(id peer.ID, to *feed) {
	var pause time.Duration
	for {
		begun := time.Now()
		err := f.tellOver(id, to)
		pause = feedPause(pause, time.Since(begun))
		f.mu.Lock()
		to.told = nil
		gone := f.o.ctx.Err() != nil || !f.o.connected(id)
		if gone {
			delete(f.out, id)
		}
		f.mu.Unlock()
		if gone {
			return
		}
		f.o.log.Debug().Stringer("peer", id).Str("error", oneLine(err)).Msg("its feed begins anew")
		select {
		case <-f.o.ctx.Done():
		case <-to.anew:
			pause = 0
		case <-time.After(jitter(pause)):
		}
	}
}

// feedPause returns how long to wait before a feed that lasted so long begins anew, where
// the pause before it was that; 0: none.
func feedPause(before, lasted time.Duration) time.Duration {
	if lasted >= feedBrief {
		return feedRetry
	}
	return min(max(2*before, feedRetry), feedRetryAtMost)
}

// tellOver tells the peer over one stream until that fails.
func (f *feeds) tellOver(id peer.ID, to *feed) error {
	ctx, cancel := context.WithTimeout(network.WithNoDial(f.o.ctx, "feed"), feedTimeout)
	s, err := f.o.host.NewStream(ctx, id, f.protocol)
	cancel()
	if err != nil {
		return err
	}
	defer s.Reset()
	// Nothing comes back. The peer may end it, and so may the connection.
	ended := make(chan error, 1)
	f.o.work.Go(func() {
		_, err := s.Read(make([]byte, 1))
		ended <- fmt.Errorf("its end: %v", err)
	})
	for {
		frames, next, err := f.news(to)
		if err != nil {
			return err
		}
		if len(frames) > 0 {
			_ = s.SetWriteDeadline(time.Now().Add(feedTimeout))
			if _, err := s.Write(frames); err != nil {
				return err
			}
			f.mu.Lock()
			to.told = next
			f.mu.Unlock()
			continue
		}
		select {
		case <-f.o.ctx.Done():
			return f.o.ctx.Err()
		case err := <-ended:
			return err
		case <-to.wake:
		}
	}
}

// news returns what the peer has not been told yet, none if there is nothing.
func (f *feeds) news(to *feed) (frames []byte, next *wire.Announcement, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, next := to.told, f.newest
	if next == nil || before == next {
		return nil, next, nil
	}
	if f.last.frames == nil || f.last.before != before || f.last.next != next {
		if frames, err = wire.AppendFeed(nil, before, next); err != nil {
			return nil, nil, err
		}
		f.last = written{before, next, frames}
	}
	return f.last.frames, next, nil
}

// tell tells all peers.
func (f *feeds) tell(a *wire.Announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = a
	for _, to := range f.out {
		select {
		case to.wake <- struct{}{}:
		default:
		}
	}
}

// follow hears what a peer tells, until the stream ends.
func (f *feeds) follow(s network.Stream) {
	defer s.Reset()
	id := s.Conn().RemotePeer()
	author, allowed := f.o.gate.check(id)
	if !allowed {
		return
	}
	in := f.admit(time.Now(), id, s)
	if in == nil {
		return
	}
	defer f.end(id, in)
	f.followFrames(id, in, s, func(a wire.Announcement) { f.o.hearFeed(id, author, a) })
}

// followFrames hears what a peer tells, until the stream ends or it sends what nobody may
// send.
func (f *feeds) followFrames(id peer.ID, in *intake, s io.Reader, hear func(wire.Announcement)) {
	var follower wire.Follower
	var buffer []byte
	r := bufio.NewReaderSize(s, 512)
	for {
		frame, err := wire.ReadFrame(r, buffer)
		switch {
		case errors.Is(err, wire.ErrFrame):
			f.bar(id, reasonTooLarge, err.Error())
			return
		case err != nil:
			return
		case !in.limit.Allow():
			f.bar(id, reasonRate, "announces too often")
			return
		}
		if buffer = frame.Data; cap(buffer) > 4<<10 { // it was told whole
			buffer = nil
		}
		a, complete, err := follower.Take(frame)
		switch {
		case errors.Is(err, wire.ErrNewer):
			f.o.metrics.refused.WithLabelValues(reasonVersion).Inc()
			f.o.refused.newer(id.String())
		case errors.Is(err, wire.ErrNoBase):
			f.o.metrics.refused.WithLabelValues(reasonVersion).Inc()
		case err != nil:
			f.bar(id, reasonMalformed, err.Error())
			return
		case !complete && !frame.Knows():
			f.o.metrics.newer.Inc()
		case complete:
			f.heard(time.Now(), in, a)
			hear(a)
		}
	}
}

// admit returns what is kept of the peer's feed, nil if none is heard from it. There is
// one: whoever begins another has lost the one before.
func (f *feeds) admit(now time.Time, id peer.ID, s network.Stream) *intake {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.faultsOf(now, id).count >= maxFaults {
		return nil
	}
	limit := f.limitOf(now, id)
	if !limit.begins.AllowN(now, 1) {
		f.o.metrics.refused.WithLabelValues(reasonRate).Inc()
		return nil
	}
	f.drop(id)
	f.readers.Add(1)
	in := &intake{stream: s, limit: limit.frames}
	f.in[id] = in
	return in
}

// limitOf returns what bounds the peer's feeds. Nobody is forgotten before his limits
// would have recovered, unless there are more peers than can be connected.
func (f *feeds) limitOf(now time.Time, id peer.ID) *feedLimit {
	limit := f.limits[id]
	if limit == nil {
		if len(f.limits) >= maxAuthors {
			f.forgetLimits(now)
		}
		limit = &feedLimit{
			frames: rate.NewLimiter(authorRate, authorBurst), begins: rate.NewLimiter(feedBegins, feedBeginsAtOnce),
		}
		f.limits[id] = limit
	}
	limit.last = now
	return limit
}

// forgetLimits makes room for one more.
func (f *feeds) forgetLimits(now time.Time) {
	var oldest peer.ID
	for id, limit := range f.limits {
		switch {
		case f.in[id] != nil:
		case now.Sub(limit.last) > authorIdle:
			delete(f.limits, id)
		case oldest == "" || limit.last.Before(f.limits[oldest].last):
			oldest = id
		}
	}
	if len(f.limits) >= maxAuthors {
		delete(f.limits, oldest)
	}
}

// drop ends what is heard of a peer, if anything is. It is called under feeds.mu, and a
// reset may wait for a peer that does not read.
func (f *feeds) drop(id peer.ID) {
	if in := f.in[id]; in != nil {
		delete(f.in, id)
		f.readers.Go(func() { _ = in.stream.Reset() })
	}
}

// close ends what is heard, and returns when nothing is any more.
func (f *feeds) close() {
	f.mu.Lock()
	f.closed = true
	for id := range f.in {
		f.drop(id)
	}
	f.mu.Unlock()
	f.readers.Wait()
}

func (f *feeds) end(id peer.ID, in *intake) {
	defer f.readers.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in[id] == in {
		delete(f.in, id)
	}
}

// bar has no feed heard of a peer that sent what nobody may send.
func (f *feeds) bar(id peer.ID, reason, explanation string) {
	f.o.metrics.refused.WithLabelValues(reason).Inc()
	f.o.refused.add(id.String(), explanation)
	f.blame(id, maxFaults)
}

// blame counts faults of a peer, and closes its feed if they are too many.
func (f *feeds) blame(id peer.ID, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	count += f.faultsOf(now, id).count
	f.faults[id] = faults{count, now}
	if count >= maxFaults {
		f.drop(id)
	}
}

// faultsOf returns the peer's faults, as far as they are not forgotten.
func (f *feeds) faultsOf(now time.Time, id peer.ID) faults {
	for other, is := range f.faults {
		if now.Sub(is.last) > feedBar {
			delete(f.faults, other)
		}
	}
	return f.faults[id]
}

// offended takes note of a peer that handed over gossip that nobody may send.
func (o *Overlay) offended(relay peer.ID) {
	if o.feeds != nil {
		o.feeds.blame(relay, 1)
	}
}

// heard takes note of an announcement.
func (f *feeds) heard(now time.Time, in *intake, a wire.Announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in.heard, in.period = now, time.Duration(a.PeriodMillis)*time.Millisecond
	in.track.Take(now, a)
}

// hears reports whether the peer is told by its feed, and heard by its own as often as it
// has promised. What is cut in one direction mostly is in the other.
func (f *feeds) hears(now time.Time, id peer.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, in := f.out[id], f.in[id]
	return out != nil && in != nil && out.told != nil && now.Sub(in.heard) <= in.period+in.period/2+feedSlack
}

// speaks reports whether the peer has a feed on which it is not overdue, or else since
// when it has been silent there; zero: it has none.
func (f *feeds) speaks(now time.Time, id peer.ID) (since time.Time, speaks bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.in[id]
	if in == nil {
		return time.Time{}, false
	}
	since, silent := in.track.Silent(now)
	return since, !silent && !since.IsZero()
}

// hearFeed takes in what a peer has told.
func (o *Overlay) hearFeed(from peer.ID, author peerid.ID, a wire.Announcement) {
	now := time.Now()
	o.refused.forget(from.String())
	o.second.validator.met(now, from)
	o.witness.hear(now, from, a)
	o.spoken.hear(now, from, a)
	o.deliver(from, Message{From: author, Announcement: a, RemoteIPs: o.remoteIPs(from), Direct: true})
}

// countUnfed counts the members that no feed reaches: peers without one, and those that
// others alone speak for.
func (o *Overlay) countUnfed(now time.Time) int {
	unfed := 0
	connected := make(map[peer.ID]bool)
	for _, id := range o.host.Network().Peers() {
		connected[id] = true
		if o.feeds == nil || !o.feeds.hears(now, id) {
			unfed++
		}
	}
	return unfed + o.spoken.others(now, connected)
}

// Unfed returns how many members were not reached by feeds lately, but by gossip alone:
// what is for all of them goes to Publish, not to Tell.
func (o *Overlay) Unfed() int { return int(o.unfed.Load()) }

// Tell tells all peers that follow this node's feed. left names the functions that are
// not announced, sorted: there was no room for them.
func (o *Overlay) Tell(a wire.Announcement) (left []string, err error) {
	o.duplicates.epoch.Store(a.Epoch)
	fitting, left, err := wire.Fit(a)
	if err != nil {
		return nil, err
	}
	if o.feeds != nil {
		o.feeds.tell(&fitting)
	}
	o.metrics.sent.Inc()
	return left, nil
}

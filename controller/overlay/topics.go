package overlay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/protocol"
)

// A federation has two topics. On the first, announcements have the form of
// version 1, whose readers refuse and punish what they do not know. On the
// second they have the form of today, which may grow. Everybody listens on both
// that it knows, and speaks on the second; on the first, too, for as long as there
// are members that are not on the second. So members of all versions hear each
// other, and nobody is sent what it cannot read.

// firstTopic and secondTopic are the names of a federation's topics.
func firstTopic(federation string) string  { return "/dfaas/" + federation + "/1" }
func secondTopic(federation string) string { return "/dfaas/" + federation + "/2" }

// topics are the names of the topics that this program knows.
func topics(federation string, firstOnly bool) []string {
	if firstOnly || protocol.Previous {
		return []string{firstTopic(federation)}
	}
	return []string{firstTopic(federation), secondTopic(federation)}
}

// channel is one topic, and what is believed that comes in over it.
type channel struct {
	*pubsub.Topic
	sub       *pubsub.Subscription
	validator *validator
}

func openChannel(ps *pubsub.PubSub, name string, v *validator) (c channel, err error) {
	c.validator = v
	// Inline, since decoding costs less than handing over to a goroutine.
	if err = ps.RegisterTopicValidator(name, v.validate, pubsub.WithValidatorInline(true)); err != nil {
		return c, err
	}
	if c.Topic, err = ps.Join(name); err != nil {
		return c, err
	}
	c.sub, err = c.Subscribe(pubsub.WithBufferSize(validationQueue))
	return c, err
}

// Publish tells all peers that follow this node's feed, and sends the whole announcement
// by gossip to the whole federation, whoever is connected
// now. It waits for nobody, but keeps below the rate that members admit. left names
// the functions that are not announced, sorted: there was no room for them, or there
// are members of the first version, for which there was none.
func (o *Overlay) Publish(ctx context.Context, a wire.Announcement) (left []string, err error) {
	if left, err = o.Tell(a); err != nil {
		return left, err
	}
	first := o.first
	if second := o.second; second != nil {
		var messages [][]byte
		if messages, _, err = wire.Split(a); err != nil {
			return left, err
		}
		for _, data := range messages {
			if err := o.publish(ctx, second, data); err != nil {
				return left, err
			}
		}
		if !o.firstNeeded(time.Now()) {
			first = nil
		}
	}
	if first != nil {
		data, more, err := wire.Encode(a)
		if err != nil {
			return left, err
		}
		left = append(left, more...)
		slices.Sort(left)
		left = slices.Compact(left)
		if err := o.publish(ctx, first, data); err != nil {
			return left, err
		}
	}
	return left, nil
}

func (o *Overlay) publish(ctx context.Context, c *channel, data []byte) error {
	if err := o.pace.Wait(ctx); err != nil {
		return fmt.Errorf("publishing more often than members admit: %w", err)
	}
	if err := c.Topic.Publish(ctx, data); err != nil {
		return fmt.Errorf("publishing an announcement: %w", err)
	}
	return nil
}

// newPace returns what keeps this node at half of the rate that others admit.
func newPace() *rate.Limiter { return rate.NewLimiter(authorRate/2, authorBurst/2) }

// firstNeeded reports whether anybody in the federation does not read the second
// topic: a peer that is connected, or one that others speak for.
func (o *Overlay) firstNeeded(now time.Time) bool {
	onSecond := make(map[peer.ID]bool)
	for _, id := range o.second.ListPeers() {
		onSecond[id] = true
	}
	for _, id := range o.first.ListPeers() {
		if !onSecond[id] {
			return true
		}
	}
	return o.spoken.firstOnly(now)
}

// inGossip returns the connected peers that are on one of the topics.
func (o *Overlay) inGossip() map[peer.ID]bool {
	there := make(map[peer.ID]bool)
	for _, c := range []*channel{o.first, o.second} {
		if c == nil {
			continue
		}
		for _, id := range c.ListPeers() {
			there[id] = true
		}
	}
	return there
}

// silent returns the authors whose announcements are overdue on every topic, and
// since when each has been silent.
func (o *Overlay) silent(now time.Time) map[peer.ID]time.Time {
	silent := o.first.validator.silent(now)
	if o.second == nil {
		return silent
	}
	defer o.notFed(now, silent)
	onSecond := o.second.validator.silent(now)
	for id, since := range silent {
		if o.spoken.onSecond(id, now) {
			delete(silent, id) // it has no need to speak on the first
		} else if also, both := onSecond[id]; both && also.After(since) {
			silent[id] = also
		}
	}
	for id, since := range onSecond {
		if _, there := silent[id]; !there && !o.spoken.onFirst(id, now) {
			silent[id] = since
		}
	}
	return silent
}

// notFed takes out who is heard on a feed.
func (o *Overlay) notFed(now time.Time, silent map[peer.ID]time.Time) {
	if o.feeds == nil {
		return
	}
	for id, since := range silent {
		fed, speaks := o.feeds.speaks(now, id)
		if speaks {
			delete(silent, id)
		} else if fed.After(since) {
			silent[id] = fed
		}
	}
}

// welcomes reports whether the peer, which was connected for less than stable,
// made an announcement over that connection, as none does that turns this node
// away.
func (o *Overlay) welcomes(now time.Time, id peer.ID) bool {
	return o.first.validator.welcomes(now, id) || o.second != nil && o.second.validator.welcomes(now, id)
}

// voice is when an author was heard last on either topic, or by its feed, which is as
// good as the second; and what was handed over of it last.
type voice struct {
	first, second time.Time
	period        time.Duration
	epoch         int64
	seq           uint64
	direct        bool // by itself
}

// current reports whether something heard then is an author's last word.
func (v *voice) current(then, now time.Time) bool {
	return !then.IsZero() && now.Sub(then) <= 2*v.period+v.period/2
}

// spoken remembers on which topics authors are heard. Safe for concurrent use.
type spoken struct {
	mu     sync.Mutex
	voices map[peer.ID]*voice
}

func newSpoken() *spoken { return &spoken{voices: make(map[peer.ID]*voice)} }

// hear notes an announcement, and reports whether it says what was not heard on
// the second topic already.
func (s *spoken) hear(now time.Time, from peer.ID, a wire.Announcement) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.voices[from]
	if v == nil {
		makeRoom(s.voices, func(v *voice) bool { return now.Sub(v.first) > authorIdle && now.Sub(v.second) > authorIdle })
		v = new(voice)
		s.voices[from] = v
	}
	v.period = time.Duration(a.PeriodMillis) * time.Millisecond
	if a.V > 1 {
		v.second = now
		return true
	}
	v.first = now
	return !v.current(v.second, now)
}

// deliver has an announcement sent, whole by now, unless it is a copy of one that was, by
// gossip or feed, or older; and reports whether it was. Of one that others relayed, the
// author's own copy is none: it may be accepted where that was not. What to make of another
// epoch is not decided here. send must not wait: it reports whether there was room.
func (s *spoken) deliver(from peer.ID, m Message, send func(Message) bool) (sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, v := m.Announcement, s.voices[from]
	if v == nil {
		return send(m)
	}
	if v.epoch == a.Epoch && (a.Seq < v.seq || a.Seq == v.seq && (v.direct || !m.Direct)) {
		return false
	}
	if !send(m) {
		return false
	}
	v.epoch, v.seq, v.direct = a.Epoch, a.Seq, m.Direct
	return true
}

// others counts the authors that are heard, and are not connected.
func (s *spoken) others(now time.Time, connected map[peer.ID]bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id, v := range s.voices {
		if !connected[id] && (v.current(v.first, now) || v.current(v.second, now)) {
			n++
		}
	}
	return n
}

// makeRoom forgets authors where there are too many for one more: those that are idle,
// or else any.
func makeRoom[V any](authors map[peer.ID]V, idle func(V) bool) {
	if len(authors) < maxAuthors {
		return
	}
	maps.DeleteFunc(authors, func(_ peer.ID, v V) bool { return idle(v) })
	for id := range authors {
		if len(authors) < maxAuthors {
			return
		}
		delete(authors, id)
	}
}

// firstOnly reports whether there are authors that were heard lately, and on the
// first topic alone.
func (s *spoken) firstOnly(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.voices {
		if now.Sub(v.first) <= authorIdle && !v.current(v.second, now) {
			return true
		}
	}
	return false
}

func (s *spoken) onFirst(id peer.ID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.voices[id]
	return v != nil && v.current(v.first, now)
}

func (s *spoken) onSecond(id peer.ID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.voices[id]
	return v != nil && v.current(v.second, now)
}

package overlay

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

// answerTime is how long a silent peer may take to answer. A controller that hangs
// for five seconds keeps its connections.
const answerTime = 3 * time.Second

// watchSilence closes connections that lead nowhere any more. TCP would find that
// out after a quarter of an hour, and after a cut of half a minute it tries again
// up to half a minute later; a new connection works at once.
func (o *Overlay) watchSilence() {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	w := newWatch(time.Now())
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-ticker.C:
			o.look(w, time.Now())
		}
	}
}

// watch is what watchSilence remembers from look to look.
type watch struct {
	looked time.Time
	asked  map[peer.ID]time.Time // about the silence since then
	mutes  mutes
}

func newWatch(now time.Time) *watch {
	return &watch{looked: now, asked: make(map[peer.ID]time.Time), mutes: make(mutes)}
}

// late reports whether a look comes a whole one too late: this process stood still, or
// has too little processor time, and has yet to hear who spoke meanwhile.
func (w *watch) late(now time.Time) bool {
	before := w.looked
	w.looked = now
	return now.Sub(before) > 2*tendEvery
}

// look asks those who are silent whether they are there, once for each silence.
func (o *Overlay) look(w *watch, now time.Time) {
	if w.late(now) {
		return
	}
	o.unmute(w.mutes, now)
	o.unfed.Store(int64(o.countUnfed(now)))
	silent := o.silent(now)
	for id, since := range silent {
		if w.asked[id] != since && o.connected(id) {
			w.asked[id] = since
			o.work.Go(func() { o.ask(id) })
		}
	}
	for id := range w.asked {
		if _, still := silent[id]; !still {
			delete(w.asked, id)
		}
	}
}

// ask closes the connections to a peer that does not answer.
func (o *Overlay) ask(id peer.ID) {
	ctx, cancel := context.WithTimeout(o.ctx, answerTime)
	defer cancel()
	if answer, ok := <-ping.Ping(ctx, o.host, id); (ok && answer.Error == nil) || o.ctx.Err() != nil {
		return
	}
	o.log.Info().Stringer("peer", id).Msg("silent and does not answer: connecting anew")
	o.disconnect(id)
}

// disconnect closes the connections to a peer; the keeper makes a new one.
func (o *Overlay) disconnect(id peer.ID) {
	if err := o.host.Network().ClosePeer(id); err != nil {
		o.log.Debug().Stringer("peer", id).Str("error", oneLine(err)).Msg("closing its connections")
	}
}

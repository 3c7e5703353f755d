package simulator

import (
	"time"

	"github.com/dfaas/dfaas/controller/wire"
)

// parcel is an announcement on its way to one node.
type parcel struct {
	to, from     int32
	announcement *wire.Announcement // shared by all whom it goes to; nobody changes it
}

// gossipOverhead is what gossipsub puts around an announcement: topic, author,
// sequence number, signature and framing, bytes. feedOverhead is what libp2p puts
// around what is told on a feed: the frames of its multiplexer and its encryption.
const gossipOverhead, feedOverhead = 190, 32

// hearer is a node that takes in announcements.
type hearer interface {
	hear(now time.Duration, from int, a *wire.Announcement)
}

// announce sends an announcement, which takes so many bytes on the wire, to
// everybody within reach.
func (w *world) announce(from int, a *wire.Announcement, bytes int) {
	w.hearers(from, func(to int) {
		if w.links.Float64() < w.config.Links.Loss || w.cut(from, to) {
			return
		}
		if w.now >= w.tally.from {
			w.tally.gossip += uint64(bytes)
		}
		arrives := w.config.Links.Delay
		if w.routes != nil { // over TCP
			arrives = w.hop(from, to)
		}
		id := w.newParcel()
		w.parcels[id] = parcel{int32(to), int32(from), a}
		w.queue.push(event{at: w.now + arrives, kind: hears, a: id})
	})
}

func (w *world) newParcel() int32 {
	if last := len(w.spare) - 1; last >= 0 {
		id := w.spare[last]
		w.spare = w.spare[:last]
		return id
	}
	w.parcels = append(w.parcels, parcel{})
	return int32(len(w.parcels) - 1)
}

func (w *world) deliver(id int32) {
	p := w.parcels[id]
	w.parcels[id].announcement = nil
	w.spare = append(w.spare, id)
	if w.without(int(p.to), controllerPart) || w.cut(int(p.from), int(p.to)) || w.keepUnheard(&p) {
		return
	}
	w.hear(&p)
}

// hear hands over an announcement that has arrived.
func (w *world) hear(p *parcel) {
	if n, ok := w.nodes[p.to].(hearer); ok {
		n.hear(w.now, int(p.from), p.announcement)
		w.schedule(int(p.to))
	}
}

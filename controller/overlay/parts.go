package overlay

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
)

// maxHeldOffers bounds the offers that are held of announcements that are not
// complete, over all authors: those of so many of the longest.
const maxHeldOffers = 32 * wire.MaxOffers

// seen are the parts of an author's newest announcement that have come.
type seen struct {
	epoch int64
	seq   uint64
	parts uint32 // a bit for each
}

// another reports whether the announcement is a part of the newest that has not come
// yet.
func (s *seen) another(a wire.Announcement) bool {
	return a.Parts > 1 && a.Epoch == s.epoch && a.Seq == s.seq && s.parts&(1<<a.Part) == 0
}

func (s *seen) note(a wire.Announcement) {
	if a.Epoch != s.epoch || a.Seq != s.seq {
		*s = seen{epoch: a.Epoch, seq: a.Seq}
	}
	s.parts |= 1 << a.Part
}

// half is an announcement of which parts are missing.
type half struct {
	message Message // with the last part
	parts   [][]strategy.Offer
	came    int // parts
	offers  int
	at      time.Time // of the first part
}

// halves puts the parts of announcements together. What is not complete when the
// author's next announcement comes is forgotten. Not safe for concurrent use.
type halves struct {
	byAuthor map[peer.ID]*half
	offers   int // held
}

var errParts = errors.New("the parts of its announcement do not fit together")

// add takes in a part and returns the whole announcement if it was the last one
// missing.
func (h *halves) add(now time.Time, from peer.ID, m Message) (whole Message, complete bool, err error) {
	a := m.Announcement
	w := h.byAuthor[from]
	if w != nil && (w.message.Announcement.Epoch != a.Epoch || w.message.Announcement.Seq != a.Seq) {
		if !a.Follows(w.message.Announcement.Epoch, w.message.Announcement.Seq) && !m.Direct {
			return Message{}, false, nil // its successor has begun to come
		}
		h.forget(from)
		w = nil
	}
	if a.Parts == 1 {
		return m, true, nil
	}
	if w == nil {
		w = &half{parts: make([][]strategy.Offer, a.Parts), at: now}
		m.Announcement.Offers = nil
		w.message = m
		h.byAuthor[from] = w
	}
	if a.Parts != len(w.parts) || w.offers+len(a.Offers) > wire.MaxOffers {
		h.forget(from)
		return Message{}, false, errParts
	}
	if w.parts[a.Part] != nil {
		return Message{}, false, nil
	}
	if h.makeRoom(len(a.Offers)); h.byAuthor[from] != w {
		return Message{}, false, nil
	}
	w.parts[a.Part] = append([]strategy.Offer{}, a.Offers...)
	w.came++
	w.offers += len(a.Offers)
	h.offers += len(a.Offers)
	w.message.Direct = w.message.Direct && m.Direct
	w.message.RemoteIPs = m.RemoteIPs
	if w.came < len(w.parts) {
		return Message{}, false, nil
	}
	h.forget(from)
	return w.join()
}

// join returns the whole announcement, whose functions must be in order over all
// parts, each once.
func (w *half) join() (Message, bool, error) {
	m := w.message
	m.Announcement.Part, m.Announcement.Parts = 0, 1
	m.Announcement.Offers = make([]strategy.Offer, 0, w.offers)
	for _, offers := range w.parts {
		all := m.Announcement.Offers
		if len(offers) > 0 && len(all) > 0 && offers[0].Name.Compare(all[len(all)-1].Name) <= 0 {
			return Message{}, false, errParts
		}
		m.Announcement.Offers = append(all, offers...)
	}
	return m, true, nil
}

func (h *halves) forget(from peer.ID) {
	if w := h.byAuthor[from]; w != nil {
		h.offers -= w.offers
		delete(h.byAuthor, from)
	}
}

// makeRoom forgets the halves that have waited the longest.
func (h *halves) makeRoom(offers int) {
	for h.offers+offers > maxHeldOffers || len(h.byAuthor) > maxAuthors {
		var oldest peer.ID
		for id, w := range h.byAuthor {
			if oldest == "" || w.at.Before(h.byAuthor[oldest].at) {
				oldest = id
			}
		}
		h.forget(oldest)
	}
}

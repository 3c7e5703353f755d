// Package wire is what members of a federation say to each other: the
// announcement, its bounds, and its form in bytes.
package wire

import (
	"cmp"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
)

// Bounds of an announcement. One outside them is refused whole.
const (
	MaxAnnouncement = 64 << 10 // bytes of one message
	MaxOffers       = 4096     // functions in one announcement
	// MaxParts is how many messages an announcement may take: enough for MaxOffers
	// with the longest names.
	MaxParts  = 16
	MaxPeriod = 10 * time.Minute
)

// Announcement is what nodes publish on the federation's topics. Its author is
// the peer id that signed the gossip message, never a field.
type Announcement struct {
	// V is the version that the announcement is written in, Needs the least that
	// its reader must speak. Both are for the codec to set.
	V, Needs int
	// Epoch is the start of the author's controller in Unix ms, Seq counts its
	// announcements from 1: (Epoch, Seq) must grow, so that replayed and
	// reordered announcements are ignored.
	Epoch int64
	Seq   uint64
	// Part of Parts, from 0: all that have the same Seq are one announcement.
	Part, Parts int
	// SentAtMillis is the author's wall clock in Unix ms when it published. All
	// clocks together make the time that tokens go by; it is never used to order
	// or expire announcements.
	SentAtMillis int64
	// HTTP is IP:PORT of the author's HAProxy, where forwarded requests go.
	HTTP string
	// TLS tells that HTTP is spoken to in TLS, with the certificates of package
	// peercert on both sides.
	TLS bool
	// Name is what the author's operator calls it, for display only: nothing keeps
	// two nodes from the same. "": it has none, or is of an earlier release.
	Name string
	// Async is that the author's gateway takes asynchronous calls of its functions.
	Async bool
	// Strategy is the author's strategy, for display and warnings.
	Strategy string
	// PeriodMillis is how often the author announces at least; three missed
	// periods expire it.
	PeriodMillis int64
	// Leaving is set in the last announcement of a node that stops.
	Leaving bool

	Offers []strategy.Offer

	// Unknown counts what the announcement has beyond what this version knows.
	Unknown int
}

// Follows reports whether the announcement is newer than another of its author's.
func (a Announcement) Follows(epoch int64, seq uint64) bool {
	return cmp.Or(cmp.Compare(a.Epoch, epoch), cmp.Compare(a.Seq, seq)) > 0
}

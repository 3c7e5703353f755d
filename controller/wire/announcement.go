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
	MaxAnnouncement = 64 << 10 // bytes on the wire
	MaxOffers       = 1000     // functions in one announcement
	MaxPeriod       = 10 * time.Minute
)

// Announcement is the message that nodes publish on the federation's topic.
// Its author is the peer id that signed the gossip message, never a field.
type Announcement struct {
	V int `json:"v"` // 1
	// Epoch is the start of the author's controller in Unix ms, Seq counts its
	// announcements from 1: (Epoch, Seq) must grow, so that replayed and
	// reordered announcements are ignored.
	Epoch int64  `json:"epoch"`
	Seq   uint64 `json:"seq"`
	// SentAtMillis is the author's wall clock in Unix ms when it published. All
	// clocks together make the time that tokens go by; it is never used to order
	// or expire announcements.
	SentAtMillis int64 `json:"t"`
	// HTTP is IP:PORT of the author's HAProxy, where forwarded requests go.
	HTTP string `json:"http"`
	// TLS tells that HTTP is spoken to in TLS, with the certificates of package
	// peercert on both sides.
	TLS bool `json:"tls,omitempty"`
	// Strategy is the author's strategy, for display and warnings.
	Strategy string `json:"strategy"`
	// PeriodMillis is how often the author announces at least; three missed
	// periods expire it.
	PeriodMillis int64 `json:"period_ms"`
	// Leaving is set in the last announcement of a node that stops.
	Leaving bool `json:"leaving,omitempty"`

	Offers []strategy.Offer `json:"f"`
}

// Follows reports whether the announcement is newer than another of its author's.
func (a Announcement) Follows(epoch int64, seq uint64) bool {
	return cmp.Or(cmp.Compare(a.Epoch, epoch), cmp.Compare(a.Seq, seq)) > 0
}

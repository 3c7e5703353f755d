package overlay

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
)

// refusals remembers who was turned away, and logs it the first time. Safe for
// concurrent use.
type refusals struct {
	membership.Refusals
	log zerolog.Logger
}

// add records one more refusal of the peer, a peer id or an IP address.
func (r *refusals) add(peer, reason string) {
	if r.Add(time.Now(), peer, reason) {
		r.log.Warn().Str("peer", peer).Str("reason", reason).Msg("peer refused")
	}
}

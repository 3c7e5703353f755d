package overlay

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
)

// refusals remembers who was turned away, and logs it the first time. Safe for
// concurrent use.
type refusals struct {
	log zerolog.Logger

	mu   sync.Mutex
	list membership.Refusals
}

// add records one more refusal of the peer, a peer id or an IP address.
func (r *refusals) add(peer, reason string) {
	r.mu.Lock()
	news := r.list.Add(time.Now(), peer, reason)
	r.mu.Unlock()
	if news {
		r.log.Warn().Str("peer", peer).Str("reason", reason).Msg("peer refused")
	}
}

// forget removes what is kept of a peer that has been accepted since.
func (r *refusals) forget(peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list.Forget(peer)
}

// recent returns the refusals of the last ten minutes, sorted by peer.
func (r *refusals) recent() []membership.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list.List(time.Now())
}

// newer notes a peer that only newer versions understand: it did nothing wrong.
func (r *refusals) newer(peer string) {
	r.mu.Lock()
	news := r.list.Add(time.Now(), peer, wire.ErrNewer.Error())
	r.mu.Unlock()
	if news {
		r.log.Warn().Str("peer", peer).Msg("a member speaks a newer protocol: upgrade this node")
	}
}

package overlay

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/federation"
)

const (
	// muteAfter is how long a connected peer may be without gossip until it is
	// connected anew; each time in a row that this does not help it gets twice as
	// long, up to muteAtMost.
	muteAfter  = 10 * time.Second
	muteAtMost = 10 * time.Minute
	maxMutes   = 4 * federation.MaxMembers
)

// mutes finds connections without gossip: those of peers whose subscription
// gossipsub does not know of, or to which it has no stream. Gossipsub opens its
// streams when a connection is made and gives up after a few that failed, or that
// the peer reset; then two nodes would stay connected and never hear each other.
// It also gets rid of those that only hold a connection. Not safe for concurrent
// use.
type mutes map[peer.ID]*mute

// mute is a peer that is connected without gossip, or was when last connected.
type mute struct {
	wait time.Duration // for gossip, over one connection
	due  time.Time     // when this connection has lasted for long enough
	seen time.Time     // when last connected
}

// overdue returns the connected peers to connect anew. gossips tells whether a
// peer takes part in gossip. To be called every few seconds.
func (m mutes) overdue(now time.Time, connected []peer.ID, gossips func(peer.ID) bool) []peer.ID {
	var overdue []peer.ID
	for _, id := range connected {
		p := m[id]
		switch {
		case gossips(id):
			delete(m, id)
			continue
		case p == nil && len(m) >= maxMutes:
			continue
		case p == nil:
			p = &mute{wait: muteAfter, due: now.Add(muteAfter)}
			m[id] = p
		case !now.Before(p.due):
			overdue = append(overdue, id)
			p.wait = min(2*p.wait, muteAtMost)
			p.due = now.Add(p.wait)
		}
		p.seen = now
	}
	for id, p := range m {
		if p.seen.Equal(now) {
			continue
		}
		p.due = now.Add(p.wait) // of the next connection
		if now.Sub(p.seen) > muteAtMost {
			delete(m, id)
		}
	}
	return overdue
}

// unmute connects anew to the peers that are connected without gossip.
func (o *Overlay) unmute(m mutes, now time.Time) {
	inGossip := make(map[peer.ID]bool)
	for _, id := range o.topic.ListPeers() {
		inGossip[id] = true
	}
	for _, id := range m.overdue(now, o.host.Network().Peers(), func(id peer.ID) bool { return inGossip[id] }) {
		o.log.Info().Stringer("peer", id).Msg("connected but takes no part in gossip: connecting anew")
		o.disconnect(id)
	}
}

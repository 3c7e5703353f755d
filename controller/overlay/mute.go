package overlay

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/membership"
)

const (
	// muteAfter is how long a connected peer may be without gossip until it is
	// connected anew; each time in a row that this does not help it gets twice as
	// long, up to muteAtMost.
	muteAfter  = 10 * time.Second
	muteAtMost = 10 * time.Minute
	maxMutes   = 4 * membership.DefaultMaxMembers
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
	since time.Time     // without gossip, as far as was seen
	wait  time.Duration // for gossip, over one connection
	seen  time.Time     // when last connected
}

// overdue returns the peers to connect anew, of those connected since the times
// given. gossips reports whether a peer takes part in gossip. To be called every few
// seconds.
//
// Two that do not hear each other both get here, and at about the same time: what
// counts is the age of the connection, or else one would cut what the other has
// just made.
func (m mutes) overdue(now time.Time, connected map[peer.ID]time.Time, gossips func(peer.ID) bool) []peer.ID {
	var overdue []peer.ID
	for id, opened := range connected {
		if gossips(id) {
			delete(m, id)
			continue
		}
		p := m[id]
		if p == nil {
			p = &mute{since: now, wait: muteAfter}
			m.add(id, p)
		}
		p.seen = now
		if now.Sub(opened) >= p.wait && now.Sub(p.since) >= p.wait {
			overdue = append(overdue, id)
			p.since, p.wait = now, min(2*p.wait, muteAtMost)
		}
	}
	for id, p := range m {
		if now.Sub(p.seen) > muteAtMost {
			delete(m, id)
		}
	}
	return overdue
}

// add makes room by forgetting who was connected the longest ago.
func (m mutes) add(id peer.ID, p *mute) {
	if len(m) >= maxMutes {
		var oldest peer.ID
		for id, p := range m {
			if oldest == "" || p.seen.Before(m[oldest].seen) {
				oldest = id
			}
		}
		delete(m, oldest)
	}
	m[id] = p
}

// unmute connects anew to the peers that are connected without gossip.
func (o *Overlay) unmute(m mutes, now time.Time) {
	connected := make(map[peer.ID]time.Time)
	for _, id := range o.host.Network().Peers() {
		if conns := o.host.Network().ConnsToPeer(id); len(conns) > 0 {
			connected[id] = since(conns)
		}
	}
	inGossip := o.inGossip()
	for _, id := range m.overdue(now, connected, func(id peer.ID) bool { return inGossip[id] }) {
		o.log.Info().Stringer("peer", id).Msg("connected but takes no part in gossip: connecting anew")
		o.disconnect(id)
	}
}

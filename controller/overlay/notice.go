package overlay

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/dfaas/dfaas/controller/membership"
)

const (
	// noticeEvery is how often a peer is told again that what it announces is
	// refused, and noticeFor how long it believes it without being told again.
	noticeEvery = time.Minute
	noticeFor   = 3 * noticeEvery
	// noticeGap is how soon a peer may say so again.
	noticeGap     = 5 * time.Second
	noticeTimeout = 5 * time.Second
	maxNotice     = 400 // bytes
	maxNotices    = 8   // told at a time
)

// notices tells connected peers that this node refuses what they announce, and
// why: a node that nobody accepts sees nothing else of it. What peers say of this
// node is shown to the operator, and used for nothing else. Safe for concurrent use.
type notices struct {
	o        *Overlay
	protocol protocol.ID

	mu       sync.Mutex
	refusing []membership.Refusal  // what this node refuses now
	told     map[peer.ID]time.Time // whom it has told
	by       membership.Refusals   // who refuses this node
	heard    map[peer.ID]time.Time // when each said so last
}

func newNotices(o *Overlay, federation string) *notices {
	n := &notices{
		o: o, protocol: protocol.ID("/dfaas/" + federation + "/refusals/1"),
		told: make(map[peer.ID]time.Time), heard: make(map[peer.ID]time.Time),
	}
	o.host.SetStreamHandler(n.protocol, n.handle)
	return n
}

// due returns whom to tell what at that time, and takes them for told.
func (n *notices) due(now time.Time, connected func(peer.ID) bool) map[peer.ID]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, at := range n.told {
		if now.Sub(at) > noticeEvery {
			delete(n.told, id)
		}
	}
	due := make(map[peer.ID]string)
	for _, r := range slices.Concat(n.refusing, n.o.witness.refusals(now)) {
		id, err := peer.Decode(r.Peer)
		if _, told := n.told[id]; err != nil || told || len(due) >= maxNotices || !connected(id) {
			continue
		}
		n.told[id] = now
		due[id] = r.Reason
	}
	return due
}

// tell tells those whose turn it is.
func (n *notices) tell(now time.Time) {
	for id, reason := range n.due(now, n.o.connected) {
		n.o.work.Go(func() {
			ctx, cancel := context.WithTimeout(n.o.ctx, noticeTimeout)
			defer cancel()
			s, err := n.o.host.NewStream(ctx, id, n.protocol)
			if err != nil {
				return // an older node, or it is gone
			}
			_ = s.SetDeadline(time.Now().Add(noticeTimeout))
			if _, err := s.Write([]byte(reason[:min(len(reason), maxNotice)])); err != nil {
				_ = s.Reset()
				return
			}
			_ = s.Close()
		})
	}
}

// handle hears that a peer refuses this node.
func (n *notices) handle(s network.Stream) {
	defer s.Reset()
	id := s.Conn().RemotePeer()
	if !n.mayNotify(time.Now(), id) {
		return
	}
	_ = s.SetDeadline(time.Now().Add(noticeTimeout))
	reason := readNotice(s)
	if reason == "" {
		return
	}
	n.mu.Lock()
	news := n.by.Add(time.Now(), id.String(), reason)
	n.mu.Unlock()
	if news {
		n.o.log.Warn().Stringer("peer", id).Str("reason", reason).Msg("a peer refuses what this node announces")
	}
}

// mayNotify bounds how often one peer is heard.
func (n *notices) mayNotify(now time.Time, id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, at := range n.heard {
		if now.Sub(at) >= noticeGap {
			delete(n.heard, other)
		}
	}
	if _, soon := n.heard[id]; soon {
		return false
	}
	n.heard[id] = now
	return true
}

// readNotice reads what a peer has against this node: one line of printable ASCII,
// whatever it sends; "" if it is nothing.
func readNotice(r io.Reader) string {
	data, err := io.ReadAll(io.LimitReader(r, maxNotice))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, string(data)))
}

// Refuse tells the overlay whose announcements are refused now, and why, so that
// it tells them.
func (o *Overlay) Refuse(list []membership.Refusal) {
	o.notices.mu.Lock()
	defer o.notices.mu.Unlock()
	o.notices.refusing = list
}

// RefusedBy returns which peers have said of late that they refuse what this node
// announces, and why, sorted by peer. It is their word and nothing more.
func (o *Overlay) RefusedBy() []membership.Refusal {
	now := time.Now()
	o.notices.mu.Lock()
	defer o.notices.mu.Unlock()
	var list []membership.Refusal
	for _, r := range o.notices.by.List(now) {
		if now.Sub(r.Last) <= noticeFor {
			list = append(list, r)
		}
	}
	return list
}

package overlay

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	tendEvery   = time.Second
	pingEvery   = 30 * time.Second // each peer
	pingTimeout = 5 * time.Second
	maxPings    = 8 // at a time
)

// tend does the housekeeping: it measures round-trip times, of new peers soon
// and of all peers from time to time, sweeps the gate, and tells peers that they are refused.
func (o *Overlay) tend() {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	measured := make(map[peer.ID]time.Time)
	for {
		now := time.Now()
		o.gate.sweep(now)
		o.notices.tell(now)
		o.measure(measured, now)
		select {
		case <-o.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// measure pings the connected peers whose turn it is. measured holds when each
// was pinged last.
func (o *Overlay) measure(measured map[peer.ID]time.Time, now time.Time) {
	var pings sync.WaitGroup
	slots := make(chan struct{}, maxPings)
	for _, id := range o.host.Network().Peers() {
		if last, known := measured[id]; known && now.Sub(last) < pingEvery {
			continue
		}
		measured[id] = now
		slots <- struct{}{}
		pings.Go(func() {
			o.ping(id)
			<-slots
		})
	}
	pings.Wait()
	for id, last := range measured {
		if now.Sub(last) > 2*pingEvery {
			delete(measured, id)
		}
	}
}

// ping measures one round trip; libp2p notes the result in the peerstore.
func (o *Overlay) ping(id peer.ID) {
	ctx, cancel := context.WithTimeout(o.ctx, pingTimeout)
	defer cancel()
	<-ping.Ping(ctx, o.host, id)
}

package overlay

import (
	"errors"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

const (
	// refreshEvery is how often the DHT looks for peers not yet known.
	refreshEvery = 2 * time.Minute
	// refreshDelay lets a burst of new connections settle before the DHT
	// looks for the peers behind them.
	refreshDelay = time.Second
)

// startDHT starts a DHT of this federation alone. Its only use is to find peers:
// it stores no values and no provider records.
func (o *Overlay) startDHT(name string) (err error) {
	o.dht, err = dht.New(o.ctx, o.host,
		dht.ProtocolPrefix(protocol.ID("/dfaas/"+name)),
		dht.Mode(dht.ModeServer),
		dht.DisableProviders(),
		dht.DisableValues(),
		dht.DisableAutoRefresh(),
		dht.RoutingTableRefreshPeriod(refreshEvery),
	)
	if err != nil {
		return err
	}
	joined, err := o.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(256))
	if err != nil {
		return err
	}
	o.work.Go(func() {
		defer joined.Close()
		o.refreshDHT(joined.Out())
	})
	return nil
}

// prune forgets the addresses that a peer gave for itself and where it was never
// seen, so that the DHT does not tell them to others.
func (o *Overlay) prune(id peer.ID) {
	store := o.host.Peerstore()
	for _, addr := range store.Addrs(id) {
		if errors.Is(o.gate.book.check(time.Now(), id, addr), errUnvouched) {
			store.SetAddr(id, addr, 0)
		}
	}
}

// refreshDHT looks for more peers soon after one was connected, and from time to
// time. The look-ups themselves connect to the peers they come upon.
func (o *Overlay) refreshDHT(joined <-chan any) {
	timer := time.NewTimer(jitter(refreshEvery))
	defer timer.Stop()
	soon := false
	for {
		select {
		case <-o.ctx.Done():
			return
		case e := <-joined:
			if identified, ok := e.(event.EvtPeerIdentificationCompleted); ok {
				o.prune(identified.Peer)
			}
			if !soon {
				soon = true
				timer.Reset(jitter(refreshDelay))
			}
			continue
		case <-timer.C:
		}
		soon = false
		timer.Reset(jitter(refreshEvery))
		select {
		case <-o.ctx.Done():
			return
		case err := <-o.dht.RefreshRoutingTable():
			if err != nil {
				o.log.Debug().Str("error", oneLine(err)).Msg("DHT look-up failed")
			}
		}
	}
}

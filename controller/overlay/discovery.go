package overlay

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// refreshEvery is how often the DHT looks for peers not yet known.
	refreshEvery = 2 * time.Minute
	// refreshDelay lets a burst of new connections settle before the DHT
	// looks for the peers behind them.
	refreshDelay = time.Second
	// mdnsEvery is how often mDNS follows changes of the interfaces.
	mdnsEvery = 30 * time.Second
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
		case <-joined:
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

// serviceTag is the mDNS service of one federation, within the 15 characters
// that a service name may have. It does not tell the federation's name.
func serviceTag(name string) string {
	sum := sha256.Sum256([]byte("dfaas mdns " + name))
	return "_dfaas-" + hex.EncodeToString(sum[:4]) + "._udp"
}

// mdnsPeers hands the peers that mDNS hears of to the keeper.
type mdnsPeers struct{ o *Overlay }

// HandlePeerFound is called by mDNS.
func (p mdnsPeers) HandlePeerFound(info peer.AddrInfo) {
	if p.o.gate.check(info.ID) {
		p.o.keeper.want(info)
	}
}

// runMDNS announces this node on the local network and listens for others. The
// service knows the addresses of its start only, so it is started anew when they
// have changed, and tried again while there is no network.
func (o *Overlay) runMDNS(name string) {
	ticker := time.NewTicker(mdnsEvery)
	defer ticker.Stop()
	for {
		addrs := o.interfaceAddrs()
		service := mdns.NewMdnsService(o.host, serviceTag(name), mdnsPeers{o})
		err := service.Start()
		if err != nil {
			o.log.Warn().Err(err).Msg("mDNS does not work; trying again")
		}
		for waiting := true; waiting; {
			select {
			case <-o.ctx.Done():
				service.Close()
				return
			case <-ticker.C:
				waiting = err == nil && slices.EqualFunc(addrs, o.interfaceAddrs(), ma.Multiaddr.Equal)
			}
		}
		service.Close()
	}
}

// interfaceAddrs returns the addresses of the interfaces that the host listens on.
func (o *Overlay) interfaceAddrs() []ma.Multiaddr {
	addrs, err := o.host.Network().InterfaceListenAddresses()
	if err != nil {
		return nil
	}
	slices.SortFunc(addrs, ma.Multiaddr.Compare)
	return addrs
}

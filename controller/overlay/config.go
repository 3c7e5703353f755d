package overlay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/wire"
)

// Config says which federation to join and how.
type Config struct {
	Federation string             // a lower-case DNS label
	Identity   *identity.Identity // required
	// PSK is the federation key. Nodes with another key, or none, cannot even
	// shake hands. nil: none, and anybody may connect whom AllowPeers lets.
	PSK pnet.PSK
	// AllowPeers are the peer ids that may connect and whose announcements
	// are heard. Empty: everybody who has the federation key.
	AllowPeers []peer.ID
	// Listen are the addresses to listen on, all of them TCP; port 0 picks a
	// free one.
	Listen []ma.Multiaddr
	// Bootstrap are dialled for as long as they are not connected. This node
	// itself is ignored, so that all nodes of a federation may have the same list.
	Bootstrap []peer.AddrInfo
	MDNS      bool // find peers on the local network by multicast DNS
	DHT       bool // find the peers of peers by a Kademlia DHT
	Log       zerolog.Logger
	// firstOnly makes the node one of the first version: it knows one topic.
	firstOnly bool
	// noFeeds makes it one of a release that knows both topics and no feeds.
	noFeeds bool
	// Registerer takes the overlay's metrics; nil: none.
	Registerer prometheus.Registerer
}

const pskSize = 32 // bytes

// settings is a Config that has been checked.
type settings struct {
	Config
	allow     map[peer.ID]bool // nil: everybody
	bootstrap []peer.AddrInfo
}

func (c Config) check() (settings, error) {
	s := settings{Config: c}
	if err := wire.CheckName(c.Federation); err != nil {
		return s, err
	}
	if c.Identity == nil {
		return s, errors.New("the overlay needs an identity")
	}
	if c.PSK != nil && len(c.PSK) != pskSize {
		return s, fmt.Errorf("federation key of %d bytes: it must have %d", len(c.PSK), pskSize)
	}
	for _, id := range c.AllowPeers {
		if s.allow == nil {
			s.allow = make(map[peer.ID]bool)
		}
		s.allow[id] = true
	}
	self := c.Identity.ID()
	s.bootstrap = slices.DeleteFunc(slices.Clone(c.Bootstrap), func(info peer.AddrInfo) bool { return info.ID == self })
	return s, nil
}

// peerAddr parses an address to dial.
func peerAddr(text string) (peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%q must be of the form /ip4/ADDRESS/tcp/PORT/p2p/PEERID: %w", text, err)
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("%q has a peer id but no address before it", text)
	}
	return *info, nil
}

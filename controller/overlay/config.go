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
	AllowPeers []string
	// Listen are the multiaddrs to listen on, /ip4/.../tcp/... or
	// /ip6/.../tcp/...; port 0 picks a free one.
	Listen []string
	// Bootstrap are multiaddrs with /p2p/ID that are dialled for as long as
	// they are not connected. This node's own is ignored, so that all nodes
	// of a federation may have the same list.
	Bootstrap []string
	MDNS      bool // find peers on the local network by multicast DNS
	DHT       bool // find the peers of peers by a Kademlia DHT
	Log       zerolog.Logger
	// Registerer takes the overlay's metrics; nil: none.
	Registerer prometheus.Registerer
}

const pskSize = 32 // bytes

// settings is a Config that has been checked and parsed.
type settings struct {
	Config
	allow     map[peer.ID]bool // nil: everybody
	listen    []ma.Multiaddr
	bootstrap []peer.AddrInfo
}

func (c Config) parse() (settings, error) {
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
	for _, text := range c.AllowPeers {
		id, err := peer.Decode(text)
		if err != nil {
			return s, fmt.Errorf("allow_peers: %q is not a peer id: %w", text, err)
		}
		if s.allow == nil {
			s.allow = make(map[peer.ID]bool)
		}
		s.allow[id] = true
	}
	for _, text := range c.Listen {
		addr, err := listenAddr(text)
		if err != nil {
			return s, fmt.Errorf("listen: %w", err)
		}
		s.listen = append(s.listen, addr)
	}
	var err error
	if s.bootstrap, err = bootstrapPeers(c.Bootstrap, c.Identity.ID()); err != nil {
		return s, fmt.Errorf("bootstrap: %w", err)
	}
	for _, info := range s.bootstrap {
		if s.allow != nil && !s.allow[info.ID] {
			return s, fmt.Errorf("bootstrap: peer %s is not in allow_peers", info.ID)
		}
	}
	return s, nil
}

// listenAddr parses an address to listen on. Only TCP is spoken: libp2p's
// private networks work over nothing else.
func listenAddr(text string) (ma.Multiaddr, error) {
	addr, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	codes := make([]int, 0, 2)
	for _, component := range addr {
		codes = append(codes, component.Protocol().Code)
	}
	if !slices.Equal(codes, []int{ma.P_IP4, ma.P_TCP}) && !slices.Equal(codes, []int{ma.P_IP6, ma.P_TCP}) {
		return nil, fmt.Errorf("%q must be of the form /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT", text)
	}
	return addr, nil
}

// bootstrapPeers parses the addresses, joining those of the same peer and
// leaving out self.
func bootstrapPeers(texts []string, self peer.ID) ([]peer.AddrInfo, error) {
	addrs := make([]ma.Multiaddr, 0, len(texts))
	for _, text := range texts {
		if _, err := peerAddr(text); err != nil {
			return nil, err
		}
		addrs = append(addrs, ma.StringCast(text))
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(infos, func(info peer.AddrInfo) bool { return info.ID == self }), nil
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

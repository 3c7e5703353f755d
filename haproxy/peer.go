package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dfaas/dfaas/haproxy/peercert"
)

// Bounds of a peer id, in bytes. An Ed25519 peer id has 52.
const (
	minPeerID = 32
	maxPeerID = 64
)

// base58 is the alphabet of peer ids.
const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// Peer is a server that BackendPeers should have.
type Peer struct {
	ID      string         // libp2p peer id, base58; becomes the server's name
	Address netip.AddrPort // of the peer's HAProxy
	// Anchor, in PEM, is what the peer's certificate has to be signed by (see
	// peercert); empty: it is reached in plain HTTP.
	Anchor string
}

// Validate reports why the peer cannot become a server. What it accepts can be
// written into a runtime command as it is.
func (p Peer) Validate() error {
	if !ValidPeerID(p.ID) {
		return fmt.Errorf("peer id %.80q is not %d to %d characters of base58", p.ID, minPeerID, maxPeerID)
	}
	addr := p.Address.Addr()
	switch {
	case !p.Address.IsValid():
		return fmt.Errorf("peer %s: no address", p.ID)
	case p.Address.Port() == 0:
		return fmt.Errorf("peer %s: address %s has port 0", p.ID, p.Address)
	case addr.IsUnspecified() || addr.IsMulticast():
		return fmt.Errorf("peer %s: %s is not the address of a host", p.ID, p.Address)
	case addr.Zone() != "":
		return errors.New("peer " + p.ID + ": an address with an interface (%zone) cannot be used by HAProxy")
	case p.Anchor != "" && !peercert.Canonical(p.Anchor):
		return fmt.Errorf("peer %s: its anchor is not a certificate in PEM", p.ID)
	}
	return nil
}

// ValidPeerID reports whether s has the form of a peer id. Servers of
// BackendPeers with other names are the operator's.
func ValidPeerID(s string) bool {
	return len(s) >= minPeerID && len(s) <= maxPeerID && strings.Trim(s, base58) == ""
}

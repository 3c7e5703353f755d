package overlay

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dfaas/dfaas/spoa/peerid"
)

const (
	notAllowed    = "not in allow_peers of this node"
	notEd25519    = "its identity is not an Ed25519 key, with which alone tokens can be checked: make a new one with dfaasctl id --create"
	failedInbound = "connected but did not complete the handshake: it has another federation key, or there were too many connections at once"

	// handshakeTimeout is longer than libp2p gives an inbound handshake (15 s).
	handshakeTimeout = 20 * time.Second
	// maxHandshakes bounds the inbound handshakes watched at a time.
	maxHandshakes = 512
)

// gate enforces on every connection, in and out, the allow list and that peers
// have keys of the right kind, and notes who was turned away. Safe for concurrent use.
type gate struct {
	allow   map[peer.ID]bool                     // nil: everybody
	parse   func(text string) (peerid.ID, error) // ids with a key in them to check tokens with
	refused *refusals
	book    *book

	mu sync.Mutex
	// handshakes are the inbound connections, by remote address, that have
	// not yet told who they are. libp2p reports neither a failed handshake,
	// all that one could ever see of a wrong federation key, nor a connection
	// that its limits do not allow.
	handshakes map[string]time.Time
}

var _ connmgr.ConnectionGater = (*gate)(nil)

func newGate(allow map[peer.ID]bool, refused *refusals, book *book) *gate {
	return &gate{allow: allow, parse: peerid.Parse, refused: refused, book: book, handshakes: make(map[string]time.Time)}
}

// admit returns the peer's id if it may take part, or why not.
func (g *gate) admit(id peer.ID) (admitted peerid.ID, refusal string) {
	if g.allow != nil && !g.allow[id] {
		return peerid.ID{}, notAllowed
	}
	admitted, err := g.parse(id.String())
	if err != nil {
		return peerid.ID{}, notEd25519
	}
	return admitted, ""
}

// InterceptPeerDial lets only allowed peers be dialled.
func (g *gate) InterceptPeerDial(id peer.ID) bool { _, allowed := g.check(id); return allowed }

// InterceptAddrDial lets a peer be dialled where the book has it.
func (g *gate) InterceptAddrDial(id peer.ID, addr ma.Multiaddr) bool {
	return g.book.check(time.Now(), id, addr) == nil
}

// InterceptAccept starts to watch an inbound connection's handshake.
func (g *gate) InterceptAccept(c network.ConnMultiaddrs) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.handshakes) < maxHandshakes {
		g.handshakes[c.RemoteMultiaddr().String()] = time.Now()
	}
	return true
}

// InterceptSecured refuses peers, known by now, that are not allowed.
func (g *gate) InterceptSecured(direction network.Direction, id peer.ID, c network.ConnMultiaddrs) bool {
	if direction == network.DirInbound {
		g.mu.Lock()
		delete(g.handshakes, c.RemoteMultiaddr().String())
		g.mu.Unlock()
	}
	if _, allowed := g.check(id); !allowed {
		return false
	}
	g.book.met(time.Now(), id, c.RemoteMultiaddr())
	return true
}

// InterceptUpgraded lets pass what passed InterceptSecured.
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// sweep turns handshakes that took too long into refusals of their address.
func (g *gate) sweep(now time.Time) {
	var failed []string
	g.mu.Lock()
	for addr, begun := range g.handshakes {
		if now.Sub(begun) > handshakeTimeout {
			delete(g.handshakes, addr)
			failed = append(failed, addr)
		}
	}
	g.mu.Unlock()
	for _, addr := range failed {
		if ip, ok := ipOf(ma.StringCast(addr)); ok {
			g.refused.add(ip.String(), failedInbound)
		}
	}
}

// check is admit, and notes who was turned away.
func (g *gate) check(id peer.ID) (admitted peerid.ID, allowed bool) {
	admitted, refusal := g.admit(id)
	if refusal != "" {
		g.refused.add(id.String(), refusal)
	}
	return admitted, refusal == ""
}

package haproxy

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Op is what a Step does to a server.
type Op string

// The operations. A new server is added disabled and unchecked; Enable starts
// its health check and lets requests through. Only a disabled server without
// connections can be deleted.
const (
	Add      Op = "add"
	Enable   Op = "enable"
	Disable  Op = "disable"
	Move     Op = "move"     // to another address; what is under way goes on at the old one
	Shutdown Op = "shutdown" // breaks off what is still under way
	Delete   Op = "delete"
)

// patience is how long calls that are under way to a server may go on after it was
// disabled, because its peer is gone. A WebSocket can stay for ever.
const patience = 5 * time.Minute

// Step is one change to BackendPeers.
type Step struct {
	Op   Op
	Peer Peer // the address matters to Add and Move, the anchor to Add only
}

// Reconcile plans how BackendPeers gets from the servers it has to the peers it
// should have. It is pure and remembers nothing: planned again from what HAProxy
// then reports, half-done plans, reloads and restarts heal by themselves.
//
// Servers that do not bear a peer id (those of the drop-in, and whatever the operator
// added) are left alone. Of a peer wanted twice, the first address counts. A
// peer whose address changed keeps its server. One whose server speaks TLS and
// should not, or the other way round, is removed and added anew. (An anchor
// follows from the peer's id and never changes.) What is under way to a peer that
// is gone is broken off after a while, so that it holds nothing for ever.
func Reconcile(current []Server, desired []Peer) []Step {
	have := make(map[string]Server)
	for _, s := range current {
		if ValidPeerID(s.Name) {
			have[s.Name] = s
		}
	}
	want := make(map[string]Peer)
	for _, p := range desired {
		if _, twice := want[p.ID]; !twice {
			p.Address = unmap(p.Address)
			want[p.ID] = p
		}
	}

	var steps []Step
	for _, name := range slices.Sorted(maps.Keys(have)) {
		server := have[name]
		peer, wanted := want[name]
		if wanted && fits(server, peer) {
			continue
		}
		gone := Peer{ID: name, Address: server.Address}
		if server.State != Maint {
			steps = append(steps, Step{Disable, gone})
		} else if server.Since >= patience {
			steps = append(steps, Step{Shutdown, gone})
		}
		steps = append(steps, Step{Delete, gone})
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		peer, server := want[name], have[name]
		if _, there := have[name]; !there || !fits(server, peer) {
			steps = append(steps, Step{Add, peer}, Step{Enable, peer})
			continue
		}
		if unmap(server.Address) != peer.Address {
			steps = append(steps, Step{Move, peer})
		}
		if server.State == Maint || !server.Checked {
			steps = append(steps, Step{Enable, peer})
		}
	}
	return steps
}

// fits reports whether the server can be the one of the peer, wherever that is.
func fits(s Server, p Peer) bool { return s.TLS == (p.Anchor != "") }

// unmap makes ::ffff:10.0.0.1 and 10.0.0.1, which are the same host, the same
// value.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

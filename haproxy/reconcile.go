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
	Shutdown Op = "shutdown" // breaks off what is still under way
	Delete   Op = "delete"
)

// patience is how long a peer that has moved is kept waiting by requests that are
// still under way at its old address. A WebSocket can stay for ever.
const patience = time.Minute

// Step is one change to BackendPeers.
type Step struct {
	Op   Op
	Peer Peer // the address and the anchor matter to Add only
}

// Reconcile plans how BackendPeers gets from the servers it has to the peers it
// should have. It is pure and remembers nothing: planned again from what HAProxy
// then reports, half-done plans, reloads and restarts heal by themselves.
//
// Servers that do not bear a peer id (ServerLocal, and whatever the operator
// added) are left alone. Of a peer wanted twice, the first address counts. A
// peer whose address changed is removed and added anew, and so is one whose
// server speaks TLS and should not, or the other way round. (An anchor follows
// from the peer's id and never changes.) What is under way to a peer that is
// only gone may take as long as it likes.
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
		if wanted && leadsTo(server, peer) {
			continue
		}
		gone := Peer{ID: name, Address: server.Address}
		if server.State != Maint {
			steps = append(steps, Step{Disable, gone})
		} else if wanted && server.Since >= patience {
			steps = append(steps, Step{Shutdown, gone})
		}
		steps = append(steps, Step{Delete, gone})
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		peer, server := want[name], have[name]
		if _, there := have[name]; !there || !leadsTo(server, peer) {
			steps = append(steps, Step{Add, peer}, Step{Enable, peer})
		} else if server.State == Maint || !server.Checked {
			steps = append(steps, Step{Enable, peer})
		}
	}
	return steps
}

// leadsTo reports whether the server is the one that the peer should have.
func leadsTo(s Server, p Peer) bool {
	return unmap(s.Address) == p.Address && s.TLS == (p.Anchor != "")
}

// unmap makes ::ffff:10.0.0.1 and 10.0.0.1, which are the same host, the same
// value.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

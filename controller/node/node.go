// Package node is a running controller: the shell around a core. It owns the
// goroutines, timers and sockets, tells the core what happens, and does what the
// core decides.
//
// One goroutine, the loop, steps the core. What may hang has a goroutine of its own
// (the SPOA, HAProxy, gossip going out); they exchange values with the loop over
// channels, and none of them ever holds the loop up.
package node

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/courier"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/notify"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Overlay is the network of the federation's controllers.
type Overlay interface {
	// Publish announces to all members, and Tell to those whom feeds reach, which are all
	// but Unfed; left names the functions for which there was no room.
	Publish(ctx context.Context, a wire.Announcement) (left []string, err error)
	Tell(a wire.Announcement) (left []string, err error)
	Unfed() int
	// Messages delivers what other members announce.
	Messages() <-chan overlay.Message
	// Join connects to the node at a multiaddr.
	Join(ctx context.Context, address string) (id string, err error)
	Addrs() []string
	Peers() []overlay.PeerInfo
	Refused() []membership.Refusal
	// Refuse has the overlay tell those peers that their announcements are
	// refused, and RefusedBy returns which peers have told this node so.
	Refuse(list []membership.Refusal)
	RefusedBy() []membership.Refusal
}

// Options is all that a node is made of.
type Options struct {
	Self             peerid.ID // this node
	Name             string    // of this node, for people
	Version          string    // of the program, for display
	Federation       string
	Strategy         strategy.Strategy
	Period           time.Duration
	DefaultMaxrate   limit.Rate
	MaxPeerTimeout   time.Duration      // of a call, by the peer's word; 0: what peers may announce
	HTTP             netip.AddrPort     // of this node's HAProxy, announced to peers
	DefaultNamespace string             // of the gateway
	HasBootstrap     bool               // members to connect to are configured
	Neighbours       map[peerid.ID]bool // the only members to exchange calls with, by id; nil: all
	Seed             uint64             // of the times of announcements; other than that of other nodes

	SPOA    SPOA
	HAProxy HAProxy
	// Gateway delivers looks at the gateway, as faasd.Client.Watch does.
	Gateway <-chan faasd.Snapshot
	Overlay Overlay
	// Members is handed over to the node, which alone uses it from then on.
	Members *membership.Members
	Minter  core.Tokens
	// Certificates, unless nil, make requests between peers go over TLS.
	Certificates Certificates

	// Systemd, unless nil, is told when the SPOA has its first table, and that the
	// loop turns.
	Systemd *notify.Systemd

	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Node is one running controller. Its methods, those of api.Source, may be
// called from any goroutine at any time.
type Node struct {
	options  Options
	started  time.Time
	metrics  *metrics
	snapshot atomic.Pointer[snapshot]
	courier  *courier.Courier
}

// New returns a node that does nothing before Run.
func New(o Options) *Node {
	o.Log = o.Log.With().Str("part", "node").Logger()
	n := &Node{options: o, started: time.Now(), metrics: newMetrics(o.Registerer, o), courier: courier.New(o.HAProxy, o.SPOA, o.Log)}
	n.snapshot.Store(&snapshot{View: core.View{At: n.started}})
	if o.Registerer != nil {
		o.Registerer.MustRegister(newCollector(n))
	}
	return n
}

// now is the node's time, which goes on evenly whatever becomes of the machine's
// clock.
func (n *Node) now() time.Time { return n.started.Add(time.Since(n.started)) }

// Run works until the context ends, and then leaves the federation: peers are
// told, and the SPOA is left with a table that soon ends, after which everything
// is served here. It must be called once. It returns within about two seconds of
// the context's end.
func (n *Node) Run(ctx context.Context) {
	spoa := newSPOAKeeper(n.options.SPOA, n.courier, n.metrics)
	haproxy := newHAProxyKeeper(n.options.HAProxy, n.options.Certificates)
	voice := newPublisher(n.options.Overlay)
	l := newLoop(n, spoa, haproxy, voice)

	var keepers sync.WaitGroup
	keepers.Go(func() { spoa.run(ctx) })
	keepers.Go(func() { spoa.carry(ctx) })
	keepers.Go(func() { haproxy.run(ctx) })
	keepers.Go(func() { voice.run(ctx) })
	l.run(ctx)
	keepers.Wait()
	n.leave(context.WithoutCancel(ctx), l.leave(), spoa)
}

const (
	// leaveTimeout bounds each of the last things that a node does.
	leaveTimeout = time.Second
	// leaveLinger gives gossip the time to go out before the overlay closes.
	leaveLinger = 200 * time.Millisecond
)

// leave does the last things, those that may hang side by side.
func (n *Node) leave(ctx context.Context, last core.Effects, spoa *spoaKeeper) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := n.options.Overlay.Publish(ctx, *last.Announce); err != nil {
			n.options.Log.Warn().Err(err).Msg("cannot tell the peers that this node leaves")
			return
		}
		<-time.After(leaveLinger)
	})
	if last.Table != nil {
		all.Go(func() {
			if put := spoa.put(ctx, last.Table); put.Err != nil {
				n.options.Log.Warn().Err(put.Err).Msg("cannot give the SPOA a last table")
			}
		})
	}
	all.Wait()
}

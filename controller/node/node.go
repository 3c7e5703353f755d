// Package node is the controller's heart: it observes the node and its peers,
// lets a strategy plan, and applies the plan to the SPOA and to HAProxy.
//
// One goroutine, the loop, owns all that changes. What may hang has a goroutine
// of its own (the SPOA, HAProxy, gossip going out); they exchange values with
// the loop over channels, and none of them ever holds the loop up.
package node

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/spoa/table"
)

// Overlay is the network of the federation's controllers.
type Overlay interface {
	// Publish announces to all members; dropped offers did not fit.
	Publish(ctx context.Context, a wire.Announcement) (dropped int, err error)
	// Messages delivers what other members announce.
	Messages() <-chan overlay.Message
	// Join connects to the node at a multiaddr.
	Join(ctx context.Context, address string) (id string, err error)
	Addrs() []string
	Peers() []overlay.PeerInfo
	Refused() []membership.Refusal
}

// Minter makes the tokens that are shown to peers.
type Minter interface {
	// Token returns a token for the peer that is good for at least ten seconds
	// from now. It is called often, and keeps what it has made.
	Token(now time.Time, peer string) (string, error)
}

// Options is all that a node is made of.
type Options struct {
	Self             string // own peer id
	Version          string // of the program, for display
	Federation       string
	Strategy         strategy.Strategy
	Period           time.Duration
	DefaultMaxrate   float64        // requests/s
	HTTP             netip.AddrPort // of this node's HAProxy, announced to peers
	DefaultNamespace string         // of the gateway
	HasBootstrap     bool           // members to connect to are configured

	SPOA    SPOA
	HAProxy HAProxy
	// Gateway delivers looks at the gateway, as faasd.Client.Watch does.
	Gateway <-chan faasd.Snapshot
	Overlay Overlay
	// Members is handed over to the node, which alone uses it from then on.
	Members *membership.Members
	Minter  Minter
	// Certificates, unless nil, make requests between peers go over TLS.
	Certificates Certificates

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
}

// New returns a node that does nothing before Run.
func New(o Options) *Node {
	o.Log = o.Log.With().Str("part", "node").Logger()
	n := &Node{options: o, started: time.Now(), metrics: newMetrics(o.Registerer, o)}
	n.snapshot.Store(&snapshot{at: n.started})
	return n
}

// Run works until the context ends, and then leaves the federation: peers are
// told, and the SPOA is left with a table that soon ends, after which everything
// is served here. It must be called once. It returns within about two seconds of
// the context's end.
func (n *Node) Run(ctx context.Context) {
	o := n.options
	spoa := &spoaKeeper{
		spoa: o.SPOA, tick: tickOf(o.Period), tables: newMailbox[table.Table](), events: make(chan spoaEvent), metrics: n.metrics,
	}
	haproxy := newHAProxyKeeper(o.HAProxy, o.Certificates)
	voice := newPublisher(o.Overlay)
	l := newLoop(n, spoa.tables, haproxy.desired, voice.outbox, time.Now())

	var keepers sync.WaitGroup
	keepers.Go(func() { spoa.run(ctx) })
	keepers.Go(func() { haproxy.run(ctx) })
	keepers.Go(func() { voice.run(ctx) })
	l.run(ctx, spoa.events, haproxy.events, voice.events)
	keepers.Wait()
	n.leave(context.WithoutCancel(ctx), l, spoa)
}

const (
	// leaveTimeout bounds each of the last things that a node does.
	leaveTimeout = time.Second
	// leaveLinger gives gossip the time to go out before the overlay closes.
	leaveLinger = 200 * time.Millisecond
)

// leave does the last things, those that may hang side by side.
func (n *Node) leave(ctx context.Context, l *loop, spoa *spoaKeeper) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	var last sync.WaitGroup
	last.Go(func() {
		if _, err := n.options.Overlay.Publish(ctx, l.farewell(time.Now())); err != nil {
			n.options.Log.Warn().Err(err).Msg("cannot tell the peers that this node leaves")
			return
		}
		<-time.After(leaveLinger)
	})
	if l.applied != nil && spoa.answers {
		last.Go(func() {
			t := finalTable(*l.applied, l.clocks.offset(time.Now()))
			spoa.table = &t
			if err := spoa.put(ctx); err != nil {
				n.options.Log.Warn().Err(err).Msg("cannot give the SPOA a last table")
			}
		})
	}
	last.Wait()
}

// Package overlay is the peer-to-peer network of one federation: who is
// connected, how peers find each other, and how announcements reach everybody.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// dialTimeout bounds one attempt to connect, over all of a peer's addresses.
const dialTimeout = 15 * time.Second

// Message is a valid announcement of another node.
type Message struct {
	From         peerid.ID // of the author, who signed it
	Announcement wire.Announcement
	// RemoteIPs are the far ends of the direct connections to the author.
	// Empty: there is none (yet; one is being tried), and the announcement
	// came by way of others, so that its address cannot be verified.
	RemoteIPs []netip.Addr
	// Direct is true when the author itself handed it over: nobody replays it.
	Direct bool
}

// PeerInfo is a connected peer.
type PeerInfo struct {
	ID    string
	Addrs []string      // multiaddrs of the connections' far ends, sorted
	RTT   time.Duration // round-trip time, smoothed; 0: not measured yet
	Since time.Time     // when the oldest connection was made
}

// Overlay is this node's part in the network. Safe for concurrent use.
type Overlay struct {
	log        zerolog.Logger
	host       host.Host
	dht        *dht.IpfsDHT // nil: not used
	first      *channel     // see topics.go
	second     *channel     // nil: not known
	spoken     *spoken
	feeds      *feeds // nil: not known
	unfed      atomic.Int64
	traffic    traffic
	pace       *rate.Limiter
	gate       *gate
	keeper     *keeper
	refused    *refusals
	duplicates *duplicates
	witness    *witness
	notices    *notices
	metrics    *metrics
	messages   chan Message

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	closed chan struct{}
}

// New joins the federation's network and works until ctx ends or Close is
// called. It needs no peer to be reachable.
func New(ctx context.Context, config Config) (*Overlay, error) {
	s, err := config.check()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	refused := &refusals{log: config.Log}
	o := &Overlay{
		log:      config.Log,
		gate:     newGate(s.allow, refused, newBook(s.DHT)),
		refused:  refused,
		messages: make(chan Message, 64),
		spoken:   newSpoken(),
		witness:  newWitness(),
		pace:     newPace(),
		ctx:      ctx,
		cancel:   cancel,
		closed:   make(chan struct{}),
	}
	if err := o.start(s); err != nil {
		cancel()
		o.shutdown()
		return nil, err
	}
	go func() {
		<-ctx.Done()
		o.shutdown()
	}()
	return o, nil
}

// start builds the parts, each of which shutdown takes down if it is there.
func (o *Overlay) start(s settings) (err error) {
	if o.host, err = newHost(s, o.gate, &o.traffic); err != nil {
		return err
	}
	o.gate.book.connected = o.connected
	o.metrics = newMetrics(s.Registerer, func() int { return len(o.host.Network().Peers()) }, o.Unfed)
	if s.Registerer != nil {
		o.traffic.register(s.Registerer)
	}
	o.duplicates = &duplicates{self: o.host.ID(), key: s.Identity.Key().GetPublic(), refused: o.refused}
	o.notices = newNotices(o, s.Federation)
	o.keeper = newKeeper(o, s.bootstrap)
	events, err := o.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.BufSize(256))
	if err != nil {
		return fmt.Errorf("watching connections: %w", err)
	}
	if err := o.startGossip(s); err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	if !s.noFeeds && !s.firstOnly && !protocol.Previous {
		o.feeds = newFeeds(o, s.Federation)
		if err := o.feeds.run(); err != nil {
			return fmt.Errorf("starting feeds: %w", err)
		}
	}
	if s.DHT {
		if err := o.startDHT(s.Federation); err != nil {
			return fmt.Errorf("starting the DHT: %w", err)
		}
	}
	if err := listen(o.host, s.Listen); err != nil {
		return err
	}
	if s.MDNS {
		o.work.Go(func() { o.runMDNS(s.Federation) })
	}
	o.work.Go(func() {
		defer events.Close()
		o.keeper.run(o.ctx, events.Out())
	})
	o.work.Go(o.receive)
	o.work.Go(o.tend)
	o.work.Go(o.watchSilence)
	return nil
}

// shutdown takes everything down and returns when all of it has ended.
func (o *Overlay) shutdown() {
	if o.dht != nil {
		o.dht.Close()
	}
	if o.host != nil {
		o.host.Close()
	}
	o.work.Wait()
	close(o.closed)
}

// Close leaves the network and waits until everything has ended.
func (o *Overlay) Close() error {
	o.cancel()
	<-o.closed
	return nil
}

// ID returns this node's peer id.
func (o *Overlay) ID() string { return o.host.ID().String() }

// Addrs returns the addresses at which this node can be dialled, as multiaddrs
// with /p2p/ID: what others give to Join, or write into bootstrap.
func (o *Overlay) Addrs() []string {
	var addrs []string
	for _, addr := range o.host.Addrs() {
		addrs = append(addrs, addr.String()+"/p2p/"+o.ID())
	}
	slices.Sort(addrs)
	return addrs
}

// Messages delivers the other nodes' valid announcements. If nobody reads, the
// newest are dropped and counted. The channel is closed when the overlay ends.
func (o *Overlay) Messages() <-chan Message { return o.messages }

// Join connects to the node at the multiaddr, which ends in /p2p/ID, and returns
// its peer id. If the two are connected another way, the address is tried all the
// same, and the connection there is kept. Should it be lost, this node tries for an
// hour to restore it.
func (o *Overlay) Join(ctx context.Context, addr string) (id string, err error) {
	info, err := peerAddr(addr)
	if err != nil {
		return "", err
	}
	if info.ID == o.host.ID() {
		return "", errors.New("this is the node's own address")
	}
	o.gate.book.name(info.Addrs...)
	if err := o.dial(ctx, info); err != nil {
		return "", fmt.Errorf("connecting to %s: %s", info.ID, o.explain(info.ID, err))
	}
	if err := o.probe(ctx, info); err != nil {
		return "", fmt.Errorf("%s is connected already, but cannot be reached at %s: %s", info.ID, addr, o.explain(info.ID, err))
	}
	o.keeper.want(info)
	return info.ID.String(), nil
}

// source returns from where the peer is connected, the unspecified address if it is
// not.
func (o *Overlay) source(id peer.ID) netip.Addr {
	for _, ip := range o.remoteIPs(id) {
		return ip
	}
	return netip.IPv6Unspecified()
}

// probe returns nil if the connected peer is at one of the addresses.
func (o *Overlay) probe(ctx context.Context, info peer.AddrInfo) (err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, ok := o.host.Network().(*swarm.Swarm)
	if !ok {
		return nil
	}
	for _, addr := range info.Addrs {
		if slices.ContainsFunc(o.host.Network().ConnsToPeer(info.ID), func(c network.Conn) bool { return c.RemoteMultiaddr().Equal(addr) }) {
			return nil
		}
		at, lookup := o.resolve(ctx, addr)
		err = errors.Join(err, lookup)
		for _, addr := range at {
			transport := s.TransportForDialing(addr)
			if transport == nil {
				err = errors.Join(err, swarm.ErrNoTransport)
				continue
			}
			conn, failed := transport.Dial(ctx, addr, info.ID)
			if failed == nil {
				return conn.Close()
			}
			err = errors.Join(err, failed)
		}
	}
	return err
}

// resolve returns the IP addresses of an address that the operator gave.
func (o *Overlay) resolve(ctx context.Context, addr ma.Multiaddr) ([]ma.Multiaddr, error) {
	if !madns.Matches(addr) {
		return []ma.Multiaddr{addr}, nil
	}
	addrs, err := madns.Resolve(ctx, addr)
	o.gate.book.name(addrs...)
	return addrs, err
}

// Peers returns the connected peers, sorted by id.
func (o *Overlay) Peers() []PeerInfo {
	var peers []PeerInfo
	for _, id := range o.host.Network().Peers() {
		conns := o.host.Network().ConnsToPeer(id)
		if len(conns) == 0 {
			continue
		}
		info := PeerInfo{ID: id.String(), RTT: o.host.Peerstore().LatencyEWMA(id), Since: since(conns)}
		for _, c := range conns {
			info.Addrs = append(info.Addrs, c.RemoteMultiaddr().String())
		}
		slices.Sort(info.Addrs)
		peers = append(peers, info)
	}
	slices.SortFunc(peers, func(a, b PeerInfo) int { return strings.Compare(a.ID, b.ID) })
	return peers
}

// since returns when the oldest of the connections, of which there is one at
// least, was made.
func since(conns []network.Conn) time.Time {
	oldest := conns[0].Stat().Opened
	for _, c := range conns[1:] {
		if c.Stat().Opened.Before(oldest) {
			oldest = c.Stat().Opened
		}
	}
	return oldest
}

// Refused returns who was turned away in the last ten minutes, and why: by peer
// id where it is known, else by IP address.
func (o *Overlay) Refused() []membership.Refusal { return o.refused.recent() }

func (o *Overlay) connected(id peer.ID) bool {
	return o.host.Network().Connectedness(id) == network.Connected
}

// dial connects to the peer, if need be asking the DHT where it is.
func (o *Overlay) dial(ctx context.Context, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if o.dht != nil && len(info.Addrs) == 0 && len(o.host.Peerstore().Addrs(info.ID)) == 0 {
		found, err := o.dht.FindPeer(ctx, info.ID)
		if err != nil {
			return fmt.Errorf("looking for its address: %w", err)
		}
		info = found
	}
	// The keeper has its own, shorter patience than libp2p's back-off.
	if s, ok := o.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID)
	}
	err := o.host.Connect(ctx, info)
	if err != nil && handshakeFailed(err) {
		o.refused.add(info.ID.String(), o.explain(info.ID, err))
	}
	return err
}

// dropped notes that the peer broke off a connection as soon as it was made,
// unless it only stopped.
func (o *Overlay) dropped(id peer.ID) {
	if o.welcomes(time.Now(), id) {
		return
	}
	o.refused.add(id.String(), "closes the connection at once: most likely this node is not in its allow_peers")
}

// explain makes a dial error understandable.
func (o *Overlay) explain(id peer.ID, err error) string {
	if _, reason := o.gate.admit(id); reason != "" {
		return reason
	}
	if handshakeFailed(err) {
		return "the handshake failed: it has another federation key, or another identity than the address says, " +
			"or there were too many connections at once"
	}
	return oneLine(err)
}

// ipOf returns the IP address a multiaddr begins with.
func ipOf(addr ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// handshakeFailed tells errors of a peer that answered but could not agree with
// this node on how to talk.
func handshakeFailed(err error) bool {
	return strings.Contains(err.Error(), "failed to negotiate")
}

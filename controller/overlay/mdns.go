package overlay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
)

const (
	// mdnsEvery is how often mDNS follows changes of the interfaces.
	mdnsEvery = 30 * time.Second
	// mdnsRate is how many packets a second are read, and mdnsBurst at once.
	mdnsRate  = 100
	mdnsBurst = 500
)

// neighbours finds peers on the local network, as libp2p's mDNS does and
// together with it, but believes of a packet only what its source vouches for.
type neighbours struct {
	service string
	found   func(peer.AddrInfo, netip.Addr)
	refused func() // told of packets beyond mdnsRate
	rate    *rate.Limiter
}

// runMDNS announces this node on the local network and listens for others. It
// starts anew when the addresses have changed, and tries again while there is no
// network.
func (o *Overlay) runMDNS(name string) {
	n := &neighbours{
		service: serviceTag(name), found: o.neighbour, rate: rate.NewLimiter(mdnsRate, mdnsBurst),
		refused: o.metrics.refused.WithLabelValues(reasonNeighbours).Inc,
	}
	ticker := time.NewTicker(mdnsEvery)
	defer ticker.Stop()
	for {
		addrs := o.interfaceAddrs()
		ctx, stop := context.WithCancel(o.ctx)
		var work sync.WaitGroup
		err := n.start(ctx, &work, o.host.ID(), addrs)
		if err != nil {
			o.log.Warn().Err(err).Msg("mDNS does not work; trying again")
		}
		for waiting := true; waiting; {
			select {
			case <-o.ctx.Done():
				waiting = false
			case <-ticker.C:
				waiting = err == nil && slices.EqualFunc(addrs, o.interfaceAddrs(), ma.Multiaddr.Equal)
			}
		}
		stop()
		work.Wait()
		if o.ctx.Err() != nil {
			return
		}
	}
}

// neighbour has a peer dialled that was heard of on the local network.
func (o *Overlay) neighbour(info peer.AddrInfo, source netip.Addr) {
	if info.ID == o.host.ID() || !o.gate.InterceptPeerDial(info.ID) {
		return
	}
	for _, addr := range info.Addrs {
		o.gate.book.vouch(time.Now(), addr)
	}
	o.keeper.wantNeighbour(info, source)
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

// start asks, answers and listens until ctx ends, when it says goodbye.
func (n *neighbours) start(ctx context.Context, work *sync.WaitGroup, self peer.ID, addrs []ma.Multiaddr) error {
	record, err := newMDNSRecord(n.service, self, addrs)
	if err != nil {
		return err
	}
	interfaces, err := multicastInterfaces()
	if err != nil {
		return err
	}
	conns, err := listenMDNS(interfaces)
	if err != nil {
		return err
	}
	for _, c := range conns {
		questions := make(chan mdnsQuestion, 64)
		work.Go(func() { n.listen(c, questions) })
		work.Go(func() {
			n.speak(ctx, c, interfaces, record, questions)
			c.Close()
		})
	}
	return nil
}

// mdnsQuestion is somebody's question for members.
type mdnsQuestion struct {
	id    uint16 // of the packet
	index int    // of the interface over which it came
	known func(name string) bool
	same  bool // as this node asks: for all members, none of whom is known
}

// speak asks and answers over one socket, on each interface in its own time.
func (n *neighbours) speak(ctx context.Context, c *mdnsConn, interfaces []net.Interface, record mdnsRecord, questions <-chan mdnsQuestion) {
	all := make(map[int]*mdnsManners, len(interfaces))
	for _, i := range interfaces {
		all[i.Index] = newMDNSManners(time.Now())
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	own := make(map[uint16]bool) // the numbers of the last questions, which come back
	for {
		select {
		case <-ctx.Done():
			for index := range all {
				c.send(record.packet(0), index)
			}
			return
		case q := <-questions:
			if m := all[q.index]; m != nil && !own[q.id] {
				m.heard(time.Now(), q.known(record.instance), q.same)
			}
		case <-timer.C:
		}
		now := time.Now()
		next := now.Add(mdnsLast)
		for index, m := range all {
			ask, answer := m.due(now)
			if answer {
				c.send(record.packet(mdnsTTL), index)
			}
			if ask {
				question, id := mdnsQuery(n.service)
				if len(own) >= 4*len(all) {
					clear(own)
				}
				own[id] = true
				c.send(question, index)
			}
			if at := m.next(); at.Before(next) {
				next = at
			}
		}
		timer.Reset(time.Until(next))
	}
}

// mdnsSources has each source take half of what is read at most, so that one that
// floods leaves room for others.
type mdnsSources map[netip.Addr]*rate.Limiter

func (s mdnsSources) allow(now time.Time, source netip.Addr) bool {
	limiter := s[source]
	if limiter == nil {
		if len(s) >= maxAuthors {
			clear(s)
		}
		limiter = rate.NewLimiter(mdnsRate/2, mdnsBurst/2)
		s[source] = limiter
	}
	return limiter.AllowN(now, 1)
}

// listen reads until the connection is closed.
func (n *neighbours) listen(c *mdnsConn, questions chan<- mdnsQuestion) {
	buf := make([]byte, maxMDNSPacket+1)
	sources := make(mdnsSources)
	for {
		size, index, source, ok, err := c.read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			<-time.After(time.Second) // the network is down, or the like
			continue
		case !ok:
			continue
		case !sources.allow(time.Now(), source) || !n.rate.Allow():
			n.refused()
			continue
		}
		message, ok := mdnsMessage(buf[:size])
		if !ok {
			continue
		}
		if !message.Response {
			if q, ok := questionIn(message, n.service, index); ok {
				select {
				case questions <- q:
				default: // as good as heard: others wait to be answered
				}
			}
			continue
		}
		vouches := vouchesFor(source, prefixesOf(index))
		for _, info := range mdnsAnswers(message, n.service, vouches) {
			n.found(info, source)
		}
	}
}

// vouchesFor returns for which addresses a packet's source vouches: its own, if it
// is on the network of the interface; and since IPv6 packets come from link-local
// addresses, those get to vouch for that network.
func vouchesFor(source netip.Addr, network []netip.Prefix) func(netip.Addr) bool {
	onLink := func(ip netip.Addr) bool {
		return slices.ContainsFunc(network, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	switch {
	case source.Is6() && source.IsLinkLocalUnicast():
		return func(ip netip.Addr) bool { return ip.Is6() && onLink(ip) }
	case onLink(source):
		return func(ip netip.Addr) bool { return ip == source }
	}
	return func(netip.Addr) bool { return false }
}

// prefixesOf returns the networks of an interface.
func prefixesOf(index int) []netip.Prefix {
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	var networks []netip.Prefix
	for _, addr := range addrs {
		if p, err := netip.ParsePrefix(addr.String()); err == nil {
			networks = append(networks, p.Masked())
		}
	}
	return networks
}

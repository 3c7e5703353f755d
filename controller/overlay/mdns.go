package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/time/rate"
)

const (
	// mdnsEvery is how often mDNS follows changes of the interfaces.
	mdnsEvery = 30 * time.Second
	// The pauses between questions grow from mdnsFirst to mdnsLast.
	mdnsFirst = 2 * time.Second
	mdnsLast  = time.Minute
	// mdnsRate is how many packets a second are read, and mdnsBurst at once.
	mdnsRate  = 100
	mdnsBurst = 500
	mdnsPort  = 5353
	mdnsName  = "abcdefghijklmnopqrstuvwxyz0123456789"
)

var (
	mdnsGroup4 = netip.AddrFrom4([4]byte{224, 0, 0, 251})
	mdnsGroup6 = netip.MustParseAddr("ff02::fb")
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
		end, err := n.start(ctx, &work, o.host.ID(), addrs)
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
		end()
		work.Wait()
		if o.ctx.Err() != nil {
			return
		}
	}
}

// neighbour has a peer dialled that was heard of on the local network.
func (o *Overlay) neighbour(info peer.AddrInfo, source netip.Addr) {
	if info.ID == o.host.ID() || !o.gate.check(info.ID) {
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

// start answers questions, asks, and listens until ctx ends; end says goodbye.
func (n *neighbours) start(ctx context.Context, work *sync.WaitGroup, self peer.ID, addrs []ma.Multiaddr) (end func(), err error) {
	end = func() {}
	interfaces, err := multicastInterfaces()
	if err != nil {
		return end, err
	}
	conns, err := listenMDNS(interfaces)
	if err != nil {
		return end, err
	}
	answering, err := n.answer(self, addrs)
	if err != nil {
		for _, c := range conns {
			c.Close()
		}
		return end, fmt.Errorf("answering: %w", err)
	}
	for _, c := range conns {
		work.Go(func() { n.listen(c) })
	}
	work.Go(func() {
		n.ask(ctx, conns, interfaces)
		for _, c := range conns {
			c.Close()
		}
	})
	return answering.Shutdown, nil
}

// answer has the node's addresses told to whoever asks.
func (n *neighbours) answer(self peer.ID, addrs []ma.Multiaddr) (*zeroconf.Server, error) {
	var texts, ips []string
	for _, addr := range addrs {
		ip, ok := ipOf(addr)
		if !ok {
			continue
		}
		texts = append(texts, mdnsPrefix+addr.String()+"/p2p/"+self.String())
		if s := ip.WithZone("").String(); !slices.Contains(ips, s) {
			ips = append(ips, s)
		}
	}
	if len(ips) == 0 {
		return nil, errors.New("no address to tell of")
	}
	name := make([]byte, 32)
	for i := range name {
		name[i] = mdnsName[rand.IntN(len(mdnsName))]
	}
	// Only the texts count; the rest is for those who look at the network.
	const anyPort = 4001
	return zeroconf.RegisterProxy(string(name), n.service, mdnsDomain, anyPort, string(name), ips, texts, nil)
}

// ask asks on all interfaces, often at first.
func (n *neighbours) ask(ctx context.Context, conns []*mdnsConn, interfaces []net.Interface) {
	question, err := mdnsQuery(n.service)
	if err != nil {
		return
	}
	for pause := mdnsFirst; ; pause = min(2*pause, mdnsLast) {
		for _, c := range conns {
			for _, i := range interfaces {
				c.send(question, i.Index)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(pause)):
		}
	}
}

// listen reads until the connection is closed.
func (n *neighbours) listen(c *mdnsConn) {
	buf := make([]byte, maxMDNSPacket+1)
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
		case !n.rate.Allow():
			n.refused()
			continue
		}
		vouches := vouchesFor(source, prefixesOf(index))
		for _, info := range mdnsAnswers(buf[:size], n.service, vouches) {
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

// multicastInterfaces returns the interfaces on which there may be neighbours.
func multicastInterfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("looking for interfaces: %w", err)
	}
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&(net.FlagUp|net.FlagMulticast) != net.FlagUp|net.FlagMulticast
	}), nil
}

// mdnsConn is a socket of one IP version in the multicast group.
type mdnsConn struct {
	net.PacketConn
	v4 *ipv4.PacketConn // nil: IPv6
	v6 *ipv6.PacketConn
}

// listenMDNS joins the group in the IP versions that there are.
func listenMDNS(interfaces []net.Interface) ([]*mdnsConn, error) {
	var conns []*mdnsConn
	var errs []error
	for _, group := range []netip.Addr{mdnsGroup4, mdnsGroup6} {
		c, err := joinMDNS(group, interfaces)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		return nil, errors.Join(errs...)
	}
	return conns, nil
}

func joinMDNS(group netip.Addr, interfaces []net.Interface) (*mdnsConn, error) {
	network := "udp6"
	if group.Is4() {
		network = "udp4"
	}
	// With a multicast address, several programs may listen on the port.
	udp, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, mdnsPort)))
	if err != nil {
		return nil, fmt.Errorf("listening for mDNS: %w", err)
	}
	c := &mdnsConn{PacketConn: udp}
	to := &net.UDPAddr{IP: group.AsSlice()}
	join := func(i *net.Interface) error { return c.v6.JoinGroup(i, to) }
	if group.Is4() {
		c.v4 = ipv4.NewPacketConn(udp)
		join = func(i *net.Interface) error { return c.v4.JoinGroup(i, to) }
		err = errors.Join(c.v4.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true), c.v4.SetMulticastTTL(255))
	} else {
		c.v6 = ipv6.NewPacketConn(udp)
		err = errors.Join(c.v6.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true), c.v6.SetMulticastHopLimit(255))
	}
	joined := 0
	for i := range interfaces {
		if join(&interfaces[i]) == nil {
			joined++
		}
	}
	if err != nil || joined == 0 {
		udp.Close()
		return nil, fmt.Errorf("no interface takes part in multicast to %s: %w", group, errors.Join(err, errors.ErrUnsupported))
	}
	return c, nil
}

// send sends to the group over one interface. Nobody may be there to hear it.
func (c *mdnsConn) send(packet []byte, index int) {
	if c.v4 != nil {
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(mdnsGroup4, mdnsPort))
		_, _ = c.v4.WriteTo(packet, &ipv4.ControlMessage{IfIndex: index}, to)
		return
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(mdnsGroup6, mdnsPort))
	_, _ = c.v6.WriteTo(packet, &ipv6.ControlMessage{IfIndex: index}, to)
}

// read reads one packet; ok is false if it was not sent to the group, from its port.
func (c *mdnsConn) read(buf []byte) (size, index int, source netip.Addr, ok bool, err error) {
	var from net.Addr
	var to net.IP
	if c.v4 != nil {
		var cm *ipv4.ControlMessage
		if size, cm, from, err = c.v4.ReadFrom(buf); cm != nil {
			index, to = cm.IfIndex, cm.Dst
		}
	} else {
		var cm *ipv6.ControlMessage
		if size, cm, from, err = c.v6.ReadFrom(buf); cm != nil {
			index, to = cm.IfIndex, cm.Dst
		}
	}
	udp, isUDP := from.(*net.UDPAddr)
	if err != nil || !isUDP {
		return 0, 0, netip.Addr{}, false, err
	}
	addr := udp.AddrPort()
	return size, index, addr.Addr().Unmap().WithZone(""), to.IsMulticast() && addr.Port() == mdnsPort, nil
}

package overlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const mdnsPort = 5353

var (
	mdnsGroup4 = netip.AddrFrom4([4]byte{224, 0, 0, 251})
	mdnsGroup6 = netip.MustParseAddr("ff02::fb")
)

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

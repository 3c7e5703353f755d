// Package listeners finds out which addresses of this machine are taken, and by
// whom.
package listeners

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxAddresses = 64 // that one `bind` may stand for
	abstract     = "abns@"
)

// Address is one that a program listens at.
type Address struct {
	netip.AddrPort
	// Abstract is the name of an abstract unix socket; the AddrPort is then not valid.
	Abstract string
}

// String returns IP:PORT, or HAProxy's name for an abstract socket.
func (a Address) String() string {
	if a.Abstract != "" {
		return abstract + a.Abstract
	}
	return a.AddrPort.String()
}

// Overlaps reports whether a socket at b is in the way of one at a. A socket at
// [::] is taken for one of both families, which it is unless its program wanted
// otherwise.
func (a Address) Overlaps(b Address) bool {
	if a.Abstract != "" || b.Abstract != "" {
		return a.Abstract == b.Abstract
	}
	if a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return x == y || anyOf(x, y) || anyOf(y, x)
}

// anyOf reports whether x is the unspecified address of a family that y is in.
func anyOf(x, y netip.Addr) bool { return x.IsUnspecified() && (x.Is6() || y.Is4()) }

// Parse reads the address of a `bind` line as HAProxy does: lists, port ranges,
// families, names. What is no TCP address, such as a path or a descriptor that is
// inherited, is left out. It fails for what HAProxy would not take, and for more
// than 64 addresses.
func Parse(ctx context.Context, bind string) ([]Address, error) {
	var all []Address
	for part := range strings.SplitSeq(bind, ",") {
		addresses, err := parseOne(ctx, part)
		if err != nil {
			return nil, err
		}
		if all = append(all, addresses...); len(all) > maxAddresses {
			return nil, fmt.Errorf("%q stands for more than %d addresses", bind, maxAddresses)
		}
	}
	return all, nil
}

func parseOne(ctx context.Context, text string) ([]Address, error) {
	family, rest, prefixed := strings.Cut(text, "@")
	if !prefixed {
		family, rest = "", text
	}
	any4, network := netip.IPv4Unspecified(), "ip"
	switch family {
	case "", "tcp":
	case "ipv4", "tcp4":
		network = "ip4"
	case "ipv6", "tcp6":
		any4, network = netip.IPv6Unspecified(), "ip6"
	case "abns", "abnsz":
		return []Address{{Abstract: rest}}, nil
	default: // unix, fd, sockpair, udp, quic4, ...
		return nil, nil
	}
	if strings.HasPrefix(rest, "/") {
		return nil, nil
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return nil, fmt.Errorf("%q has no port: write IP:PORT, or :PORT for all addresses", text)
	}
	first, last, err := ports(rest[colon+1:])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	hosts := []netip.Addr{any4}
	if host := strings.Trim(rest[:colon], "[]"); host != "" && host != "*" {
		if hosts, err = resolve(ctx, network, host); err != nil {
			return nil, err
		}
	}
	var addresses []Address
	for port := first; port <= last; port++ {
		for _, host := range hosts {
			addresses = append(addresses, Address{AddrPort: netip.AddrPortFrom(host, uint16(port))})
		}
	}
	return addresses, nil
}

// ports reads PORT or PORT-PORT.
func ports(text string) (first, last int, err error) {
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || b < a {
		return 0, 0, fmt.Errorf("%q is not a port", text)
	}
	if b-a >= maxAddresses {
		return 0, 0, fmt.Errorf("more than %d ports", maxAddresses)
	}
	return int(a), int(b), nil
}

func resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, err
	}
	// HAProxy takes the first.
	return []netip.Addr{addrs[0].Unmap()}, nil
}

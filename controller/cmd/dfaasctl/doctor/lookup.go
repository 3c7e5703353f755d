package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// errNoProgram is that HAProxy is not installed.
var errNoProgram = exec.ErrNotFound

const lookUpTimeout = 5 * time.Second

// gatewayName is whether the host of a gateway's address can be looked up.
type gatewayName struct {
	address string // HOST:PORT
	host    string
	err     error
}

func lookUp(ctx context.Context, address string) gatewayName {
	n := gatewayName{address: address}
	if strings.HasPrefix(address, "/") || strings.Contains(address, "@") {
		return n // a socket
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if n.host = host; err != nil {
		n.err = err
		return n
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	_, n.err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return n
}

func (n gatewayName) judge(setting string) Verdict {
	switch {
	case n.err == nil:
		return ok("%s", n.address)
	case isLookUp(n.err):
		return fail("correct "+setting+", name the IP address instead, or add the name to /etc/hosts: it must resolve also while this machine boots",
			"%s does not resolve: %s", n.host, lookUpReason(n.err))
	default:
		return fail("write "+setting+" as HOST:PORT, such as 127.0.0.1:8080", "%q: %s", n.address, oneLine(n.err))
	}
}

// isLookUp reports whether a name could not be looked up.
func isLookUp(err error) bool {
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// lookUpReason is what is to be said beside the name.
func lookUpReason(err error) string {
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case dns.IsNotFound:
		return "no such host"
	case dns.IsTimeout:
		return "no answer from the name servers"
	default:
		return dns.Err
	}
}

// addresses lists the first of a machine's addresses that others could reach.
func addresses(own []netip.Addr) string {
	var names []string
	for _, a := range own {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			names = append(names, a.String())
		}
	}
	if len(names) == 0 {
		return "127.0.0.1"
	}
	return few(names)
}

// shortAddress leaves out the unspecified address.
func shortAddress(a netip.AddrPort) string {
	if a.Addr().Is4() && a.Addr().IsUnspecified() {
		return ":" + strconv.Itoa(int(a.Port()))
	}
	return a.String()
}

package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/spelling"
)

// documentation are the networks of examples, such as the configuration that is
// installed: nobody has an address of them.
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"),
}

// AddressWarning says why peers will most likely refuse an http_address, of a node
// that has the other addresses; "" if nothing speaks against it.
func AddressWarning(address netip.Addr, own []netip.Addr) string {
	address = address.Unmap()
	others := slices.ContainsFunc(own, func(a netip.Addr) bool { return !a.IsLoopback() })
	switch {
	case slices.Contains(own, address) && !(address.IsLoopback() && others):
		return ""
	case address.IsLoopback():
		return fmt.Sprintf("%s is this machine as it sees itself: no peer on another one can reach it", address)
	case slices.ContainsFunc(documentation, func(p netip.Prefix) bool { return p.Contains(address) }):
		return fmt.Sprintf("%s is the placeholder of an example, no peer can reach it: set http_address to an address of this machine%s", address, listed(own))
	default:
		return fmt.Sprintf("%s is not an address of this machine%s: peers refuse it unless they have it in allow_addresses", address, listed(own))
	}
}

// listed names the addresses that others may reach, in brackets.
func listed(own []netip.Addr) string {
	const most = 4
	var names []string
	for _, a := range own {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() && len(names) < most {
			names = append(names, a.String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// Warnings are what a Config that is valid will most likely not do, on this
// machine.
func (c *Config) Warnings() []string {
	address, err := netip.ParseAddrPort(c.HTTPAddress)
	if err != nil {
		return nil
	}
	var all []string
	if warning := c.FamilyWarning(); warning != "" {
		all = append(all, warning)
	}
	own, err := InterfaceAddresses()
	if err != nil {
		return all // the system does not tell
	}
	if address.Addr().IsLoopback() && c.listensOnLoopback() {
		return all
	}
	if warning := AddressWarning(address.Addr(), own); warning != "" {
		all = append(all, "http_address: "+warning)
	}
	return all
}

// FamilyWarning says that peers, which connect to the overlay by one family, will not
// see the node at the other one's http_address; "" if nothing speaks against it.
func (c *Config) FamilyWarning() string {
	address, err := netip.ParseAddrPort(c.HTTPAddress)
	if err != nil {
		return ""
	}
	name, family, wildcard := "IPv4", "/ip4/", "/ip4/0.0.0.0/tcp/31600"
	if address.Addr().Unmap().Is6() {
		name, family, wildcard = "IPv6", "/ip6/", "/ip6/::/tcp/31600"
	}
	if len(c.Listen) == 0 || slices.ContainsFunc(c.Listen, func(s string) bool { return strings.HasPrefix(s, family) }) {
		return ""
	}
	return fmt.Sprintf("listen has no %s address, but http_address has one: peers refuse an address that they do not see this node at; add %s to listen", name, wildcard)
}

// settings are the names in HAProxy's drop-in, whose variables begin like the
// controller's.
var settings = regexp.MustCompile(`(?m)^\s*presetenv (\w+) `)

// Misspelt says which variables of an environment look like an option's and are
// nobody's, as a file's keys that are no options are faults.
func Misspelt(environ []string) []string {
	names := []string{envPrefix + "CONFIG"}
	for _, o := range options() {
		names = append(names, o.env())
	}
	var others []string
	for _, match := range settings.FindAllStringSubmatch(haproxy.Config(), -1) {
		others = append(others, match[1])
	}
	return spelling.Unread(environ, envPrefix, names, others)
}

// listensOnLoopback reports whether no other machine can be a peer anyway.
func (c *Config) listensOnLoopback() bool {
	return !slices.ContainsFunc(c.Listen, func(s string) bool {
		return !strings.HasPrefix(s, "/ip4/127.") && !strings.HasPrefix(s, "/ip6/::1/")
	})
}

// InterfaceAddresses returns the addresses of this machine.
func InterfaceAddresses() ([]netip.Addr, error) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("looking for this machine's addresses: %w", err)
	}
	var own []netip.Addr
	for _, i := range interfaces {
		if prefix, err := netip.ParsePrefix(i.String()); err == nil {
			own = append(own, prefix.Addr().Unmap())
		}
	}
	return own, nil
}

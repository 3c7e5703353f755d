package membership

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheckAddress(t *testing.T) {
	tests := []struct {
		name    string
		http    string
		remote  string // space-separated
		allowed string // space-separated
		reason  string // part of the error; "": accepted
	}{
		{"of the connection", "192.0.2.1:80", "192.0.2.1", "", ""},
		{"of one of the connections", "192.0.2.1:80", "2001:db8::1 192.0.2.1", "", ""},
		{"mapped at either end", "[::ffff:192.0.2.1]:80", "::ffff:192.0.2.1", "", ""},
		{"link-local connection", "[fe80::1]:80", "fe80::1%eth0", "", ""},
		{"no connection", "192.0.2.1:80", "", "", "direct connection"},
		{"third party", "192.0.2.9:80", "192.0.2.1", "", "connected from 192.0.2.1"},
		{"hint", "192.0.2.9:80", "192.0.2.1", "", "add 192.0.2.9/32"},
		{"allowed", "10.1.2.3:80", "192.0.2.1", "172.16.0.0/12 10.0.0.0/8", ""},
		{"allowed without a connection", "10.1.2.3:80", "", "10.0.0.0/8", ""},
		{"allowed elsewhere", "11.1.2.3:80", "192.0.2.1", "10.0.0.0/8", "allow_addresses"},
		{"allowed IPv6", "[2001:db8::5]:80", "192.0.2.1", "2001:db8::/32", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var remote []netip.Addr
			for _, s := range strings.Fields(test.remote) {
				remote = append(remote, netip.MustParseAddr(s))
			}
			var allowed []netip.Prefix
			for _, s := range strings.Fields(test.allowed) {
				allowed = append(allowed, netip.MustParsePrefix(s))
			}
			err := CheckAddress(netip.MustParseAddrPort(test.http), remote, allowed)
			if accepted := err == nil; accepted != (test.reason == "") || !accepted && !strings.Contains(err.Error(), test.reason) {
				t.Errorf("got %v, want reason %q", err, test.reason)
			}
		})
	}
}

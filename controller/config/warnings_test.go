package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAddressWarning(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("fe80::1")}
	alone := own[:1]
	for _, c := range []struct {
		address string
		own     []netip.Addr
		want    string
	}{
		{"10.1.0.1", own, ""},
		{"::ffff:10.1.0.1", own, ""},
		{"2001:db8::5", own, ""},
		{"192.0.2.10", own, "192.0.2.10 is the placeholder of an example, no peer can reach it: set http_address to an address of this machine (10.1.0.1, 2001:db8::5)"},
		{"10.1.0.2", own, "not an address of this machine (10.1.0.1, 2001:db8::5)"},
		{"127.0.0.1", own, "no peer on another one"},
		{"127.0.0.1", alone, ""},
		{"192.0.2.10", alone, "set http_address to an address of this machine"},
	} {
		got := AddressWarning(netip.MustParseAddr(c.address), c.own)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.address, got, c.want)
		}
	}
}

func TestMisspelt(t *testing.T) {
	got := Misspelt([]string{"DFAAS_PERIDO=2s", "DFAAS_PERIOD=2s", "DFAAS_BIND=:8180", "DFAAS_CONFIG=x", "DFAAS_SPOA=unix@/x", "DFAAS_SPOA_LISTEN=/x",
		"DFAAS_PROVIDER_OPTIONS=", "DFAAS_SOMETHING_ELSE=1", "DFAAS_HTTP_ADRESS=x", "PERIDO=2s"})
	want := []string{"nobody reads DFAAS_HTTP_ADRESS: did you mean DFAAS_HTTP_ADDRESS?", "nobody reads DFAAS_PERIDO: did you mean DFAAS_PERIOD?"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWarnings(t *testing.T) {
	c := Default()
	for address, want := range map[string]string{"": "", "192.0.2.10:8081": "http_address: 192.0.2.10 is the placeholder"} {
		c.HTTPAddress = address
		if got := strings.Join(c.Warnings(), "\n"); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q", address, got)
		}
	}
	// Peers must see the node at the address that it announces.
	for _, test := range []struct {
		http   string
		listen []string
		want   string
	}{
		{"[2001:db8::5]:8180", []string{"/ip4/0.0.0.0/tcp/31600"}, "listen has no IPv6 address"},
		{"[2001:db8::5]:8180", []string{"/ip4/0.0.0.0/tcp/31600", "/ip6/::/tcp/31600"}, ""},
		{"10.1.0.1:8180", []string{"/ip6/::/tcp/31600"}, "listen has no IPv4 address"},
		{"[::ffff:10.1.0.1]:8180", []string{"/ip4/10.1.0.1/tcp/31600"}, ""},
		{"nonsense", []string{"/ip6/::/tcp/31600"}, ""},
		{"10.1.0.1:8180", nil, ""},
	} {
		c := Config{HTTPAddress: test.http, Listen: test.listen}
		if got := c.FamilyWarning(); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s, %s: %q, want %q", test.http, test.listen, got, test.want)
		}
	}
	c.HTTPAddress = "[2001:db8::5]:8180"
	if got := strings.Join(c.Warnings(), "\n"); !strings.Contains(got, "add /ip6/::/tcp/31600 to listen") {
		t.Errorf("%q", got)
	}
	// Whoever listens on the loopback interface only has its peers there.
	c.HTTPAddress, c.Listen = "127.0.0.1:8081", []string{"/ip4/127.0.0.1/tcp/0"}
	if got := c.Warnings(); got != nil {
		t.Errorf("%q", got)
	}
}

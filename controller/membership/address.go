package membership

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// CheckAddress says whether an announced address may be used: its IP must be
// one that a live, authenticated connection to the announcer has at its far
// end, so that nobody can aim the federation's requests at a third party, or
// lie in a network that the operator has allowed. The error says how to fix it.
func CheckAddress(http netip.AddrPort, remoteIPs []netip.Addr, allowed []netip.Prefix) error {
	ip := http.Addr().Unmap()
	for _, network := range allowed {
		if network.Contains(ip) {
			return nil
		}
	}
	if len(remoteIPs) == 0 {
		return fmt.Errorf("announces %v, which cannot be verified without a direct connection to it", http)
	}
	seen := make([]string, 0, len(remoteIPs))
	for _, remote := range remoteIPs {
		if remote.Unmap().WithZone("") == ip {
			return nil
		}
		seen = append(seen, remote.Unmap().String())
	}
	slices.Sort(seen)
	return fmt.Errorf("announces %v, but is connected from %s: correct its http_address, or add %v to allow_addresses here",
		http, strings.Join(slices.Compact(seen), ", "), netip.PrefixFrom(ip, ip.BitLen()))
}

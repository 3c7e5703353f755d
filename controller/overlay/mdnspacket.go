package overlay

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/miekg/dns"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	mdnsDomain = "local"
	// mdnsPrefix is what libp2p's specification of mDNS wants before an address.
	mdnsPrefix = "dnsaddr="
	// maxMDNSPacket is as long as RFC 6762 lets a packet be, in bytes.
	maxMDNSPacket = 9000
	// maxAnswers bounds the addresses that are read of one packet.
	maxAnswers = 32
)

// serviceTag is the mDNS service of one federation, within the 15 characters
// that a service name may have. It does not tell the federation's name.
func serviceTag(name string) string {
	sum := sha256.Sum256([]byte("dfaas mdns " + name))
	return "_dfaas-" + hex.EncodeToString(sum[:4]) + "._udp"
}

// mdnsQuery asks for all members on the local network.
func mdnsQuery(service string) ([]byte, error) {
	m := new(dns.Msg)
	m.SetQuestion(service+"."+mdnsDomain+".", dns.TypePTR)
	m.RecursionDesired = false
	return m.Pack()
}

// mdnsAnswers returns the peers that a packet of the service tells of, each with the
// addresses for which the packet's source vouches.
func mdnsAnswers(packet []byte, service string, vouches func(netip.Addr) bool) []peer.AddrInfo {
	var m dns.Msg
	if len(packet) > maxMDNSPacket || m.Unpack(packet) != nil || !m.Response {
		return nil
	}
	var addrs []ma.Multiaddr
	for _, section := range [][]dns.RR{m.Answer, m.Extra} {
		for _, record := range section {
			txt, ok := record.(*dns.TXT)
			if !ok || !strings.HasSuffix(strings.ToLower(txt.Hdr.Name), "."+service+"."+mdnsDomain+".") {
				continue
			}
			for _, text := range txt.Txt {
				if addr, ok := vouchedAddr(text, vouches); ok && len(addrs) < maxAnswers {
					addrs = append(addrs, addr)
				}
			}
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil
	}
	return infos
}

// vouchedAddr reads /ip4/ADDRESS/tcp/PORT/p2p/ID, or the like of IPv6.
func vouchedAddr(text string, vouches func(netip.Addr) bool) (ma.Multiaddr, bool) {
	text, ok := strings.CutPrefix(text, mdnsPrefix)
	if !ok {
		return nil, false
	}
	addr, err := ma.NewMultiaddr(text)
	if err != nil || len(addr) != 3 || addr[1].Protocol().Code != ma.P_TCP || addr[2].Protocol().Code != ma.P_P2P {
		return nil, false
	}
	ip, ok := ipOf(addr)
	return addr, ok && vouches(ip)
}

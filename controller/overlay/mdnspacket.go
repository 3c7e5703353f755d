package overlay

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/miekg/dns"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	mdnsDomain = "local"
	// mdnsServices is asked by who wants to know which services there are.
	mdnsServices = "_services._dns-sd._udp." + mdnsDomain + "."
	// mdnsPrefix is what libp2p's specification of mDNS wants before an address.
	mdnsPrefix = "dnsaddr="
	mdnsName   = "abcdefghijklmnopqrstuvwxyz0123456789"
	mdnsTTL    = 120 // seconds for which an answer may be kept
	// mdnsUnique marks records of which there is no other of that name.
	mdnsUnique = 1 << 15
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

// mdnsQuery asks for all members on the local network. id is the packet's number.
func mdnsQuery(service string) (packet []byte, id uint16) {
	m := new(dns.Msg)
	m.SetQuestion(service+"."+mdnsDomain+".", dns.TypePTR)
	m.RecursionDesired = false
	packet, err := m.Pack()
	if err != nil {
		panic(err) // a name of fixed form
	}
	return packet, m.Id
}

// mdnsRecord is what this node says of itself.
type mdnsRecord struct {
	service, instance, host string // full names
	texts                   []string
	ips                     []netip.Addr
}

// newMDNSRecord returns the record of a node at the addresses, under a new name that tells nothing.
func newMDNSRecord(service string, self peer.ID, addrs []ma.Multiaddr) (mdnsRecord, error) {
	name := make([]byte, 32)
	for i := range name {
		name[i] = mdnsName[rand.IntN(len(mdnsName))]
	}
	r := mdnsRecord{service: service + "." + mdnsDomain + ".", host: string(name) + "." + mdnsDomain + "."}
	r.instance = string(name) + "." + r.service
	for _, addr := range addrs {
		ip, ok := ipOf(addr)
		if !ok {
			continue
		}
		r.texts = append(r.texts, mdnsPrefix+addr.String()+"/p2p/"+self.String())
		if ip = ip.WithZone(""); !slices.Contains(r.ips, ip) {
			r.ips = append(r.ips, ip)
		}
	}
	if len(r.texts) == 0 {
		return r, errors.New("no address to tell of")
	}
	if p := r.packet(mdnsTTL); p == nil || len(p) > maxMDNSPacket {
		return r, errors.New("too many addresses to tell of")
	}
	return r, nil
}

// packet is the answer to whoever asks; with a ttl of 0 a goodbye. Only the texts count;
// the rest is for those who look at the network.
func (r mdnsRecord) packet(ttl uint32) []byte {
	const anyPort = 4001
	header := func(name string, kind, unique uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET | unique, Ttl: ttl}
	}
	m := new(dns.Msg)
	m.Response, m.Authoritative, m.Compress = true, true, true
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: header(r.service, dns.TypePTR, 0), Ptr: r.instance},
		&dns.PTR{Hdr: header(mdnsServices, dns.TypePTR, 0), Ptr: r.service},
	}
	m.Extra = []dns.RR{
		&dns.SRV{Hdr: header(r.instance, dns.TypeSRV, mdnsUnique), Port: anyPort, Target: r.host},
		&dns.TXT{Hdr: header(r.instance, dns.TypeTXT, mdnsUnique), Txt: r.texts},
	}
	for _, ip := range r.ips {
		if ip.Is4() {
			m.Extra = append(m.Extra, &dns.A{Hdr: header(r.host, dns.TypeA, mdnsUnique), A: ip.AsSlice()})
		} else {
			m.Extra = append(m.Extra, &dns.AAAA{Hdr: header(r.host, dns.TypeAAAA, mdnsUnique), AAAA: ip.AsSlice()})
		}
	}
	packet, err := m.Pack()
	if err != nil {
		return nil
	}
	return packet
}

// mdnsMessage reads a packet.
func mdnsMessage(packet []byte) (m dns.Msg, ok bool) {
	return m, len(packet) <= maxMDNSPacket && m.Unpack(packet) == nil
}

// questionIn returns the question for members that a packet asks, if it does.
func questionIn(m dns.Msg, service string, index int) (mdnsQuestion, bool) {
	service += "." + mdnsDomain + "."
	asks := func(q dns.Question) bool {
		name := strings.ToLower(q.Name)
		return name == service || strings.HasSuffix(name, "."+service) || name == mdnsServices
	}
	// One with records of its own (Ns) only says that it is about to use a name.
	if len(m.Ns) > 0 || !slices.ContainsFunc(m.Question, asks) {
		return mdnsQuestion{}, false
	}
	// Who wants to be answered alone (a bit of the class) asks for nobody else.
	own := func(q dns.Question) bool {
		return strings.ToLower(q.Name) == service && q.Qtype == dns.TypePTR && q.Qclass == dns.ClassINET
	}
	same := len(m.Answer) == 0 && !m.Truncated && slices.ContainsFunc(m.Question, own)
	return mdnsQuestion{id: m.Id, index: index, same: same, known: func(instance string) bool {
		return slices.ContainsFunc(m.Answer, func(record dns.RR) bool {
			ptr, ok := record.(*dns.PTR)
			return ok && strings.EqualFold(ptr.Ptr, instance) && ptr.Hdr.Ttl >= mdnsTTL/2
		})
	}}, true
}

// mdnsAnswers returns the peers that an answer of the service tells of, each with the
// addresses for which the packet's source vouches.
func mdnsAnswers(m dns.Msg, service string, vouches func(netip.Addr) bool) []peer.AddrInfo {
	var addrs []ma.Multiaddr
	for _, section := range [][]dns.RR{m.Answer, m.Extra} {
		for _, record := range section {
			txt, ok := record.(*dns.TXT)
			if !ok || txt.Hdr.Ttl == 0 || !strings.HasSuffix(strings.ToLower(txt.Hdr.Name), "."+service+"."+mdnsDomain+".") {
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

package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/zeroconf/v2"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
)

// inNamespace runs the rest of a test in a network namespace of its own, which has
// one network card with the addresses: nothing leaves the machine, and nothing on
// the machine's network can disturb it. It reports whether this is the inside.
func inNamespace(t *testing.T, addrs ...string) bool {
	t.Helper()
	const inside = "DFAAS_TEST_IN_NAMESPACE"
	if os.Getenv(inside) != "" {
		card(t, addrs)
		return true
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	child.Env = append(os.Environ(), inside+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := child.CombinedOutput()
	switch {
	case errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL):
		t.Skipf("no network namespace can be made here: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// card makes a network card with the addresses, and nobody at the far end.
func card(t *testing.T, addrs []string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "lan"}, PeerName: "far"}))
	for _, name := range []string{"lo", "far", "lan"} {
		link, err := netlink.LinkByName(name)
		must(err)
		must(netlink.LinkSetUp(link))
	}
	lan, err := netlink.LinkByName("lan")
	must(err)
	for _, addr := range addrs {
		parsed, err := netlink.ParseAddr(addr + "/24")
		must(err)
		must(netlink.AddrAdd(lan, parsed))
	}
}

// onLAN has the node be found on that card.
func onLAN(c *Config) {
	c.MDNS, c.Listen = true, addresses("/ip4/192.0.2.1/tcp/0")
}

func TestMDNS(t *testing.T) {
	if !inNamespace(t, "192.0.2.1") {
		return
	}
	before := len(stacks())
	nodes := runEach(t, 3, func(i int, c *Config) {
		onLAN(c)
		c.Federation = []string{"one", "one", "two"}[i]
	})
	hear := func() {
		nodes[0].waitHears(nodes[1], true)
		nodes[1].waitHears(nodes[0], true)
	}
	hear()
	if peers := nodes[2].Peers(); len(peers) != 0 {
		t.Errorf("another federation found %v", peers)
	}
	nodes[0] = nodes[0].restart()
	hear()
	for _, n := range nodes {
		n.Close()
	}
	waitFor(t, "goroutines end", func() bool { return len(stacks()) <= before })
}

// TestMDNSOfOlderMembers: they ask and answer by way of another library, which hears this
// node, and is heard.
func TestMDNSOfOlderMembers(t *testing.T) {
	if !inNamespace(t, "192.0.2.1") {
		return
	}
	older := runEach(t, 1, func(_ int, c *Config) { c.Listen = addresses("/ip4/192.0.2.1/tcp/0") })[0]
	server, err := zeroconf.RegisterProxy("older", serviceTag("test"), mdnsDomain, 4001, "older", []string{"192.0.2.1"},
		[]string{mdnsPrefix + older.addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	node := runEach(t, 1, func(_ int, c *Config) { onLAN(c) })[0]
	node.waitHears(older, true)
	// As one that asks when the node has long said who it is.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	entries := make(chan *zeroconf.ServiceEntry, 16)
	browsing := make(chan error, 1)
	go func() { browsing <- zeroconf.Browse(ctx, serviceTag("test"), mdnsDomain, entries) }()
	for found := false; !found; {
		select {
		case entry := <-entries:
			found = entry != nil && slices.Contains(entry.Text, mdnsPrefix+node.addr) && len(entry.AddrIPv4) == 1
		case <-ctx.Done():
			t.Fatal("the node is not found")
		}
	}
	cancel()
	if err := <-browsing; err != nil {
		t.Error(err)
	}
}

// A goodbye is no news of anybody.
func TestMDNSPackets(t *testing.T) {
	self := config(t).Identity.ID()
	r, err := newMDNSRecord(serviceTag("test"), self, addresses("/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001"))
	if err != nil {
		t.Fatal(err)
	}
	all := func(netip.Addr) bool { return true }
	for ttl, want := range map[uint32]int{mdnsTTL: 1, 0: 0} {
		m, ok := mdnsMessage(r.packet(ttl))
		infos := mdnsAnswers(m, serviceTag("test"), all)
		if !ok || len(infos) != want || want == 1 && (infos[0].ID != self || len(infos[0].Addrs) != 2) {
			t.Errorf("ttl %d: %v", ttl, infos)
		}
		if infos := mdnsAnswers(m, serviceTag("other"), all); len(infos) != 0 {
			t.Errorf("of another federation: %v", infos)
		}
	}
	if _, err := newMDNSRecord(serviceTag("test"), self, nil); err == nil {
		t.Error("a node without an address tells of itself")
	}
	packet, id := mdnsQuery(serviceTag("test"))
	m, _ := mdnsMessage(packet)
	q, ok := questionIn(m, serviceTag("test"), 3)
	if !ok || q.id != id || q.index != 3 || q.known(r.instance) {
		t.Errorf("question %+v, %v", q, ok)
	}
	m.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Ttl: mdnsTTL}, Ptr: r.instance}}
	if q, _ := questionIn(m, serviceTag("test"), 3); !q.known(r.instance) {
		t.Error("an answer that the question has is not known")
	}
	if _, ok := questionIn(m, serviceTag("other"), 3); ok {
		t.Error("a question for another federation")
	}
}

// TestForgedNeighbours: somebody on the local network, without the federation key,
// answers for ever new peers at the addresses of others, and at its own.
func TestForgedNeighbours(t *testing.T) {
	t.Parallel()
	const attacker, victim = "192.0.2.66", "192.0.2.99"
	if !inNamespace(t, "192.0.2.1", attacker, victim) {
		return
	}
	aimedAt, own := countDials(t, victim), countDials(t, attacker)
	node := runEach(t, 1, func(_ int, c *Config) { onLAN(c) })[0]
	forge := forger(t, attacker)
	const seconds = 5
	began := time.Now()
	for i := 0; time.Since(began) < seconds*time.Second; i++ {
		forge(victim+":"+aimedAt.port, i)
		forge(attacker+":"+own.port, i)
		// Where nobody listens, which costs as much.
		forge(fmt.Sprintf("%s:%d", attacker, 10000+i%1000), i)
		time.Sleep(2 * time.Millisecond)
	}
	if n := aimedAt.dials.Load(); n != 0 {
		t.Errorf("a third party was dialled %d times", n)
	}
	if n := own.dials.Load(); n > vainTries+2 { // after rests of 2 s and 4 s, at the latest
		t.Errorf("one address was dialled %d times in vain", n)
	}
	node.gate.book.mu.Lock()
	tries := node.gate.book.vain[attacker].tries
	node.gate.book.mu.Unlock()
	if tries == 0 || tries > vainTriesIP+2 {
		t.Errorf("%d dials to one IP address in vain, want 1 to %d", tries, vainTriesIP+2)
	}
	// The flood goes on, and a neighbour comes.
	done := make(chan struct{})
	defer close(done)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				forge(attacker+":"+own.port, i)
			}
		}
	}()
	other := runEach(t, 1, func(_ int, c *Config) { onLAN(c) })[0]
	other.waitHears(node, true)
}

type counter struct {
	port  string
	dials atomic.Int64
}

// countDials counts who connects.
func countDials(t *testing.T, ip string) *counter {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &counter{port: fmt.Sprint(l.Addr().(*net.TCPAddr).Port)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.dials.Add(1)
			conn.Close()
		}
	}()
	return c
}

// forger returns how to send, from ip, an answer of one more peer that is at an
// address.
func forger(t *testing.T, ip string) func(addr string, i int) {
	t.Helper()
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
	}}
	conn, err := listen.ListenPacket(t.Context(), "udp4", ip+":5353")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	lan, err := net.InterfaceByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	packets := ipv4.NewPacketConn(conn)
	if err := packets.SetMulticastInterface(lan); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 50 {
		c := config(t)
		ids = append(ids, c.Identity.String())
	}
	group := net.UDPAddrFromAddrPort(netip.AddrPortFrom(mdnsGroup4, mdnsPort))
	return func(addr string, i int) {
		packet := answerOf(t, addr, ids[i%len(ids)])
		if _, err := packets.WriteTo(packet, nil, group); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// answerOf is the packet of a peer at IP:PORT.
func answerOf(t testing.TB, addr, id string) []byte {
	t.Helper()
	ip, port, _ := strings.Cut(addr, ":")
	m := new(dns.Msg)
	m.Response = true
	service := serviceTag("test") + ".local."
	instance := "x" + id[len(id)-8:] + "-" + port + "." + service
	header := func(name string, kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 120}
	}
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: header(service, dns.TypePTR), Ptr: instance},
		&dns.SRV{Hdr: header(instance, dns.TypeSRV), Port: 4001, Target: "x.local."},
		&dns.TXT{Hdr: header(instance, dns.TypeTXT), Txt: []string{"dnsaddr=/ip4/" + ip + "/tcp/" + port + "/p2p/" + id}},
		&dns.A{Hdr: header("x.local.", dns.TypeA), A: net.ParseIP(ip)},
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestVouchesFor(t *testing.T) {
	lan := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("fe80::/64")}
	for _, c := range []struct {
		source, addr string
		want         bool
	}{
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"192.0.2.7", "127.0.0.1", false},
		{"198.51.100.7", "198.51.100.7", false}, // not of this network
		{"0.0.0.0", "0.0.0.0", false},
		{"2001:db8::7", "2001:db8::7", true},
		{"fe80::7", "2001:db8::7", true},
		{"fe80::7", "2001:db8:1::7", false},
		{"fe80::7", "192.0.2.7", false},
		{"fe80::7", "::1", false},
	} {
		if got := vouchesFor(netip.MustParseAddr(c.source), lan)(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s for %s: %v", c.source, c.addr, got)
		}
	}
}

// FuzzMDNSPacket: whatever comes, what is taken of it is a few addresses of the
// form that is dialled, which the source vouches for.
func FuzzMDNSPacket(f *testing.F) {
	id := config(f).Identity.String()
	f.Add(answerOf(f, "192.0.2.7:4001", id))
	f.Add(answerOf(f, "192.0.2.8:4001", id))
	query, _ := mdnsQuery(serviceTag("test"))
	f.Add(query)
	own := netip.MustParseAddr("192.0.2.7")
	f.Fuzz(func(t *testing.T, packet []byte) {
		total := 0
		message, ok := mdnsMessage(packet)
		if !ok {
			return
		}
		if q, ok := questionIn(message, serviceTag("test"), 1); ok {
			q.known("x")
		}
		for _, info := range mdnsAnswers(message, serviceTag("test"), func(ip netip.Addr) bool { return ip == own }) {
			for _, addr := range info.Addrs {
				total++
				if ip, ok := ipOf(addr); !ok || ip != own || !strings.HasPrefix(addr.String(), "/ip") || !strings.Contains(addr.String(), "/tcp/") {
					t.Fatalf("taken: %v", addr)
				}
			}
		}
		if total > maxAnswers {
			t.Fatalf("%d addresses of one packet", total)
		}
	})
}

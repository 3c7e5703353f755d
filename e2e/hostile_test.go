package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/token"
)

// TestHostile says to every ear of a node what nobody should say.
func TestHostile(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{process("here", "cat", 100)},
		[]scenario.Function{process("there", "cat", 100)},
	)})
	t.Run("SPOP", c.hostileSPOP)
	t.Run("Table", c.hostileTables)
	t.Run("Gossip", c.hostileGossip)
	c.quiet(t)
}

// hostileSPOP: garbage on the SPOA's socket ends the connections it came over,
// and nothing else. Meanwhile requests are decided: one after the other as soon as the
// machine lets the agent run, whose answers may be late for a few before.
func (c *cluster) hostileSPOP(t *testing.T) {
	before := pid(t, c.one, scenario.SPOA)
	over := make(chan struct{})
	var attackers sync.WaitGroup
	for i := range 3 {
		attackers.Go(func() { c.attackSPOP(t, rand.New(rand.NewPCG(1, uint64(i))), over) })
	}
	end := sync.OnceFunc(func() {
		close(over)
		attackers.Wait()
	})
	defer end()
	s := c.stream(t, c.one, "there", 40)
	s.progress(t, 120)
	eventually(t, patience, "20 requests in a row are served", func() error {
		if n := s.inRow.Load(); n < 20 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	c.decides(t)
	end()
	c.decides(t)
	for _, sample := range s.stop(t) {
		// Where the agent was late, or so often that HAProxy did not ask it for a moment,
		// the function is not there.
		undecided := sample.Status == http.StatusServiceUnavailable && sample.Node == "node-1"
		if !(sample.Status == http.StatusOK && sample.Node == "node-2") && !undecided {
			t.Errorf("after %v: answered %d by %q in %v", sample.At, sample.Status, sample.Node, sample.Latency)
		}
	}
	if after := pid(t, c.one, scenario.SPOA); after != before {
		t.Errorf("the SPOA is process %d now, it was %d", after, before)
	}
	// It noticed.
	metrics := scrape(t, "unix", c.one.ControlSocket.String())
	if refused, panics := metrics["dfaas_spoa_frames_refused_total"], metrics["dfaas_spoa_panics_total"]; refused == 0 || panics != 0 {
		t.Errorf("%v frames refused, %v panics", refused, panics)
	}
}

// decides waits until node-1's SPOA decides: only that can tell a made-up token of a
// made-up peer from a true one, and only that can forward. Where it is late because the
// machine is busy, neither happens.
func (c *cluster) decides(t *testing.T) {
	t.Helper()
	stranger, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	made, err := token.Mint(stranger.Ed25519(), testvalue.Peer(stranger.String()), testvalue.Peer(c.one.PeerID), time.Now(), token.MaxLifetime)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "a stranger is refused", func() error {
		r, err := send(t.Context(), c.one, request{path: "/function/here", header: http.Header{
			"DFaaS-Node-ID": {stranger.String()}, "DFaaS-Token": {made},
		}})
		return errors.Join(err, refused(r, http.StatusForbidden, c.one))
	})
	awaitServed(t, c.one, "/function/there", c.two)
}

// attackSPOP opens connections to the SPOA, one after the other, and sends what
// it should not get.
func (c *cluster) attackSPOP(t *testing.T, r *rand.Rand, stop <-chan struct{}) {
	kinds := []func(*rand.Rand) []byte{
		func(r *rand.Rand) []byte { return noise(r, 1+r.IntN(4000)) },
		func(*rand.Rand) []byte { return binary.BigEndian.AppendUint32(nil, 0xffffffff) },
		func(*rand.Rand) []byte { return make([]byte, 64) },
		func(*rand.Rand) []byte { return []byte("GET / HTTP/1.1\r\nHost: spoa\r\n\r\n") },
		func(r *rand.Rand) []byte { return append(spopHello(), mutated(r, spopNotify())...) },
		func(r *rand.Rand) []byte { return mutated(r, spopHello()) },
		func(r *rand.Rand) []byte { return append(spopHello(), spopFrame(3, noise(r, r.IntN(200)))...) },
		func(r *rand.Rand) []byte { return append(spopHello(), spopNotify()[:5+r.IntN(20)]...) },
	}
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		conn, err := net.Dial("unix", filepath.Join(c.Dir(), "node-1", "spoa.sock"))
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = conn.Write(kinds[i%len(kinds)](r)) // it may close the connection before the end
		_, _ = io.CopyN(io.Discard, conn, 1<<10)
		conn.Close()
	}
}

func noise(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// mutated changes a few bytes behind the length of a frame.
func mutated(r *rand.Rand, frame []byte) []byte {
	for range 1 + r.IntN(4) {
		frame[4+r.IntN(len(frame)-4)] = byte(r.Uint32())
	}
	return frame
}

// spopHello is how HAProxy greets, spopNotify how it asks.
func spopHello() []byte {
	payload := spopText(nil, "supported-versions", "2.0")
	payload = spopText(payload, "capabilities", "pipelining")
	payload = append(payload, "\x0emax-frame-size\x03\xfc\xf0\x06"...)
	return spopFrame(1, payload)
}

func spopNotify() []byte {
	payload := []byte("\x05route\x04")
	payload = spopText(payload, "path", "/function/here")
	payload = append(payload, "\x04node\x00\x05token\x00\x03src\x06\x7f\x00\x00\x01"...)
	return spopFrame(3, payload)
}

func spopText(p []byte, name, value string) []byte {
	p = append(append(p, byte(len(name))), name...)
	return append(append(p, 8, byte(len(value))), value...)
}

func spopFrame(kind byte, payload []byte) []byte {
	stream := byte(0)
	if kind == 3 {
		stream = 1
	}
	frame := append([]byte{kind, 0, 0, 0, 1, stream, stream}, payload...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// scrape reads metrics, summed over their labels, and by name with labels.
func scrape(t *testing.T, network, address string) map[string]float64 {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://metrics/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return conn, nil }}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", address, response.Status, err)
	}
	metrics := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		bare, labels, _ := strings.Cut(name, "{")
		metrics[bare] += v
		if labels != "" {
			metrics[name] = v
		}
	}
	return metrics
}

// hostileTables: a table that is wrong anywhere is refused whole, with the
// reason, and the one before is obeyed on.
func (c *cluster) hostileTables(t *testing.T) {
	spoa := control.New(c.one.ControlSocket)
	defer spoa.Close()
	current, err := spoa.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const version = 1 << 40
	good, err := json.Marshal(current)
	if err != nil {
		t.Fatal(err)
	}
	// change replaces the first occurrence of a text in the good table.
	change := func(old, new string) string {
		t.Helper()
		if !strings.Contains(string(good), old) {
			t.Fatalf("the table has no %s: %s", old, good)
		}
		return strings.Replace(string(good), old, new, 1)
	}
	ttl := fmt.Sprintf(`"ttl_ms":%d`, current.TTLMillis)
	for what, table := range map[string]struct{ body, reason string }{
		"nothing":           {"", "empty"},
		"half a table":      {string(good[:len(good)/2]), "cut short"},
		"two tables":        {string(good) + string(good), "after the end"},
		"not JSON":          {"hello", "invalid character"},
		"another type":      {change(ttl, `"ttl_ms":"long"`), "ttl_ms"},
		"a version to come": {change(`"speaks":2,"needs":1`, `"speaks":9,"needs":9`), "upgrade dfaas-spoa"},
		"a field twice":     {change(ttl, ttl+`,"ttl_ms":1`), "twice"},
		"no version":        {change(fmt.Sprintf(`"version":%d`, current.Version), `"version":0`), "version"},
		"no time to live":   {change(ttl, `"ttl_ms":0`), "ttl_ms"},
		"a bad name":        {change(`"name":"here"`, `"name":"../here"`), "name"},
		"a name twice":      {change(`"name":"here"`, `"name":"there"`), "twice"},
		"a negative rate":   {change(`"rate":100`, `"rate":-2`), "rate"},
		"a bad share":       {change(`"share":1`, `"share":1.5`), "share"},
		"an unknown peer":   {change(`"peer":"`+c.two.PeerID, `"peer":"`+c.one.PeerID), "peer"},
		"a bad peer id":     {change(`"id":"`+c.two.PeerID, `"id":"x`), "id"},
		"a bad token":       {change(`"token":"redacted"`, `"token":"a\r\nb"`), "token"},
		"a huge table":      {strings.Repeat(" ", 17<<20), "longer than"},
	} {
		refusals, err := spoa.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Replace(table.body, fmt.Sprintf(`"version":%d`, current.Version), fmt.Sprintf(`"version":%d`, version), 1)
		status, answer := c.put(t, body)
		if status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge ||
			!strings.Contains(answer, table.reason) || strings.Count(answer, "\n") != 1 {
			t.Errorf("%s: %d %q, expected to read of %q", what, status, answer, table.reason)
		}
		health, err := spoa.Health(t.Context())
		if err != nil || health.TablesRefused != refusals.TablesRefused+1 || health.TableVersion >= version || !health.Fresh {
			t.Errorf("%s: %+v, %v", what, health, err)
		}
		c.decides(t)
	}
	after, err := spoa.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after.Version = current.Version
	if diff := cmp.Diff(current.Peers, after.Peers, testvalue.Comparable()); diff != "" {
		t.Errorf("the table changed:\n%s", diff)
	}
}

// put gives node-1's SPOA a table as it is written.
func (c *cluster) put(t *testing.T, body string) (status int, answer string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		Dial:              func(string, string) (net.Conn, error) { return net.Dial("unix", c.one.ControlSocket.String()) },
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://spoa/v1/table", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// hostileGossip: members of the federation, for they have its key, send what
// is no announcement, or one that nobody should believe. It is counted, dropped
// and shown; the node works on.
func (c *cluster) hostileGossip(t *testing.T) {
	var metrics string
	c.reconfigure(t, c.one, func(conf *config.Config) {
		metrics = haproxytest.FreeAddr(t)
		conf.Metrics = metrics
	})
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := pid(t, c.one, scenario.Controller)
	now := time.Now().UnixMilli()
	valid := func(http string, epoch int64) string {
		return fmt.Sprintf(`{"v":1,"epoch":%d,"seq":1,"t":%d,"http":%q,"strategy":"headroom","period_ms":1000,"f":[{"n":"there","c":1e6,"u":0,"l":1e6}]}`,
			epoch, now, http)
	}
	for _, gossip := range []struct{ what, counter, data string }{
		{"noise", `dfaas_gossip_refused_total{reason="malformed"}`, string(payload(1000))},
		{"an empty message", `dfaas_gossip_refused_total{reason="malformed"}`, ""},
		{"half an announcement", `dfaas_gossip_refused_total{reason="malformed"}`, valid("127.0.0.1:9", now)[:60]},
		{"an infinite capacity", `dfaas_gossip_refused_total{reason="malformed"}`, strings.Replace(valid("127.0.0.1:9", now), "1e6", "1e999", 1)},
		{"a name with spaces", `dfaas_gossip_refused_total{reason="malformed"}`,
			strings.Replace(valid("127.0.0.1:9", now), `"n":"there"`, `"n":"x weight 256"`, 1)},
		{"an address that is none", `dfaas_gossip_refused_total{reason="malformed"}`, valid("127.0.0.1:9 weight 256", now)},
		{"an announcement of the future", `dfaas_gossip_refused_total{reason="version"}`, `{"v":2,"new":true}`},
		{"100 KiB", `dfaas_gossip_refused_total{reason="malformed"}`, strings.Repeat("x", 100<<10)},
		{"1 MiB", `dfaas_gossip_refused_total{reason="too_large"}`, strings.Repeat("x", 1<<20)},
		{"another machine's address", `dfaas_announcements_refused_total{reason="address"}`, valid("192.0.2.1:80", now)},
	} {
		t.Run(strings.ReplaceAll(gossip.what, " ", "-"), func(t *testing.T) {
			counted := scrape(t, "tcp", metrics)[gossip.counter]
			member := c.join(t)
			eventually(t, patience, "it is counted as "+gossip.counter, func() error {
				member.say(t, []byte(gossip.data))
				if now := scrape(t, "tcp", metrics)[gossip.counter]; now <= counted {
					return fmt.Errorf("%v", now)
				}
				return nil
			})
			state := "refused"
			if strings.Contains(gossip.counter, "version") {
				state = "newer"
			}
			eventually(t, patience, "the peer is listed as "+state, func() error {
				peers, err := c.one.Admin().Peers(t.Context())
				for _, p := range peers {
					if p.ID == member.host.ID().String() && p.State == state && p.Reason != "" {
						return err
					}
				}
				return errors.Join(err, fmt.Errorf("peers %+v", peers))
			})
			c.decides(t)
		})
	}
	if after := pid(t, c.one, scenario.Controller); after != before {
		t.Errorf("the controller is process %d now, it was %d", after, before)
	}
	routes, err := c.one.Admin().Routes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Peer != "" && r.Peer != c.two.PeerID {
			t.Errorf("route to somebody who should not have one: %+v", r)
		}
	}
}

// member is a member of the federation that is no DFaaS node.
type member struct {
	id    *identity.Identity
	host  host.Host
	topic *pubsub.Topic
}

// join connects a new member to node-1.
func (c *cluster) join(t *testing.T) *member {
	t.Helper()
	psk, err := identity.LoadFederationKey(filepath.Join(c.Dir(), "federation.key"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(id.Key()), libp2p.PrivateNetwork(psk), libp2p.NoListenAddrs,
		libp2p.Transport(tcp.NewTCPTransport), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	gossip, err := pubsub.NewGossipSub(t.Context(), h, pubsub.WithMaxMessageSize(8<<20), pubsub.WithFloodPublish(true))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := gossip.Join("/dfaas/emulator/1")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{id, h, topic}
	m.connect(t, c.one)
	return m
}

func (m *member) connect(t *testing.T, n *federation.Node) {
	t.Helper()
	status, err := n.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := peer.AddrInfoFromString(status.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := m.host.Connect(t.Context(), *info); err != nil {
		t.Fatal(err)
	}
}

func (m *member) say(t *testing.T, data []byte) {
	t.Helper()
	if err := m.topic.Publish(t.Context(), data); err != nil {
		t.Fatal(err)
	}
}

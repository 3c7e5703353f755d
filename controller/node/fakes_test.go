package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/grant"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

func peerID(n int) string { return testtable.ID(n).String() }

// The fakes stand for parts that are other processes. They keep to what the
// real ones promise: calls end with their context, a restart loses everything.

// fakeSPOA is a SPOA that takes tables as the real one does and whose users'
// requests are all counted as served.
type fakeSPOA struct {
	mu     sync.Mutex
	start  time.Time
	hung   bool
	picky  bool // wants no table at all
	table  *table.Table
	got    time.Time
	puts   int
	demand map[string]float64 // requests/s since start
	asked  map[string]float64 // by peer id: requests/s since start, for every function of demand

	older   bool // knows nothing of calls that it is not asked about
	reports []grant.Report
	grants  map[string]grant.Grant
}

func newFakeSPOA() *fakeSPOA { return &fakeSPOA{start: time.Now(), demand: map[string]float64{}} }

func (s *fakeSPOA) Meter(ctx context.Context) (meter.Report, error) {
	if s.isHung() {
		<-ctx.Done()
		return meter.Report{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	up := time.Since(s.start)
	r := meter.Report{StartMillis: s.start.UnixMilli(), NowMillis: time.Now().UnixMilli(), UptimeMicros: up.Microseconds()}
	if s.table != nil {
		r.TableVersion, r.TableFresh = s.table.Version, time.Since(s.got) < s.table.TTL()
	}
	for name, rate := range s.demand {
		f := meter.Function{Name: name, User: meter.User{Local: uint64(rate * up.Seconds())}, In: map[string]meter.Peer{}}
		for peer, rate := range s.asked {
			f.In[peer] = meter.Peer{Local: uint64(rate * up.Seconds())}
		}
		r.Functions = append(r.Functions, f)
	}
	return r, nil
}

func (s *fakeSPOA) Table(context.Context) (*table.Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table, nil
}

func (s *fakeSPOA) PutTable(ctx context.Context, t *table.Table) error {
	if s.isHung() {
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := t.Validate(table.Limits{}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.picky {
		return fmt.Errorf("%w: bad mood", control.ErrRefused)
	}
	clone := *t
	s.table, s.got = &clone, time.Now()
	return nil
}

func (s *fakeSPOA) Unasked(ctx context.Context, r grant.Report) (grant.Grants, error) {
	if s.isHung() {
		<-ctx.Done()
		return grant.Grants{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.older {
		return grant.Grants{}, control.ErrOlder
	}
	s.reports = append(s.reports, r)
	return grant.Grants{Functions: s.grants}, nil
}

func (s *fakeSPOA) isHung() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hung
}

func (s *fakeSPOA) hang(hung bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = hung
}

// count returns how many tables were put.
func (s *fakeSPOA) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// open reports whether there is a table, and one that lets unknown functions
// through.
func (s *fakeSPOA) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table != nil && s.table.UnknownLocal
}

func (s *fakeSPOA) setPicky(picky bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.picky = picky
}

func (s *fakeSPOA) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start, s.table = time.Now(), nil
}

// load sets the users' demand, counted from now on as if it had always been.
func (s *fakeSPOA) load(function string, rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.demand[function] = rate
}

// ask sets what a peer asks for of each function with a demand, as load does.
func (s *fakeSPOA) ask(peer string, rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = map[string]float64{peer: rate}
}

// row returns the table's row of a function, nil if there is none.
func (s *fakeSPOA) row(function string) *table.Function {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table == nil {
		return nil
	}
	for _, f := range s.table.Functions {
		if f.Name.String() == function {
			return &f
		}
	}
	return nil
}

// forwards returns the rate at which a function may be sent to a peer.
func (s *fakeSPOA) forwards(function, peer string) float64 {
	if f := s.row(function); f != nil {
		for _, w := range f.Forward {
			if w.Peer.String() == peer {
				return w.Rate.PerSecond()
			}
		}
	}
	return 0
}

// peer returns the table's row of a peer, nil if there is none.
// admits is at which rate calls of a function are admitted from the peer.
func (s *fakeSPOA) admits(function, peer string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table == nil {
		return 0
	}
	return testtable.Admitted(s.table, function, testvalue.Peer(peer))
}

func (s *fakeSPOA) peer(id string) *table.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table != nil {
		for _, p := range s.table.Peers {
			if p.ID.String() == id {
				return &p
			}
		}
	}
	return nil
}

// fakeHAProxy keeps servers as HAProxy does: in order, and only until the next
// reload.
type fakeHAProxy struct {
	mu      sync.Mutex
	hung    bool
	err     error
	servers []haproxy.Server
	deletes int
	good    int64 // of the gateway
	lost    int64
	letIn   []string // anchors

	calls        map[string]haproxy.Calls
	gatewayReads int
	gatewayErr   error // of reading it

	unasked haproxy.Unasked
	granted [][]haproxy.Grant
}

func (h *fakeHAProxy) Unasked(ctx context.Context) (haproxy.Unasked, error) {
	if err := h.wait(ctx); err != nil {
		return haproxy.Unasked{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unasked, nil
}

func (h *fakeHAProxy) Grant(ctx context.Context, _ haproxy.Unasked, grants []haproxy.Grant) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.granted = append(h.granted, grants)
	return nil
}

func (h *fakeHAProxy) Secure(ctx context.Context, _ peercert.Certificate, anchors []string) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	h.set(func(h *fakeHAProxy) { h.letIn = anchors })
	return nil
}

func (h *fakeHAProxy) Bound(ctx context.Context) error { return h.wait(ctx) }

func (h *fakeHAProxy) Look(ctx context.Context) (haproxy.Look, error) {
	servers, err := h.Servers(ctx, haproxy.BackendPeers)
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := make(map[string]haproxy.Calls)
	maps.Copy(calls, h.calls)
	return haproxy.Look{Servers: servers, Calls: calls}, err
}

func (h *fakeHAProxy) Servers(ctx context.Context, backend string) ([]haproxy.Server, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if backend == haproxy.BackendLocal {
		h.gatewayReads++
		return []haproxy.Server{{Name: "gateway", State: haproxy.Up, Good: h.good, Lost: h.lost}}, h.gatewayErr
	}
	return append([]haproxy.Server{{Name: haproxy.ServerLocal, State: haproxy.Up}}, h.servers...), nil
}

func (h *fakeHAProxy) Apply(ctx context.Context, steps []haproxy.Step) ([]string, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range steps {
		i := slices.IndexFunc(h.servers, func(v haproxy.Server) bool { return v.Name == s.Peer.ID })
		switch s.Op {
		case haproxy.Add:
			h.servers = append(h.servers, haproxy.Server{Name: s.Peer.ID, Address: s.Peer.Address, State: haproxy.Maint, TLS: s.Peer.Anchor != ""})
		case haproxy.Enable:
			h.servers[i].State, h.servers[i].Checked = haproxy.Up, true
		case haproxy.Disable:
			h.servers[i].State = haproxy.Maint
		case haproxy.Delete:
			h.servers = slices.Delete(h.servers, i, i+1)
			h.deletes++
		}
	}
	return nil, nil
}

// wait is two seconds, like the real client's patience, while HAProxy hangs.
func (h *fakeHAProxy) wait(ctx context.Context) error {
	h.mu.Lock()
	hung, err := h.hung, h.err
	h.mu.Unlock()
	if !hung {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second):
		return haproxy.ErrTimeout
	}
}

func (h *fakeHAProxy) set(change func(*fakeHAProxy)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

// deleted returns how many servers were deleted.
func (h *fakeHAProxy) deleted() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deletes
}

// state returns what HAProxy has for a peer, "" for nothing.
func (h *fakeHAProxy) state(id string) haproxy.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.servers {
		if s.Name == id {
			return s.State
		}
	}
	return ""
}

// fakeNet connects the overlays of a test's nodes.
type fakeNet struct {
	mu    sync.Mutex
	nodes map[string]*fakeOverlay
}

type fakeOverlay struct {
	net       *fakeNet
	id        string
	messages  chan overlay.Message
	refusedBy membership.Refusals
	mute      bool // nothing goes out or comes in
	err       error
	sent      []wire.Announcement
}

func newFakeNet() *fakeNet { return &fakeNet{nodes: map[string]*fakeOverlay{}} }

func (n *fakeNet) join(id string) *fakeOverlay {
	o := &fakeOverlay{net: n, id: id, messages: make(chan overlay.Message, 1000)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[id] = o
	return o
}

func (o *fakeOverlay) Tell(a wire.Announcement) ([]string, error) {
	return o.Publish(context.Background(), a)
}

func (o *fakeOverlay) Unfed() int { return 0 }

func (o *fakeOverlay) Publish(_ context.Context, a wire.Announcement) ([]string, error) {
	_, left, err := wire.Encode(a) // for members of the first version
	if err != nil {
		return nil, err
	}
	messages, _, err := wire.Split(a)
	if err != nil {
		return nil, err
	}
	if a, err = wire.Decode(messages[0]); err != nil {
		return nil, err
	}
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	if o.err != nil {
		return nil, o.err
	}
	o.sent = append(o.sent, a)
	for _, other := range o.net.nodes {
		if other != o && !o.mute && !other.mute {
			other.messages <- overlay.Message{
				From: testvalue.Peer(o.id), Announcement: a, RemoteIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
			}
		}
	}
	return left, nil
}

func (o *fakeOverlay) Messages() <-chan overlay.Message { return o.messages }

func (o *fakeOverlay) Join(context.Context, string) (string, error) {
	return "", errors.New("not in this test")
}

func (o *fakeOverlay) Addrs() []string { return []string{"/ip4/127.0.0.1/tcp/1/p2p/" + o.id} }

func (o *fakeOverlay) Peers() []overlay.PeerInfo {
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	var peers []overlay.PeerInfo
	for _, id := range slices.Sorted(maps.Keys(o.net.nodes)) {
		if other := o.net.nodes[id]; other != o && !o.mute && !other.mute {
			peers = append(peers, overlay.PeerInfo{ID: id, RTT: time.Millisecond})
		}
	}
	return peers
}

func (o *fakeOverlay) Refused() []membership.Refusal { return nil }

func (o *fakeOverlay) Refuse(list []membership.Refusal) {
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	for _, other := range o.net.nodes {
		for _, r := range list {
			if r.Peer == other.id {
				other.refusedBy.Add(r.Last, o.id, r.Reason)
			}
		}
	}
}

func (o *fakeOverlay) RefusedBy() []membership.Refusal {
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	return o.refusedBy.List(time.Now())
}

func (o *fakeOverlay) setMute(mute bool) {
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	o.mute = mute
}

// said returns how many announcements were made.
func (o *fakeOverlay) said() int {
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	return len(o.sent)
}

func (o *fakeOverlay) last() wire.Announcement {
	o.net.mu.Lock()
	defer o.net.mu.Unlock()
	if len(o.sent) == 0 {
		return wire.Announcement{}
	}
	return o.sent[len(o.sent)-1]
}

// fakeGateway answers once a second, as faasd.Client.Watch does.
type fakeGateway struct {
	mu        sync.Mutex
	err       error
	functions []faasd.Function
}

func (g *fakeGateway) set(err error, functions ...faasd.Function) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.functions = err, functions
}

func (g *fakeGateway) look() faasd.Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return faasd.Snapshot{Err: g.err}
	}
	return faasd.Snapshot{List: faasd.List{Functions: g.functions}}
}

func (g *fakeGateway) watch(ctx context.Context) <-chan faasd.Snapshot {
	looks := make(chan faasd.Snapshot)
	go func() {
		defer close(looks)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case looks <- g.look():
			case <-ctx.Done():
				return
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return looks
}

// fn is a function with a maximum rate.
func fn(name, maxrate string) faasd.Function {
	return faasd.Function{Name: testvalue.Name(name), Labels: faasd.ParseLabels(map[string]string{faasd.LabelMaxRate: maxrate})}
}

type fakeMinter struct{}

func (fakeMinter) Token(_ time.Time, peer peerid.ID) (string, error) {
	return "token.for." + peer.String(), nil
}

// testNode is a node and all that it talks to.
type testNode struct {
	*Node
	id      string
	spoa    *fakeSPOA
	haproxy *fakeHAProxy
	gateway *fakeGateway
	overlay *fakeOverlay
	stop    func() // and wait
}

// startNode runs the n-th node of a federation until the bubble's test ends.
func startNode(t *testing.T, net *fakeNet, n int, change ...func(*Options, *testNode)) *testNode {
	t.Helper()
	id := peerID(n)
	node := &testNode{id: id, spoa: newFakeSPOA(), haproxy: &fakeHAProxy{}, gateway: &fakeGateway{}, overlay: net.join(id)}
	o := Options{
		Self: testvalue.Peer(id), Version: "test", Federation: "test", Strategy: headroom(t), Period: time.Second, DefaultMaxrate: testvalue.Rate(100),
		HTTP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(8000+n)), DefaultNamespace: "openfaas-fn",
		SPOA: node.spoa, HAProxy: node.haproxy, Overlay: node.overlay, Members: membership.New(membership.Options{Self: testvalue.Peer(id)}),
		Minter: fakeMinter{}, Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel),
	}
	for _, c := range change {
		c(&o, node)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o.Gateway = node.gateway.watch(ctx)
	node.Node = New(o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		node.Run(ctx)
	}()
	node.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(node.stop)
	return node
}

// within waits in the bubble's time until the condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		synctest.Wait()
		if holds() {
			return time.Since(begun)
		}
		if time.Since(begun) > limit {
			t.Fatalf("after %v: not %s", limit, what)
		}
		pass(10 * time.Millisecond)
	}
}

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

func headroom(t *testing.T) strategy.Strategy { return strategyOf(t, "headroom") }

func strategyOf(t *testing.T, name string) strategy.Strategy {
	t.Helper()
	rule, err := strategy.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

package haproxy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/haproxy"
)

var compareAddr = cmpopts.EquateComparable(netip.AddrPort{})

func TestReconcile(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddrPort
	up := func(id, at string) haproxy.Server {
		return haproxy.Server{Name: id, Address: addr(at), State: haproxy.Up, Checked: true}
	}
	with := func(s haproxy.Server, state haproxy.State, checked bool) haproxy.Server {
		s.State, s.Checked = state, checked
		return s
	}
	upFor := func(d time.Duration) haproxy.Server {
		s := up(idA, "10.0.0.1:80")
		s.Since = d
		return s
	}
	busyFor := func(d time.Duration) haproxy.Server { return with(upFor(d), haproxy.Maint, true) }
	a1 := haproxy.Peer{ID: idA, Address: addr("10.0.0.1:80")}
	a2 := haproxy.Peer{ID: idA, Address: addr("10.0.0.2:80")}
	secure := haproxy.Peer{ID: idA, Address: addr("10.0.0.1:80"), Anchor: "an anchor"}
	b := haproxy.Peer{ID: idB, Address: addr("10.0.0.9:80")}
	local := haproxy.Server{Name: haproxy.ServerLocal, State: haproxy.Up}

	for _, test := range []struct {
		name    string
		current []haproxy.Server
		desired []haproxy.Peer
		want    []haproxy.Step
	}{
		{"nothing", nil, nil, nil},
		{"after a reload all come back", []haproxy.Server{local}, []haproxy.Peer{b, a1}, []haproxy.Step{
			{haproxy.Add, a1}, {haproxy.Enable, a1}, {haproxy.Add, b}, {haproxy.Enable, b},
		}},
		{"as it should be", []haproxy.Server{local, up(idA, "10.0.0.1:80")}, []haproxy.Peer{a1}, nil},
		{"down is not ours to fix", []haproxy.Server{with(up(idA, "10.0.0.1:80"), haproxy.Down, true)}, []haproxy.Peer{a1}, nil},
		{"drained by the operator", []haproxy.Server{with(up(idA, "10.0.0.1:80"), haproxy.Drain, true)}, []haproxy.Peer{a1}, nil},
		{"left half-added", []haproxy.Server{with(up(idA, "10.0.0.1:80"), haproxy.Maint, false)}, []haproxy.Peer{a1}, []haproxy.Step{
			{haproxy.Enable, a1},
		}},
		{"left unchecked", []haproxy.Server{with(up(idA, "10.0.0.1:80"), haproxy.Up, false)}, []haproxy.Peer{a1}, []haproxy.Step{
			{haproxy.Enable, a1},
		}},
		{"gone", []haproxy.Server{local, up(idA, "10.0.0.1:80")}, nil, []haproxy.Step{
			{haproxy.Disable, a1}, {haproxy.Delete, a1},
		}},
		{"still waiting to be deleted", []haproxy.Server{with(up(idA, "10.0.0.1:80"), haproxy.Maint, true)}, nil, []haproxy.Step{
			{haproxy.Delete, a1},
		}},
		{"moved", []haproxy.Server{up(idA, "10.0.0.1:80")}, []haproxy.Peer{a2, b}, []haproxy.Step{
			{haproxy.Move, a2}, {haproxy.Add, b}, {haproxy.Enable, b},
		}},
		{"moved, and drained by the operator", []haproxy.Server{with(up(idA, "10.0.0.1:80"), haproxy.Drain, true)}, []haproxy.Peer{a2},
			[]haproxy.Step{{haproxy.Move, a2}}},
		{"gone, and back elsewhere", []haproxy.Server{busyFor(time.Hour)}, []haproxy.Peer{a2}, []haproxy.Step{
			{haproxy.Move, a2}, {haproxy.Enable, a2},
		}},
		{"to be reached over TLS now", []haproxy.Server{up(idA, "10.0.0.1:80")}, []haproxy.Peer{secure}, []haproxy.Step{
			{haproxy.Disable, a1}, {haproxy.Delete, a1}, {haproxy.Add, secure}, {haproxy.Enable, secure},
		}},
		{"to be reached over TLS, but busy for a long time", []haproxy.Server{busyFor(5 * time.Minute)}, []haproxy.Peer{secure}, []haproxy.Step{
			{haproxy.Shutdown, a1}, {haproxy.Delete, a1}, {haproxy.Add, secure}, {haproxy.Enable, secure},
		}},
		{"gone, and busy for a while", []haproxy.Server{busyFor(5*time.Minute - time.Second)}, nil, []haproxy.Step{{haproxy.Delete, a1}}},
		{"gone, and busy for a long time", []haproxy.Server{busyFor(5 * time.Minute)}, nil, []haproxy.Step{
			{haproxy.Shutdown, a1}, {haproxy.Delete, a1},
		}},
		{"gone just now, after an hour", []haproxy.Server{upFor(time.Hour)}, nil, []haproxy.Step{{haproxy.Disable, a1}, {haproxy.Delete, a1}}},
		{"wanted twice", []haproxy.Server{up(idA, "10.0.0.1:80")}, []haproxy.Peer{a1, a2}, nil},
		{"the same address in IPv6", []haproxy.Server{up(idA, "10.0.0.1:80")},
			[]haproxy.Peer{{ID: idA, Address: addr("[::ffff:10.0.0.1]:80")}}, nil},
		{"not ours", []haproxy.Server{up("backup", "10.0.0.1:80"), up("my-site.example:1", "10.0.0.1:80"), local}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := haproxy.Reconcile(test.current, test.desired)
			if diff := cmp.Diff(test.want, got, compareAddr); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// model is a dumb HAProxy: what it refuses is a mistake in the plan.
type model struct {
	servers []haproxy.Server
	busy    map[string]bool // cannot be deleted now
}

func (m *model) apply(s haproxy.Step) error {
	i := slices.IndexFunc(m.servers, func(have haproxy.Server) bool { return have.Name == s.Peer.ID })
	if (i >= 0) == (s.Op == haproxy.Add) {
		return fmt.Errorf("%s %s: there or not there", s.Op, s.Peer.ID)
	}
	switch s.Op {
	case haproxy.Add:
		m.servers = append(m.servers, haproxy.Server{Name: s.Peer.ID, Address: s.Peer.Address, State: haproxy.Maint})
	case haproxy.Move:
		if m.servers[i].Address == s.Peer.Address {
			return fmt.Errorf("move %s to where it is", s.Peer.ID)
		}
		m.servers[i].Address = s.Peer.Address
	case haproxy.Enable:
		m.servers[i].State, m.servers[i].Checked = haproxy.Up, true
	case haproxy.Disable:
		m.servers[i].State = haproxy.Maint
	case haproxy.Shutdown:
		if m.servers[i].State != haproxy.Maint {
			return fmt.Errorf("shut down %s, which is %s", s.Peer.ID, m.servers[i].State)
		}
		delete(m.busy, s.Peer.ID)
	case haproxy.Delete:
		if m.servers[i].State != haproxy.Maint {
			return fmt.Errorf("delete %s, which is %s", s.Peer.ID, m.servers[i].State)
		}
		m.servers = slices.Delete(m.servers, i, i+1)
	}
	return nil
}

// run applies a plan as Client.Apply does: a busy server keeps its further
// steps back.
func (m *model) run(steps []haproxy.Step) error {
	stuck := make(map[string]bool)
	for _, s := range steps {
		if s.Op == haproxy.Delete && m.busy[s.Peer.ID] {
			stuck[s.Peer.ID] = true
		}
		if stuck[s.Peer.ID] {
			continue
		}
		if err := m.apply(s); err != nil {
			return err
		}
	}
	return nil
}

// TestReconcileReachesTheDesiredState from any state, in any number of
// interrupted attempts, without touching what is not ours.
func TestReconcileReachesTheDesiredState(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		id := func() string { return idA[:51] + string("ABCDEFGHJK"[r.IntN(10)]) }
		address := func() netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(3))}), 80)
		}
		m := &model{busy: make(map[string]bool)}
		m.servers = append(m.servers,
			haproxy.Server{Name: haproxy.ServerLocal, State: haproxy.Up}, haproxy.Server{Name: "other", State: haproxy.Maint})
		theirs := slices.Clone(m.servers)
		for range r.IntN(10) {
			s := haproxy.Server{Name: id(), Address: address(), Checked: r.IntN(2) == 0}
			s.State = []haproxy.State{haproxy.Up, haproxy.Down, haproxy.Maint, haproxy.Drain}[r.IntN(4)]
			s.Since = time.Duration(r.IntN(120)) * time.Second
			if !slices.ContainsFunc(m.servers, func(have haproxy.Server) bool { return have.Name == s.Name }) {
				m.servers = append(m.servers, s)
				m.busy[s.Name] = r.IntN(3) == 0
			}
		}
		var desired []haproxy.Peer
		want := make(map[string]netip.AddrPort)
		for range r.IntN(10) {
			p := haproxy.Peer{ID: id(), Address: address()}
			desired = append(desired, p)
			if _, twice := want[p.ID]; !twice {
				want[p.ID] = p.Address
			}
		}
		for range 3 { // plans cut short, servers that cannot be deleted
			steps := haproxy.Reconcile(m.servers, desired)
			if err := m.run(steps[:r.IntN(len(steps)+1)]); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		m.busy = nil
		if err := m.run(haproxy.Reconcile(m.servers, desired)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if steps := haproxy.Reconcile(m.servers, desired); len(steps) != 0 {
			t.Fatalf("seed %d: still to do: %v", seed, steps)
		}
		got := make(map[string]netip.AddrPort)
		for _, s := range m.servers[len(theirs):] {
			got[s.Name] = s.Address
		}
		if diff := cmp.Diff(want, got, compareAddr); diff != "" {
			t.Fatalf("seed %d: servers (-want +got):\n%s", seed, diff)
		}
		if diff := cmp.Diff(theirs, m.servers[:len(theirs)], compareAddr); diff != "" {
			t.Fatalf("seed %d: touched what is not ours:\n%s", seed, diff)
		}
	}
}

func TestPeerValidate(t *testing.T) {
	t.Parallel()
	good := netip.MustParseAddrPort("10.0.0.1:80")
	for _, p := range []haproxy.Peer{
		{ID: idA, Address: good},
		{ID: idA, Address: netip.MustParseAddrPort("[2001:db8::1]:80")},
		{ID: "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", Address: good},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
	for _, p := range []haproxy.Peer{
		{ID: "", Address: good},
		{ID: haproxy.ServerLocal, Address: good},
		{ID: "short", Address: good},
		{ID: strings.Repeat("A", 65), Address: good},
		{ID: idA[:51] + "0", Address: good},
		{ID: idA[:51] + "-", Address: good},
		{ID: idA + ";x", Address: good},
		{ID: idA + "\n", Address: good},
		{ID: idA + " weight 256", Address: good},
		{ID: idA[:20] + "\xff" + idA[:20], Address: good},
		{ID: idA, Address: netip.AddrPort{}},
		{ID: idA, Address: netip.MustParseAddrPort("10.0.0.1:0")},
		{ID: idA, Address: netip.MustParseAddrPort("0.0.0.0:80")},
		{ID: idA, Address: netip.MustParseAddrPort("[::]:80")},
		{ID: idA, Address: netip.MustParseAddrPort("224.0.0.1:80")},
		{ID: idA, Address: netip.MustParseAddrPort("[fe80::1%eth0]:80")},
	} {
		if err := p.Validate(); err == nil {
			t.Errorf("accepted: %q %v", p.ID, p.Address)
		}
	}
}

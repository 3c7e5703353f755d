package core

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/table"
)

const (
	// tableTTL ends before the grace of peers for a node that fell silent does,
	// which only begins three periods after its last announcement: while its
	// controller is dead or hangs, what it forwards must not be turned away.
	tableTTL = grace
	// refresh is the longest time between two tables, so that neither a
	// table's time to live nor a token's lifetime of 30 s is ever used up.
	refresh = 5 * time.Second
	// finalTTL ends before the peers' grace for a node that is gone does.
	finalTTL = grace - 2*time.Second
	// maxRoutes bounds what peers' announcements can make of a table: far
	// fewer entries than the SPOA accepts, few enough for its bytes.
	maxRoutes = 100_000
)

// tablePeer is a peer as it appears in the table.
type tablePeer struct {
	id     string
	source string // see table.Peer
	token  string // "" if nothing may be forwarded to it
	usable bool   // HAProxy has a server for it that is not down
	// lingering is what it was admitted to send, for a peer that is gone: its
	// last requests may still be under way.
	lingering map[string]float64
}

// tableInput is all that a table is made from.
type tableInput struct {
	maxPeerTimeout   time.Duration // 0: what peers may announce
	self             string
	peerTLS          bool
	clockOffset      time.Duration
	defaultNamespace string
	unknownLocal     bool
	plan             strategy.Plan
	peers            []tablePeer // each once; those gone too
	// stranded are functions of a gateway that does not answer. Those that no
	// peer has stay local, so that users get the gateway's own error.
	stranded []string
	queue    string              // table.Table.Queue
	takers   map[string][]string // peers that take a function's asynchronous calls
	limits   Limits
}

// buildTable turns a plan into the table for the SPOA, without a version. It is
// pure. Whatever the plan, the table is one that the SPOA accepts.
func buildTable(in tableInput) table.Table {
	t := table.Table{
		NodeID: in.self, TTLMillis: tableTTL.Milliseconds(), ClockOffsetMillis: clampOffset(in.clockOffset).Milliseconds(),
		PeerTLS: in.peerTLS, UnknownLocal: in.unknownLocal, Queue: in.queue, DefaultNamespace: in.defaultNamespace,
	}
	longest := in.maxPeerTimeout.Milliseconds()
	if longest <= 0 {
		longest = limit.MaxTimeoutMillis
	}
	b := builder{longest: longest, peers: make(map[string]*table.Peer), usable: make(map[string]bool), limits: in.limits, budget: in.limits.Routes}
	t.Peers = b.addPeers(in.peers)
	plans := functionPlans(in)
	t.Functions = make([]table.Function, 0, len(plans))
	for i := range plans {
		f := b.function(&plans[i])
		f.Async = b.async(in.takers[f.Name])
		t.Functions = append(t.Functions, f)
	}
	b.addLingering(in.peers)
	slices.SortFunc(t.Functions, func(a, b table.Function) int { return strings.Compare(a.Name, b.Name) })
	return t
}

// functionPlans returns the rows to put into the table: those deployed here
// first, since there may be no room for all that peers announce.
func functionPlans(in tableInput) []strategy.FunctionPlan {
	planned := make(map[string]bool, len(in.plan.Functions))
	var here, elsewhere []strategy.FunctionPlan
	for _, p := range in.plan.Functions {
		switch {
		case !validName(p.Name, in.defaultNamespace) || planned[p.Name]:
			continue
		case p.Local != nil:
			here = append(here, p)
		default:
			elsewhere = append(elsewhere, p)
		}
		planned[p.Name] = true
	}
	for _, name := range in.stranded {
		if !planned[name] && validName(name, in.defaultNamespace) {
			planned[name] = true
			here = append(here, strategy.FunctionPlan{Name: name, Local: &strategy.Local{Rate: strategy.Unlimited, Share: 1}})
		}
	}
	all := append(here, elsewhere...)
	return all[:min(len(all), in.limits.Functions)]
}

// validName reports whether a table may have a row of that name: functions of the
// default namespace must be named without it.
func validName(name, defaultNamespace string) bool {
	_, namespace, dotted := strings.Cut(name, ".")
	return funcname.Valid(name) && !(dotted && namespace == defaultNamespace)
}

// builder keeps account of what has gone into a table.
type builder struct {
	longest int64 // time limit of a call by a peer's word, ms
	peers   map[string]*table.Peer
	usable  map[string]bool
	limits  Limits
	budget  int // routes left
}

func (b *builder) addPeers(peers []tablePeer) []table.Peer {
	out := make([]table.Peer, 0, min(len(peers), b.limits.Peers))
	for _, p := range peers[:min(len(peers), b.limits.Peers)] {
		out = append(out, table.Peer{ID: p.id, Source: p.source, Token: p.token})
		b.peers[p.id] = &out[len(out)-1]
		b.usable[p.id] = p.usable && p.token != ""
	}
	return out
}

// sourceOf is what a peer at that address shares with others: who can have one
// identity there can have a hundred. With IPv6, everybody has a network of 64 bits.
// Nodes of one machine are an experiment.
func sourceOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() {
		return ""
	}
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String()
	}
	return a.String()
}

// addLingering notes what is admitted from peers that are gone, as far as there is
// room after the living.
func (b *builder) addLingering(peers []tablePeer) {
	for _, p := range peers {
		if peer := b.peers[p.id]; peer != nil && peer.Inbound == nil && 0 < len(p.lingering) && len(p.lingering) <= b.budget {
			b.budget -= len(p.lingering)
			peer.Inbound = p.lingering
		}
	}
}

// function makes a plan's row and notes what is admitted from whom.
func (b *builder) function(p *strategy.FunctionPlan) table.Function {
	f := table.Function{Name: p.Name, Elastic: p.Elastic}
	if p.Local != nil {
		f.Local = &table.Local{
			Rate: tableRate(p.Local.Rate), Soft: p.Local.Soft, Share: p.Local.Share, TimeoutMillis: p.Local.TimeoutMillis,
		}
	}
	if len(p.Out) > 0 {
		f.Forward = make([]table.Forward, 0, len(p.Out))
	}
	for _, flow := range p.Out {
		if b.peers[flow.Peer] == nil || b.budget <= 0 {
			continue
		}
		b.budget--
		f.Forward = append(f.Forward, b.forward(flow))
	}
	for _, flow := range p.In {
		peer, rate := b.peers[flow.Peer], tableRate(flow.Rate)
		if peer == nil || rate == 0 && !p.Elastic || b.budget <= 0 {
			continue
		}
		b.budget--
		if peer.Inbound == nil {
			peer.Inbound = make(map[string]float64)
		}
		peer.Inbound[p.Name] = rate
	}
	return f
}

// forward is a route to a peer; rate 0, which says "full", while HAProxy could
// not take a request there.
func (b *builder) forward(flow strategy.Flow) table.Forward {
	if !b.usable[flow.Peer] {
		return table.Forward{Peer: flow.Peer}
	}
	return table.Forward{
		Peer: flow.Peer, Weight: tableWeight(flow.Weight), Rate: tableRate(flow.Rate),
		Spare: tableRate(clamp(flow.Spare, limit.MaxRate)), TimeoutMillis: min(max(0, flow.TimeoutMillis), b.longest, limit.MaxTimeoutMillis),
	}
}

// tableRate makes a rate fit for the table: thousandths of a request/s are
// neither sent nor compared.
func tableRate(r float64) float64 {
	if r == strategy.Unlimited {
		return table.Unlimited
	}
	return round(clamp(r, limit.MaxRate))
}

func tableWeight(w float64) float64 { return round(clamp(w, table.MaxWeight)) }

func clamp(x, most float64) float64 {
	if math.IsNaN(x) || x < 0 {
		return 0
	}
	return min(x, most)
}

func clampOffset(d time.Duration) time.Duration {
	return min(max(d, -table.MaxClockOffset), table.MaxClockOffset)
}

// finalTable is what a node that stops leaves behind: the table in use, with
// less time to live. For that long, peers still admit what it sends them, so
// that users do not notice when the controller is only restarted. After it,
// everything is served here. Its clock is that of now: the machine's may have been
// set since that table was made, and nobody follows it any more.
func finalTable(t table.Table, clockOffset time.Duration) table.Table {
	t.TTLMillis, t.ClockOffsetMillis = finalTTL.Milliseconds(), clampOffset(clockOffset).Milliseconds()
	return t
}

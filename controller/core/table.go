package core

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/peerid"
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
	id     peerid.ID
	source string // see table.Peer
	token  string // "" if nothing may be forwarded to it
	usable bool   // HAProxy has a server for it that is not down
	// lingering is what it was admitted to send, for a peer that is gone: its
	// last requests may still be under way.
	lingering *inbound
}

// inbound is at which rates a peer is admitted, by function.
type inbound map[funcname.Name]limit.Bound

// tableInput is all that a table is made from.
type tableInput struct {
	maxPeerTimeout   time.Duration // 0: what peers may announce
	self             peerid.ID
	peerTLS          bool
	clockOffset      time.Duration
	defaultNamespace string
	unknownLocal     bool
	plan             strategy.Plan
	peers            []tablePeer // each once; those gone too
	// stranded are functions of a gateway that does not answer. Those that no
	// peer has stay local, so that users get the gateway's own error.
	stranded []funcname.Name
	queue    string                        // table.Table.Queue
	takers   map[funcname.Name][]peerid.ID // peers that take a function's asynchronous calls
	limits   Limits
}

// tableMaker makes a node's tables, one after the other. Rows that say what they said in
// the last table are taken over from it (table.Function.Same); as long as peers are the
// same, only those are made whose plan has changed.
type tableMaker struct {
	last    tableInput
	table   *table.Table // nil before the first
	builder *builder     // of that one
}

// next returns the table made from the input, which is buildTable's, and whether it says
// anything else than the last one.
func (m *tableMaker) next(in tableInput) (t *table.Table, changed bool) {
	before := m.table
	if t = m.follow(&in); t == nil {
		var whole table.Table
		whole, m.builder = buildTable(in)
		t = &whole
	}
	if before != nil {
		share(before, t)
		changed = !sameHead(before, t) ||
			!slices.EqualFunc(before.Functions, t.Functions, func(a, b table.Function) bool { return a.Same(&b) })
	}
	m.last, m.table = in, t
	return t, changed || before == nil
}

// share has a table take over what is the same from the one before.
func share(before, t *table.Table) {
	if slices.Equal(before.Peers, t.Peers) {
		t.Peers = before.Peers
	}
	rows := before.Functions
	for i := range t.Functions {
		f := &t.Functions[i]
		for len(rows) > 0 && rows[0].Name.Compare(f.Name) < 0 {
			rows = rows[1:]
		}
		if len(rows) > 0 && rows[0].Name == f.Name {
			f.TakeOver(&rows[0])
		}
	}
}

// sameHead reports whether two tables are the same but for their functions.
func sameHead(a, b *table.Table) bool {
	return a.NodeID == b.NodeID && a.PeerTLS == b.PeerTLS && a.UnknownLocal == b.UnknownLocal && a.Queue == b.Queue && a.DefaultNamespace == b.DefaultNamespace &&
		a.ClockOffsetMillis == b.ClockOffsetMillis && slices.Equal(a.Peers, b.Peers)
}

// follow makes a table after the last one, or returns nil if that takes a whole one:
// each row has to depend on nothing but its plan, and on peers that are the same.
func (m *tableMaker) follow(in *tableInput) *table.Table {
	last := &m.last
	if m.table == nil || m.builder.left || in.self != last.self || in.defaultNamespace != last.defaultNamespace || in.limits != last.limits ||
		in.maxPeerTimeout != last.maxPeerTimeout || len(in.stranded) > 0 || len(last.stranded) > 0 ||
		!slices.EqualFunc(in.peers, last.peers, sameForRows) || len(in.plan.Functions) > in.limits.Functions {
		return nil
	}
	b, t := m.builder, in.head()
	b.budget = in.limits.Routes
	if t.Peers = m.table.Peers; !slices.EqualFunc(in.peers, t.Peers, func(p tablePeer, before table.Peer) bool { return p.toTable() == before }) {
		t.Peers = tablePeers(in.peers)
	}
	t.Functions = make([]table.Function, 0, len(in.plan.Functions))
	before, rows := last.plan.Functions, m.table.Functions
	for i := range in.plan.Functions {
		p := &in.plan.Functions[i]
		for len(before) > 0 && before[0].Name.Compare(p.Name) < 0 {
			before = before[1:]
		}
		for len(rows) > 0 && rows[0].Name.Compare(p.Name) < 0 {
			rows = rows[1:]
		}
		var f table.Function
		switch {
		case len(rows) > 0 && rows[0].Name == p.Name && len(before) > 0 && before[0].Same(p):
			f = rows[0]
			b.budget -= len(f.Forward) + len(f.Admit)
		case rowName(p.Name, in.defaultNamespace):
			f = b.row(p)
			if len(rows) > 0 && rows[0].Name == p.Name && len(before) > 0 && before[0].SameIn(p) {
				f.Admit = rows[0].Admit
				b.budget -= len(f.Admit)
			} else {
				b.addAdmitted(&f, p)
				b.addLingering(&f)
			}
		default:
			continue
		}
		if async := b.async(in.takers[p.Name]); !slices.Equal(async, f.Async) {
			f.Async = async
		}
		t.Functions = append(t.Functions, f)
	}
	if b.left || b.budget < 0 {
		return nil
	}
	return &t
}

// Routes are the entries of the newest table: where calls may be sent, and from whom they
// are admitted.
type Routes struct{ Used, Omitted, Max int }

func (m *tableMaker) routes() Routes {
	if m.table == nil {
		return Routes{}
	}
	most := m.last.limits.Routes
	return Routes{Used: most - m.builder.budget, Omitted: m.builder.omitted, Max: most}
}

// sameForRows reports whether a peer is to the rows of a table what it was before.
func sameForRows(a, b tablePeer) bool {
	return a.id == b.id && (a.token == "") == (b.token == "") && a.usable == b.usable && a.lingering == b.lingering
}

// head is a table without peers and functions.
func (in *tableInput) head() table.Table {
	return table.Table{
		NodeID: in.self, TTLMillis: tableTTL.Milliseconds(), ClockOffsetMillis: clampOffset(in.clockOffset).Milliseconds(),
		PeerTLS: in.peerTLS, UnknownLocal: in.unknownLocal, Queue: in.queue, DefaultNamespace: in.defaultNamespace,
	}
}

// buildTable turns a plan into the table for the SPOA, without a version; what it was
// built with says whether anything was left out for lack of room. It is pure. Whatever
// the plan, the table is one that the SPOA accepts.
func buildTable(in tableInput) (t table.Table, b *builder) {
	b = newBuilder(&in)
	t = in.head()
	t.Peers = tablePeers(in.peers[:min(len(in.peers), in.limits.Peers)])
	plans := functionPlans(in)
	t.Functions = make([]table.Function, 0, len(plans))
	for i := range plans {
		f := b.row(&plans[i])
		b.addAdmitted(&f, &plans[i])
		f.Async = b.async(in.takers[f.Name])
		t.Functions = append(t.Functions, f)
	}
	slices.SortFunc(t.Functions, func(a, b table.Function) int { return a.Name.Compare(b.Name) })
	for i := range t.Functions {
		b.addLingering(&t.Functions[i])
	}
	return t, b
}

// tablePeers are in the order of their ids, as functions are in that of their names: what
// is other than in the table before is found, and sent, that way.
func tablePeers(peers []tablePeer) []table.Peer {
	out := make([]table.Peer, len(peers))
	for i, p := range peers {
		out[i] = p.toTable()
	}
	if byID := func(a, b table.Peer) int { return a.ID.Compare(b.ID) }; !slices.IsSortedFunc(out, byID) {
		slices.SortFunc(out, byID)
	}
	return out
}

func (p *tablePeer) toTable() table.Peer {
	return table.Peer{ID: p.id, Token: p.token, Source: p.source}
}

// functionPlans returns the rows to put into the table: those deployed here
// first, since there may be no room for all that peers announce.
func functionPlans(in tableInput) []strategy.FunctionPlan {
	planned := make(map[funcname.Name]bool, len(in.plan.Functions))
	var here, elsewhere []strategy.FunctionPlan
	for _, p := range in.plan.Functions {
		switch {
		case !rowName(p.Name, in.defaultNamespace) || planned[p.Name]:
			continue
		case p.Local != nil:
			here = append(here, p)
		default:
			elsewhere = append(elsewhere, p)
		}
		planned[p.Name] = true
	}
	for _, name := range in.stranded {
		if !planned[name] && rowName(name, in.defaultNamespace) {
			planned[name] = true
			here = append(here, strategy.FunctionPlan{Name: name, Local: &strategy.Local{Rate: limit.Unlimited(), Share: 1}})
		}
	}
	all := append(here, elsewhere...)
	return all[:min(len(all), in.limits.Functions)]
}

// rowName reports whether a table may have a row of that name: functions of the
// default namespace must be named without it.
func rowName(name funcname.Name, defaultNamespace string) bool {
	namespace, named := name.Namespace()
	return !named || namespace != defaultNamespace
}

// builder keeps account of what has gone into a table.
type builder struct {
	longest int64          // time limit of a call by a peer's word, ms
	peers   []tablePeer    // of the table
	places  map[string]int // of these, by the text of the id
	gone    []tablePeer    // of these, those with something lingering
	budget  int            // routes left
	omitted int            // routes that there was no room for
	left    bool           // there was no room for something
}

func newBuilder(in *tableInput) *builder {
	b := &builder{
		longest: in.maxPeerTimeout.Milliseconds(), places: make(map[string]int, len(in.peers)), budget: in.limits.Routes,
		left: len(in.peers) > in.limits.Peers || len(in.plan.Functions) > in.limits.Functions,
	}
	if b.longest <= 0 {
		b.longest = limit.MaxTimeoutMillis
	}
	b.peers = slices.Clone(in.peers[:min(len(in.peers), in.limits.Peers)])
	for i := range b.peers {
		p := &b.peers[i]
		p.usable = p.usable && p.token != ""
		b.places[p.id.String()] = i
		if p.lingering != nil {
			b.gone = append(b.gone, *p)
		}
	}
	return b
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
func (b *builder) addLingering(f *table.Function) {
	for i := range b.gone {
		if rate, lingers := (*b.gone[i].lingering)[f.Name]; lingers && b.room() {
			f.Admit = append(f.Admit, table.Admission{Peer: b.gone[i].id, Rate: rate})
		}
	}
}

// room takes a route from the budget, or reports that there is none left.
func (b *builder) room() bool {
	if b.budget <= 0 {
		b.left = true
		b.omitted++
		return false
	}
	b.budget--
	return true
}

// row makes a plan's row, but for what is admitted.
func (b *builder) row(p *strategy.FunctionPlan) table.Function {
	f := table.Function{Name: p.Name, Elastic: p.Elastic, Unmet: p.Unmet}
	if p.Local != nil {
		f.Local = &table.Local{
			Rate: p.Local.Rate.Rounded(), Soft: p.Local.Soft, Share: p.Local.Share, TimeoutMillis: p.Local.TimeoutMillis,
		}
	}
	if len(p.Out) > 0 {
		f.Forward = make([]table.Forward, 0, len(p.Out))
	}
	next := 0
	for i := range p.Out {
		if at := b.place(p.Out[i].Peer, next); at >= 0 && b.room() {
			f.Forward = append(f.Forward, b.forward(&p.Out[i], &b.peers[at]))
			next = at + 1
		}
	}
	return f
}

// addAdmitted notes what a plan admits from the living.
func (b *builder) addAdmitted(f *table.Function, p *strategy.FunctionPlan) {
	if len(p.In) > 0 {
		f.Admit = make([]table.Admission, 0, len(p.In)+len(b.gone))
	}
	next := 0
	for i := range p.In {
		flow, rate := &p.In[i], p.In[i].Rate.Rounded()
		if rate == (limit.Bound{}) && !p.Elastic {
			continue
		}
		if at := b.place(flow.Peer, next); at >= 0 && b.room() {
			f.Admit = append(f.Admit, table.Admission{Peer: b.peers[at].id, Rate: rate})
			next = at + 1
		}
	}
}

// place returns where the peer of that id is among those of the table, -1 for nowhere.
// It is probably at that place: plans mostly list peers in their order.
func (b *builder) place(id string, probably int) int {
	if probably < len(b.peers) && b.peers[probably].id.String() == id {
		return probably
	}
	if at, known := b.places[id]; known {
		return at
	}
	return -1
}

// forward is a route to a peer; rate 0, which says "full", while HAProxy could
// not take a request there.
func (b *builder) forward(flow *strategy.Flow, to *tablePeer) table.Forward {
	if !to.usable {
		return table.Forward{Peer: to.id}
	}
	return table.Forward{
		Peer: to.id, Weight: tableWeight(flow.Weight), Rate: flow.Rate.Rounded(), Spare: flow.Spare.Rounded(),
		TimeoutMillis: min(max(0, flow.TimeoutMillis), b.longest, limit.MaxTimeoutMillis),
	}
}

// tableWeight makes a weight fit for the table, thousandths of it like those of rates.
func tableWeight(w float64) float64 {
	if !(w > 0) {
		return 0
	}
	return math.Round(min(w, table.MaxWeight)*1000) / 1000
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

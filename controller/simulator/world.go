package simulator

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/experiment/topology"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// decision is what a node does with a call of one of its own users.
type decision struct {
	verdict verdict
	status  int16 // with refuse
	peer    int   // with forward
	mark    int32 // with forward: comes back with the answer
}

type verdict uint8

const (
	refuse verdict = iota
	serve
	forward
)

// answer is what a node learns from a call that it has forwarded.
type answer struct {
	peer, fn int
	served   bool
	mark     int32 // of the decision
	room     int   // what the peer says that it could take besides, or untold
}

// untold is a room of which nothing is said.
const untold = -1

// node is what decides on one node: the production code, or a baseline. Times
// are virtual.
type node interface {
	// user decides on a call of a user of this node.
	user(now time.Duration, fn int) decision
	// peer reports whether a call that another node forwards is admitted, and what
	// room there is besides, or untold.
	peer(now time.Duration, fn, from int) (admitted bool, room int)
	// answered is told of each answer to a forwarded call.
	answered(now time.Duration, a answer)
	// due is when wake should be called.
	due() time.Duration
	// wake does what is due.
	wake(now time.Duration)
}

// asker is a node that decides anew on a call that a peer has refused, or that did
// not get there; not on each, as it says.
type asker interface {
	again(now time.Duration, fn, question int, mark int32) (decision, bool)
}

// diverter is a node that decides anew on a call that its own gateway did not take.
type diverter interface {
	elsewhere(now time.Duration, fn, question int) decision
}

// call is a user's call under way.
type call struct {
	arrived time.Duration
	node    int32 // whose user made it
	fn      int32
	peer    int32 // that it was forwarded to, -1 for none
	asked   int32 // questions about it to its own node
	mark    int32
	room    int32
	refused bool
	lost    bool // what works on it, or brings its answer, is gone
	oracle  bool // the oracle has served it
	claims  bool // to come from a peer: it is no user's
	status  int16
	at      int32 // node that works on it, -1 for none
	stream  int32
	waits   int32 // for a part that hangs: number of the wait; 0: it does not
}

// stream is one function's users at one node.
type stream struct {
	node, fn   int
	rate       float64 // requests/s
	generation int32
	random     *rand.Rand
	times      *shape.Times // of a scenario's load; nil: by the rate
	starts     time.Duration
	claim      *claim // of calls that say that they come from a peer; nil: they are users'
}

// world is everything that is simulated.
type world struct {
	config   Config
	names    []funcname.Name   // of functions
	ranks    []int             // of functions, by name: their places in a table that has all
	ids      []peerid.ID       // of nodes
	index    map[peerid.ID]int // of nodes
	capacity [][]float64       // requests/s by node and function; 0: not there
	service  [][]time.Duration // mean, by node and function
	soft     [][]bool          // by node and function: nobody wrote the capacity down
	reach    [][]int           // by node: whom it reaches, itself included; nil: all

	now     time.Duration
	queue   queue
	changes []change
	streams []stream // node x functions, then a scenario's loads
	nodes   []node
	specs   []spec  // of nodes
	wakeup  []int32 // generation of each node's wakes event
	wakesAt []time.Duration
	machine []machine // nil: without limits
	works   []int32   // generation of each machine's event
	calls   []call
	free    []int32
	under   int // calls under way
	parcels []parcel
	spare   []int32 // free parcels
	oracle  *oracle
	tally   *tally

	afflictions *afflictions // nil: nothing ever breaks
	firstLoad   int          // stream of the scenario's first load
	samples     [][]summary.Sample

	topology *topology.Topology // nil: nothing but Config.Links lies between nodes
	routes   *topology.Routes   // of it

	links, callLinks, jitters, serviceTimes *rand.Rand
}

func newWorld(c Config) (*world, error) {
	w := &world{
		config: c, index: make(map[peerid.ID]int), tally: newTally(c.Warmup, c.Duration),
		links: rand.New(rand.NewPCG(c.Seed, streamLinks)), callLinks: rand.New(rand.NewPCG(c.Seed, streamCallLinks)), afflictions: newAfflictions(&c), serviceTimes: rand.New(rand.NewPCG(c.Seed, streamService)),
	}
	functions := make(map[string]int)
	for f, text := range c.Instance.functions() {
		name, err := funcname.Parse(text)
		if err != nil {
			return nil, err
		}
		w.names, functions[text] = append(w.names, name), f
	}
	for _, name := range w.names {
		rank := 0
		for _, other := range w.names {
			if other.Compare(name) < 0 {
				rank++
			}
		}
		w.ranks = append(w.ranks, rank)
	}
	for i, n := range c.Instance.Nodes {
		w.ids = append(w.ids, peerID(i))
		w.index[w.ids[i]] = i
		capacity, service, soft := make([]float64, len(w.names)), make([]time.Duration, len(w.names)), make([]bool, len(w.names))
		for _, f := range n.Functions {
			capacity[functions[f.Name]], service[functions[f.Name]] = f.Maxrate, duration(f.ServiceMillis/1000)
			soft[functions[f.Name]] = f.Soft
		}
		w.capacity, w.service, w.soft = append(w.capacity, capacity), append(w.service, service), append(w.soft, soft)
	}
	w.reach = reachOf(c.Instance)
	if c.Topology != nil {
		w.topology = c.Topology.Clone() // faults change it
		w.routes = topology.NewRoutes(w.topology)
		w.jitters = rand.New(rand.NewPCG(c.Seed, streamJitter))
	}
	w.oracle = newOracle(w.capacity, w.reach)
	if w.afflictions != nil {
		w.oracle.barred = func(from, n int) bool { return !w.healthy(from, n) || w.silent(from, haproxyPart) }
	}
	if c.Loads == nil {
		w.changes = c.Demand.schedule(w.capacity, c.Load, c.Seed, c.Warmup, c.Warmup+c.Duration)
	}
	for n := range w.capacity {
		for f := range w.names {
			w.streams = append(w.streams, stream{
				node: n, fn: f, random: rand.New(rand.NewPCG(c.Seed<<20^uint64(n*len(w.names)+f), streamArrivals)),
			})
		}
		w.machine = append(w.machine, newMachine(c.Machine, c.Instance.Nodes[n].CPUs))
	}
	w.addLoads()
	w.works, w.wakeup = make([]int32, len(w.capacity)), make([]int32, len(w.capacity))
	w.wakesAt = make([]time.Duration, len(w.capacity))
	for n := range w.capacity {
		w.nodes = append(w.nodes, nil)
		spec, err := w.specOf(n)
		if err != nil {
			return nil, err
		}
		w.specs = append(w.specs, spec)
		node, err := spec.make(w, n)
		if err != nil {
			return nil, fmt.Errorf("making %s: %w", c.Instance.Nodes[n].Name, err)
		}
		w.nodes[n] = node
	}
	return w, nil
}

// reachOf lists whom each node reaches, itself included; nil where that is
// everybody.
func reachOf(i *Instance) [][]int {
	if i.Edges == nil {
		return nil
	}
	reach := make([][]int, len(i.Nodes))
	for n := range reach {
		reach[n] = []int{n}
	}
	for _, e := range i.Edges {
		reach[e[0]], reach[e[1]] = append(reach[e[0]], e[1]), append(reach[e[1]], e[0])
	}
	for n := range reach {
		slices.Sort(reach[n])
		reach[n] = slices.Compact(reach[n])
	}
	return reach
}

func newMachine(m Machine, cpus float64) machine {
	switch m.Kind {
	case ServersMachine:
		return newServers(cpus)
	case SharedMachine:
		return &shared{cpus: cpus}
	}
	return nil
}

// neighbours calls each for every node that n reaches, but itself.
func (w *world) neighbours(n int, each func(int)) {
	if w.reach == nil {
		for other := range w.capacity {
			if other != n {
				each(other)
			}
		}
		return
	}
	for _, other := range w.reach[n] {
		if other != n {
			each(other)
		}
	}
}

// progressEvery is how many events go by between two looks at the context. Where nodes
// have hundreds of neighbours, these take a third of a second.
const progressEvery = 1 << 10

func (w *world) run(ctx context.Context, progress func(float64)) error {
	end := w.config.Warmup + w.config.Duration
	if len(w.changes) > 0 {
		w.queue.push(event{at: w.changes[0].at, kind: changes})
	}
	w.begins()
	if w.afflictions != nil {
		w.queue.push(event{at: w.afflictions.timeline[0].At, kind: fails})
	}
	for n := range w.nodes {
		w.schedule(n)
	}
	for !w.queue.empty() {
		e := w.queue.pop()
		if e.at >= end && w.under == 0 {
			break
		}
		w.now = e.at
		w.tally.events++
		w.handle(e, end)
		if w.tally.events%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("simulating: %w", err)
			}
			if progress != nil {
				progress(min(1, seconds(w.now)/seconds(end)))
			}
		}
	}
	for _, n := range w.nodes {
		if p, ok := n.(*production); ok && w.afflictions == nil {
			if err := p.check(); err != nil {
				return fmt.Errorf("at the end of the simulation: %w", err)
			}
		}
	}
	return nil
}

func (w *world) handle(e event, end time.Duration) {
	switch e.kind {
	case changes:
		w.change(int(e.a))
	case arrives:
		if s := &w.streams[e.a]; e.at < end && s.generation == e.b {
			w.next(e.a)
			w.arrive(e.a, s)
		}
	case reaches:
		w.atPeer(e.a)
	case answers:
		w.answered(e.a)
	case falls:
		w.fall(e.a)
	case finishes:
		w.finished(e.a)
	case asks:
		w.decide(e.a)
	case enters:
		w.begin(e.a, int(w.calls[e.a].at))
	case leaves:
		w.giveUp(e.a, e.b)
	case restores:
		w.restoreServers(int(e.a))
	case works:
		if w.works[e.a] == e.b {
			_, ended, _ := w.machine[e.a].next()
			w.machine[e.a].end()
			w.work(int(e.a))
			w.finished(ended)
		}
	case wakes:
		if w.wakeup[e.a] == e.b && !w.silent(int(e.a), controllerPart) {
			w.wakesAt[e.a] = 0
			w.nodes[e.a].wake(w.now)
			w.schedule(int(e.a))
		}
	case hears:
		w.deliver(e.a)
	case fails:
		w.afflict(int(e.a))
	case checks:
		w.check()
	case probes:
		if asked, ok := w.nodes[e.b].(prober); ok && w.healthy(int(e.a), int(e.b)) {
			w.queue.push(event{at: w.now + w.delay(int(e.b), int(e.a)), kind: probed, a: e.a, b: e.b, c: e.c, x: asked.load(w.now, int(e.c))})
		}
	case probed:
		if asker, ok := w.nodes[e.a].(prober); ok {
			asker.probed(w.now, int(e.b), int(e.c), e.x)
		}
	}
}

// schedule sees to it that the node is woken when it is due.
func (w *world) schedule(n int) {
	due := max(w.nodes[n].due(), w.now)
	if due == w.wakesAt[n] {
		return
	}
	w.wakesAt[n] = due
	w.wakeup[n]++
	w.queue.push(event{at: due, kind: wakes, a: int32(n), b: w.wakeup[n]})
}

func (w *world) change(i int) {
	for ; i < len(w.changes) && w.changes[i].at <= w.now; i++ {
		c := w.changes[i]
		id := int32(c.node*len(w.names) + c.fn)
		s := &w.streams[id]
		if s.rate == c.rate {
			continue
		}
		s.rate = c.rate
		s.generation++
		w.next(id)
	}
	if i < len(w.changes) {
		w.queue.push(event{at: w.changes[i].at, kind: changes, a: int32(i)})
	}
}

// userRate is what a node's users ask for just now, requests/s.
func (w *world) userRate(n, fn int) float64 { return w.streams[n*len(w.names)+fn].rate }

// next has the stream's next call arrive.
func (w *world) next(id int32) {
	s := &w.streams[id]
	if s.times != nil {
		if at, more := s.times.Next(); more {
			w.queue.push(event{at: s.starts + at, kind: arrives, a: id})
		}
		return
	}
	if s.rate <= 0 {
		return
	}
	gap := 1 / s.rate
	if w.config.Arrivals == Poisson {
		gap *= s.random.ExpFloat64()
	}
	w.queue.push(event{at: w.now + duration(gap), kind: arrives, a: id, b: s.generation})
}

func (w *world) arrive(of int32, s *stream) {
	id := w.newCall()
	c := &w.calls[id]
	*c = call{arrived: w.now, node: int32(s.node), fn: int32(s.fn), peer: -1, at: -1, stream: of, claims: s.claim != nil}
	c.oracle = !c.claims && w.oracle.serve(w.now, s.node, s.fn)
	if second := w.tally.second(w.now); second != nil && !c.claims {
		w.tally.Sent++
		second.Sent++
		if c.oracle {
			w.tally.Oracle++
			second.Oracle++
		}
	}
	w.decide(id)
}

func (w *world) newCall() int32 {
	w.under++
	if last := len(w.free) - 1; last >= 0 {
		id := w.free[last]
		w.free = w.free[:last]
		return id
	}
	w.calls = append(w.calls, call{})
	return int32(len(w.calls) - 1)
}

// decide asks the call's own node what to do with it.
func (w *world) decide(id int32) {
	c := &w.calls[id]
	c.asked = 1
	n := int(c.node)
	switch {
	case w.hold(n, haproxyPart, asks, id):
	case w.without(n, haproxyPart):
		c.refused, c.status = true, statusNone
		w.done(id)
	case c.claims:
		w.judge(id, w.streams[c.stream].claim)
	default:
		if answered, waited := w.ask(n); !answered {
			w.unasked(id, n, waited)
			return
		}
		w.follow(id, w.nodes[n].user(w.now, int(c.fn)))
	}
}

// follow does what the call's own node has decided.
func (w *world) follow(id int32, d decision) {
	c := &w.calls[id]
	c.peer, c.refused = -1, false
	switch d.verdict {
	case serve:
		w.begin(id, int(c.node))
	case forward:
		c.peer, c.mark = int32(d.peer), d.mark
		if w.tally.second(c.arrived) != nil {
			w.tally.Forwarded++
		}
		if w.serverless(int(c.node)) {
			w.serveHere(id, d.status)
			return
		}
		if w.cut(int(c.node), d.peer) {
			w.queue.push(event{at: w.now + connectTimeout, kind: falls, a: id})
			return
		}
		w.queue.push(event{at: w.now + w.hop(int(c.node), d.peer), kind: reaches, a: id})
	default:
		c.refused, c.status = true, cmp.Or(d.status, statusFull)
		w.done(id)
	}
}

// atPeer is a call that was forwarded and has arrived.
func (w *world) atPeer(id int32) {
	c := &w.calls[id]
	if w.hold(int(c.peer), haproxyPart, reaches, id) {
		return
	}
	if w.without(int(c.peer), haproxyPart) { // the connection is refused
		w.queue.push(event{at: w.now + w.delay(int(c.peer), int(c.node)), kind: falls, a: id})
		return
	}
	if answered, waited := w.ask(int(c.peer)); !answered {
		c.room, c.refused = untold, false
		w.unasked(id, int(c.peer), waited)
		return
	}
	admitted, room := w.nodes[c.peer].peer(w.now, int(c.fn), int(c.node))
	c.room, c.refused = int32(room), !admitted
	if admitted {
		w.begin(id, int(c.peer))
		return
	}
	if w.tally.second(c.arrived) != nil {
		w.tally.InVain++
	}
	c.status = statusFull
	w.queue.push(event{at: w.now + w.hop(int(c.peer), int(c.node)), kind: answers, a: id})
}

// begin has a machine work on the call.
func (w *world) begin(id int32, n int) {
	c := &w.calls[id]
	c.at = int32(n)
	down := w.hangs(n, providerPart) && w.now >= w.afflictions.hanging[n].since+noticeHang
	if !down && w.hold(n, providerPart, enters, id) {
		return
	}
	if down || w.without(n, providerPart) {
		w.notTaken(id)
		return
	}
	work := duration(w.serviceTimes.ExpFloat64() * seconds(w.service[n][c.fn]))
	if w.machine[n] == nil {
		w.queue.push(event{at: w.now + work, kind: finishes, a: id})
		return
	}
	w.machine[n].begin(w.now, work, id)
	w.work(n)
}

// notTaken has a call that a gateway does not take decided on anew, if it is one of the
// node's own users, or else refused.
func (w *world) notTaken(id int32) {
	c := &w.calls[id]
	if node, ok := w.nodes[c.node].(diverter); ok && c.peer < 0 && !c.claims && !w.silent(int(c.node), spoaPart) {
		c.asked++
		if d := node.elsewhere(w.now, int(c.fn), int(c.asked)); d.verdict == forward {
			c.at = -1
			w.follow(id, d)
			return
		}
	}
	c.refused, c.status = true, statusUnavailable
	w.goBack(id)
}

// work schedules the end of the machine's next call.
func (w *world) work(n int) {
	w.works[n]++
	if at, _, any := w.machine[n].next(); any {
		w.queue.push(event{at: max(at, w.now), kind: works, a: int32(n), b: w.works[n]})
	}
}

// finished is a call that was served, wherever that was.
func (w *world) finished(id int32) {
	c := &w.calls[id]
	if !w.hold(int(c.at), haproxyPart|providerPart, finishes, id) {
		w.goBack(id)
	}
}

// goBack is the answer of the node that has worked on the call.
func (w *world) goBack(id int32) {
	c := &w.calls[id]
	if c.peer >= 0 && c.at != c.node {
		w.queue.push(event{at: w.now + w.hop(int(c.peer), int(c.node)), kind: answers, a: id})
		return
	}
	w.done(id)
}

// answered is the answer of a peer.
func (w *world) answered(id int32) {
	c := &w.calls[id]
	if w.hold(int(c.node), haproxyPart, answers, id) {
		return
	}
	c.lost = c.lost || w.cut(int(c.node), int(c.peer))
	w.nodes[c.node].answered(w.now, answer{peer: int(c.peer), fn: int(c.fn), served: !c.refused, mark: c.mark, room: int(c.room)})
	if !c.refused || c.lost || !w.again(id) {
		w.done(id)
	}
}

// again has a call that comes back from a peer decided on anew, if its own node does
// that, and reports whether it does.
func (w *world) again(id int32) bool {
	c := &w.calls[id]
	node, ok := w.nodes[c.node].(asker)
	if !ok || w.silent(int(c.node), haproxyPart|spoaPart) {
		return false
	}
	c.asked++
	d, ok := node.again(w.now, int(c.fn), int(c.asked), c.mark)
	if ok {
		w.follow(id, d)
	}
	return ok
}

// done is the end of a call.
func (w *world) done(id int32) {
	c := &w.calls[id]
	if c.lost && !c.refused {
		c.refused, c.status = true, statusNone
	}
	w.sample(c)
	c.at, c.lost = -1, false
	if second := w.tally.second(c.arrived); second != nil && !c.claims {
		if c.refused {
			w.tally.Refused++
			if c.oracle {
				w.tally.Avoidable++
			}
		} else {
			w.tally.Served++
			second.Served++
			w.tally.latency.Add(w.now - c.arrived)
		}
	}
	w.free = append(w.free, id)
	w.under--
}

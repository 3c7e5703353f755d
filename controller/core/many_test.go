package core

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// many is a federation in virtual time: cores that hear their neighbours'
// announcements 20 ms later, each beside a SPOA that counts its users' requests and
// an HAProxy that has every server as soon as it is wanted.
type many struct {
	nodes     []*manyNode
	queue     manyQueue
	now       time.Time
	byID      map[string]*manyNode
	functions []string
	chance    *rand.Rand

	steps, heard, plans, tables, said int
}

type manyNode struct {
	c          *Core
	id         string
	http       netip.AddrPort
	neighbours []int
	due        time.Time // of the step that is queued
	rates      []float64 // of its users, requests/s, by function
	counted    []float64
	countedAt  time.Time
	table      uint64

	out [][]manyFlow            // what it forwards, by function
	in  []map[*manyNode]float64 // what others forward to it, by function
	got []map[string]float64    // of that, counted, by peer id
}

// manyFlow is what goes from one node to another, requests/s.
type manyFlow struct {
	to   *manyNode
	rate float64
}

// manyEvent is a step of a node at some time: a Tick, or what it hears.
type manyEvent struct {
	at    time.Time
	node  int
	heard *Heard
}

type manyQueue []manyEvent

func (q manyQueue) Len() int           { return len(q) }
func (q manyQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q manyQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *manyQueue) Push(x any)        { *q = append(*q, x.(manyEvent)) }
func (q *manyQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

const gossipDelay = 20 * time.Millisecond

// newMany connects so many nodes to about degree others each. All have the same
// functions, at different capacities.
func newMany(t testing.TB, nodes, degree, functions int) *many {
	rule, err := strategy.New("headroom")
	if err != nil {
		t.Fatal(err)
	}
	m := &many{now: t0, byID: make(map[string]*manyNode), chance: rand.New(rand.NewPCG(7, 7))}
	for f := range functions {
		m.functions = append(m.functions, fmt.Sprintf("function-%d", f))
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for i := range nodes {
		n := &manyNode{id: testtable.ID(i).String(), http: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 8180), countedAt: t0}
		n.c = New(Options{
			Self: testvalue.Peer(n.id), Strategy: rule, Period: time.Second, HTTP: n.http, DefaultNamespace: "openfaas-fn",
			Members: membership.New(membership.Options{Self: testvalue.Peer(n.id), Allowed: allowed, MaxMembers: nodes}),
			Tokens:  noTokens{}, Seed: uint64(i), Limits: Limits{Peers: nodes, Routes: nodes * functions},
		}, t0)
		var deployed []Function
		for f := range functions {
			deployed = append(deployed, Function{Name: testvalue.Name(m.functions[f]), Capacity: testvalue.Bound(float64(10 + (i*7+f*3)%40))})
			n.rates = append(n.rates, float64(2*((i*13+f*5)%20)))
			n.counted, n.out = append(n.counted, 0), append(n.out, nil)
			n.in, n.got = append(n.in, map[*manyNode]float64{}), append(n.got, map[string]float64{})
		}
		m.nodes = append(m.nodes, n)
		m.byID[n.id] = n
		m.step(i, Gateway{Functions: deployed})
	}
	m.connect(degree)
	return m
}

// connect has each node hear the next one in a ring and as many others by chance
// that each has about degree neighbours; all, if degree is that much.
func (m *many) connect(degree int) {
	nodes := len(m.nodes)
	known := make(map[[2]int]bool)
	add := func(i, j int) {
		if edge := [2]int{min(i, j), max(i, j)}; i != j && !known[edge] {
			known[edge] = true
			m.nodes[i].neighbours = append(m.nodes[i].neighbours, j)
			m.nodes[j].neighbours = append(m.nodes[j].neighbours, i)
		}
	}
	for i := range nodes {
		add(i, (i+1)%nodes)
		for j := range nodes {
			if degree >= nodes-1 {
				add(i, j)
			}
		}
	}
	for degree < nodes-1 && len(known) < nodes*degree/2 {
		add(m.chance.IntN(nodes), m.chance.IntN(nodes))
	}
}

// run steps all nodes through so much time.
func (m *many) run(d time.Duration) {
	end := m.now.Add(d)
	for len(m.queue) > 0 && !m.queue[0].at.After(end) {
		e := heap.Pop(&m.queue).(manyEvent)
		m.now = e.at
		switch n := m.nodes[e.node]; {
		case e.heard != nil:
			m.heard++
			m.step(e.node, *e.heard)
		case e.at.Equal(n.due):
			m.step(e.node, Tick{})
		}
	}
	m.now = end
}

func (m *many) step(i int, e Event) {
	n := m.nodes[i]
	fx := n.c.Step(m.now, e)
	m.steps++
	if fx.Planned {
		m.plans++
	}
	if fx.Announce != nil {
		m.said++
		heard := &Heard{From: testvalue.Peer(n.id), Announcement: *fx.Announce, Via: membership.Via{Direct: true}}
		for _, to := range n.neighbours {
			heap.Push(&m.queue, manyEvent{m.now.Add(gossipDelay), to, heard})
		}
		m.step(i, Announced{})
	}
	if fx.Servers != nil {
		servers := make(map[string]Server, len(fx.Servers))
		for _, p := range fx.Servers {
			servers[p.ID.String()] = Server{Up: true}
		}
		m.step(i, HAProxy{Servers: servers})
	}
	if fx.Table != nil {
		m.tables++
		n.table = fx.Table.Version
		m.forward(n, fx.Table)
		m.step(i, TablePut{})
	}
	if fx.ReadMeter {
		m.step(i, Metered{Report: m.report(n)})
	}
	if next := n.c.Next(); !next.Equal(n.due) {
		n.due = next
		heap.Push(&m.queue, manyEvent{at: next, node: i})
	}
}

// forward has the node send its surplus as the table says.
func (m *many) forward(n *manyNode, t *table.Table) {
	for f := range t.Functions {
		row := &t.Functions[f]
		for _, flow := range n.out[f] {
			m.count(flow.to)
			delete(flow.to.in[f], n)
		}
		n.out[f] = n.out[f][:0]
		surplus, weight := max(0, n.rates[f]-row.Local.Rate.PerSecond()), 0.0
		for i := range row.Forward {
			weight += row.Forward[i].Weight
		}
		for i := range row.Forward {
			fw := &row.Forward[i]
			if rate := min(fw.Rate.PerSecond(), surplus*fw.Weight/weight); rate > 0 {
				to := m.byID[fw.Peer.String()]
				m.count(to)
				to.in[f][n] = rate
				n.out[f] = append(n.out[f], manyFlow{to, rate})
			}
		}
	}
}

// count has the node's SPOA count what was asked for since the last time.
func (m *many) count(n *manyNode) {
	seconds := m.now.Sub(n.countedAt).Seconds()
	if seconds == 0 {
		return
	}
	n.countedAt = m.now
	for f := range n.rates {
		n.counted[f] += n.rates[f] * seconds
		for from, rate := range n.in[f] {
			n.got[f][from.id] += rate * seconds
		}
	}
}

// report is what the node's SPOA has counted.
func (m *many) report(n *manyNode) *meter.Report {
	m.count(n)
	r := &meter.Report{
		StartMillis: t0.UnixMilli(), UptimeMicros: m.now.Sub(t0).Microseconds(),
		TableVersion: n.table, TableFresh: n.table > 0, Functions: make([]meter.Function, len(n.rates)),
	}
	for f := range n.rates {
		r.Functions[f] = meter.Function{Name: m.functions[f], User: meter.User{Local: uint64(n.counted[f] + 0.5)}}
		if len(n.got[f]) == 0 {
			continue
		}
		in := make(map[string]meter.Peer, len(n.got[f]))
		for id, got := range n.got[f] {
			in[id] = meter.Peer{Local: uint64(got)}
		}
		r.Functions[f].In = in
	}
	return r
}

// How large TestManyCores is: by default, as large as a test that everybody runs may
// be. Others by hand:
//
//	go test ./controller/core -run ManyCores -v -span 60s
//	go test ./controller/core -run ManyCores -v -cores 5000 -functions 2 -span 20s
var (
	cores     = flag.Int("cores", 1000, "cores of TestManyCores")
	functions = flag.Int("functions", 10, "functions of each")
	span      = flag.Duration("span", 12*time.Second, "virtual time of TestManyCores")
)

// TestManyCores steps a thousand connected nodes with ten functions each through
// twelve seconds. Three times, the users of a twentieth of them ask for something else.
func TestManyCores(t *testing.T) {
	const degree, changes = 8, 3
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	before := processor(t)
	m := newMany(t, *cores, degree, *functions)
	for range changes {
		m.run(*span / changes)
		for range *cores / 20 {
			n := m.nodes[m.chance.IntN(*cores)]
			for f := range n.rates {
				n.rates[f] = float64(2 * m.chance.IntN(30))
			}
		}
	}
	t.Logf("%v of processor time: %d steps, %d announcements, heard %d times, %d plans, %d tables",
		processor(t)-before, m.steps, m.said, m.heard, m.plans, m.tables)
	for i, n := range m.nodes {
		v := n.c.View(m.now)
		if len(v.Alive) != m.heardBy(i) {
			t.Fatalf("node %d knows %d peers of %d", i, len(v.Alive), m.heardBy(i))
		}
		if len(v.Plan.Functions) != *functions || v.TableVersion == 0 {
			t.Fatalf("node %d plans for %d functions, table %d", i, len(v.Plan.Functions), v.TableVersion)
		}
	}
}

// processor is how much processor time this process has used.
func processor(t testing.TB) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// heardBy is how many nodes announce themselves to this one.
func (m *many) heardBy(i int) int {
	n := 0
	for _, other := range m.nodes {
		for _, to := range other.neighbours {
			if to == i {
				n++
			}
		}
	}
	return n
}

// BenchmarkCores states what a federation of cores costs: how many of them can be
// stepped through a second of their time in a second of one processor, and the
// memory of each.
func BenchmarkCores(b *testing.B) {
	for _, size := range []struct{ nodes, degree int }{{1000, 8}, {1000, 24}, {200, 199}} {
		b.Run(fmt.Sprintf("nodes=%d/neighbours=%d", size.nodes, size.degree), func(b *testing.B) {
			before := heapBytes()
			m := newMany(b, size.nodes, size.degree, 10)
			m.run(10 * time.Second)
			bytes := heapBytes() - before
			seconds := 0
			begun := processor(b)
			for b.Loop() {
				m.run(time.Second)
				seconds++
			}
			b.ReportMetric(float64(size.nodes*seconds)/(processor(b)-begun).Seconds(), "core-s/s")
			b.ReportMetric(float64(bytes)/float64(size.nodes), "B/core")
			runtime.KeepAlive(m)
		})
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

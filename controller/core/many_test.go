package core

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/meter"
)

// many is a federation in virtual time: cores that hear their neighbours'
// announcements 20 ms later, each beside a SPOA that counts its users' requests and
// an HAProxy that has every server as soon as it is wanted.
type many struct {
	nodes     []*manyNode
	queue     manyQueue
	now       time.Time
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

// newMany connects so many nodes: each to the nearest in a ring, and to others by
// chance, degree of them in all. All have the same functions, at different
// capacities.
func newMany(t testing.TB, nodes, degree, functions int) *many {
	rule, err := strategy.New("headroom")
	if err != nil {
		t.Fatal(err)
	}
	m := &many{now: t0, chance: rand.New(rand.NewPCG(7, 7))}
	for f := range functions {
		m.functions = append(m.functions, fmt.Sprintf("function-%d", f))
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for i := range nodes {
		n := &manyNode{id: testtable.ID(i), http: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 8180), countedAt: t0}
		n.c = New(Options{
			Self: n.id, Strategy: rule, Period: time.Second, HTTP: n.http, DefaultNamespace: "openfaas-fn",
			Members: membership.New(membership.Options{Self: n.id, Allowed: allowed, MaxMembers: nodes}),
			Tokens:  noTokens{}, Seed: uint64(i), Limits: Limits{Peers: nodes, Routes: nodes * functions},
		}, t0)
		var deployed []Function
		for f := range functions {
			deployed = append(deployed, Function{Name: m.functions[f], Capacity: float64(10 + (i*7+f*3)%40)})
			n.rates = append(n.rates, float64(2*((i*13+f*5)%20)))
			n.counted = append(n.counted, 0)
		}
		m.nodes = append(m.nodes, n)
		m.connect(i, nodes, degree)
		m.step(i, Gateway{Functions: deployed})
	}
	return m
}

func (m *many) connect(i, nodes, degree int) {
	known := map[int]bool{i: true}
	add := func(j int) {
		if !known[j] {
			known[j] = true
			m.nodes[i].neighbours = append(m.nodes[i].neighbours, j)
		}
	}
	add((i + 1) % nodes)
	for len(known) <= min(degree, nodes-1) {
		if degree >= nodes-1 {
			add(len(known) % nodes)
			add((i + len(known)) % nodes)
			continue
		}
		add(m.chance.IntN(nodes))
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
		heard := &Heard{From: n.id, Announcement: *fx.Announce, Via: membership.Via{Direct: true}}
		for _, to := range n.neighbours {
			heap.Push(&m.queue, manyEvent{m.now.Add(gossipDelay), to, heard})
		}
		m.step(i, Announced{})
	}
	if fx.Servers != nil {
		servers := make(map[string]Server, len(fx.Servers))
		for _, p := range fx.Servers {
			servers[p.ID] = Server{Up: true}
		}
		m.step(i, HAProxy{Servers: servers})
	}
	if fx.Table != nil {
		m.tables++
		n.table = fx.Table.Version
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

// report is what the node's SPOA has counted.
func (m *many) report(n *manyNode) *meter.Report {
	r := &meter.Report{
		StartMillis: t0.UnixMilli(), UptimeMicros: m.now.Sub(t0).Microseconds(),
		TableVersion: n.table, TableFresh: n.table > 0, Functions: make([]meter.Function, len(n.rates)),
	}
	seconds := m.now.Sub(n.countedAt).Seconds()
	n.countedAt = m.now
	for f := range n.rates {
		n.counted[f] += n.rates[f] * seconds
		r.Functions[f] = meter.Function{Name: m.functions[f], User: meter.User{Local: uint64(n.counted[f] + 0.5)}}
	}
	return r
}

// TestThousandCores steps a thousand connected nodes with ten functions each
// through a minute. Every five seconds the users of a tenth of them ask for
// something else.
func TestThousandCores(t *testing.T) {
	const nodes, degree = 1000, 24
	begun := time.Now()
	m := newMany(t, nodes, degree, 10)
	made := time.Now()
	for range 12 {
		m.run(5 * time.Second)
		for range nodes / 10 {
			n := m.nodes[m.chance.IntN(nodes)]
			for f := range n.rates {
				n.rates[f] = float64(2 * m.chance.IntN(30))
			}
		}
	}
	t.Logf("made in %v, 60 s in %v: %d steps, %d announcements, heard %d times, %d plans, %d tables",
		made.Sub(begun), time.Since(made), m.steps, m.said, m.heard, m.plans, m.tables)
	for i, n := range m.nodes {
		v := n.c.View(m.now)
		if len(v.Alive) != m.heardBy(i) {
			t.Fatalf("node %d knows %d peers of %d", i, len(v.Alive), m.heardBy(i))
		}
		if len(v.Plan.Functions) != 10 || v.TableVersion == 0 {
			t.Fatalf("node %d plans for %d functions, table %d", i, len(v.Plan.Functions), v.TableVersion)
		}
	}
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
	for _, size := range []struct{ nodes, degree int }{{1000, 24}, {200, 199}} {
		b.Run(fmt.Sprintf("nodes=%d/neighbours=%d", size.nodes, size.degree), func(b *testing.B) {
			before := heapBytes()
			m := newMany(b, size.nodes, size.degree, 10)
			m.run(10 * time.Second)
			bytes := heapBytes() - before
			seconds := 0
			begun := time.Now()
			for b.Loop() {
				m.run(time.Second)
				seconds++
			}
			b.ReportMetric(float64(size.nodes*seconds)/time.Since(begun).Seconds(), "core-s/s")
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

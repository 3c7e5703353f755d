// Package link is a switch between hosts, in user space: what they send each other takes
// the way that a topology has for it, over links that delay it, let only so much of it
// through, and lose some of it. It needs nothing of the kernel but TAP devices, at which
// it reads and writes Ethernet frames.
//
//	s, err := link.New(topology, seed, nil)
//	defer s.Close()
//	s.Attach(0, tap)  // the host of node 0; its device has the address MAC(0)
//	s.Set(edge, topology.Link{Delay: 20 * time.Millisecond})
package link

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/topology"
)

const (
	header   = 14        // bytes of an Ethernet header
	maxFrame = 64 << 10  // bytes
	overhead = 24        // bytes that a frame takes on the wire besides: preamble, checksum, gap
	maxHeld  = 128 << 20 // bytes of frames on their way, all together
	// minQueue is how much a link with a rate holds back, in bytes, before it drops what
	// comes; one that is fast, what it lets through in queueTime.
	minQueue  = 64 << 10
	queueTime = 100 * time.Millisecond
)

// MAC is the hardware address that the host of a node has to have: frames go by it.
func MAC(node int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0xdf, 0xaa, 0x50, byte(node >> 8), byte(node)}
}

// nodeOf is the node with that address, -1 if there is none.
func nodeOf(mac []byte) int {
	if own := MAC(0); [4]byte(mac[:4]) != [4]byte(own[:4]) {
		return -1
	}
	return int(mac[4])<<8 | int(mac[5])
}

// Counts are what became of frames.
type Counts struct {
	Delivered uint64 `json:"delivered"`
	Lost      uint64 `json:"lost"`      // as links lose some
	Queue     uint64 `json:"queue"`     // for lack of room in the queue of a link with a rate
	Cut       uint64 `json:"cut"`       // nothing leads there
	Malformed uint64 `json:"malformed"` // or to nobody
	Failed    uint64 `json:"failed"`    // the host did not take them
}

// Switch is safe for concurrent use.
type Switch struct {
	start time.Time // of its clock
	// nodeAt is which node has an IP address, -1 for none; nil: nobody knows.
	nodeAt func(netip.Addr) int

	mu     sync.Mutex
	t      *topology.Topology
	routes *topology.Routes
	paths  map[[2]int][]int32 // that were asked for; nil for none
	lines  [][2]line          // by link: from A to B, and back
	ports  []io.ReadWriteCloser
	chance *rand.Rand
	due    queue
	seq    uint64
	held   int // bytes of frames in due
	counts Counts
	closed bool

	timer   *timer
	frames  sync.Pool
	working sync.WaitGroup
}

// line is one direction of a link.
type line struct {
	free time.Duration // when all is through that its rate held back
	last time.Duration // when what went over it last arrives: nothing overtakes
}

// frame is on its way.
type frame struct {
	bytes []byte
	to    int
	path  []int32
	hop   int // of the path, that is next
	at    int // node
	due   time.Duration
	seq   uint64
}

// New returns a switch without hosts. It keeps a copy of the topology. nodeAt, unless
// nil, is which node has an IPv4 address, or -1: who asks for one is answered at once.
func New(t *topology.Topology, seed uint64, nodeAt func(netip.Addr) int) (*Switch, error) {
	timer, err := newTimer()
	if err != nil {
		return nil, fmt.Errorf("a switch: %w", err)
	}
	s := &Switch{
		start: time.Now(), nodeAt: nodeAt, t: t.Clone(), paths: make(map[[2]int][]int32), lines: make([][2]line, len(t.Edges)),
		ports: make([]io.ReadWriteCloser, t.Nodes), chance: rand.New(rand.NewPCG(seed, 0)), timer: timer,
	}
	s.frames.New = func() any { return &frame{bytes: make([]byte, 0, 2048)} }
	s.routes = topology.NewRoutes(s.t)
	s.working.Go(s.schedule)
	return s, nil
}

func (s *Switch) now() time.Duration { return time.Since(s.start) }

// Attach connects the host of a node: what is read from the port, one frame at a time,
// it sends; what is written there comes to it. The switch closes the port.
func (s *Switch) Attach(node int, port io.ReadWriteCloser) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case node < 0 || node >= len(s.ports):
		return fmt.Errorf("the topology has no node %d", node)
	case s.ports[node] != nil:
		return fmt.Errorf("node %d is connected already", node)
	}
	s.ports[node] = port
	s.working.Go(func() { s.read(node, port) })
	return nil
}

// read forwards what a host sends, until its port is closed.
func (s *Switch) read(node int, port io.Reader) {
	buffer := make([]byte, maxFrame)
	for {
		n, err := port.Read(buffer)
		if err != nil {
			return
		}
		s.receive(node, buffer[:n])
	}
}

// receive takes a frame from a host.
func (s *Switch) receive(node int, bytes []byte) {
	if len(bytes) < header {
		s.count(&s.counts.Malformed)
		return
	}
	if bytes[0]&1 == 0 {
		to := nodeOf(bytes)
		if to < 0 || to >= len(s.ports) || to == node {
			s.count(&s.counts.Malformed)
			return
		}
		s.send(node, to, bytes)
		return
	}
	if s.resolve(node, bytes) {
		return
	}
	// Multicast and broadcast: who looks for others by mDNS.
	for to := range s.ports {
		if to != node {
			s.send(node, to, bytes)
		}
	}
}

func (s *Switch) count(what *uint64) {
	s.mu.Lock()
	*what++
	s.mu.Unlock()
}

// send sends a frame on its way.
func (s *Switch) send(from, to int, bytes []byte) {
	s.mu.Lock()
	path, known := s.paths[[2]int{from, to}]
	if !known {
		if way, ok := s.routes.Path(from, to); ok {
			path = way
		}
		s.paths[[2]int{from, to}] = path
	}
	if path == nil {
		s.counts.Cut++
		s.mu.Unlock()
		return
	}
	if s.held+len(bytes) > maxHeld {
		s.counts.Queue++
		s.mu.Unlock()
		return
	}
	f := s.frames.Get().(*frame)
	f.bytes, f.to, f.path, f.hop, f.at = append(f.bytes[:0], bytes...), to, path, 0, from
	s.advance(f, s.now())
}

// advance takes a frame as far as it gets now. It is called with the lock, and gives it back.
func (s *Switch) advance(f *frame, now time.Duration) {
	for f.hop < len(f.path) {
		due, passes := s.pass(f, now)
		if !passes {
			s.mu.Unlock()
			s.frames.Put(f)
			return
		}
		f.at = s.t.Edges[f.path[f.hop]].Other(f.at)
		f.hop++
		if due > now {
			s.hold(f, due)
			s.mu.Unlock()
			return
		}
	}
	port := s.ports[f.to]
	s.mu.Unlock()
	ok := false
	if port != nil {
		_, err := port.Write(f.bytes)
		ok = err == nil
	}
	s.mu.Lock()
	if ok {
		s.counts.Delivered++
	} else {
		s.counts.Failed++
	}
	s.mu.Unlock()
	s.frames.Put(f)
}

// pass says when a frame has gone over the next link of its way, unless that loses it.
func (s *Switch) pass(f *frame, now time.Duration) (due time.Duration, passes bool) {
	link := f.path[f.hop]
	e := &s.t.Edges[link]
	if s.routes.Down(int(link)) || s.routes.Side(e.A) != s.routes.Side(e.B) {
		s.counts.Cut++
		return 0, false
	}
	if e.Loss > 0 && s.chance.Float64() < e.Loss {
		s.counts.Lost++
		return 0, false
	}
	l := &s.lines[link][0]
	if f.at == e.B {
		l = &s.lines[link][1]
	}
	due = now
	if e.Rate > 0 {
		l.free = max(l.free, now)
		if l.free-now > queued(e.Rate) {
			s.counts.Queue++
			return 0, false
		}
		l.free += time.Duration(float64(8*(len(f.bytes)+overhead)) / e.Rate * float64(time.Second))
		due = l.free
	}
	due += e.Delay
	if e.Jitter > 0 {
		due += time.Duration((2*s.chance.Float64() - 1) * float64(e.Jitter))
	}
	l.last = max(l.last, due)
	return l.last, true
}

// queued is how long what comes to a link of that rate may have to wait.
func queued(rate float64) time.Duration {
	return max(queueTime, time.Duration(8*minQueue/rate*float64(time.Second)))
}

// hold keeps a frame until it is due.
func (s *Switch) hold(f *frame, due time.Duration) {
	s.seq++
	f.due, f.seq = due, s.seq
	s.held += len(f.bytes)
	heap.Push(&s.due, f)
	if s.due[0] == f && !s.closed {
		s.timer.set(due - s.now())
	}
}

// schedule sends on what is due, until the switch is closed.
func (s *Switch) schedule() {
	for s.timer.wait() == nil {
		for s.step() {
		}
	}
}

// step sends on the first frame that is due and reports whether there was one. If not,
// the timer is set for the next one.
func (s *Switch) step() bool {
	s.mu.Lock()
	if len(s.due) == 0 || s.closed {
		s.mu.Unlock()
		return false
	}
	now := s.now()
	if wait := s.due[0].due - now; wait > 0 {
		s.timer.set(wait)
		s.mu.Unlock()
		return false
	}
	f := heap.Pop(&s.due).(*frame)
	s.held -= len(f.bytes)
	s.advance(f, now)
	return true
}

// change does something to the links.
func (s *Switch) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	clear(s.paths)
}

// Link is what a link is like, and whether it is down.
func (s *Switch) Link(edge int) (link topology.Link, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t.Edges[edge].Link, s.routes.Down(edge)
}

// Set makes a link another one. What is on its way is not touched.
func (s *Switch) Set(edge int, link topology.Link) {
	s.change(func() {
		s.t.Edges[edge].Link = link
		s.routes.Changed()
		for i := range s.lines[edge] { // what held frames back was another rate, and another delay
			s.lines[edge][i] = line{}
		}
	})
}

// SetDown takes a link down or up.
func (s *Switch) SetDown(edge int, down bool) { s.change(func() { s.routes.SetDown(edge, down) }) }

// SetSide puts a node on a side: nothing goes from one side to another. At first, all
// are on the same.
func (s *Switch) SetSide(node, side int) { s.change(func() { s.routes.SetSide(node, side) }) }

// Counts are what became of frames until now.
func (s *Switch) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Close disconnects all hosts and returns when nothing is at work any more.
func (s *Switch) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	ports := s.ports
	s.mu.Unlock()
	for _, p := range ports {
		if p != nil {
			_ = p.Close() // a device of this program's that goes with it
		}
	}
	err := s.timer.close()
	s.working.Wait()
	return err
}

// queue is a heap of frames by when they are due; of several at the same time, the one
// that came first.
type queue []*frame

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*frame)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	f := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return f
}

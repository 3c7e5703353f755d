package link

import (
	"io"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// host is one at a switch: what it is sent can be received.
type host struct {
	out      chan []byte // what it sends
	received chan []byte
	once     sync.Once
	done     chan struct{}
}

func (h *host) Read(p []byte) (int, error) {
	select {
	case f := <-h.out:
		return copy(p, f), nil
	case <-h.done:
		return 0, io.EOF
	}
}

func (h *host) Write(p []byte) (int, error) {
	h.received <- slices.Clone(p)
	return len(p), nil
}

func (h *host) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// patience is how long a frame may take on a busy machine.
const patience = 10 * time.Second

func (h *host) next(t *testing.T) []byte {
	t.Helper()
	select {
	case f := <-h.received:
		return f
	case <-time.After(patience):
		t.Fatal("no frame has arrived")
		return nil
	}
}

// frameTo is one of that size.
func frameTo(node, from, size int) []byte {
	f := make([]byte, size)
	copy(f, MAC(node))
	copy(f[6:], MAC(from))
	return f
}

func connect(t *testing.T, kind topology.Kind, nodes int, like topology.Link) (*Switch, []*host) {
	t.Helper()
	way, err := topology.Shape{Kind: kind, Link: like}.Topology(nodes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(way, 1, nodeAt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	hosts := make([]*host, nodes)
	for n := range hosts {
		hosts[n] = &host{out: make(chan []byte), received: make(chan []byte, 1000), done: make(chan struct{})}
		if err := s.Attach(n, hosts[n]); err != nil {
			t.Fatal(err)
		}
	}
	return s, hosts
}

func TestFrames(t *testing.T) {
	s, hosts := connect(t, topology.Line, 4, topology.Link{})
	hosts[0].out <- frameTo(3, 0, 100)
	if f := hosts[3].next(t); len(f) != 100 || f[11] != 0 {
		t.Errorf("got %v", f)
	}
	everybody := frameTo(0, 1, 60)
	copy(everybody, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	hosts[1].out <- everybody
	for _, n := range []int{0, 2, 3} {
		hosts[n].next(t)
	}
	for _, bad := range [][]byte{{1, 2}, frameTo(0, 0, 60), frameTo(4, 0, 60), append([]byte{2, 9, 9, 9, 0, 1}, make([]byte, 60)...)} {
		hosts[0].out <- bad
	}
	hosts[0].out <- frameTo(1, 0, 60) // comes after them
	hosts[1].next(t)
	if got, want := s.Counts(), (Counts{Delivered: 5, Malformed: 4}); got != want && got != (Counts{Delivered: 4, Malformed: 4}) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := s.Attach(0, hosts[0]); err == nil {
		t.Error("a node has two hosts")
	}
	if err := s.Attach(4, hosts[0]); err == nil {
		t.Error("a node that is not there has a host")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Attach(0, hosts[0]); err == nil {
		t.Error("a switch that is closed takes a host")
	}
}

// nodeAt gives node n the address 10.0.0.n.
func nodeAt(a netip.Addr) int {
	if b := a.As4(); b[0] == 10 {
		return int(b[3])
	}
	return -1
}

// question asks who has an address.
func question(from int, address byte) []byte {
	f := make([]byte, 60)
	copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(f[6:], MAC(from))
	copy(f[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1})
	copy(f[22:], MAC(from))
	copy(f[28:], []byte{10, 0, 0, byte(from)})
	copy(f[38:], []byte{10, 0, 0, address})
	return f
}

// TestResolve: who has an address is answered by the switch, whatever the links do.
func TestResolve(t *testing.T) {
	s, hosts := connect(t, topology.Line, 3, topology.Link{Delay: time.Hour})
	hosts[0].out <- question(0, 2)
	want := frameTo(0, 2, arpLength)
	copy(want[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2})
	copy(want[22:], MAC(2))
	copy(want[28:], []byte{10, 0, 0, 2})
	copy(want[32:], MAC(0))
	copy(want[38:], []byte{10, 0, 0, 0})
	if got := hosts[0].next(t); !slices.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	for _, address := range []byte{0, 3, 200} {
		hosts[0].out <- question(0, address)
	}
	hosts[0].out <- []byte{0}
	if len(hosts[0].received) > 0 || s.Counts().Delivered > 0 {
		t.Errorf("%d answers for nobody, %+v", len(hosts[0].received), s.Counts())
	}
}

func TestCutAndHealed(t *testing.T) {
	s, hosts := connect(t, topology.Ring, 4, topology.Link{})
	arrives := func(when string, from, to int, want bool) {
		t.Helper()
		cut := s.Counts().Cut
		hosts[from].out <- frameTo(to, from, 60)
		// It is read and sent on before the next one is.
		hosts[from].out <- []byte{0}
		if want {
			hosts[to].next(t)
		}
		if got := s.Counts().Cut == cut; got != want {
			t.Errorf("%s: from %d to %d arrives: %t", when, from, to, got)
		}
	}
	arrives("whole", 0, 1, true)
	direct, other := find(t, s, 0, 1), find(t, s, 3, 0)
	s.SetDown(direct, true)
	arrives("one down", 0, 1, true)
	s.SetDown(other, true)
	arrives("two down", 0, 1, false)
	arrives("two down", 1, 2, true)
	if _, down := s.Link(other); !down {
		t.Error("a link that is down is not")
	}
	s.SetDown(direct, false)
	arrives("one up", 0, 1, true)
	s.SetSide(0, 1)
	arrives("parted", 0, 1, false)
	s.SetSide(1, 1)
	arrives("parted together", 0, 1, true)
	arrives("parted together", 1, 2, false)
	s.SetSide(0, 0)
	s.SetSide(1, 0)
	s.SetDown(other, false)
	arrives("healed", 0, 2, true)
}

func find(t *testing.T, s *Switch, a, b int) int {
	t.Helper()
	edge, ok := s.t.Find(a, b)
	if !ok {
		t.Fatalf("no link between %d and %d", a, b)
	}
	return edge
}

// TestDelay: two links of 20 ms take 40 ms, and not much more.
func TestDelay(t *testing.T) {
	_, hosts := connect(t, topology.Line, 3, topology.Link{Delay: 20 * time.Millisecond})
	least := time.Hour
	for range 20 {
		began := time.Now()
		hosts[0].out <- frameTo(2, 0, 100)
		hosts[2].next(t)
		took := time.Since(began)
		if took < 40*time.Millisecond {
			t.Fatalf("it took %v", took)
		}
		least = min(least, took)
	}
	if least > 45*time.Millisecond {
		t.Errorf("it took %v at best", least)
	}
}

// passing says when frames that come at the same time have gone over a link, and which
// do.
func passing(t *testing.T, s *Switch, frames, size int, now time.Duration) (due []time.Duration) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for range frames {
		f := &frame{bytes: make([]byte, size), path: []int32{0}, at: 0}
		if at, ok := s.pass(f, now); ok {
			due = append(due, at)
		}
	}
	return due
}

func TestRate(t *testing.T) {
	s, _ := connect(t, topology.Line, 2, topology.Link{Rate: 8e6, Delay: 5 * time.Millisecond}) // 1 byte/us
	due := passing(t, s, 1000, 1000-overhead, time.Second)
	for i, at := range due {
		if want := time.Second + time.Duration(i+1)*time.Millisecond + 5*time.Millisecond; (at - want).Abs() > time.Microsecond {
			t.Fatalf("frame %d at %v, want %v", i, at, want)
		}
	}
	// What is more than a queue of 100 ms is dropped.
	if len(due) != 101 || s.Counts().Queue != 899 {
		t.Errorf("%d of 1000 frames pass: %+v", len(due), s.Counts())
	}
	if due := passing(t, s, 1, 1000-overhead, 2*time.Second); len(due) != 1 || due[0] != 2*time.Second+6*time.Millisecond {
		t.Errorf("after a pause: %v", due)
	}
	slow := float64(9e3)
	if queued(slow) < time.Duration(8*minQueue/slow)*time.Second || queued(1e9) != queueTime {
		t.Errorf("queues %v, %v", queued(slow), queued(1e9))
	}
}

func TestJitterAndLoss(t *testing.T) {
	s, _ := connect(t, topology.Line, 2, topology.Link{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1})
	const n = 10_000
	low, high, sum, passed := time.Hour, time.Duration(0), 0.0, 0
	last := time.Duration(0)
	for i := range n {
		now := time.Duration(i) * time.Second
		for _, at := range passing(t, s, 1, 100, now) {
			passed++
			low, high, sum = min(low, at-now), max(high, at-now), sum+(at-now).Seconds()
		}
	}
	if low < 15*time.Millisecond || low > 16*time.Millisecond || high > 25*time.Millisecond || high < 24*time.Millisecond {
		t.Errorf("%v to %v", low, high)
	}
	if mean := sum / float64(passed); math.Abs(mean-0.02) > 0.0002 {
		t.Errorf("%.1f ms on average", 1000*mean)
	}
	if passed < 8850 || passed > 9150 || s.Counts().Lost != uint64(n-passed) {
		t.Errorf("%d of %d pass, %+v", passed, n, s.Counts())
	}
	for _, at := range passing(t, s, 1000, 100, 2*n*time.Second) {
		if at < last {
			t.Fatal("a frame overtakes another one")
		}
		last = at
	}
}

// TestSet: a link that changes does so for what comes from then on.
func TestSet(t *testing.T) {
	s, hosts := connect(t, topology.Line, 2, topology.Link{Delay: time.Hour})
	hosts[0].out <- frameTo(1, 0, 60)
	hosts[0].out <- []byte{0}
	s.Set(0, topology.Link{Loss: 0})
	hosts[0].out <- frameTo(1, 0, 61)
	if f := hosts[1].next(t); len(f) != 61 {
		t.Errorf("the frame of %d bytes has arrived", len(f))
	}
	if link, _ := s.Link(0); link != (topology.Link{}) {
		t.Errorf("%+v", link)
	}
}

// FuzzFrame: whatever a host sends, the switch goes on.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(frameTo(1, 0, 60))
	f.Add(question(0, 1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 8, 6})
	way, err := topology.Shape{Kind: topology.Ring}.Topology(3)
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(way, 1, nodeAt)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := s.Counts()
		s.receive(0, frame)
		after := s.Counts()
		switch moved := after.Failed - before.Failed; { // nobody is connected
		case moved == 0 && after.Malformed == before.Malformed+1:
		case moved == 1 && len(frame) >= header && frame[0]&1 == 0:
		case moved == 2 && len(frame) >= header && frame[0]&1 == 1:
		case moved == 0 && len(frame) >= header && frame[0]&1 == 1 && frame[12] == 8 && frame[13] == 6:
		default:
			t.Fatalf("%v: %+v, before %+v", frame, after, before)
		}
	})
}

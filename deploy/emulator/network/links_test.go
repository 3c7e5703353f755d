package network_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/link"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// linked returns a network of the hosts a, b, c and so on, linked in that way.
func linked(t testing.TB, kind topology.Kind, nodes int, like topology.Link) (*network.Network, []*network.Host) {
	t.Helper()
	way, err := topology.Shape{Kind: kind, Link: like}.Topology(nodes)
	if err != nil {
		t.Fatal(err)
	}
	n, err := network.NewLinked(way, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	hosts := make([]*network.Host, nodes)
	for i := range hosts {
		hosts[i], err = n.Add(string(rune('a' + i)))
		if errors.Is(err, network.ErrUnavailable) || errors.Is(err, link.ErrNoTUN) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return n, hosts
}

func TestLinkedPartAndHeal(t *testing.T) {
	n, hosts := linked(t, topology.Ring, 4, topology.Link{})
	for _, h := range hosts {
		serve(t, h)
	}
	expect := func(when string, from, to int, want bool) {
		t.Helper()
		if got := reaches(t, hosts[from], hosts[to], want); got != want {
			t.Errorf("%s: %s reaches %s: %t", when, hosts[from].Name, hosts[to].Name, got)
		}
	}
	act := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("whole", 0, 2, true)
	act(n.SetDown("a", "b", true))
	expect("the other way", 0, 1, true)
	act(n.SetDown("d", "a", true))
	expect("cut off", 0, 1, false)
	expect("cut off", 1, 3, true)
	act(n.SetDown("a", "b", false))
	expect("linked again", 0, 1, true)
	act(n.Partition("a", "b"))
	expect("parted together", 0, 1, true)
	expect("parted together", 0, 3, false)
	act(n.Heal())
	act(n.SetDown("a", "d", false))
	expect("healed", 0, 3, true)
	if n.SetDown("a", "c", true) == nil || n.SetDown("a", "x", true) == nil || n.Partition("x") == nil {
		t.Error("a link or a host that is not there was cut")
	}
	if c := n.Counts(); c.Cut == 0 || c.Delivered == 0 {
		t.Errorf("%+v", c)
	}
	for _, l := range n.Links() {
		if l.Down {
			t.Errorf("%v is down", l.Between)
		}
	}
	if len(n.Links()) != 4 {
		t.Errorf("links %v", n.Links())
	}
}

// TestLinkDelay: an answer over a link of 20 ms takes 40 ms, and hardly more.
func TestLinkDelay(t *testing.T) {
	n, hosts := linked(t, topology.Line, 2, topology.Link{Delay: 20 * time.Millisecond})
	there, err := packets(hosts[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	go func() {
		buffer := make([]byte, 100)
		for {
			size, from, err := there.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = there.WriteTo(buffer[:size], from)
		}
	}()
	here, err := packets(hosts[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	echo := func() time.Duration {
		t.Helper()
		began := time.Now()
		if _, err := here.WriteTo([]byte("x"), there.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if err := here.SetReadDeadline(began.Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := here.ReadFrom(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	echo() // both ask for each other's hardware address
	least, sum := time.Hour, time.Duration(0)
	const echoes = 50
	for range echoes {
		took := echo()
		if took < 40*time.Millisecond {
			t.Fatalf("it took %v", took)
		}
		least, sum = min(least, took), sum+took
	}
	t.Logf("least %v, mean %v", least, sum/echoes)
	if least > 42*time.Millisecond {
		t.Errorf("it took %v at best", least)
	}
	if err := n.ChangeLink("b", "a", func(l *topology.Link) error { return l.Set("delay", "0s") }); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		least = min(least, echo())
	}
	if least > 10*time.Millisecond {
		t.Errorf("without delay, it took %v at best", least)
	}
	if n.ChangeLink("a", "b", func(l *topology.Link) error { return l.Set("jitter", "1s") }) == nil {
		t.Error("more jitter than delay is accepted")
	}
}

// packets is a UDP socket of a host.
func packets(h *network.Host) (conn net.PacketConn, err error) {
	err = h.Do(func() error {
		conn, err = net.ListenPacket("udp4", h.Addr.String()+":0")
		return err
	})
	return conn, err
}

// TestLinkRate: a link lets through what its rate says.
func TestLinkRate(t *testing.T) {
	_, hosts := linked(t, topology.Line, 2, topology.Link{Rate: 80e6})
	const size = 8 << 20
	began := time.Now()
	transfer(t, hosts[0], hosts[1], size)
	// 8 MiB take 0.84 s at 80 Mbit/s, and a queue of 100 ms may be full at the end.
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("%d bytes took %v", size, took)
	} else {
		t.Logf("%.0f Mbit/s", 8*size/1e6/took.Seconds())
	}
}

// transfer sends bytes over a connection, and returns when they have arrived.
func transfer(t testing.TB, from, to *network.Host, size int64) {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp4", to.Addr.String()+":0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	failed := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			failed <- err
			return
		}
		defer conn.Close()
		n, err := io.Copy(io.Discard, conn)
		if err == nil && n != size {
			err = fmt.Errorf("%d of %d bytes have arrived", n, size)
		}
		failed <- err
	}()
	conn, err := from.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	if _, err := io.CopyN(struct{ io.Writer }{conn}, zero, size); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// BenchmarkLink is how much goes over a link of 20 ms, and over one that only has a
// rate: bytes/s of a TCP connection.
func BenchmarkLink(b *testing.B) {
	for name, like := range map[string]topology.Link{
		"nothing": {}, "delay=1ms": {Delay: time.Millisecond}, "delay=20ms": {Delay: 20 * time.Millisecond}, "rate=500mbit": {Rate: 500e6},
	} {
		b.Run(name, func(b *testing.B) {
			_, hosts := linked(b, topology.Line, 2, like)
			const size = 256 << 20
			b.SetBytes(size)
			b.ResetTimer()
			for range b.N {
				transfer(b, hosts[0], hosts[1], size)
			}
		})
	}
}

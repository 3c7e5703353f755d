package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
	"github.com/dfaas/dfaas/spoa/table"
)

// start serves a table on a unix socket until the test ends.
func start(t testing.TB, tab *table.Table) (*Agent, *route.Router, string) {
	t.Helper()
	router := route.NewRouter(meter.New(time.Now()))
	if tab != nil {
		router.Swap(testtable.Valid(t, tab), time.Now())
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	a := New(router, zerolog.Nop())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return a, router, socket
}

// BenchmarkAgentSocket is decode, decide and encode over a unix socket, with as
// many questions on the way at once as HAProxy has at high load. It includes
// what this test does in HAProxy's place.
func BenchmarkAgentSocket(b *testing.B) {
	tab := testtable.New(1000, 100)
	for i := range tab.Functions {
		tab.Functions[i].Local.Rate = testvalue.Bound(0)
		for j := range tab.Functions[i].Forward {
			tab.Functions[i].Forward[j].Rate = limit.Unlimited()
		}
	}
	_, _, socket := start(b, tab)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	greet(b, conn)
	_ = conn.SetDeadline(time.Time{})
	question := ask(1, "/function/f500", nil, nil)
	window := make(chan struct{}, 64)
	go func() {
		w := bufio.NewWriterSize(conn, 16384)
		for range b.N {
			select {
			case window <- struct{}{}:
			default:
				_ = w.Flush()
				window <- struct{}{}
			}
			_, _ = w.Write(question)
		}
		_ = w.Flush()
	}()
	r := bufio.NewReaderSize(conn, 65536)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		if _, _, err := readFrame(r); err != nil {
			b.Fatal(err)
		}
		<-window
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what the process has used so far, asking and answering side
// together.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memConn is a connection that yields the same frame over and over.
type memConn struct {
	net.Conn
	frame []byte
	left  int
	first []byte
	acks  chan struct{}
}

func (c *memConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	n := 0
	for c.left > 0 && len(p)-n >= len(c.frame) {
		n += copy(p[n:], c.frame)
		c.left--
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
func (c *memConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *memConn) Close() error                     { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkAgentMemory is decode, decide and encode without any system call.
func BenchmarkAgentMemory(b *testing.B) {
	router := route.NewRouter(meter.New(time.Now()))
	router.Swap(testtable.Valid(b, testtable.New(1000, 100)), time.Now())
	a := New(router, zerolog.Nop())
	a.connections.Add(1)
	conn := &memConn{first: hello(), frame: ask(1, "/function/f500", nil, nil), left: b.N}
	b.ReportAllocs()
	b.ResetTimer()
	a.serve(context.Background(), conn)
}

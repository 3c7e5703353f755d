package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is read from a connection.
const (
	// minFrame and maxFrame bound a frame's length in bytes, without the length
	// itself: type, flags, two varints; what HAProxy sends by the largest
	// tune.bufsize in sensible use. By default its frames have up to 16380 bytes.
	minFrame = 7
	maxFrame = 256 << 10
	// maxInFlight is how many questions of one connection may be waiting for
	// their answers, within one read buffer's worth. HAProxy stops at 200.
	maxInFlight = 256

	frameTimeout = 5 * time.Second // for the first frame, and for the rest of any
	idleTimeout  = 5 * time.Minute // for the next frame; HAProxy closes idle connections after 2 minutes
	writeTimeout = 5 * time.Second
	// deadlines are moved at most this often, since moving one costs about as
	// much as a decision.
	deadlineStep = time.Second
)

const (
	typeNotify = 3
	typeAck    = 0x67
)

// guard is a connection whose reader sees only frames of a valid length, and not
// too many at once. One goroutine reads; any number write.
type guard struct {
	net.Conn
	counters *counters
	stopping atomic.Bool

	// Of the reader.
	header    [5]byte       // length and type of the current frame
	have      int           // bytes of header
	rest      int           // bytes of the frame still to come after the header
	greeted   bool          // the first frame has come
	progress  bool          // a frame has come since the read deadline was moved last
	waiting   time.Duration // that deadline is this long after
	readMoved time.Time     // this

	inFlight atomic.Int32
	acked    chan struct{} // has something when inFlight may have gone below its bound

	out     sync.Mutex
	pending []byte // frames to send
	acks    int32  // how many of them are acks
	spare   []byte // buffer for the next pending
	sending bool   // somebody is about to send what is pending
	failed  error  // of a write; nothing is sent after it

	writeMoved time.Time // when the write deadline was moved last; of who is sending
}

func newGuard(conn net.Conn, c *counters) *guard {
	return &guard{Conn: newSocket(conn), counters: c, acked: make(chan struct{}, 1)}
}

// stop makes the reader see the end of the connection, as if HAProxy had closed
// it between two frames.
func (g *guard) stop() {
	g.stopping.Store(true)
	_ = g.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed
}

// Read is called by the one reader, when it has handed over every whole frame
// that it got before.
func (g *guard) Read(p []byte) (int, error) {
	for g.inFlight.Load() >= maxInFlight {
		<-g.acked
	}
	if err := g.moveReadDeadline(time.Now()); err != nil {
		return 0, err
	}
	if g.stopping.Load() { // after moving the deadline, so that stop cannot be missed
		return 0, io.EOF
	}
	n, err := g.Conn.Read(p)
	if bad := g.follow(p[:n]); bad != nil {
		g.counters.framesRefused.Add(1)
		return 0, bad
	}
	if err != nil && g.stopping.Load() {
		err = io.EOF
	}
	return n, err
}

func (g *guard) moveReadDeadline(now time.Time) error {
	wait := idleTimeout
	if g.have > 0 || !g.greeted {
		wait = frameTimeout
	}
	if wait == g.waiting {
		trickling := wait == frameTimeout && !g.progress
		if trickling || now.Sub(g.readMoved) < deadlineStep {
			return nil
		}
	}
	g.waiting, g.readMoved, g.progress = wait, now, false
	return g.SetReadDeadline(now.Add(wait))
}

// follow keeps track of where frames begin and end in what was read.
func (g *guard) follow(p []byte) error {
	for len(p) > 0 {
		if g.have < len(g.header) {
			n := copy(g.header[g.have:], p)
			p = p[n:]
			if g.have += n; g.have < len(g.header) {
				return nil
			}
			length := binary.BigEndian.Uint32(g.header[:4])
			if length < minFrame || length > maxFrame {
				return fmt.Errorf("frame of %d bytes, must have %d to %d", length, minFrame, maxFrame)
			}
			g.rest = int(length) - 1
		}
		n := min(g.rest, len(p))
		p, g.rest = p[n:], g.rest-n
		if g.rest == 0 {
			g.have, g.greeted, g.progress = 0, true, true
			if g.header[4] == typeNotify {
				g.inFlight.Add(1)
			}
		}
	}
	return nil
}

// Write is called with one whole frame at a time. The first of several writers
// lets the others add theirs, then sends all at once: under load that saves a
// system call for most answers.
func (g *guard) Write(frame []byte) (int, error) {
	g.out.Lock()
	defer g.out.Unlock()
	g.pending = append(g.pending, frame...)
	if len(frame) > 4 && frame[4] == typeAck {
		g.acks++
	}
	if !g.sending {
		g.sending = true
		g.out.Unlock()
		runtime.Gosched()
		g.out.Lock()
		for len(g.pending) > 0 {
			g.send()
		}
		g.sending = false
	}
	if g.failed != nil {
		return 0, g.failed
	}
	return len(frame), nil
}

// send sends what is pending, or drops it if the connection is broken. The lock
// is free while the system call lasts.
func (g *guard) send() {
	frames, acks, err := g.pending, g.acks, g.failed
	g.pending, g.acks = g.spare[:0], 0
	g.out.Unlock()
	if err == nil {
		err = g.moveWriteDeadline(time.Now())
	}
	if err == nil {
		_, err = g.Conn.Write(frames)
	}
	if err != nil {
		_ = g.Conn.Close() // so that the reader ends as well
	}
	g.answered(acks)
	g.out.Lock()
	g.spare, g.failed = frames, err
}

func (g *guard) answered(acks int32) {
	if g.inFlight.Add(-acks) >= maxInFlight {
		return
	}
	select {
	case g.acked <- struct{}{}:
	default: // is to be looked at already
	}
}

func (g *guard) moveWriteDeadline(now time.Time) error {
	if now.Sub(g.writeMoved) < deadlineStep {
		return nil
	}
	g.writeMoved = now
	return g.SetWriteDeadline(now.Add(writeTimeout))
}

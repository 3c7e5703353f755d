package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/negasus/haproxy-spoe-go/frame"
)

// Bounds of what is read from a connection.
const (
	// minFrame and maxFrame bound a frame's length in bytes, without the length
	// itself: type, flags, two varints; what HAProxy sends by the largest
	// tune.bufsize in sensible use. By default its frames have up to 16380 bytes.
	minFrame = 7
	maxFrame = 256 << 10
	// firstBuffer is how much is read at once, bytes. It grows with the frames that come.
	firstBuffer = 32 << 10
	// mostAnswers is how many bytes of answers are kept back to be sent at once.
	mostAnswers = 64 << 10

	frameTimeout = 5 * time.Second // for the first frame, and for the rest of any
	idleTimeout  = 5 * time.Minute // for the next frame; HAProxy closes idle connections after 2 minutes
	writeTimeout = 5 * time.Second
	// deadlines are moved at most this often, since moving one costs about as
	// much as a decision.
	deadlineStep = time.Second
)

// conn is a connection of HAProxy's. One goroutine reads what is there, answers all
// of it, and sends the answers at once: what comes meanwhile waits in the socket,
// whose size so bounds the questions under way.
type conn struct {
	net.Conn
	agent    *Agent
	stopping atomic.Bool

	in         []byte
	begin, end int    // of what is in it
	out        []byte // answers to be sent
	greeted    bool   // the first frame has come

	progress              bool          // a frame has come since the read deadline was moved last
	waiting               time.Duration // that deadline is this long after
	readMoved, writeMoved time.Time     // when the deadlines were moved last
}

func newConn(c net.Conn, a *Agent) *conn {
	return &conn{Conn: newSocket(c), agent: a, in: make([]byte, firstBuffer)}
}

// stop makes the reader see the end of the connection, as if HAProxy had closed
// it between two frames.
func (c *conn) stop() {
	c.stopping.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed
}

// errEnd is the end that both sides have agreed on.
var errEnd = errors.New("the connection is done with")

// run serves the connection to its end. It returns nil if HAProxy has closed it
// between two frames, or has said goodbye.
func (c *conn) run() error {
	for {
		err := c.answerAll()
		if sent := c.flush(); err == nil {
			err = sent
		}
		if err == nil {
			err = c.fill()
		}
		switch {
		case errors.Is(err, errEnd), errors.Is(err, io.EOF) && c.begin == c.end:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// answerAll answers all whole frames that have come.
func (c *conn) answerAll() error {
	for {
		whole, err := c.next()
		if whole == nil || err != nil {
			return err
		}
		c.begin += len(whole)
		c.progress = true
		if err := c.answer(whole); err != nil {
			return err
		}
		if len(c.out) > mostAnswers {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
}

// next returns the next frame, its length included, or nil if it is not there as a
// whole.
func (c *conn) next() ([]byte, error) {
	have := c.in[c.begin:c.end]
	if len(have) < 4 {
		return nil, nil
	}
	length := binary.BigEndian.Uint32(have)
	if length < minFrame || length > maxFrame {
		return nil, c.refuse(fmt.Errorf("frame of %d bytes, must have %d to %d", length, minFrame, maxFrame))
	}
	if whole := int(length) + 4; whole <= len(have) {
		return have[:whole], nil
	}
	return nil, nil
}

// refuse counts a frame that HAProxy does not send.
func (c *conn) refuse(err error) error {
	c.agent.framesRefused.Add(1)
	return err
}

// answer answers one frame.
func (c *conn) answer(whole []byte) error {
	kind := frame.Type(whole[4])
	switch {
	case kind == frame.TypeNotify && c.greeted:
		out, err := c.agent.answer(c.out, whole[headLen:])
		if err != nil {
			return c.refuse(err)
		}
		c.out = out
		return nil
	case kind == frame.TypeHaproxyHello && !c.greeted:
		return c.greet(whole)
	case kind == frame.TypeHaproxyDisconnect && c.greeted:
		return c.part(whole)
	}
	return c.refuse(fmt.Errorf("frame of type %d, which does not belong here", kind))
}

// greet answers the first frame.
func (c *conn) greet(whole []byte) error {
	hello, err := c.read(whole)
	if err != nil {
		return err
	}
	defer frame.ReleaseFrame(hello)
	c.greeted = true
	answer := reply(hello, frame.TypeAgentHello)
	defer frame.ReleaseFrame(answer)
	answer.KV.Add("version", "2.0")
	answer.KV.Add("max-frame-size", min(hello.MaxFrameSize, maxFrame))
	answer.KV.Add("capabilities", "pipelining")
	if err := c.put(answer); err != nil {
		return err
	}
	if hello.Healthcheck {
		return errEnd
	}
	return nil
}

// part answers HAProxy's goodbye.
func (c *conn) part(whole []byte) error {
	goodbye, err := c.read(whole)
	if err != nil {
		return err
	}
	defer frame.ReleaseFrame(goodbye)
	answer := reply(goodbye, frame.TypeAgentDisconnect)
	defer frame.ReleaseFrame(answer)
	answer.KV.Add("status-code", uint32(0))
	answer.KV.Add("message", "normal")
	if err := c.put(answer); err != nil {
		return err
	}
	return errEnd
}

func reply(to *frame.Frame, kind frame.Type) *frame.Frame {
	f := frame.AcquireFrame()
	f.Type, f.StreamID, f.FrameID = kind, to.StreamID, to.FrameID
	return f
}

// read reads a greeting or a goodbye by the library, which panics at values of
// types that it does not expect, and at some that end too early.
func (c *conn) read(whole []byte) (f *frame.Frame, err error) {
	f = frame.AcquireFrame()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed frame: %v", p)
		}
		if err != nil {
			f, err = nil, c.refuse(err)
		}
	}()
	return f, f.Read(bytes.NewReader(whole))
}

// put adds a frame to what is to be sent.
func (c *conn) put(f *frame.Frame) error {
	out := bytes.NewBuffer(c.out)
	if _, err := f.Encode(out); err != nil {
		return fmt.Errorf("encode SPOP frame: %w", err)
	}
	c.out = out.Bytes()
	return nil
}

// fill reads what is there, or waits for something.
func (c *conn) fill() error {
	c.makeRoom()
	if err := c.moveReadDeadline(time.Now()); err != nil {
		return err
	}
	if c.stopping.Load() { // after moving the deadline, so that stop cannot be missed
		return errEnd
	}
	n, err := c.Conn.Read(c.in[c.end:])
	c.end += n
	switch {
	case n > 0:
		return nil // an error comes again
	case err != nil && c.stopping.Load():
		return errEnd
	}
	return err
}

// makeRoom moves what is left of the last frame to the front, and makes the buffer
// large enough for all of it.
func (c *conn) makeRoom() {
	copy(c.in, c.in[c.begin:c.end])
	c.begin, c.end = 0, c.end-c.begin
	if c.end < 4 {
		return
	}
	if whole := int(binary.BigEndian.Uint32(c.in)) + 4; whole > len(c.in) { // at most maxFrame, see next
		larger := make([]byte, whole)
		copy(larger, c.in[:c.end])
		c.in = larger
	}
}

func (c *conn) moveReadDeadline(now time.Time) error {
	wait := idleTimeout
	if c.begin < c.end || !c.greeted {
		wait = frameTimeout
	}
	if wait == c.waiting {
		trickling := wait == frameTimeout && !c.progress
		if trickling || now.Sub(c.readMoved) < deadlineStep {
			return nil
		}
	}
	c.waiting, c.readMoved, c.progress = wait, now, false
	return c.SetReadDeadline(now.Add(wait))
}

// flush sends what is to be sent.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if now := time.Now(); now.Sub(c.writeMoved) >= deadlineStep {
		c.writeMoved = now
		if err := c.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
			return err
		}
	}
	_, err := c.Conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

// questioner asks dfaas-spoa about one function at a steady rate, in HAProxy's place and
// as HAProxy does, and notes when each answer came. It is an open loop: a late answer
// delays no question. Answers of one connection come in the order of the questions.
type questioner struct {
	conn net.Conn
	stop context.CancelFunc
	done chan error

	mu      sync.Mutex
	answers []spoaAnswer
	more    chan struct{} // an answer has come; it is for whoever looks next
}

type spoaAnswer struct {
	asked, answered time.Time
	away            bool // it said to ask a peer
}

// questionRate is how many questions a second are asked while a table comes in.
const questionRate = 2000

// spopNumber appends a number as SPOP has it.
func spopNumber(b []byte, n uint64) []byte {
	if n < 240 {
		return append(b, byte(n))
	}
	b = append(b, byte(n)|240)
	for n = (n - 240) >> 4; n >= 128; n = (n - 128) >> 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

func spopText(b []byte, text string) []byte { return append(spopNumber(b, uint64(len(text))), text...) }

// spopFrame is a frame with stream and frame number n.
func spopFrame(kind, n byte, payload []byte) []byte {
	body := append([]byte{kind, 0, 0, 0, 1, n, n}, payload...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// Types of frames and values that are needed here.
const (
	spopHello, spopHelloAnswer, spopNotify, spopAck = 1, 101, 3, 103
	spopUint32, spopString                          = 3, 8
)

func spopHelloFrame() []byte {
	text := func(b []byte, name, value string) []byte {
		return spopText(append(spopText(b, name), spopString), value)
	}
	p := text(nil, "supported-versions", "2.0")
	p = spopNumber(append(spopText(p, "max-frame-size"), spopUint32), 16380)
	p = text(p, "capabilities", "pipelining")
	return spopFrame(spopHello, 0, text(p, "engine-id", "bench"))
}

// spopQuestion asks where a call of the path goes, of a user.
func spopQuestion(path string) []byte {
	p := append(spopText(nil, "route"), 1)
	return spopFrame(spopNotify, 1, spopText(append(spopText(p, "path"), spopString), path))
}

func readSPOPFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return body[0], body[5:], nil
}

// askSPOA asks the agent at the socket about a path until it is stopped.
func askSPOA(ctx context.Context, socket, path string) (*questioner, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("asking dfaas-spoa: %w", err)
	}
	if _, err = conn.Write(spopHelloFrame()); err == nil {
		var kind byte
		if kind, _, err = readSPOPFrame(conn); err == nil && kind != spopHelloAnswer {
			err = fmt.Errorf("a frame of type %d answers the greeting", kind)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking dfaas-spoa: %w", err), conn.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	q := &questioner{conn: conn, stop: stop, done: make(chan error, 1), more: make(chan struct{}, 1)}
	asked := make(chan time.Time, 1<<16)
	go q.ask(ctx, spopQuestion(path), asked)
	go func() { q.done <- q.read(asked) }()
	return q, nil
}

func (q *questioner) ask(ctx context.Context, question []byte, asked chan<- time.Time) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(asked)
	due := time.Now()
	for ctx.Err() == nil {
		due = due.Add(time.Second / questionRate)
		sleepUntil(due)
		now := time.Now()
		if now.Sub(due) > time.Millisecond { // it did not get to run, which is nobody's delay
			due = now
		}
		select {
		case asked <- now:
		case <-ctx.Done():
			return
		}
		if _, err := q.conn.Write(question); err != nil {
			return // the reader has the reason
		}
	}
}

func (q *questioner) read(asked <-chan time.Time) error {
	for at := range asked {
		kind, payload, err := readSPOPFrame(q.conn)
		now := time.Now()
		if err == nil && kind != spopAck {
			err = fmt.Errorf("a frame of type %d", kind)
		}
		if err != nil {
			return fmt.Errorf("reading an answer of dfaas-spoa: %w", err)
		}
		q.mu.Lock()
		q.answers = append(q.answers, spoaAnswer{at, now, bytes.Contains(payload, []byte("\x04peer"))})
		q.mu.Unlock()
		select {
		case q.more <- struct{}{}:
		default:
		}
	}
	return nil
}

// count is how many answers have come.
func (q *questioner) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.answers)
}

// since returns the answers from the n-th on.
func (q *questioner) since(n int) []spoaAnswer {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.answers[n:len(q.answers):len(q.answers)]
}

// obeyed waits for the first answer, from the n-th on, that says where to go.
func (q *questioner) obeyed(ctx context.Context, n int, away bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no question obeyed a change within %s", patience))
	defer cancel()
	for {
		answers := q.since(n)
		if slices.ContainsFunc(answers, func(a spoaAnswer) bool { return a.away == away }) {
			return nil
		}
		n += len(answers)
		select {
		case <-q.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// close stops asking and returns what went wrong.
func (q *questioner) close() error {
	q.stop()
	err := <-q.done
	return errors.Join(err, q.conn.Close())
}

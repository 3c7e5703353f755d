package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
)

// scriptConn is a connection that yields what it is given, then ends.
type scriptConn struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *scriptConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// survive runs the real agent over the data and then over an honest question.
func survive(t *testing.T, a *Agent, data []byte) {
	t.Helper()
	run := func(data []byte) *scriptConn {
		c := &scriptConn{in: bytes.NewReader(data)}
		a.connections.Add(1)
		a.serve(context.Background(), c)
		return c
	}
	answered(t, &run(data).out, len(data))
	out := &run(append(hello(), ask(9, "/function/f1", nil, nil)...)).out
	if kind, _, err := readFrame(out); err != nil || kind != 0x65 {
		t.Fatalf("afterwards: answer to hello: type %#x, %v", kind, err)
	}
	if got, err := readAck(out); err != nil || got.stream != 9 {
		t.Fatalf("afterwards: answer %v, %v", got, err)
	}
	if _, err := out.ReadByte(); err != io.EOF {
		t.Fatal("afterwards: more than one answer")
	}
	if a.Connections() != 0 {
		t.Fatalf("%d connections still counted", a.Connections())
	}
}

// answered reads what was answered to so many bytes: whole frames of a length
// that HAProxy takes, no more of them than could be asked for, and in every
// decision the variables that it may have.
func answered(t *testing.T, out *bytes.Buffer, asked int) {
	t.Helper()
	for frames := 1; out.Len() > 0; frames++ {
		frame := bytes.NewReader(out.Bytes())
		kind, rest, err := readFrame(frame)
		if err != nil || len(rest)+5 > maxFrame || frames > asked/minFrame+1 {
			t.Fatalf("answer %d: type %#x, %d bytes, %v", frames, kind, len(rest), err)
		}
		whole := out.Next(out.Len() - frame.Len())
		switch kind {
		case 0x65, 0x66: // the greeting, the farewell
		case typeAck:
			a, err := readAck(bytes.NewReader(whole))
			if err != nil {
				t.Fatalf("answer %d: %v", frames, err)
			}
			if action, set := a.vars["action"]; set && action != "local" && action != "peer" && action != "deny" {
				t.Fatalf("answer %d: %v", frames, a.vars)
			}
		default:
			t.Fatalf("answer %d: type %#x", frames, kind)
		}
	}
}

func fuzzedAgent(f *testing.F) *Agent {
	router := route.NewRouter(meter.New(time.Now()))
	router.Swap(testtable.Valid(f, testtable.New(3, 2)), time.Now())
	return New(router, zerolog.Nop())
}

// FuzzStream feeds the agent whole connections.
func FuzzStream(f *testing.F) {
	a := fuzzedAgent(f)
	frames := realFrames(f)
	f.Add(bytes.Join(frames[1:], nil))
	for _, frame := range frames {
		f.Add(frame)
		f.Add(append(hello(), frame...))
	}
	f.Add(append(hello(), 0xff, 0xff, 0xff, 0xff, typeNotify))
	f.Fuzz(func(t *testing.T, data []byte) { survive(t, a, data) })
}

// FuzzFrame feeds the agent one frame after the greeting, its length always
// right, so that everything behind the length is reached.
func FuzzFrame(f *testing.F) {
	a := fuzzedAgent(f)
	for _, frame := range realFrames(f) {
		f.Add(frame[4:])
	}
	f.Add(notify(1, messageRoute, arg{"path", "/function/f0"}, arg{"src", []byte{7, 1}})[4:])
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		survive(t, a, append(hello(), frame...))
	})
}

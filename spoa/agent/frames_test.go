package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/negasus/haproxy-spoe-go/frame"
	"github.com/negasus/haproxy-spoe-go/typeddata"
	"github.com/negasus/haproxy-spoe-go/varint"
)

// What HAProxy sends, written down once more and apart from the library.

type arg struct {
	name  string
	value any // string, nil or []byte (raw typed data)
}

const (
	typeNotify = byte(frame.TypeNotify)
	typeAck    = byte(frame.TypeAgentAck)
)

func varintBytes(n uint64) []byte {
	var b [10]byte
	return b[:varint.PutUvarint(b[:], n)]
}

func named(name string) []byte { return append(varintBytes(uint64(len(name))), name...) }

func typed(value any) []byte {
	if raw, ok := value.([]byte); ok {
		return raw
	}
	b, n, err := typeddata.Encode(value, nil)
	if err != nil {
		panic(err)
	}
	return b[:n]
}

func frameOf(kind byte, stream, id uint64, payload []byte) []byte {
	body := append([]byte{kind, 0, 0, 0, 1}, varintBytes(stream)...)
	body = append(append(body, varintBytes(id)...), payload...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func hello(extra ...arg) []byte {
	args := append([]arg{
		{"supported-versions", "2.0"}, {"max-frame-size", uint32(16380)}, {"capabilities", "pipelining"},
		{"engine-id", "3f0b5a2e-5c51-4f1c-a2ff-0d5f0a3a9a11"},
	}, extra...)
	var payload []byte
	for _, a := range args {
		payload = append(append(payload, named(a.name)...), typed(a.value)...)
	}
	return frameOf(1, 0, 0, payload)
}

func notify(stream uint64, message string, args ...arg) []byte {
	payload := append(named(message), byte(len(args)))
	for _, a := range args {
		payload = append(append(payload, named(a.name)...), typed(a.value)...)
	}
	return frameOf(typeNotify, stream, 1, payload)
}

func ask(stream uint64, path string, node, token any) []byte {
	return notify(stream, messageRoute, arg{"path", path}, arg{"node", node}, arg{"token", token},
		arg{"src", []byte{6, 127, 0, 0, 1}})
}

// ack is an answer.
type ack struct {
	stream uint64
	vars   map[string]any
}

// readFrame returns the next frame's type and the rest of it.
func readFrame(r io.Reader) (byte, []byte, error) {
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

func readAck(r io.Reader) (ack, error) {
	kind, b, err := readFrame(r)
	if err != nil {
		return ack{}, err
	}
	if kind != typeAck {
		return ack{}, fmt.Errorf("frame of type %#x, want an ack", kind)
	}
	a := ack{vars: make(map[string]any)}
	next := func() uint64 {
		v, n := varint.Uvarint(b)
		b = b[n:]
		return v
	}
	a.stream = next()
	next()
	for len(b) > 0 {
		if b[0] != 1 || b[1] != 3 || b[2] != 2 {
			return ack{}, fmt.Errorf("action % x, want set-var with 3 arguments, scope txn", b[:3])
		}
		b = b[3:]
		n := next()
		name := string(b[:n])
		value, used, err := typeddata.Decode(b[n:])
		if err != nil {
			return ack{}, err
		}
		a.vars[name], b = value, b[int(n)+used:]
	}
	return a, nil
}

// greet does the handshake as HAProxy would.
func greet(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(hello()); err != nil {
		t.Fatal(err)
	}
	if kind, _, err := readFrame(conn); err != nil || kind != 0x65 {
		t.Fatalf("answer to HELLO: type %#x, %v", kind, err)
	}
}

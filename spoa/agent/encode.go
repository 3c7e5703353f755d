package agent

import (
	"encoding/binary"

	"github.com/negasus/haproxy-spoe-go/action"
	"github.com/negasus/haproxy-spoe-go/frame"
	"github.com/negasus/haproxy-spoe-go/typeddata"
	"github.com/negasus/haproxy-spoe-go/varint"
)

const (
	headLen   = 9    // length, type, flags
	finalFlag = 0x01 // the frame is whole
	varArgs   = 3    // of the action set-var: scope, name, value
)

// ackFrame is the answer to a question in the making, at the end of a buffer.
type ackFrame struct {
	buf   []byte
	begin int // of the frame
}

// newAck begins the answer to the question of those numbers.
func newAck(buf []byte, stream, id uint64) ackFrame {
	a := ackFrame{buf: buf, begin: len(buf)}
	a.buf = append(a.buf, 0, 0, 0, 0, byte(frame.TypeAgentAck), 0, 0, 0, finalFlag)
	a.number(stream)
	a.number(id)
	return a
}

// end returns the buffer with the whole frame.
func (a *ackFrame) end() []byte {
	binary.BigEndian.PutUint32(a.buf[a.begin:], uint32(len(a.buf)-a.begin-4))
	return a.buf
}

func (a *ackFrame) number(n uint64) {
	var b [10]byte
	a.buf = append(a.buf, b[:varint.PutUvarint(b[:], n)]...)
}

func (a *ackFrame) text(s string) {
	a.number(uint64(len(s)))
	a.buf = append(a.buf, s...)
}

func (a *ackFrame) variable(name string, kind byte) {
	a.buf = append(a.buf, byte(action.TypeSetVar), varArgs, byte(action.ScopeTransaction))
	a.text(name)
	a.buf = append(a.buf, kind)
}

// setText sets a variable of the transaction.
func (a *ackFrame) setText(name, value string) {
	a.variable(name, typeddata.TypeString)
	a.text(value)
}

// setNumber sets a variable of the transaction to a number from 0 on.
func (a *ackFrame) setNumber(name string, value int32) {
	a.variable(name, typeddata.TypeInt32)
	a.number(uint64(value))
}

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/negasus/haproxy-spoe-go/typeddata"
	"github.com/negasus/haproxy-spoe-go/varint"
)

// errCut is a frame that ends too early, or a length in it that leads past its end.
var errCut = errors.New("malformed frame: something in it ends beyond its end")

// cursor reads a frame's payload. What it returns as text lies in the frame itself:
// it is good until the next frame is read.
type cursor []byte

func (c *cursor) take(n uint64) ([]byte, error) {
	if n > uint64(len(*c)) {
		return nil, errCut
	}
	taken := (*c)[:n]
	*c = (*c)[n:]
	return taken, nil
}

func (c *cursor) octet() (byte, error) {
	b, err := c.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (c *cursor) number() (uint64, error) {
	// More than ten bytes are no number of 64 bits.
	v, n := varint.Uvarint((*c)[:min(len(*c), 10)])
	if n <= 0 {
		return 0, errCut
	}
	*c = (*c)[n:]
	return v, nil
}

func (c *cursor) text() (string, error) {
	n, err := c.number()
	if err != nil {
		return "", err
	}
	b, err := c.take(n)
	return unsafe.String(unsafe.SliceData(b), len(b)), err
}

// value is the value of an argument. The zero value is null.
type value struct {
	kind   byte   // one of typeddata's
	is     bool   // a boolean that is true
	text   string // of a string
	number int64  // of a number
	addr   netip.Addr
}

func (v *value) isText() bool  { return v.kind == typeddata.TypeString }
func (v *value) isNull() bool  { return v.kind == typeddata.TypeNull }
func (v *value) isFalse() bool { return v.kind == typeddata.TypeBoolean && !v.is }

func (c *cursor) value() (v value, err error) {
	kind, err := c.octet()
	if err != nil {
		return v, err
	}
	v.kind, v.is = kind&0x0f, kind&0x10 != 0 // the rest are flags: the value of a boolean
	switch v.kind {
	case typeddata.TypeNull, typeddata.TypeBoolean:
	case typeddata.TypeInt32, typeddata.TypeUInt32, typeddata.TypeInt64, typeddata.TypeUInt64:
		var n uint64
		n, err = c.number()
		v.number = int64(n)
	case typeddata.TypeIPv4, typeddata.TypeIPv6:
		size := uint64(4)
		if v.kind == typeddata.TypeIPv6 {
			size = 16
		}
		var b []byte
		b, err = c.take(size)
		v.addr, _ = netip.AddrFromSlice(b)
	case typeddata.TypeString:
		v.text, err = c.text()
	case typeddata.TypeBinary:
		_, err = c.text()
	default:
		err = fmt.Errorf("malformed frame: a value of type %d", v.kind)
	}
	return v, err
}

// message is one of the messages of a frame, its arguments not read yet.
type message struct {
	name string
	args int
}

func (c *cursor) message() (m message, err error) {
	if m.name, err = c.text(); err != nil {
		return m, err
	}
	args, err := c.octet()
	m.args = int(args)
	return m, err
}

// arg reads an argument.
func (c *cursor) arg() (name string, v value, err error) {
	if name, err = c.text(); err != nil {
		return name, v, err
	}
	v, err = c.value()
	return name, v, err
}

package queue

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// Bounds of a call. The provider keeps to them when it accepts one, a record beyond
// them is none of this program's.
const (
	MaxBody   = 1 << 20 // bytes of a call's body, and of the answer that a callback takes along
	maxRecord = 1 << 18 // bytes of a record without the body
	maxTarget = 1 << 16
	maxTries  = 1 << 20
	version   = 1
)

// Call is an asynchronous call as it was accepted.
type Call struct {
	ID         string `json:"id"`       // X-Call-Id
	Function   string `json:"function"` // as faasd.Name has it
	Target     Raw    `json:"target"`   // /function/NAME, what follows it, and the query
	Host       Raw    `json:"host,omitempty"`
	RemoteAddr string `json:"remote,omitempty"`
	Header     Header `json:"header,omitempty"`
	Callback   string `json:"callback,omitempty"` // URL; "": nobody asked for the result
	// Source is whose share of the queue the call takes.
	Source   string    `json:"source"`
	Accepted time.Time `json:"accepted"`
}

// Raw is a text that may have any bytes, which JSON's texts may not.
type Raw string

// MarshalJSON implements json.Marshaler.
func (t Raw) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(t)) }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Raw) UnmarshalJSON(text []byte) error {
	var b []byte
	err := json.Unmarshal(text, &b)
	*t = Raw(b)
	return err
}

// Header is kept as it goes over the wire, since its values may have any bytes.
type Header http.Header

// MarshalJSON implements json.Marshaler.
func (h Header) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := http.Header(h).Write(&b); err != nil {
		return nil, err
	}
	return json.Marshal(b.Bytes())
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Header) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil || len(b) == 0 {
		return err
	}
	fields, err := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(b), strings.NewReader("\r\n")))).ReadMIMEHeader()
	*h = Header(fields)
	return err
}

// Result is what a function has answered, or the provider in its place.
type Result struct {
	Status   int           `json:"status"`
	Header   Header        `json:"header,omitempty"`
	Duration time.Duration `json:"duration"`
	Body     []byte        `json:"-"` // kept beside the record
	// Busy is that the function was not begun: the provider had no room for it, or
	// its process was down.
	Busy bool `json:"-"`
}

// record is a call on its way through the queue.
type record struct {
	Version int `json:"v"`
	Call
	Due time.Time `json:"due"` // not before this
	// Tries is how often the call was begun; with Result, how often the callback was.
	Tries int `json:"tries"`
	// Result is what the callback has to tell. Without it the call is not done.
	Result *Result `json:"result,omitempty"`
}

// encode checks a record as decode does.
func (r *record) encode() ([]byte, error) {
	r.Version = version
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a call: %w", err)
	}
	if len(text) > maxRecord {
		return nil, fmt.Errorf("%w: its header fields and path take %d bytes, %d at most", ErrTooLarge, len(text), maxRecord)
	}
	return text, r.check()
}

// decode reads what encode wrote.
func decode(text []byte) (*record, error) {
	if len(text) > maxRecord {
		return nil, fmt.Errorf("a record of %d bytes: at most %d", len(text), maxRecord)
	}
	r := new(record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read a call: %w", err)
	}
	return r, r.check()
}

func (r *record) check() error {
	switch {
	case r.Version != version:
		return fmt.Errorf("a record of version %d: this program knows version %d", r.Version, version)
	case r.Function == "":
		return fmt.Errorf("a call of no function")
	case !strings.HasPrefix(string(r.Target), "/") || len(r.Target) > maxTarget:
		return fmt.Errorf("a call of %.80q, which is no path", r.Target)
	case r.Tries < 0 || r.Tries > maxTries:
		return fmt.Errorf("a call begun %d times", r.Tries)
	case r.Callback != "" && CheckCallback(r.Callback) != nil:
		return CheckCallback(r.Callback)
	case r.Result != nil && r.Callback == "":
		return fmt.Errorf("a result for nobody")
	case r.Result != nil && (r.Result.Status < 100 || r.Result.Status > 999 || r.Result.Duration < 0):
		return fmt.Errorf("a result with status %d after %v", r.Result.Status, r.Result.Duration)
	}
	return nil
}

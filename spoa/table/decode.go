package table

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/internal/strictjson"
)

// Decode reads a table from its JSON form and validates it. It refuses
// documents over MaxBytes, fields given twice, data after the document, and
// tables of a version that it does not understand; the error says what is wrong
// and where. Fields that it does not know are ignored, as a newer controller may
// send them: unknown is one of them, "" if there is none.
func Decode(data []byte) (t Valid, unknown string, err error) {
	if len(data) > MaxBytes {
		return Valid{}, "", fmt.Errorf("table of %d bytes: at most %d are accepted", len(data), MaxBytes)
	}
	return Read(bytes.NewReader(data), nil)
}

// Read is Decode from a reader, which has to bound what it yields. The document is never
// in memory as a whole. Unless it is nil, pause is called now and then, after a tenth of a
// millisecond or so of work, for others to get their turn.
func Read(r io.Reader, pause func()) (t Valid, unknown string, err error) {
	d := decoder{pause: pause}
	if err := d.read(r); err != nil {
		return Valid{}, "", fmt.Errorf("decode table: %w", err)
	}
	if d.unknown != "" && protocol.Previous {
		return Valid{}, "", fmt.Errorf("decode table: unknown field %q", d.unknown)
	}
	if t, err = d.table().validate(Valid{Limits: Limits{}.orDefaults()}, pause); err == nil {
		err = d.validateInbound()
	}
	if err != nil {
		return Valid{}, "", err
	}
	return t, d.unknown, nil
}

// decoder takes in a document piece by piece: functions and peers in any order.
type decoder struct {
	head      document[struct{}, struct{}] // whose lists, if they are there, are none
	functions []Function
	peers     []Peer
	inbound   []inboundRate
	names     []inboundName
	byName    map[string]int32 // place in names
	texts     texts
	forwards  int
	unknown   string // the first field that is not known
	pause     func() // may be nil
}

// inboundRate is an entry of a peer's inbound rates.
type inboundRate struct {
	name, peer int32 // places
	rate       float64
}

// inboundName is a function that peers' inbound rates name.
type inboundName struct {
	name  string
	peer  int32 // place of the peer that named it first
	count int
}

func (d *decoder) read(r io.Reader) error {
	d.byName, d.texts = make(map[string]int32), make(texts)
	return readDocument(r, &d.head, &d.unknown, map[string]func([]byte) error{
		"functions": each("functions", &d.unknown, d.pause, d.function),
		"peers":     each("peers", &d.unknown, d.pause, d.peer),
	})
}

// readDocument reads the lists of a document piece by piece, and the rest into head.
func readDocument(r io.Reader, head any, unknown *string, lists map[string]func([]byte) error) error {
	rest, err := strictjson.Split(r, lists)
	if err != nil {
		return err
	}
	ignored, err := strictjson.Lenient(rest, head)
	if err == nil {
		*unknown = cmp.Or(ignored, *unknown)
	}
	return err
}

// each returns what takes in the elements of a list.
func each[T any](list string, unknown *string, pause func(), take func(*T) error) func([]byte) error {
	reader, number := strictjson.NewReader(new(T)), 0
	return func(element []byte) error {
		number++
		v := new(T)
		ignored, err := reader.Read(element, v)
		if pause != nil {
			pause()
		}
		if err == nil {
			*unknown = cmp.Or(*unknown, ignored)
			err = take(v)
		}
		if err != nil {
			return fmt.Errorf("%s: number %d: %w", list, number, err)
		}
		return nil
	}
}

// function takes in a row. What is over the bounds of all tables is not kept first.
func (d *decoder) function(f *Function) error {
	d.forwards += len(f.Forward)
	switch {
	case len(d.functions) == MaxFunctions:
		return fmt.Errorf("at most %d are accepted", MaxFunctions)
	case d.forwards > MaxForwards:
		return fmt.Errorf("forward: over %d entries in the table", MaxForwards)
	}
	d.functions = append(d.functions, d.texts.row(f))
	return nil
}

// peer takes in a peer, and what is admitted from it.
func (d *decoder) peer(p *decodedPeer) error {
	switch {
	case len(d.peers) == MaxPeers:
		return fmt.Errorf("at most %d are accepted", MaxPeers)
	case len(d.inbound)+len(p.Inbound) > MaxForwards:
		return fmt.Errorf("peer %.80q: inbound: over %d entries in the table", p.ID, MaxForwards)
	}
	place := int32(len(d.peers))
	for _, in := range p.Inbound {
		i, known := d.byName[in.name]
		if !known {
			i = int32(len(d.names))
			name := strings.Clone(in.name)
			d.names = append(d.names, inboundName{name: name, peer: place})
			d.byName[name] = i
		}
		d.names[i].count++
		d.inbound = append(d.inbound, inboundRate{i, place, in.rate})
	}
	d.peers = append(d.peers, Peer{ID: d.texts.one(p.ID), Token: p.Token, Source: p.Source})
	return nil
}

// decodedPeer is a peer as it is read.
type decodedPeer struct {
	ID      string  `json:"id"`
	Token   string  `json:"token"`
	Source  string  `json:"source"`
	Inbound inbound `json:"inbound"`
}

// inbound is an object of rates by the name of a function: there are as many as there are
// functions, for each peer, so it is not worth a map.
type inbound []struct {
	name string
	rate float64
}

// UnmarshalJSON reads the object. It is given valid JSON; that a name is twice is found by those who
// look at all names.
func (in *inbound) UnmarshalJSON(data []byte) error {
	if data[0] == 'n' { // null
		return nil
	}
	if data[0] != '{' {
		return errors.New("inbound: is not an object")
	}
	rest, more := strings.CutPrefix(strings.TrimLeft(string(data[1:]), space), `"`)
	for more {
		end := strings.IndexByte(rest, '"')
		name := rest[:end]
		if strings.Contains(name, `\`) { // and so does not end there
			return fmt.Errorf("inbound: %.80q is not a name", name)
		}
		rest = strings.TrimLeft(rest[end+1:], space+":")
		value := rest[:max(0, strings.IndexAny(rest, ",} \t\n\r"))]
		rate, err := strconv.ParseFloat(value, 64)
		if value != "null" && err != nil {
			return fmt.Errorf("inbound: %.80q: %.80q is not a number", name, value)
		}
		*in = append(*in, struct {
			name string
			rate float64
		}{name, rate})
		rest, more = strings.CutPrefix(strings.TrimLeft(rest[len(value):], space+","), `"`)
	}
	return nil
}

// space is what may be between the parts of a document.
const space = " \t\n\r"

// table is the table of what was read. What is admitted of functions that it does not list
// is left out.
func (d *decoder) table() *Table {
	t := d.head.head()
	t.Functions, t.Peers = d.functions, d.peers
	rows := make([]*Function, len(d.names))
	for i := range t.Functions {
		f := &t.Functions[i]
		if name, named := d.byName[f.Name]; named {
			rows[name], f.Admit = f, make([]Admission, 0, d.names[name].count)
		}
	}
	for _, in := range d.inbound {
		if f := rows[in.name]; f != nil {
			f.Admit = append(f.Admit, Admission{d.peers[in.peer].ID, in.rate})
		}
	}
	return &t
}

// validateInbound checks what would otherwise be left out unseen.
func (d *decoder) validateInbound() error {
	for i := range d.names {
		n := &d.names[i]
		if err := funcname.Check(n.name); err != nil {
			return fmt.Errorf("peer %.80q: inbound: %w", d.peers[n.peer].ID, err)
		}
		if inNamespace(n.name, d.head.DefaultNamespace) {
			return fmt.Errorf("peer %.80q: inbound: %s: functions of the default namespace are named without it", d.peers[n.peer].ID, n.name)
		}
	}
	for _, in := range d.inbound {
		if err := checkLimit(in.rate); err != nil {
			return fmt.Errorf("peer %.80q: inbound: %s: %w", d.peers[in.peer].ID, d.names[in.name].name, err)
		}
	}
	return nil
}

// texts keeps one of each of the texts that a document has over and over: ids of peers.
type texts map[string]string

func (t texts) one(s string) string {
	kept, is := t[s]
	if !is {
		t[s], kept = s, s
	}
	return kept
}

// row returns a row in no more memory than it needs.
func (t texts) row(f *Function) Function {
	row := *f
	row.Forward, row.Admit, row.Async = slices.Clone(f.Forward), slices.Clone(f.Admit), slices.Clone(f.Async)
	for i := range row.Forward {
		row.Forward[i].Peer = t.one(row.Forward[i].Peer)
	}
	for i := range row.Admit {
		row.Admit[i].Peer = t.one(row.Admit[i].Peer)
	}
	for i := range row.Async {
		row.Async[i] = t.one(row.Async[i])
	}
	return row
}

package table

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/internal/strictjson"
	"github.com/dfaas/dfaas/spoa/peerid"
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
	head, limits := d.head.head(), Limits{}.orDefaults()
	if err := head.validateHead(len(d.functions), len(d.peers), limits); err != nil {
		return Valid{}, "", fmt.Errorf("table: %w", err) // it says whether the rest can be understood
	}
	whole, err := d.table()
	if err != nil {
		return Valid{}, "", err
	}
	if t, err = whole.validate(Valid{Limits: limits}, pause); err != nil {
		return Valid{}, "", err
	}
	if err := d.validateInbound(); err != nil {
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
	ids       ids
	forwards  int
	unknown   string // the first field that is not known
	fault     error  // the first name, id or rate that is none; in a newer table they may be others
	pause     func() // may be nil
}

// inboundRate is an entry of a peer's inbound rates.
type inboundRate struct {
	name, peer int32 // places
	rate       limit.Bound
}

// inboundName is a function that peers' inbound rates name.
type inboundName struct {
	name  string
	peer  int32 // place of the peer that named it first
	count int
}

func (d *decoder) read(r io.Reader) error {
	d.byName, d.ids = make(map[string]int32), make(ids)
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
func (d *decoder) function(f *documentFunction) error {
	d.forwards += len(f.Forward)
	switch {
	case len(d.functions) == MaxFunctions:
		return fmt.Errorf("at most %d are accepted", MaxFunctions)
	case d.forwards > MaxForwards:
		return fmt.Errorf("forward: over %d entries in the table", MaxForwards)
	}
	row, err := d.ids.row(f)
	d.functions = append(d.functions, row)
	if err != nil && d.fault == nil {
		d.fault = fmt.Errorf("function number %d: %w", len(d.functions), err)
	}
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
		rate, err := limit.NewBound(in.rate)
		if err != nil && d.fault == nil {
			d.fault = fmt.Errorf("peer %.80q: inbound: %.140s: %w", p.ID, in.name, err)
		}
		d.inbound = append(d.inbound, inboundRate{i, place, rate})
	}
	id, err := d.ids.parse(p.ID)
	if err != nil && d.fault == nil {
		d.fault = fmt.Errorf("peer number %d: id: %w", len(d.peers)+1, err)
	}
	d.peers = append(d.peers, Peer{ID: id, Token: p.Token, Source: p.Source})
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
func (d *decoder) table() (*Table, error) {
	t := d.head.head()
	var err error
	if t.NodeID, err = peerid.Parse(d.head.NodeID); err != nil {
		return nil, fmt.Errorf("table: node_id: %w", err)
	}
	if d.fault != nil {
		return nil, d.fault
	}
	t.Functions, t.Peers = d.functions, d.peers
	rows := make([]*Function, len(d.names))
	for i := range t.Functions {
		f := &t.Functions[i]
		if name, named := d.byName[f.Name.String()]; named {
			rows[name], f.Admit = f, make([]Admission, 0, d.names[name].count)
		}
	}
	for _, in := range d.inbound {
		if f := rows[in.name]; f != nil {
			f.Admit = append(f.Admit, Admission{d.peers[in.peer].ID, in.rate})
		}
	}
	return &t, nil
}

// validateInbound checks what would otherwise be left out unseen.
func (d *decoder) validateInbound() error {
	for i := range d.names {
		n := &d.names[i]
		name, err := funcname.Parse(n.name)
		if err != nil {
			return fmt.Errorf("peer %s: inbound: %w", d.peers[n.peer].ID, err)
		}
		if err := checkNamespace(name, d.head.DefaultNamespace); err != nil {
			return fmt.Errorf("peer %s: inbound: %s: %w", d.peers[n.peer].ID, name, err)
		}
	}
	return nil
}

// ids parses the ids of peers, which a document has over and over, and keeps one of each.
type ids map[string]peerid.ID

func (m ids) parse(text string) (peerid.ID, error) {
	id, known := m[text]
	if known {
		return id, nil
	}
	id, err := peerid.Parse(text)
	if err == nil {
		m[text] = id
	}
	return id, err
}

// row returns a row without what is admitted, or what is wrong with its name, ids and rates.
func (m ids) row(f *documentFunction) (Function, error) {
	name, err := funcname.Parse(f.Name)
	if err != nil {
		return Function{}, fmt.Errorf("name: %w", err)
	}
	row := Function{Name: name, Elastic: f.Elastic, Unmet: f.Unmet}
	if l := f.Local; l != nil {
		rate, err := limit.NewBound(l.Rate)
		if err != nil {
			return Function{}, fmt.Errorf("%s: local: rate: %w", name, err)
		}
		row.Local = &Local{Rate: rate, Soft: l.Soft, Share: l.Share, TimeoutMillis: l.TimeoutMillis}
	}
	if len(f.Forward) > 0 {
		row.Forward = make([]Forward, len(f.Forward))
	}
	for i, fw := range f.Forward {
		id, err := m.parse(fw.Peer)
		if err != nil {
			return Function{}, fmt.Errorf("%s: forward: peer: %w", name, err)
		}
		rate, err := limit.NewBound(fw.Rate)
		if err != nil {
			return Function{}, fmt.Errorf("%s: forward: %s: rate: %w", name, id, err)
		}
		spare, err := limit.NewRate(fw.Spare)
		if err != nil {
			return Function{}, fmt.Errorf("%s: forward: %s: spare: %w", name, id, err)
		}
		row.Forward[i] = Forward{Peer: id, Weight: fw.Weight, Rate: rate, Spare: spare, TimeoutMillis: fw.TimeoutMillis}
	}
	if len(f.Async) > 0 {
		row.Async = make([]peerid.ID, len(f.Async))
	}
	for i, text := range f.Async {
		if row.Async[i], err = m.parse(text); err != nil {
			return Function{}, fmt.Errorf("%s: async: %w", name, err)
		}
	}
	return row, nil
}

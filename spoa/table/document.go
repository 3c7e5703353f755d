package table

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/dfaas/dfaas/internal/funcname"
)

// document is the form of a table in JSON. It differs in where it says what is admitted
// from peers; the other fields are those of Table.
type document struct {
	Speaks            int            `json:"speaks,omitempty"`
	Needs             int            `json:"needs,omitempty"`
	Version           uint64         `json:"version"`
	NodeID            string         `json:"node_id"`
	TTLMillis         int64          `json:"ttl_ms"`
	PeerTLS           bool           `json:"peer_tls,omitempty"`
	UnknownLocal      bool           `json:"unknown_local,omitempty"`
	Queue             string         `json:"queue,omitempty"`
	DefaultNamespace  string         `json:"default_namespace,omitempty"`
	ClockOffsetMillis int64          `json:"clock_offset_ms,omitempty"`
	Functions         []Function     `json:"functions"`
	Peers             []documentPeer `json:"peers"`
}

type documentPeer struct {
	ID     string `json:"id"`
	Token  string `json:"token,omitempty"`
	Source string `json:"source,omitempty"`
	// Inbound is the rate of requests/s admitted from the peer by function name, >= 0
	// or Unlimited.
	Inbound map[string]float64 `json:"inbound,omitempty"`
}

func (t *Table) document() document {
	d := document{
		Speaks: t.Speaks, Needs: t.Needs, Version: t.Version, NodeID: t.NodeID, TTLMillis: t.TTLMillis, PeerTLS: t.PeerTLS,
		UnknownLocal: t.UnknownLocal, Queue: t.Queue, DefaultNamespace: t.DefaultNamespace, ClockOffsetMillis: t.ClockOffsetMillis,
		Functions: t.Functions, Peers: make([]documentPeer, len(t.Peers)),
	}
	byID := make(map[string]*documentPeer, len(t.Peers))
	for i, p := range t.Peers {
		d.Peers[i] = documentPeer{ID: p.ID, Token: p.Token, Source: p.Source}
		byID[p.ID] = &d.Peers[i]
	}
	for i := range t.Functions {
		f := &t.Functions[i]
		for _, a := range f.Admit {
			p := byID[a.Peer]
			if p == nil {
				continue // no valid table has any
			}
			if p.Inbound == nil {
				p.Inbound = make(map[string]float64)
			}
			p.Inbound[f.Name] = a.Rate
		}
	}
	return d
}

// table is the table of the document, which is the document's no more. What is admitted
// of functions that it does not list is left out.
func (d *document) table() *Table {
	t := Table{
		Speaks: d.Speaks, Needs: d.Needs, Version: d.Version, NodeID: d.NodeID, TTLMillis: d.TTLMillis, PeerTLS: d.PeerTLS,
		UnknownLocal: d.UnknownLocal, Queue: d.Queue, DefaultNamespace: d.DefaultNamespace, ClockOffsetMillis: d.ClockOffsetMillis,
		Functions: d.Functions, Peers: make([]Peer, len(d.Peers)),
	}
	rows := make(map[string]*Function, len(t.Functions))
	for i := range t.Functions {
		rows[t.Functions[i].Name] = &t.Functions[i]
	}
	for i := range d.Peers {
		p := &d.Peers[i]
		t.Peers[i] = Peer{ID: p.ID, Token: p.Token, Source: p.Source}
		for name, rate := range p.Inbound {
			if f := rows[name]; f != nil {
				f.Admit = append(f.Admit, Admission{p.ID, rate})
			}
		}
	}
	return &t
}

// validateInbound checks what would otherwise be left out unseen.
func (d *document) validateInbound(limits Limits) error {
	inbound := 0
	for i := range d.Peers {
		p := &d.Peers[i]
		if inbound += len(p.Inbound); inbound > limits.Forwards {
			return fmt.Errorf("peer %.80q: inbound: over %d entries in the table", p.ID, limits.Forwards)
		}
		for _, name := range slices.Sorted(maps.Keys(p.Inbound)) {
			if err := funcname.Check(name); err != nil {
				return fmt.Errorf("peer %.80q: inbound: %w", p.ID, err)
			}
			if inNamespace(name, d.DefaultNamespace) {
				return fmt.Errorf("peer %.80q: inbound: %s: functions of the default namespace are named without it", p.ID, name)
			}
			if err := checkLimit(p.Inbound[name]); err != nil {
				return fmt.Errorf("peer %.80q: inbound: %s: %w", p.ID, name, err)
			}
		}
	}
	return nil
}

// MarshalJSON writes the document.
func (t Table) MarshalJSON() ([]byte, error) { return json.Marshal(t.document()) }

// UnmarshalJSON reads a document from one who is believed; see Decode.
func (t *Table) UnmarshalJSON(data []byte) error {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	*t = *d.table()
	return nil
}

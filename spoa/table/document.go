package table

import (
	"bytes"
	"encoding/json"

	"github.com/dfaas/dfaas/spoa/peerid"
)

// document is the form of a table in JSON, and that of a patch: which differ in what
// their functions and peers look like, and in that a patch says what is gone.
type document[F, P any] struct {
	Speaks            int      `json:"speaks,omitempty"`
	Needs             int      `json:"needs,omitempty"`
	Version           uint64   `json:"version"`
	NodeID            string   `json:"node_id"`
	TTLMillis         int64    `json:"ttl_ms"`
	PeerTLS           bool     `json:"peer_tls,omitempty"`
	UnknownLocal      bool     `json:"unknown_local,omitempty"`
	Queue             string   `json:"queue,omitempty"`
	DefaultNamespace  string   `json:"default_namespace,omitempty"`
	ClockOffsetMillis int64    `json:"clock_offset_ms,omitempty"`
	Functions         []F      `json:"functions"`
	FunctionsGone     []string `json:"functions_gone,omitempty"`
	Peers             []P      `json:"peers"`
	PeersGone         []string `json:"peers_gone,omitempty"`
}

// newDocument returns the document of a table without functions and peers.
func newDocument[F, P any](t *Table) document[F, P] {
	return document[F, P]{
		Speaks: t.Speaks, Needs: t.Needs, Version: t.Version, NodeID: t.NodeID.String(), TTLMillis: t.TTLMillis, PeerTLS: t.PeerTLS,
		UnknownLocal: t.UnknownLocal, Queue: t.Queue, DefaultNamespace: t.DefaultNamespace, ClockOffsetMillis: t.ClockOffsetMillis,
	}
}

// head is the table of the document without functions, peers and the node's own id.
func (d *document[F, P]) head() Table {
	return Table{
		Speaks: d.Speaks, Needs: d.Needs, Version: d.Version, TTLMillis: d.TTLMillis, PeerTLS: d.PeerTLS,
		UnknownLocal: d.UnknownLocal, Queue: d.Queue, DefaultNamespace: d.DefaultNamespace, ClockOffsetMillis: d.ClockOffsetMillis,
	}
}

// wholeDocument is that of a table. It differs from Table in where it says what is admitted
// from peers.
type wholeDocument = document[documentFunction, documentPeer]

// documentFunction is a row in which nothing is checked yet, without what is admitted.
type documentFunction struct {
	Name    string            `json:"name"`
	Local   *documentLocal    `json:"local,omitempty"`
	Forward []documentForward `json:"forward,omitempty"`
	Elastic bool              `json:"elastic,omitempty"`
	Unmet   float64           `json:"unmet,omitempty"`
	Async   []string          `json:"async,omitempty"`
}

type documentLocal struct {
	Rate          float64 `json:"rate"`
	Soft          bool    `json:"soft,omitempty"`
	Share         float64 `json:"share"`
	TimeoutMillis int64   `json:"timeout_ms,omitempty"`
}

type documentForward struct {
	Peer          string  `json:"peer"`
	Weight        float64 `json:"weight"`
	Rate          float64 `json:"rate"`
	Spare         float64 `json:"spare,omitempty"`
	TimeoutMillis int64   `json:"timeout_ms,omitempty"`
}

type documentPeer struct {
	ID     string `json:"id"`
	Token  string `json:"token,omitempty"`
	Source string `json:"source,omitempty"`
	// Inbound is the limit.Bound of what is admitted from the peer, by function name.
	Inbound map[string]float64 `json:"inbound,omitempty"`
}

func (t *Table) document() wholeDocument {
	d := newDocument[documentFunction, documentPeer](t)
	d.Functions, d.Peers = make([]documentFunction, len(t.Functions)), make([]documentPeer, len(t.Peers))
	byID := make(map[peerid.ID]*documentPeer, len(t.Peers))
	for i, p := range t.Peers {
		d.Peers[i] = documentPeer{ID: p.ID.String(), Token: p.Token, Source: p.Source}
		byID[p.ID] = &d.Peers[i]
	}
	for i := range t.Functions {
		f := &t.Functions[i]
		d.Functions[i] = f.document()
		for _, a := range f.Admit {
			p := byID[a.Peer]
			if p == nil {
				continue // no valid table has any
			}
			if p.Inbound == nil {
				p.Inbound = make(map[string]float64)
			}
			p.Inbound[f.Name.String()] = a.Rate.PerSecond()
		}
	}
	return d
}

func (f *Function) document() documentFunction {
	d := documentFunction{Name: f.Name.String(), Elastic: f.Elastic, Unmet: f.Unmet}
	if f.Local != nil {
		l := f.Local
		d.Local = &documentLocal{Rate: l.Rate.PerSecond(), Soft: l.Soft, Share: l.Share, TimeoutMillis: l.TimeoutMillis}
	}
	if len(f.Forward) > 0 {
		d.Forward = make([]documentForward, len(f.Forward))
	}
	for i, fw := range f.Forward {
		d.Forward[i] = documentForward{
			Peer: fw.Peer.String(), Weight: fw.Weight, Rate: fw.Rate.PerSecond(), Spare: fw.Spare.PerSecond(), TimeoutMillis: fw.TimeoutMillis,
		}
	}
	for _, id := range f.Async {
		d.Async = append(d.Async, id.String())
	}
	return d
}

// MarshalJSON writes the document.
func (t Table) MarshalJSON() ([]byte, error) { return json.Marshal(t.document()) }

// UnmarshalJSON reads a document from one who is believed; see Decode.
func (t *Table) UnmarshalJSON(data []byte) error {
	var d decoder
	if err := d.read(bytes.NewReader(data)); err != nil {
		return err
	}
	read, err := d.table()
	if err != nil {
		return err
	}
	*t = *read
	return nil
}

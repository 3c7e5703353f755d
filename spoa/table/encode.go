package table

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Encode writes the table for a SPOA whose newest version is the one given, 0 for
// one that does not say. What that version cannot express is left out.
func Encode(t *Table, version int) ([]byte, error) {
	var form any
	if min(version, Newest()) < 2 {
		form = firstForm(t)
	} else {
		d := t.document()
		d.Speaks, d.Needs, form = Newest(), Oldest, &d
	}
	data, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("encode table: %w", err)
	}
	return data, nil
}

// first is a table of version 1, whose readers refuse every field that is not in
// it. Nothing is ever added to it.
type first struct {
	Version           uint64          `json:"version"`
	NodeID            string          `json:"node_id"`
	TTLMillis         int64           `json:"ttl_ms"`
	PeerTLS           bool            `json:"peer_tls,omitempty"`
	UnknownLocal      bool            `json:"unknown_local,omitempty"`
	DefaultNamespace  string          `json:"default_namespace,omitempty"`
	ClockOffsetMillis int64           `json:"clock_offset_ms,omitempty"`
	Functions         []firstFunction `json:"functions"`
	Peers             []firstPeer     `json:"peers"`
}

type firstFunction struct {
	Name    string         `json:"name"`
	Local   *firstLocal    `json:"local,omitempty"`
	Forward []firstForward `json:"forward,omitempty"`
}

type firstLocal struct {
	Rate          float64 `json:"rate"`
	Soft          bool    `json:"soft,omitempty"`
	Share         float64 `json:"share"`
	TimeoutMillis int64   `json:"timeout_ms,omitempty"`
}

type firstForward struct {
	Peer          string  `json:"peer"`
	Weight        float64 `json:"weight"`
	Rate          float64 `json:"rate"`
	TimeoutMillis int64   `json:"timeout_ms,omitempty"`
}

type firstPeer struct {
	ID      string             `json:"id"`
	Token   string             `json:"token,omitempty"`
	Inbound map[string]float64 `json:"inbound,omitempty"`
}

// firstForm leaves out what that version cannot name.
func firstForm(t *Table) first {
	d := t.document()
	f := first{
		Version: d.Version, NodeID: d.NodeID, TTLMillis: d.TTLMillis, PeerTLS: d.PeerTLS, UnknownLocal: d.UnknownLocal,
		DefaultNamespace: d.DefaultNamespace, ClockOffsetMillis: d.ClockOffsetMillis,
		Functions: make([]firstFunction, 0, len(d.Functions)), Peers: make([]firstPeer, 0, len(d.Peers)),
	}
	nameless := make(map[string]bool)
	for i := range t.Functions {
		if name := t.Functions[i].Name; name.InFirst() {
			f.Functions = append(f.Functions, firstFunctionOf(&d.Functions[i]))
		} else {
			nameless[name.String()] = true
		}
	}
	for i := range d.Peers {
		p := &d.Peers[i]
		maps.DeleteFunc(p.Inbound, func(name string, _ float64) bool { return nameless[name] })
		f.Peers = append(f.Peers, firstPeer{ID: p.ID, Token: p.Token, Inbound: p.Inbound})
	}
	return f
}

func firstFunctionOf(t *documentFunction) firstFunction {
	f := firstFunction{Name: t.Name}
	if l := t.Local; l != nil {
		f.Local = &firstLocal{Rate: l.Rate, Soft: l.Soft, Share: l.Share, TimeoutMillis: l.TimeoutMillis}
	}
	for _, w := range t.Forward {
		f.Forward = append(f.Forward, firstForward{Peer: w.Peer, Weight: w.Weight, Rate: w.Rate, TimeoutMillis: w.TimeoutMillis})
	}
	return f
}

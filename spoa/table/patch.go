package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Patch is what makes one table of another, its base, as sent by PATCH /v1/table. What
// a table has once is there whole; of functions and peers those that are other ones than
// in the base, and what is gone. Which table it is for is said beside it: a patch of
// another base makes nonsense.
type Patch struct {
	// Head is the next table without functions and peers.
	Head Table
	// Functions are those that are new, or of which anything is other than in the base;
	// each is the whole row. Peers likewise.
	Functions []Function
	Peers     []Peer
	// FunctionsGone are names of the base's functions that the next table does not have,
	// PeersGone ids of its peers.
	FunctionsGone []string
	PeersGone     []string
}

// patchFunction is a row as a whole: what is admitted is where it belongs.
type patchFunction struct {
	documentFunction
	Admit []patchAdmission `json:"admit,omitempty"`
}

type patchAdmission struct {
	Peer string  `json:"peer"`
	Rate float64 `json:"rate"`
}

type patchPeer struct {
	ID     string `json:"id"`
	Token  string `json:"token,omitempty"`
	Source string `json:"source,omitempty"`
}

// EncodePatch writes the patch for a SPOA that knows patches, and so this version of
// the table.
func EncodePatch(p *Patch) ([]byte, error) {
	d := newDocument[patchFunction, patchPeer](&p.Head)
	d.Speaks, d.Needs = Newest(), Oldest
	d.FunctionsGone, d.PeersGone = p.FunctionsGone, p.PeersGone
	d.Functions, d.Peers = make([]patchFunction, len(p.Functions)), make([]patchPeer, len(p.Peers))
	for i := range p.Functions {
		f := patchFunction{documentFunction: p.Functions[i].document(), Admit: make([]patchAdmission, len(p.Functions[i].Admit))}
		for j, a := range p.Functions[i].Admit {
			f.Admit[j] = patchAdmission{a.Peer.String(), a.Rate.PerSecond()}
		}
		d.Functions[i] = f
	}
	for i, peer := range p.Peers {
		d.Peers[i] = patchPeer{peer.ID.String(), peer.Token, peer.Source}
	}
	data, err := json.Marshal(&d)
	if err != nil {
		return nil, fmt.Errorf("encode patch of a table: %w", err)
	}
	return data, nil
}

// ReadPatch reads a patch from its JSON form, as strictly as Read reads a table, and
// tells of a field that it does not know. Whether it makes a valid table is for Apply to
// say. It pauses as Read does.
func ReadPatch(r io.Reader, pause func()) (p *Patch, unknown string, err error) {
	var head document[struct{}, struct{}]
	p, ids, routes := new(Patch), make(ids), 0
	// What is over the bounds of all tables is not kept first.
	function := func(f *patchFunction) error {
		if routes += len(f.Forward) + len(f.Admit); routes > 2*MaxForwards || len(p.Functions) == MaxFunctions {
			return errors.New("more than a table may have")
		}
		row, err := ids.row(&f.documentFunction)
		if err != nil {
			return err
		}
		if len(f.Admit) > 0 {
			row.Admit = make([]Admission, len(f.Admit))
		}
		for i, a := range f.Admit {
			id, err := ids.parse(a.Peer)
			if err != nil {
				return fmt.Errorf("function %s: admit: peer: %w", row.Name, err)
			}
			rate, err := limit.NewBound(a.Rate)
			if err != nil {
				return fmt.Errorf("function %s: admit: %s: rate: %w", row.Name, id, err)
			}
			row.Admit[i] = Admission{id, rate}
		}
		p.Functions = append(p.Functions, row)
		return nil
	}
	peer := func(peer *patchPeer) error {
		if len(p.Peers) == MaxPeers {
			return fmt.Errorf("at most %d are accepted", MaxPeers)
		}
		id, err := ids.parse(peer.ID)
		if err != nil {
			return fmt.Errorf("id: %w", err)
		}
		p.Peers = append(p.Peers, Peer{id, peer.Token, peer.Source})
		return nil
	}
	gone := func(names *[]string, most, longest int) func(*string) error {
		return func(name *string) error {
			switch {
			case len(*names) == most:
				return fmt.Errorf("at most %d are accepted", most)
			case len(*name) > longest:
				return fmt.Errorf("%.80q is no name: it has %d bytes, and may have %d", *name, len(*name), longest)
			}
			*names = append(*names, *name)
			return nil
		}
	}
	if err := readDocument(r, &head, &unknown, map[string]func([]byte) error{
		"functions":      each("functions", &unknown, pause, function),
		"functions_gone": each("functions_gone", &unknown, pause, gone(&p.FunctionsGone, MaxFunctions, MaxNameLen)),
		"peers":          each("peers", &unknown, pause, peer),
		"peers_gone":     each("peers_gone", &unknown, pause, gone(&p.PeersGone, MaxPeers, peerid.Len)),
	}); err != nil {
		return nil, "", fmt.Errorf("decode patch of a table: %w", err)
	}
	p.Head = head.head()
	if p.Head.NodeID, err = peerid.Parse(head.NodeID); err != nil {
		return nil, "", fmt.Errorf("decode patch of a table: node_id: %w", err)
	}
	return p, unknown, nil
}

// Apply returns the table that the patch makes of its base, with functions and peers in
// the order of their names, or what is wrong with it. It is as valid as one that was sent
// whole, within the base's limits, and shares with the base what the patch leaves alone:
// Function.Same tells. The patch is used up.
func (p *Patch) Apply(base Valid) (Valid, error) {
	t := p.Head
	var err error
	if t.Functions, err = merge(base.Functions, p.Functions, p.FunctionsGone, (*Function).name); err != nil {
		return Valid{}, fmt.Errorf("patch: functions: %w", err)
	}
	if t.Peers, err = merge(base.Peers, p.Peers, p.PeersGone, (*Peer).name); err != nil {
		return Valid{}, fmt.Errorf("patch: peers: %w", err)
	}
	return t.ValidateAfter(base)
}

func (f *Function) name() string { return f.Name.String() }
func (p *Peer) name() string     { return p.ID.String() }

// merge returns the list with some changed or added, and others gone, in the order of
// names. Where nothing is to be done it is the list itself.
func merge[T any](list, changed []T, gone []string, name func(*T) string) ([]T, error) {
	if !ascending(list, name) {
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b T) int { return strings.Compare(name(&a), name(&b)) })
	}
	if len(changed) == 0 && len(gone) == 0 {
		return list, nil
	}
	if !ascending(changed, name) {
		return nil, errors.New("those that are changed are not in the order of their names, each once")
	}
	self := func(s *string) string { return *s }
	if !ascending(gone, self) {
		return nil, errors.New("those that are gone are not in the order of their names, each once")
	}
	next := make([]T, 0, len(list)+len(changed))
	for i := range list {
		for len(changed) > 0 && name(&changed[0]) < name(&list[i]) {
			next, changed = append(next, changed[0]), changed[1:]
		}
		isGone := len(gone) > 0 && gone[0] == name(&list[i])
		isChanged := len(changed) > 0 && name(&changed[0]) == name(&list[i])
		switch {
		case isGone && isChanged:
			return nil, fmt.Errorf("%.80q is changed, and gone", gone[0])
		case isGone:
			gone = gone[1:]
		case isChanged:
			next, changed = append(next, changed[0]), changed[1:]
		default:
			next = append(next, list[i])
		}
	}
	if len(gone) > 0 {
		return nil, fmt.Errorf("%.80q cannot be gone, it was not there", gone[0])
	}
	return append(next, changed...), nil
}

// ascending reports whether the list is in the order of names, each once.
func ascending[T any](list []T, name func(*T) string) bool {
	for i := 1; i < len(list); i++ {
		if name(&list[i-1]) >= name(&list[i]) {
			return false
		}
	}
	return true
}

package series

import (
	"cmp"
	"slices"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// row is one function, or one peer.
type row struct {
	name      string
	current   bool // the table has it
	user      meter.User
	returned  meter.User // what became of those of them that came back
	in        meter.Peer // of all peers, or of this one
	forwarded uint64     // to this peer

	here                     bool // the function is deployed on this node
	capacity, lent, borrowed float64
}

func (r *row) calls() uint64 { return r.user.Total() + r.in.Local + r.in.Limited + r.forwarded }

// rows are found by name.
type rows map[string]*row

func (r rows) of(name string) *row {
	if r[name] == nil {
		r[name] = &row{name: name}
	}
	return r[name]
}

func functionRows(counted []meter.Function, t *table.Table) rows {
	all := make(rows, max(len(counted), len(t.Functions)))
	for i := range counted {
		f := all.of(counted[i].Name)
		f.user, f.returned = counted[i].User, counted[i].Back()
		for _, p := range counted[i].In {
			f.in.Local += p.Local
			f.in.Limited += p.Limited
		}
	}
	for i := range t.Functions {
		f := all.of(t.Functions[i].Name.String())
		f.current = true
		if l := t.Functions[i].Local; l != nil {
			f.here, f.capacity = true, rate(l.Rate)
		}
		for _, fw := range t.Functions[i].Forward {
			f.borrowed += rate(fw.Rate)
		}
		for _, a := range t.Functions[i].Admit {
			f.lent += rate(a.Rate)
		}
	}
	return all
}

func peerRows(counted []meter.Function, t *table.Table) rows {
	all := make(rows, len(t.Peers))
	for i := range counted {
		for id, n := range counted[i].Out {
			all.of(id).forwarded += n
		}
		for id, n := range counted[i].In {
			p := all.of(id)
			p.in.Local += n.Local
			p.in.Limited += n.Limited
		}
	}
	for i := range t.Peers {
		all.of(t.Peers[i].ID.String()).current = true
	}
	return all
}

// busiest returns those with the most calls, and how many are left out. What is not
// in the table any more comes last, whatever it once was; of two without a call,
// which anybody can make up, the one deployed here comes first. Counts only grow, so
// that one does not take another's place back and forth.
func busiest(all rows, most int) (list []*row, left int) {
	list = make([]*row, 0, len(all))
	for _, r := range all {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *row) int {
		return cmp.Or(first(a.current, b.current), cmp.Compare(b.calls(), a.calls()), first(a.here, b.here), cmp.Compare(a.name, b.name))
	})
	most = min(most, len(list))
	return list[:most], len(list) - most
}

// first orders what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

package table

// Diff returns what makes the next table of the base, both valid or to be found so:
// Apply has it back. Rows that both share (Function.Same) are not looked into, so that
// it takes as long as what has changed. It returns nil where a whole table is better
// sent: if most of it is new, or if its functions or peers are in no order.
func Diff(base, next *Table) *Patch {
	p := Patch{Head: *next}
	p.Head.Functions, p.Head.Peers = nil, nil
	var ok bool
	if p.Functions, p.FunctionsGone, ok = diff(base.Functions, next.Functions, (*Function).name, func(a, b *Function) bool {
		return a.Same(b) || a.Equal(b)
	}); !ok {
		return nil
	}
	if p.Peers, p.PeersGone, ok = diff(base.Peers, next.Peers, (*Peer).name, func(a, b *Peer) bool { return *a == *b }); !ok {
		return nil
	}
	if 2*routes(p.Functions) > routes(next.Functions) {
		return nil
	}
	return &p
}

// routes is how many entries rows have, and one for each.
func routes(rows []Function) int {
	n := len(rows)
	for i := range rows {
		n += len(rows[i].Forward) + len(rows[i].Admit)
	}
	return n
}

// diff returns what is other in the next list, and the names of what is gone, or false
// if the lists are not in the order of names.
func diff[T any](base, next []T, name func(*T) string, equal func(a, b *T) bool) (changed []T, gone []string, ok bool) {
	if !ascending(base, name) || !ascending(next, name) {
		return nil, nil, false
	}
	for i := range next {
		for len(base) > 0 && name(&base[0]) < name(&next[i]) {
			gone, base = append(gone, name(&base[0])), base[1:]
		}
		if len(base) > 0 && name(&base[0]) == name(&next[i]) {
			if equal(&base[0], &next[i]) {
				base = base[1:]
				continue
			}
			base = base[1:]
		}
		changed = append(changed, next[i])
	}
	for i := range base {
		gone = append(gone, name(&base[i]))
	}
	return changed, gone, true
}

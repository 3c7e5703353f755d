package queue

// usage is what is in the queue, and whose it is. A source may have as much in it as
// there is room left for others: one alone half of it, two a third each, and so on.
// So nobody fills it, however much he sends, and who comes new always finds room. The
// rule is that of dynamic thresholds for shared buffers (A. Choudhury, E. Hahne,
// 1998), with a factor of 1.
type usage struct {
	most  amount
	total amount
	of    map[string]amount // by source
}

type amount struct {
	calls   int
	bytes   int64
	results int64 // of these bytes, those of results
}

func newUsage(calls int, bytes int64) usage {
	return usage{most: amount{calls: calls, bytes: bytes}, of: make(map[string]amount)}
}

// check reports whether a call of that size may be added: nil, ErrFull or ErrShare.
func (u *usage) check(source string, size int64) error {
	own := u.of[source]
	calls, bytes := u.most.calls-u.total.calls, u.most.bytes-u.total.bytes
	switch {
	case calls < 1 || bytes < size:
		return ErrFull
	case own.calls >= calls || own.bytes > 0 && own.bytes+size > bytes:
		return ErrShare
	}
	return nil
}

// crowded reports whether a source has more results waiting than there is room left.
// No call whose result will wait, too, is begun before some are delivered: results
// are not refused, but then there are no more of them than workers.
func (u *usage) crowded(source string) bool {
	return u.total.results > 0 && u.of[source].results > u.most.bytes-u.total.bytes
}

// change adds to what a source has; what is less than 0 is taken away.
func (u *usage) change(source string, by amount) {
	own := u.of[source]
	for _, a := range []*amount{&u.total, &own} {
		a.calls += by.calls
		a.bytes += by.bytes
		a.results += by.results
	}
	if u.of[source] = own; own.calls == 0 {
		delete(u.of, source)
	}
}

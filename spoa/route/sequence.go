package route

import (
	"hash/fnv"
	"sync/atomic"
)

// sequence yields numbers in [0, 1) that fill the interval far more evenly than
// random ones: multiples of the golden ratio, modulo 1. So weights are kept to
// over a few draws already, not only in the long run.
type sequence struct{ n atomic.Uint64 }

// goldenRatio is 2^64 divided by the golden ratio.
const goldenRatio = 0x9E3779B97F4A7C15

func (s *sequence) next() float64 {
	return float64(s.n.Add(goldenRatio)>>11) / (1 << 53)
}

// sequences are those of one function. They are separate because each is even
// only by itself: drawing twice in a row from one would couple the two results.
type sequences struct {
	share sequence // here or at a peer first
	// peer is which peer, try after try. With five tries a look at all peers is
	// rare even where half of them have no rate left.
	peer [5]sequence
	open sequence // which peer among those that have rate left
	turn sequence // which peer's queue first
	told sequence // who is told of room for fewer calls than there are senders
}

// start lets each node and each function begin elsewhere, so that not everybody
// draws the same peer first.
func (s *sequences) start(node, function string) {
	h := fnv.New64a()
	all := []*sequence{&s.share, &s.open}
	for try := range s.peer {
		all = append(all, &s.peer[try])
	}
	all = append(all, &s.turn, &s.told)
	for _, q := range all {
		_, _ = h.Write([]byte(node + " " + function + ";")) // never fails; goes on where the last one ended
		q.n.Store(h.Sum64())
	}
}

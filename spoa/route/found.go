package route

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// foundFor is how long a function that was found counts as there: until the table
	// says so, it is found again and again.
	foundFor = 2 * time.Second
	// foundSlots is how many are remembered; those that fall into one slot displace each
	// other.
	foundSlots = 1 << 8
)

// found are functions that the gateway has although no table says so yet: they were
// deployed just now. Users may call them as often as they like.
type found struct {
	seed  maphash.Seed
	last  atomic.Int64 // number of the last finding
	slots [foundSlots]atomic.Pointer[finding]
}

type finding struct {
	name  string
	until int64 // ns since the epoch of the snapshots
}

func newFound() *found { return &found{seed: maphash.MakeSeed()} }

func (f *found) slot(name string) *atomic.Pointer[finding] {
	return &f.slots[maphash.String(f.seed, name)%foundSlots]
}

func (f *found) has(at int64, name string) bool {
	is := f.slot(name).Load()
	return is != nil && is.name == name && at < is.until
}

func (f *found) note(at int64, name string) {
	slot := f.slot(name)
	if is := slot.Load(); is == nil || is.name != name || is.until-at < int64(foundFor/2) {
		slot.Store(&finding{strings.Clone(name), at + int64(foundFor)})
	}
}

// Found takes in that the gateway has served a call of a function which nobody was
// known to have. The number tells one finding from the next: HAProxy repeats the last
// one. It may be called at any time from any goroutine.
func (s *Snapshot) Found(now time.Time, function string, number int64) {
	if s.found.last.Load() != number && s.found.last.Swap(number) != number {
		s.found.note(s.sinceEpoch(now), function)
	}
}

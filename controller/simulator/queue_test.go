package simulator

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQueue: whatever the times, events come in their order, those of one time in that
// in which they were made.
func TestQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var q queue
	var want []event // that are in it, in order
	now := time.Duration(0)
	for i := range 100_000 {
		if r.IntN(100) < 52 || q.empty() {
			after := []time.Duration{0, 1, 100 * time.Microsecond, 30 * time.Millisecond, time.Second, slots << slotShift, time.Minute, 100 * time.Hour}[r.IntN(8)]
			e := event{at: now + time.Duration(r.Int64N(int64(after)+1)), a: int32(i)}
			q.push(e)
			at, _ := slices.BinarySearchFunc(want, e, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), -1) })
			want = slices.Insert(want, at, e)
			continue
		}
		e := q.pop()
		if e.at != want[0].at || e.a != want[0].a {
			t.Fatalf("event %d at %v, want %d at %v", e.a, e.at, want[0].a, want[0].at)
		}
		now, want = e.at, want[1:]
	}
	if q.empty() != (len(want) == 0) || q.size != len(want) {
		t.Errorf("%d events are left, want %d", q.size, len(want))
	}
}

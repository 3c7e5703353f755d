package overlay

import (
	"testing"
	"time"
)

// TestStoodStill: after this process stood still, nobody is taken for silent who may have
// spoken meanwhile.
func TestStoodStill(t *testing.T) {
	t.Parallel()
	nodes := runEach(t, 2, func(int, *Config) {})
	a, b := nodes[0], nodes[1]
	a.join(b)
	var now time.Time
	silent := func(after time.Duration) int { return len(a.silent(now.Add(after))) }
	waitFor(t, "b's word arrives by gossip, too, and b could be missed", func() bool {
		b.announce()
		now = time.Now()
		return silent(tendEvery) == 0 && silent(time.Minute) == 1
	})
	w := newWatch(now)
	look := func(after time.Duration, asked int) {
		t.Helper()
		now = now.Add(after)
		if a.look(w, now); len(w.asked) != asked {
			t.Errorf("%v later, %d are asked whether they are there, want %d", after, len(w.asked), asked)
		}
	}
	look(tendEvery, 0)
	look(10*time.Second, 0)
	look(10*time.Second, 0) // once more
	look(tendEvery, 1)
	look(10*time.Second, 1)
	waitFor(t, "b's word arrives", func() bool {
		b.announce()
		now = time.Now()
		return silent(tendEvery) == 0
	})
	look(tendEvery, 0)
}

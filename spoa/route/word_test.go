package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/table"
)

// TestRateHolds: what a peer was admitted by one table it is for a while after the next
// has taken it away, on debt, and then no more.
func TestRateHolds(t *testing.T) {
	before, after := elastic(1, 100), elastic(1, 100)
	testtable.Admit(before, "f0", testtable.ID(1), 50)
	s := compile(t, before, nil, t0)
	s = compile(t, after, s, t0)
	s = compile(t, before, s, t0.Add(time.Millisecond))
	taken := t0.Add(2 * time.Millisecond)
	s = compile(t, after, s, taken)
	full := func(at time.Time) { s.function("f0").capacity.debitMany(s.sinceEpoch(at), 60) }
	half := taken.Add(wordTime / 2)
	s = compile(t, elastic(1, 100), s, half) // one table more does not prolong it
	full(half)
	admitted := 0
	for from(t, s, half, 1).Action == Local {
		admitted++
	}
	if admitted != 25 {
		t.Errorf("%d calls on the word for half a second of 50/s", admitted)
	}
	late := taken.Add(wordTime + time.Millisecond)
	full(late)
	if d := from(t, s, late, 1); d.Action != Deny {
		t.Errorf("the word holds for ever: %+v", d)
	}
}

// TestLesserWordHolds: a lesser rate that a peer had for long is not forgotten over a greater
// one that it had before, and of which little is left.
func TestLesserWordHolds(t *testing.T) {
	after := elastic(1, 100)
	at := func(rate float64) *table.Table {
		tab := elastic(1, 100)
		testtable.Admit(tab, "f0", testtable.ID(1), rate)
		return tab
	}
	s := compile(t, at(60), nil, t0)
	s = compile(t, at(50), s, t0.Add(time.Millisecond))
	s = compile(t, after, s, t0.Add(wordTime-50*time.Millisecond))
	now := t0.Add(wordTime + 100*time.Millisecond)
	s.function("f0").capacity.debitMany(s.sinceEpoch(now), 60)
	admitted := 0
	for from(t, s, now, 1).Action == Local {
		admitted++
	}
	if admitted != 25 {
		t.Errorf("%d calls on the word for half a second of 50/s", admitted)
	}
}

// TestToldRoomHolds: the room that a peer was told is there for it if users have taken
// all meanwhile, on debt, for a while; for no other peer, and no more than was told.
func TestToldRoomHolds(t *testing.T) {
	s := compile(t, elastic(2, 20), nil, t0)
	told := from(t, s, t0, 1).Room
	if told < 5 {
		t.Fatalf("room for %d calls of a bucket of 10", told)
	}
	full := func(at time.Time) { s.function("f0").capacity.debitMany(s.sinceEpoch(at), 10) }
	full(t0)
	if d := from(t, s, t0, 2); d.Action != Deny {
		t.Errorf("a full node admits a peer that was told nothing: %+v", d)
	}
	admitted := int32(0)
	for from(t, s, t0, 1).Action == Local {
		admitted++
	}
	if admitted != told {
		t.Errorf("%d calls of those %d that it was told of", admitted, told)
	}
	late := t0.Add(2 * promiseTime)
	from(t, s, late, 1)
	late = late.Add(promiseTime + time.Millisecond)
	full(late)
	full(late)
	if d := from(t, s, late, 1); d.Action != Deny {
		t.Errorf("the word holds for ever: %+v", d)
	}
}

// TestToldRoomHoldsFarAway: what a peer sends just before it stops going by an answer is
// admitted though users have taken all meanwhile, with 200 ms each way.
func TestToldRoomHoldsFarAway(t *testing.T) {
	const way = 200 * time.Millisecond
	s := compile(t, elastic(1, 20), nil, t0)
	told := from(t, s, t0, 1).Room
	last := t0.Add(way + echoTime + way - time.Millisecond)
	s.function("f0").capacity.debitMany(s.sinceEpoch(last), 10)
	for call := range told {
		if d := from(t, s, last, 1); d.Action != Local {
			t.Fatalf("call %d of the %d that it was told of: %+v", call+1, told, d)
		}
	}
}

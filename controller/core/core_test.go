package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
)

var t0 = time.Unix(1_700_000_000, 0)

// noTokens makes tokens that nobody checks.
type noTokens struct{}

func (noTokens) Token(_ time.Time, peer peerid.ID) (string, error) { return "token", nil }

// stepped is a core in virtual time, beside a SPOA that answers at once and takes
// every table, unless it hangs.
type stepped struct {
	t   testing.TB
	c   *Core
	now time.Time

	hangs     bool
	users     map[string]uint64 // requests counted, by function
	effects   []Effects         // since they were taken last
	said      []wire.Announcement
	seq       uint64
	spoaTable uint64
}

func newStepped(t testing.TB, change func(*Options)) *stepped {
	rule, err := strategy.New("headroom")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Self: peerID(0), Strategy: rule, Period: time.Second, HTTP: netip.MustParseAddrPort("127.0.0.1:8180"),
		Members: membership.New(membership.Options{Self: peerID(0), Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}),
		Tokens:  noTokens{}, Seed: 1,
	}
	if change != nil {
		change(&o)
	}
	return &stepped{t: t, c: New(o, t0), now: t0, users: map[string]uint64{}}
}

// step tells the core of an event, and answers what it asks for.
func (s *stepped) step(e Event) {
	fx := s.c.Step(s.now, e)
	s.effects = append(s.effects, fx)
	if fx.Announce != nil {
		s.said = append(s.said, *fx.Announce)
		s.step(Announced{})
	}
	if fx.Table != nil && !s.hangs {
		s.spoaTable = fx.Table.Version
		s.step(TablePut{})
	}
	if fx.ReadMeter && !s.hangs {
		r := &meter.Report{StartMillis: 1, UptimeMicros: s.now.Sub(t0).Microseconds() + 1, TableVersion: s.spoaTable, TableFresh: s.spoaTable > 0}
		for name, n := range s.users {
			r.Functions = append(r.Functions, meter.Function{Name: name, User: meter.User{Local: n}})
		}
		s.step(Metered{Report: r})
	}
}

// pass lets time pass.
func (s *stepped) pass(d time.Duration) {
	for end := s.now.Add(d); ; {
		next := s.c.Next()
		if next.Before(s.now) {
			s.t.Fatalf("Next is %v in the past", s.now.Sub(next))
		}
		if next.After(end) {
			s.now = end
			return
		}
		s.now = next
		s.step(Tick{})
	}
}

// hear has the n-th peer announce that it has cat with so much capacity.
func (s *stepped) hear(n int, capacity float64, clock time.Duration) {
	s.seq++
	s.step(Heard{From: peerID(n), Announcement: wire.Announcement{
		V: 1, Epoch: 1, Seq: s.seq, HTTP: fmt.Sprintf("127.0.0.%d:8180", n), Strategy: "headroom", PeriodMillis: 1000,
		SentAtMillis: s.now.Add(clock).UnixMilli(), Offers: []strategy.Offer{{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(capacity)}},
	}, Via: membership.Via{Direct: true}})
}

func (s *stepped) alive() int { return len(s.c.View(s.now).Alive) }

// TestStandingStill gives the core a gap in its steps, as when the process was
// stopped and goes on.
func TestStandingStill(t *testing.T) {
	s := newStepped(t, nil)
	s.step(Tick{})
	s.hear(1, 10, 0)
	s.pass(time.Second)
	for _, still := range []time.Duration{3 * time.Second, time.Minute} {
		s.now = s.now.Add(still)
		s.step(Tick{})
		if s.alive() != 1 {
			t.Fatalf("a member was taken for dead while it was this node that stood still, for %v", still)
		}
	}
	s.pass(2 * maxTick)
	if s.alive() != 0 {
		t.Error("a silent member stays")
	}
}

// TestPeriodsGoByTheClock: while the SPOA hangs, a period ends as often as ever,
// and at the same times.
func TestPeriodsGoByTheClock(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		for _, period := range []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, time.Second, 3 * time.Second} {
			s := newStepped(t, func(o *Options) { o.Period = period })
			s.step(Gateway{Functions: []Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(10)}}})
			s.hangs = hangs
			const periods = 20
			ends, before := 0, s.c.periodAt
			for range periods * 20 {
				s.pass(period / 20)
				if s.c.periodAt != before {
					ends++
					before = s.c.periodAt
					if late := s.c.periodAt.Sub(t0) % period; late != 0 {
						t.Fatalf("hangs %v, period %v: ends %v off the grid", hangs, period, late)
					}
				}
			}
			if ends < periods-1 || ends > periods {
				t.Errorf("hangs %v: %d periods of %v ended in the time of %d", hangs, ends, period, periods)
			}
		}
	}
}

// TestPlansWhileTheSPOAHangs: what peers announce goes into plans and so into
// announcements, whether the SPOA answers or not.
func TestPlansWhileTheSPOAHangs(t *testing.T) {
	s := newStepped(t, nil)
	s.step(Gateway{Functions: []Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(10)}}})
	s.pass(5 * time.Second)
	s.hangs = true
	for n := range 20 {
		s.pass(time.Second)
		s.effects = nil
		s.hear(1, float64(10+n), 0)
		s.pass(debounce)
		planned := false
		for _, fx := range s.effects {
			planned = planned || fx.Planned
			if fx.Table != nil && n > 0 {
				t.Fatal("a table for a SPOA that has not answered the last one")
			}
		}
		if !planned {
			t.Fatalf("no plan %v after a peer announced another capacity", debounce)
		}
	}
}

// TestClockOfTheLastTable: the table that a node leaves behind goes by the clock
// as it is then.
func TestClockOfTheLastTable(t *testing.T) {
	s := newStepped(t, nil)
	s.step(Gateway{Functions: []Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(10)}}})
	for range 5 {
		s.hear(1, 10, 0)
		s.hear(2, 10, 0)
		s.pass(time.Second)
	}
	s.step(ClockSet{Wall: time.Hour})
	if got := s.c.tables.newest.ClockOffset(); got != -time.Hour {
		t.Errorf("after the clock was set, the table goes by one %v off", got)
	}
	s.c.clocks.SetWall(2 * time.Hour) // nobody has been told
	s.effects = nil
	s.step(Leave{})
	fx := s.effects[0]
	if fx.Table == nil || fx.Table.ClockOffset() != -2*time.Hour || fx.Table.Version <= s.c.tables.accepted {
		t.Errorf("left behind: %+v", fx.Table)
	}
	if fx.Announce == nil || !fx.Announce.Leaving {
		t.Errorf("last announced: %+v", fx.Announce)
	}
	if !s.c.Next().IsZero() || s.c.Step(s.now, Tick{}).ReadMeter {
		t.Error("it goes on")
	}
}

// TestSameStepsSameEffects: nothing but events, times and the seed matters.
func TestSameStepsSameEffects(t *testing.T) {
	run := func() (lines []string) {
		s := newStepped(t, nil)
		s.step(Gateway{Functions: []Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(10)}, {Name: testvalue.Name("dog"), Capacity: testvalue.Bound(3)}}})
		for n := range 300 {
			s.users["cat"] += uint64(n % 13)
			s.users["only-there"] += uint64(n % 5)
			s.hear(1+n%40, float64(n%7), time.Duration(n%3)*time.Second)
			s.pass(77 * time.Millisecond)
		}
		s.step(Leave{})
		for _, fx := range s.effects {
			if fx.Table != nil {
				data, err := json.Marshal(fx.Table)
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, string(data))
			}
			if fx.Announce != nil {
				lines = append(lines, fmt.Sprintf("%+v", *fx.Announce))
			}
			lines = append(lines, fmt.Sprint(fx.Servers, fx.Planned, fx.Logs))
		}
		return lines
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Errorf("two runs differ:\n%.3000s", diff)
	}
}

// TestTableIsGivenAgain: a table that did not arrive is given when the SPOA
// answers again, one that is not wanted is not.
func TestTableIsGivenAgain(t *testing.T) {
	s := newStepped(t, nil)
	s.pass(3 * time.Second)
	given := func(answer TablePut) int {
		s.effects = nil
		s.c.tables.under, s.c.tables.answers = s.c.tables.newest, true
		s.step(answer)
		s.pass(maxTick)
		n := 0
		for _, fx := range s.effects {
			if fx.Table != nil {
				n++
			}
		}
		return n
	}
	if n := given(TablePut{Err: errors.New("timed out")}); n != 1 {
		t.Errorf("a table that did not arrive was given %d times", n)
	}
	if n := given(TablePut{Refused: true, Err: errors.New("bad")}); n != 0 {
		t.Errorf("a table that is not wanted was given %d times", n)
	}
}

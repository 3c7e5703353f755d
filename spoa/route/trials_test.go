package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/spoa/table"
)

// TestVainIsBounded: when all peers refuse everything, hardly any call is tried.
func TestVainIsBounded(t *testing.T) {
	s := compile(t, elastic(50, 0), nil, t0)
	now, tried, calls := t0, 0, 20_000
	for range calls {
		now = now.Add(5 * time.Millisecond)
		if d := s.Admit(now, Caller{}, "f0", Call{}); d.Action == Peer {
			tried++
			s.Heard(now, d.Mark, 0, true)
		}
	}
	if most := calls*perCall/trial + maxTrials/trial + 1; tried == 0 || tried > most {
		t.Errorf("%d of %d calls tried in vain, want at most %d", tried, calls, most)
	}
}

// TestSurgeOwesTrials: who has not had to try for a while may owe trials, and
// earns them before it owes again, however often users come all at once.
func TestSurgeOwesTrials(t *testing.T) {
	s := compile(t, elastic(50, 0), nil, t0)
	now, tried, calls := t0.Add(2*calmTime), 0, 0
	surge := func() (sent int) {
		for range 40 {
			now = now.Add(time.Millisecond)
			calls++
			if d := s.Admit(now, Caller{}, "f0", Call{}); d.Action == Peer {
				sent++
				s.Heard(now, d.Mark, 0, true)
			}
		}
		tried += sent
		now = now.Add(2 * calmTime)
		return sent
	}
	const most = owedTrials / (2 * trial) // each is refused at once
	if sent := surge(); sent < most || sent > most+2 {
		t.Errorf("%d calls of the first surge were tried, want %d", sent, most)
	}
	for range 100 {
		surge()
	}
	if most := calls*perCall/trial + owedTrials/trial + 1; tried > most {
		t.Errorf("%d of %d calls tried in vain, want at most %d", tried, calls, most)
	}
}

// TestTrialsWithoutAnswers: where nobody tells of answers, as an older drop-in does
// not, hardly any call is tried either.
func TestTrialsWithoutAnswers(t *testing.T) {
	s := compile(t, elastic(5, 0), nil, t0)
	now, tried, calls := t0, 0, 10_000
	for range calls {
		now = now.Add(5 * time.Millisecond)
		if s.Admit(now, Caller{}, "f0", Call{}).Action == Peer {
			tried++
		}
	}
	if most := calls*perCall/trial + maxTrials/trial + 1; tried == 0 || tried > most {
		t.Errorf("%d of %d calls tried, want at most %d", tried, calls, most)
	}
}

// TestLittleIsTriedWhereNobodyHasRoom: the less room there is in all, the fewer calls of users
// who come all at once are tried, and the less of what a peer has told is used.
func TestLittleIsTriedWhereNobodyHasRoom(t *testing.T) {
	for _, test := range []struct {
		unmet    float64
		tried    int
		answered int // of room for 20 that one peer tells of
	}{{0, owedTrials / trial, 30}, {0.5, owedTrials / trial / 16, 20}, {1, 0, 10}} {
		tab := elastic(50, 0)
		tab.Functions[0].Unmet = test.unmet
		s := compile(t, tab, nil, t0)
		now := t0.Add(2 * calmTime)
		call := func() Decision { return s.Admit(now, Caller{}, "f0", Call{}) }
		var last Decision
		tried := 0
		for range 60 {
			if d := call(); d.Action == Peer {
				tried, last = tried+1, d
			}
		}
		if tried < test.tried || tried > test.tried+3 {
			t.Errorf("unmet %v: %d calls tried, want %d", test.unmet, tried, test.tried)
		}
		if last.Mark == 0 {
			last = s.Admit(now, Caller{}, "f0", Call{GatewayDown: true}) // tried without credit
		}
		now = now.Add(2 * surgeTime)
		s.function("f0").credit.Store(0)
		s.Heard(now, last.Mark, 20, false)
		s.function("f0").credit.Store(minTrials)
		sent := 0
		for call().Action == Peer {
			sent++
		}
		if sent < test.answered-1 || sent > test.answered+1 {
			t.Errorf("unmet %v: %d calls on the word that there is room for 20, want %d", test.unmet, sent, test.answered)
		}
	}
}

// TestTrialsPayForThemselves: where peers serve what is tried, it goes on; where they serve
// half of it, calls have to earn it.
func TestTrialsPayForThemselves(t *testing.T) {
	for _, test := range []struct{ of, served, least, most int }{{5, 4, 900, 1000}, {2, 1, 30, 150}} {
		s := compile(t, elastic(50, 0), nil, t0)
		s.function("f0").credit.Store(maxTrials)
		now, tried := t0, 0
		for range 1000 {
			now = now.Add(10 * time.Millisecond)
			if d := s.Admit(now, Caller{}, "f0", Call{}); d.Action == Peer {
				tried++
				s.Heard(now, d.Mark, 0, tried%test.of >= test.served)
			}
		}
		if tried < test.least || tried > test.most {
			t.Errorf("of a thousand calls %d are tried where %d of %d are served, want %d to %d", tried, test.served, test.of, test.least, test.most)
		}
	}
}

// TestOverloadIsForgotten: as long as the plan is short, no more is tried than is earned. Once
// it has had room for all surplus for a while, a node tries at once, whatever it owes; but not
// again unless the plan was short once more.
func TestOverloadIsForgotten(t *testing.T) {
	short, after := elastic(50, 0), elastic(50, 0)
	short.Functions[0].Unmet = 0.5
	now := t0
	var s *Snapshot
	begin := func(tab *table.Table) {
		s = compile(t, tab, s, now)
		s.function("f0").credit.Store(minTrials)
	}
	try := func(calls int) (tried int) {
		for range calls {
			now = now.Add(20 * time.Millisecond)
			if d := s.Admit(now, Caller{}, "f0", Call{}); d.Action == Peer {
				tried++
				s.Heard(now, d.Mark, 0, true)
			}
		}
		return tried
	}
	for range 3 {
		begin(short)
		if tried := try(500); tried != 0 {
			t.Errorf("%d calls tried while the plan is short", tried)
		}
		begin(after)
		if tried := try(int(anewTime / (20 * time.Millisecond))); tried != 0 {
			t.Errorf("%d calls tried before the plan has had room for %v", tried, anewTime)
		}
		if tried := try(50); tried == 0 || tried > anewTrials/trial {
			t.Errorf("%d calls tried once it has had room for so long, want 1 to %d", tried, anewTrials/trial)
		}
		begin(after)
		if tried := try(500); tried != 0 {
			t.Errorf("%d calls tried once more", tried)
		}
	}
}

package route

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// full is a node that serves 40 calls a second, and has just served all that it can for
// peer 1. Ten users have called lately. Peer 2 takes as many calls a second as said.
func full(t *testing.T, elsewhere float64) *Snapshot {
	tab := elastic(2, 40)
	f := &tab.Functions[0]
	for i := range f.Forward {
		f.Forward[i].Spare = testvalue.Rate(0)
	}
	f.Forward[1].Rate, f.Forward[1].Spare = testvalue.Bound(elsewhere), testvalue.Rate(elsewhere)
	s := compile(t, tab, nil, t0)
	for range 40 {
		s.function("f0").capacity.debit(0)
	}
	for range 10 {
		s.function("f0").relief.users.add(0)
	}
	return s
}

func user(s *Snapshot, now time.Time, c Call) Decision { return s.Admit(now, Caller{}, "f0", c) }

// TestFullNodeMakesRoom: a full node that knows of room serves a peer's calls, and sends
// as many of its own users' there, no more.
func TestFullNodeMakesRoom(t *testing.T) {
	s := full(t, 100)
	admitted := 0
	for from(t, s, t0, 1).Action == Local {
		if admitted++; admitted > 100 {
			t.Fatal("there is room for any number of calls")
		}
	}
	if admitted != 10 {
		t.Errorf("room made for %d calls, want as many as users made lately", admitted)
	}
	for range admitted {
		if d := user(s, t0, Call{}); d.Action != Peer || d.Mark == 0 {
			t.Fatalf("a user's call does not leave: %+v", d)
		} else {
			s.Heard(t0, d.Mark, 50, false)
		}
	}
	if d := user(s, t0, Call{}); d.Action != Local {
		t.Errorf("one user's call too many leaves: %+v", d)
	}
	if d := from(t, s, t0, 1); d.Action != Local {
		t.Errorf("no room is made again: %+v", d)
	}
}

// TestNoRoomIsMadeInVain: where nobody has room, and where users do not come.
func TestNoRoomIsMadeInVain(t *testing.T) {
	if d := from(t, full(t, 0), t0, 1); d.Action != Deny {
		t.Errorf("nobody has room, and a full node promises it: %+v", d)
	}
	s := full(t, 100)
	used := s.function("f0").usedByAll.Load()
	from(t, s, t0, 1)
	later := t0.Add(leaveTime + time.Millisecond)
	if d := from(t, s, later, 1); d.Action != Deny {
		t.Errorf("room is made though no users came: %+v", d)
	}
	if now := s.function("f0").usedByAll.Load(); now <= used {
		t.Error("what was served in addition is not paid for")
	}
	if d := user(s, later, Call{}); d.Action != Local {
		t.Errorf("a user's call leaves for what was long ago: %+v", d)
	}
}

// TestNoRoomWithoutUsers: where no users have come lately, none can leave.
func TestNoRoomWithoutUsers(t *testing.T) {
	s, later := full(t, 100), t0.Add(2*fairTime)
	s.function("f0").capacity.debitMany(s.sinceEpoch(later), 100)
	if d := from(t, s, later, 1); d.Action != Deny {
		t.Errorf("room is made, and nobody is there to leave: %+v", d)
	}
}

// TestWhoLeftIsServedHere: a call that left and was refused, or lost, is served here,
// however many users have come since.
func TestWhoLeftIsServedHere(t *testing.T) {
	s := full(t, 100)
	from(t, s, t0, 1)
	left := user(s, t0, Call{})
	if left.Action != Peer {
		t.Fatalf("nobody leaves: %+v", left)
	}
	for user(s, t0, Call{}).Action == Local {
	}
	used := s.function("f0").usedByUsers.Load()
	if d := user(s, t0, Call{Question: 2, Mark: left.Mark}); d.Action != Local {
		t.Errorf("it is not served where there had been room: %+v", d)
	}
	if s.function("f0").usedByUsers.Load() != used {
		t.Error("it pays again")
	}
}

// TestRoomIsMadeFairly: a peer that asks ten times as often as another does not get all
// the room that is made.
func TestRoomIsMadeFairly(t *testing.T) {
	tab := elastic(3, 40)
	f := &tab.Functions[0]
	f.Forward[0].Spare, f.Forward[1].Spare, f.Forward[2].Rate = testvalue.Rate(0), testvalue.Rate(0), testvalue.Bound(1000)
	s := compile(t, tab, nil, t0)
	got := [3]int{}
	var peers [3]Caller
	for p := range peers[1:] {
		peers[p+1], _ = s.Peer(tab.Peers[p].ID.String())
	}
	for ms := range 10_000 {
		now := t0.Add(time.Duration(ms) * time.Millisecond)
		s.function("f0").capacity.debitMany(s.sinceEpoch(now), 100)
		if ms%25 == 0 {
			if d := user(s, now, Call{}); d.Action == Peer {
				s.Heard(now, d.Mark, 50, false)
			}
		}
		for peer, every := range []int{1: 4, 2: 40} {
			if every > 0 && ms%every == 0 && s.Admit(now, peers[peer], "f0", Call{}).Action == Local {
				got[peer]++
			}
		}
	}
	if got[2] < 50 || got[1] > 8*got[2] {
		t.Errorf("peers that asked 250 and 25 times a second got %d and %d times room of 400", got[1], got[2])
	}
}

// TestRoomCostsNothing: whatever comes, a node serves no more than it would without
// making room, but for what it may owe at the end.
func TestRoomCostsNothing(t *testing.T) {
	for seed := range uint64(10) {
		served := [2]int{}
		for making := range 2 {
			tab := elastic(2, 40)
			f := &tab.Functions[0]
			f.Forward[0].Spare = testvalue.Rate(0)
			f.Forward[1].Rate, f.Forward[1].Spare = testvalue.Bound(float64(1000*making)), testvalue.Rate(float64(1000*making))
			s := compile(t, tab, nil, t0)
			chance := rand.New(rand.NewPCG(seed, 1))
			peer, _ := s.Peer(tab.Peers[0].ID.String())
			for ms := range 20_000 {
				now := t0.Add(time.Duration(ms) * time.Millisecond)
				if chance.IntN(1000) < 200 && s.Admit(now, peer, "f0", Call{}).Action == Local {
					served[making]++
				}
				if ms%4000 < 2000 && chance.IntN(1000) < 39 && user(s, now, Call{}).Action == Local {
					served[making]++
				}
			}
		}
		if served[1] > served[0]+2*int(40*depthTime.Seconds()) {
			t.Errorf("seed %d: %d calls served, %d without making room", seed, served[1], served[0])
		}
	}
}

// TestSilenceIsNotRoom: a peer that says to have room, takes calls and never answers gets
// few of those that could be served here.
func TestSilenceIsNotRoom(t *testing.T) {
	s := full(t, limit.MaxRate)
	gone := 0
	for ms := range 5000 {
		now := t0.Add(time.Duration(ms) * time.Millisecond)
		if ms%50 == 0 {
			s.function("f0").capacity.debitMany(s.sinceEpoch(now), 100)
			from(t, s, now, 1)
			if user(s, now, Call{}).Action == Peer {
				gone++
			}
		}
	}
	if gone == 0 || gone > mostUnheard {
		t.Errorf("%d of 100 calls gone to a peer that never answers, want 1 to %d", gone, mostUnheard)
	}
}

func BenchmarkMakeRoom(b *testing.B) {
	tab := elastic(100, 1000)
	for i := range tab.Functions[0].Forward {
		tab.Functions[0].Forward[i].Rate = limit.Unlimited()
	}
	s := compile(b, tab, nil, t0)
	c, _ := s.Peer(tab.Peers[0].ID.String())
	s.function("f0").capacity.debitMany(0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		s.Admit(t0, c, "f0", Call{})
		s.Admit(t0, Caller{}, "f0", Call{})
	}
}

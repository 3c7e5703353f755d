package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/table"
)

// elastic is a table of one function with so many peers, which is served here at
// that rate and has no rate at any peer, nor any peer here.
func elastic(peers int, local float64) *table.Table {
	t := testtable.New(1, peers)
	t.TTLMillis = table.MaxTTL.Milliseconds()
	f := &t.Functions[0]
	f.Elastic, f.Local.Rate = true, testvalue.Bound(local)
	for i := range f.Forward {
		f.Forward[i].Rate, f.Forward[i].Spare = testvalue.Bound(0), testvalue.Rate(10)
	}
	for i := range f.Admit {
		f.Admit[i].Rate = testvalue.Bound(0)
	}
	return t
}

// from is a call that a peer has shown its token for.
func from(t *testing.T, s *Snapshot, now time.Time, peer int) Decision {
	t.Helper()
	c, ok := s.Peer(testtable.ID(peer).String())
	if !ok {
		t.Fatalf("peer %d is not known", peer)
	}
	return s.Admit(now, c, "f0", Call{})
}

// TestReceiverAdmitsWhileItHasRoom: a peer without any rate is admitted as long as
// there is room, told how much, and refused with "full" in the end; a debt is made for
// peers within their rates.
func TestReceiverAdmitsWhileItHasRoom(t *testing.T) {
	tab := elastic(2, 100)
	testtable.Admit(tab, "f0", testtable.ID(2), 200)
	s := compile(t, tab, nil, t0)
	admitted, before := 0, int32(maxRoom)
	for {
		d := from(t, s, t0, 1)
		if !d.TellRoom {
			t.Fatalf("nothing is told: %+v", d)
		}
		if d.Action == Deny {
			if d.Status != 429 || d.Room != 0 {
				t.Errorf("refused with %+v", d)
			}
			break
		}
		if d.Room > before {
			t.Errorf("room grew from %d to %d", before, d.Room)
		}
		before = d.Room
		admitted++
	}
	if admitted != 50 || before != 0 {
		t.Errorf("%d calls of a bucket of 50 admitted, %d told at last", admitted, before)
	}
	for range 50 {
		if d := from(t, s, t0, 2); d.Action != Local {
			t.Fatal("no debt is made for a peer within its rate")
		}
	}
	if d := from(t, s, t0, 2); d.Action != Deny {
		t.Error("more than the capacity and a bucket of debt was admitted")
	}
	if d := from(t, s, t0.Add(200*time.Millisecond), 1); d.Action != Deny {
		t.Error("a peer beyond its rate is admitted while there is a debt")
	}
	if d := s.Admit(t0, Caller{}, "f0", Call{}); d.Action != Local {
		t.Error("peers took what belongs to users")
	}
}

// TestSendersShareTheRoom: each of several senders is told its part.
func TestSendersShareTheRoom(t *testing.T) {
	s := compile(t, elastic(4, 1000), nil, t0)
	alone := from(t, s, t0, 1).Room
	for p := 2; p <= 4; p++ {
		from(t, s, t0, p)
	}
	if shared := from(t, s, t0, 1).Room; alone < 390 || shared < alone/4-2 || shared > alone/4+2 {
		t.Errorf("alone %d, among four %d", alone, shared)
	}
	if later := from(t, s, t0.Add(2*time.Second), 1).Room; later < 390 {
		t.Errorf("after the others have gone %d", later)
	}
}

// TestManySendersHearOfLittleRoom: room for fewer calls than there are senders is told, one
// call each, to as many as there is room for; which is no more than the bucket holds,
// however long nobody called.
func TestManySendersHearOfLittleRoom(t *testing.T) {
	const senders = 40
	s := compile(t, elastic(senders, 60), nil, t0)
	for peer := range senders {
		from(t, s, t0, peer+1)
	}
	f := s.function("f0")
	at := t0.Add(time.Minute)
	for peer := range senders {
		f.senders.ask(s.sinceEpoch(at), &f.admission(s.peers[peer].place).sender.all)
	}
	told := int32(0)
	for peer := range senders {
		told += f.room(s.sinceEpoch(at), f.admission(s.peers[peer].place).sender)
	}
	if room := int32(60 * depthTime.Seconds()); told < room-1 || told > room+1 {
		t.Errorf("%d calls told of where there is room for %d, among %d", told, room, senders)
	}
}

// TestSenderGoesByAnswers: without rates, calls are tried as far as the credit goes,
// then sent as far as answers say that there is room.
func TestSenderGoesByAnswers(t *testing.T) {
	s := compile(t, elastic(3, 0), nil, t0)
	now := t0.Add(time.Second)
	call := func() Decision { return s.Admit(now, Caller{}, "f0", Call{}) }
	var first Decision
	for i := 0; first.Action != Peer; i++ {
		if first = call(); i > 2*trial/perCall {
			t.Fatal("nothing is ever tried")
		}
	}
	if first.Mark <= 0 {
		t.Fatalf("sent without a mark: %+v", first)
	}
	s.Heard(now, first.Mark, 20, false)
	sent := 0
	for ; sent < 100; sent++ {
		if d := call(); d.Action != Peer || d.Target != first.Target {
			break
		}
	}
	if sent < 28 || sent > 34 {
		t.Errorf("%d calls sent on the word that there is room for 20, want half as many more", sent)
	}
	now = now.Add(2 * echoTime)
	if d := call(); d.Action == Peer && d.Target == first.Target && s.function("f0").credit.Load() < trial {
		t.Error("an old word still counts")
	}
}

// TestSenderLeavesAlone: a peer that refuses is left alone, ever longer, within its
// rate, too; and asked again after that.
func TestSenderLeavesAlone(t *testing.T) {
	tab := elastic(1, 0)
	tab.Functions[0].Forward[0].Rate = testvalue.Bound(1000)
	s := compile(t, tab, nil, t0)
	now := t0
	var pauses []time.Duration
	for range 4 {
		d := s.Admit(now, Caller{}, "f0", Call{})
		if d.Action != Peer {
			t.Fatalf("not sent at %v: %+v", now.Sub(t0), d)
		}
		s.Heard(now, d.Mark, 0, true)
		begun := now
		for s.Admit(now, Caller{}, "f0", Call{}).Action != Peer {
			if now = now.Add(time.Millisecond); now.Sub(begun) > 3*maxShut {
				t.Fatal("left alone for ever")
			}
		}
		pauses = append(pauses, now.Sub(begun))
		now = now.Add(time.Millisecond)
	}
	if pauses[0] < shutTime/2 || pauses[0] > 2*shutTime || pauses[3] < maxShut/2 || pauses[3] > 2*maxShut {
		t.Errorf("left alone for %v", pauses)
	}
}

// TestHeardIgnoresNonsense: marks that were never given, or twice.
func TestHeardIgnoresNonsense(t *testing.T) {
	s := compile(t, elastic(1, 0), nil, t0)
	for _, mark := range []int32{0, 1, -1, 1 << 30, -1 << 31} {
		s.Heard(t0, mark, 1<<30, false)
		s.Heard(t0, mark, -5, true)
	}
	fw := s.function("f0").forwards[0].state
	mark := s.sent.note(0, s.function("f0").functionState, fw, asPlanned)
	s.Heard(t0, mark, 1<<30, false)
	if got := fw.room.Load(); got != maxRoom {
		t.Errorf("a room of %d is believed", got)
	}
	s.Heard(t0, mark, 0, true)
	if fw.shut(s.sinceEpoch(t0)) {
		t.Error("one answer counts twice")
	}
	late := s.sent.note(0, s.function("f0").functionState, fw, asPlanned)
	for range sentSlots {
		s.sent.note(0, s.function("f0").functionState, fw, asPlanned)
	}
	s.Heard(t0, late, 0, true)
	if fw.shut(s.sinceEpoch(t0)) {
		t.Error("an answer counts whose call is not remembered any more")
	}
}

// TestLongWay: what a peer gains of the plan while calls are under way is not taken
// off, be the way as long as it may.
func TestLongWay(t *testing.T) {
	for _, way := range []time.Duration{20 * time.Millisecond, 400 * time.Millisecond, 2 * time.Second} {
		tab := elastic(1, 0)
		tab.Functions[0].Forward[0].Rate = testvalue.Bound(100)
		s := compile(t, tab, nil, t0)
		f := s.function("f0")
		fw := &f.forwards[0]
		// Calls leave at the rate of the plan; the first answer arrives when so many
		// are under way.
		first := s.sent.note(0, f.functionState, fw.state, asPlanned)
		for at := time.Duration(0); at < way; at += time.Second / 100 {
			s.sent.note(int64(at), f.functionState, fw.state, asPlanned)
		}
		s.heard(int64(way), first, 3, false)
		if left := fw.left(int64(way), overcommit); left < overcommit*3-1.5 || left > overcommit*3+1.5 {
			t.Errorf("way of %v: %v calls left, want what the peer has told", way, left)
		}
	}
}

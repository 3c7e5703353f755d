package membership

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// oracle is who is alive, by a plain reading of the rules over all that was ever
// accepted: no record, no counter, nothing that is kept up to date.
type oracle struct {
	max      int
	accepted map[string][]taken // of each node, in order
}

type taken struct {
	at      time.Time
	a       wire.Announcement
	proven  time.Time // when its address was last proven
	expires time.Time
}

// last returns what the node said last, unless it is forgotten.
func (o *oracle) last(now time.Time, id string) (t taken, known bool) {
	if all := o.accepted[id]; len(all) > 0 {
		t = all[len(all)-1]
	}
	return t, !t.at.IsZero() && now.Sub(t.expires) <= memoryOfGone
}

func (o *oracle) alive(now time.Time) []string {
	ids := []string{}
	for id := range o.accepted {
		if last, known := o.last(now, id); known && !last.a.Leaving && !now.After(last.expires) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// newer looks through all that the node said since it was last forgotten.
func (o *oracle) newer(now time.Time, id string, a wire.Announcement, direct bool) bool {
	last, known := o.last(now, id)
	if !known {
		return true
	}
	all := o.accepted[id]
	for i := len(all) - 1; i > 0 && all[i].at.Sub(all[i-1].expires) <= memoryOfGone; i-- {
		if all[i-1].a.Epoch == a.Epoch && all[i].a.Epoch < a.Epoch {
			return false // of a run whose clock was ahead
		}
	}
	if a.Epoch < last.a.Epoch {
		return direct && now.Sub(last.expires) >= lateness
	}
	return a.Epoch > last.a.Epoch || a.Seq > last.a.Seq
}

// apply returns the reason to refuse the announcement, or takes it in.
func (o *oracle) apply(now time.Time, id string, a wire.Announcement, via Via) string {
	last, known := o.last(now, id)
	alive := o.alive(now)
	next := taken{at: now, a: a, proven: now, expires: now}
	switch there := slices.Contains(alive, id); {
	case !o.newer(now, id, a, via.Direct):
		return ReasonReplay
	case a.Leaving:
		next.proven = last.proven
	default:
		next.expires = now.Add(time.Duration(a.PeriodMillis) * time.Millisecond * 11 / 4)
		ip := netip.MustParseAddrPort(a.HTTP).Addr()
		switch {
		case slices.Contains(via.RemoteIPs, ip):
		case len(via.RemoteIPs) > 0:
			return ReasonAddress
		case known && o.addressOf(id) == a.HTTP && now.Sub(last.proven) <= addressTrust:
			next.proven = last.proven
		default:
			return ReasonUnverified
		}
		switch {
		case there:
		case !via.Direct && len(via.RemoteIPs) == 0 && now.Sub(time.UnixMilli(a.SentAtMillis)).Abs() > hearsayAge:
			return ReasonOld
		case len(alive) >= o.max:
			return ReasonFull
		}
	}
	o.accepted[id] = append(o.accepted[id], next)
	return ""
}

// addressOf returns where the node last was.
func (o *oracle) addressOf(id string) string {
	for _, t := range slices.Backward(o.accepted[id]) {
		if !t.a.Leaving {
			return t.a.HTTP
		}
	}
	return ""
}

// TestMembersAgreeWithTheOracle: whatever is announced, by whomever, whichever way
// it comes and however long nothing does.
func TestMembersAgreeWithTheOracle(t *testing.T) {
	reasons := make(map[string]int)
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		const limit = 5
		m, o := New(Options{Self: testvalue.Peer("self"), MaxMembers: limit}), &oracle{max: limit, accepted: make(map[string][]taken)}
		now := start
		epoch, seq := make(map[string]int64), make(map[string]uint64)
		for step := range 3000 {
			switch pause := random.IntN(1000); {
			case pause == 0:
				now = now.Add(time.Duration(random.Int64N(int64(2 * memoryOfGone))))
			case pause < 20:
				now = now.Add(time.Duration(random.Int64N(int64(10 * time.Second))))
			default:
				now = now.Add(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
			}
			id := fmt.Sprint("n", random.IntN(10))
			a, via := someAnnouncement(random, now, epoch, seq, id)
			got := ""
			_, err := m.Apply(now, testvalue.Peer(id), a, via)
			if refused := (*RefusedError)(nil); errors.As(err, &refused) {
				got = refused.Reason
			}
			want := o.apply(now, id, a, via)
			reasons[want]++
			if got != want {
				t.Fatalf("seed %d, step %d: %+v of %s by %+v: %q, the oracle says %q", seed, step, a, id, via, got, want)
			}
			if random.IntN(10) == 0 {
				m.Expire(now)
				if got, want := aliveIDs(m), o.alive(now); !slices.Equal(got, want) || m.Counts().Alive != len(want) {
					t.Fatalf("seed %d, step %d: alive %v, %d counted, the oracle says %v", seed, step, got, m.Counts().Alive, want)
				}
			}
		}
	}
	for _, reason := range []string{"", ReasonReplay, ReasonAddress, ReasonUnverified, ReasonFull, ReasonOld} {
		if reasons[reason] == 0 {
			t.Errorf("%q never came about: %v", reason, reasons)
		}
	}
}

// someAnnouncement is mostly the next of the node, now and then of another run,
// repeated, a farewell, of another address, or older than it should be.
func someAnnouncement(random *rand.Rand, now time.Time, epoch map[string]int64, seq map[string]uint64, id string) (wire.Announcement, Via) {
	if random.IntN(40) == 0 || epoch[id] == 0 { // a few runs, so that none is forgotten for being one of too many
		epoch[id], seq[id] = start.Add(time.Duration(random.IntN(maxSuperseded))*time.Hour).UnixMilli(), 0
	}
	seq[id]++
	a := announce(time.UnixMilli(epoch[id]), seq[id])
	a.SentAtMillis, a.Leaving = now.UnixMilli(), random.IntN(30) == 0
	if random.IntN(5) == 0 {
		a.Seq = 1 + random.Uint64N(seq[id])
		a.SentAtMillis -= random.Int64N(2 * hearsayAge.Milliseconds())
	}
	if random.IntN(20) == 0 {
		a.HTTP = "198.51.100.9:80"
	}
	if random.IntN(5) == 0 {
		a.PeriodMillis = 50 + random.Int64N(3000)
	}
	return a, []Via{{}, directly, itself, itself}[random.IntN(4)]
}

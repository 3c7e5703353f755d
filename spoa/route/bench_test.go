package route

import (
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/table"
)

// large is 1,000 functions and 100 peers, each of them having every function.
func large(local, forward float64) *table.Table {
	tab := testtable.New(1000, 100)
	tab.TTLMillis = table.MaxTTL.Milliseconds()
	for i := range tab.Functions {
		tab.Functions[i].Local.Rate = testvalue.Bound(local)
		for j := range tab.Functions[i].Forward {
			tab.Functions[i].Forward[j].Rate = testvalue.Bound(forward)
		}
		for j := range tab.Functions[i].Admit {
			tab.Functions[i].Admit[j].Rate = testvalue.Bound(forward)
		}
	}
	return tab
}

// decisions are the cases worth measuring.
func decisions(t testing.TB) map[string]func() Decision {
	now := t0
	user := func(s *Snapshot) func() Decision {
		return func() Decision {
			now = now.Add(10 * time.Microsecond)
			return s.Route(now, Request{Path: "/function/f500/some/path"})
		}
	}
	half := large(0, -1)
	for i := range half.Functions {
		for j := range half.Functions[i].Forward {
			if j%2 == 0 {
				half.Functions[i].Forward[j].Rate = testvalue.Bound(0.01)
			}
		}
	}
	marked := large(0, limit.MaxRate)
	for i := range marked.Functions {
		marked.Functions[i].Elastic = true
	}
	unlimited := compile(t, large(-1, -1), nil, t0)
	peer := callFrom(t, 50, "f500", t0)
	closed := large(-1, -1)
	for i := range closed.Functions {
		closed.Functions[i].Admit = nil
	}
	admittedNone := compile(t, closed, nil, t0)
	contended := compile(t, elastic(100, 1000), nil, t0)
	callers := make([]Caller, 100)
	for i := range callers {
		callers[i], _ = contended.Peer(testtable.ID(i + 1).String())
	}
	turn := 0
	queues := large(0, 0)
	queues.Queue = table.QueueNone
	for i := range queues.Functions {
		for j := range table.MaxAsync {
			queues.Functions[i].Async = append(queues.Functions[i].Async, queues.Peers[j].ID)
		}
	}
	asyncAt := compile(t, queues, nil, t0)
	return map[string]func() Decision{
		"asyncForward": func() Decision {
			now = now.Add(time.Millisecond)
			return asyncAt.Route(now, Request{Path: "/async-function/f500/some/path"})
		},
		"asyncExhausted": func() Decision {
			now = now.Add(10 * time.Nanosecond)
			return asyncAt.Route(now, Request{Path: "/async-function/f501/some/path"})
		},
		"peersContend": func() Decision {
			now, turn = now.Add(10*time.Microsecond), turn+1
			return contended.Admit(now, callers[turn%100], "f0", Call{})
		},
		"usersContend": func() Decision {
			now, turn = now.Add(10*time.Microsecond), turn+1
			return contended.Admit(now, Caller{source: uint64(turn%100 + 1)}, "f0", Call{})
		},
		"local":           user(unlimited),
		"localLimited":    user(compile(t, large(limit.MaxRate, 0), nil, t0)),
		"forward":         user(compile(t, large(0, limit.MaxRate), nil, t0)),
		"forwardMarked":   user(compile(t, marked, nil, t0)),
		"forwardHalf":     user(compile(t, half, nil, t0)),
		"exhausted":       user(compile(t, large(0, 10), nil, t0)),
		"full":            user(compile(t, large(0, 0), nil, t0)),
		"unknown":         func() Decision { return unlimited.Route(t0, Request{Path: "/function/nope"}) },
		"peer":            func() Decision { return unlimited.Route(t0, peer) },
		"peerNotAdmitted": func() Decision { return admittedNone.Route(t0, peer) },
		"peerForged":      func() Decision { return unlimited.Route(t0, Request{Path: peer.Path, Claimed: true, Node: "12D3KooW"}) },
		"peerSameForge": func() Decision {
			return unlimited.Route(t0, Request{Path: peer.Path, Claimed: true, Node: peer.Node, Token: "x.y.z"})
		},
	}
}

func BenchmarkRoute(b *testing.B) {
	for name, decide := range decisions(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decide()
			}
		})
	}
}

func TestRouteDoesNotAllocate(t *testing.T) {
	for name, decide := range decisions(t) {
		if n := testing.AllocsPerRun(1000, func() { decide() }); n != 0 {
			t.Errorf("%s: %v allocations a decision", name, n)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	tab := large(10, 10)
	s := compile(b, tab, nil, t0)
	b.ReportAllocs()
	for b.Loop() {
		s = compile(b, tab, s, t0)
	}
}

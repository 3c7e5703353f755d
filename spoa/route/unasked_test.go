package route

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/grant"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

// proxy does what HAProxy does by the drop-in.
type proxy struct {
	count, upTo uint32
	served      int // without a question
}

func (p *proxy) serves() bool {
	if left := p.upTo - p.count; p.upTo == 0 || left < 1 || left > grant.MaxCalls {
		return false
	}
	p.count++
	p.served++
	return true
}

func (p *proxy) report() grant.Report {
	return grant.Report{Run: "1", Counted: map[string]uint32{"f": p.count}}
}

// oneFunction is a table of f, which is here.
func oneFunction(rate float64) *table.Table {
	tab := testtable.New(0, 0)
	tab.TTLMillis = table.MaxTTL.Milliseconds()
	tab.Functions = []table.Function{{Name: testvalue.Name("f"), Local: &table.Local{Rate: testvalue.Bound(rate), Share: 1}}}
	return tab
}

func routerOf(t testing.TB, tab *table.Table) *Router {
	t.Helper()
	r := NewRouter(meter.New(t0))
	r.Swap(testtable.Valid(t, tab), t0)
	return r
}

func userCalls(r *Router) meter.User { return r.Report(t0).Functions[0].User }

// inPhases are arrivals, ns, at rates that change: nobody calls for a while, or many more
// than the limit allows, or about as many.
func inPhases(r *rand.Rand, limit float64, n int) []int64 {
	arrivals := make([]int64, 0, n)
	for at := int64(0); len(arrivals) < n; {
		until := at + int64(100*time.Millisecond) + r.Int64N(int64(2*time.Second))
		rate := limit * []float64{0, 0.2, 0.9, 1.1, 5}[r.IntN(5)]
		for rate > 0 && at < until && len(arrivals) < n {
			at += int64(r.ExpFloat64() / rate * float64(time.Second))
			arrivals = append(arrivals, at)
		}
		at = max(at, until)
	}
	return arrivals
}

// TestUnaskedIsBounded has users call as they like, while reports come late, answers are
// lost, and the counter begins anew. Never is more served than the limit allows to a
// bucket that holds one grant more, and in the end each call is counted once.
func TestUnaskedIsBounded(t *testing.T) {
	for _, rate := range []float64{32, 100, 1000, 20000} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%v/s, %d", rate, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(rate), seed))
				router, h := routerOf(t, oneFunction(rate)), proxy{count: math.MaxUint32 - uint32(rate)/4} // begins anew soon
				most := math.Floor(rate / 2 / grantedPart)
				limit := newTokens(rate)
				limit.depth += most
				limit.left = limit.depth
				arrivals := inPhases(r, rate, min(40_000, int(60*rate)))
				served, asked := 0, 0
				var nextReport, applied int64
				var answer grant.Grants
				var readAt uint32
				for _, at := range arrivals {
					now := t0.Add(time.Duration(at))
					if at >= nextReport {
						readAt, answer = h.count, router.Unasked(now, h.report())
						// It takes a while, or for ever.
						applied = at + r.Int64N(int64(50*time.Millisecond))
						if r.IntN(10) == 0 {
							applied = math.MaxInt64
						}
						nextReport = at + int64(100*time.Millisecond) + r.Int64N(int64(500*time.Millisecond))
					}
					if g, granted := answer.Functions["f"]; granted && at >= applied {
						h.upTo, answer = 0, grant.Grants{}
						if g.Calls > 0 {
							h.upTo = readAt + g.Calls
						}
						if float64(g.Calls) > most {
							t.Fatalf("granted %d of %v", g.Calls, most)
						}
					}
					if !h.serves() {
						if asked++; router.Route(now, call("f")).Action != Local {
							continue
						}
					}
					served++
					if !limit.has(at) {
						t.Fatalf("after %s, %d of %d calls were served, %d without a question: too many", time.Duration(at), served, len(arrivals), h.served)
					}
					limit.take()
				}
				t.Logf("%d calls, %d asked about, %d served", len(arrivals), asked, served)
				router.Unasked(t0.Add(time.Duration(arrivals[len(arrivals)-1])), h.report())
				if u := userCalls(router); int(u.Local) != served || int(u.Total()) != len(arrivals) {
					t.Errorf("counted %+v, want %d served of %d", u, served, len(arrivals))
				}
				if n := int(router.UnaskedCalls()); n != h.served || n+asked != len(arrivals) {
					t.Errorf("%d counted as not asked about, %d were, and %d asked about of %d", n, h.served, asked, len(arrivals))
				}
			})
		}
	}
}

// TestFarFromTheLimit: hardly anything is asked about, with grants twice a second.
func TestFarFromTheLimit(t *testing.T) {
	const rate, load = 1000, 200
	router, h := routerOf(t, oneFunction(rate)), proxy{}
	calls, asked := 0, 0
	for at := time.Duration(0); at < 20*time.Second; at += time.Second / load {
		if calls%(load/2) == 0 {
			if g := router.Unasked(t0.Add(at), h.report()).Functions["f"]; g.Calls > 0 {
				h.upTo = h.count + g.Calls
			}
		}
		if calls++; !h.serves() {
			asked++
			router.Route(t0.Add(at), call("f"))
		}
	}
	if asked > load {
		t.Errorf("%d of %d calls were asked about", asked, calls)
	}
}

// TestGrantedToAnybody: whoever makes the calls that are granted, even if they have had
// all so far, each would be admitted.
func TestGrantedToAnybody(t *testing.T) {
	r := routerOf(t, oneFunction(1000))
	greedy, modest := call("f"), call("f")
	greedy.Source, modest.Source = 1, 2
	r.Route(t0, modest)
	for r.Route(t0, greedy).Action == Local {
	}
	// Of the 500 that the bucket holds, half are left to those who have had less.
	now := t0.Add(60 * time.Millisecond)
	g := r.Unasked(now, grant.Report{Run: "1"}).Functions["f"]
	if g.Calls == 0 {
		t.Fatal("nothing is granted")
	}
	for i := range g.Calls {
		if d := r.Route(now, greedy); d.Action != Local {
			t.Fatalf("call %d of %d that were granted would have been refused: %+v", i+1, g.Calls, d)
		}
	}
}

// granted returns for which functions calls are granted after one call of each.
func granted(r *Router, functions ...string) []string {
	r.Unasked(t0, grant.Report{Run: "1"})
	for _, f := range functions {
		r.Route(t0, call(f))
	}
	some := maps.Clone(r.Unasked(t0, grant.Report{Run: "1"}).Functions)
	maps.DeleteFunc(some, func(_ string, g grant.Grant) bool { return g.Calls == 0 })
	return slices.Sorted(maps.Keys(some))
}

func TestWhatIsGranted(t *testing.T) {
	tab := testtable.New(0, 1)
	to := []table.Forward{{Peer: testtable.ID(1), Weight: 1, Rate: testvalue.Bound(1000)}}
	tab.Functions = []table.Function{
		{Name: testvalue.Name("backup"), Local: &table.Local{Rate: testvalue.Bound(1000), Share: 0}, Forward: to},
		{Name: testvalue.Name("called"), Local: &table.Local{Rate: testvalue.Bound(1000), Share: 1, TimeoutMillis: 1500}, Forward: to},
		{Name: testvalue.Name("elsewhere"), Forward: to},
		{Name: testvalue.Name("idle"), Local: &table.Local{Rate: testvalue.Bound(1000), Share: 1}},
		{Name: testvalue.Name("none"), Local: &table.Local{Rate: testvalue.Bound(0), Share: 1}},
		{Name: testvalue.Name("slow"), Local: &table.Local{Rate: testvalue.Bound(20), Share: 1}},
		{Name: testvalue.Name("soft"), Local: &table.Local{Rate: testvalue.Bound(100), Share: 1, Soft: true}},
		{Name: testvalue.Name("static"), Local: &table.Local{Rate: testvalue.Bound(1000), Share: 0.6}, Forward: to},
		{Name: testvalue.Name("unlimited"), Local: &table.Local{Rate: limit.Unlimited(), Share: 1}},
	}
	r := routerOf(t, tab)
	got := granted(r, "backup", "called", "elsewhere", "none", "slow", "soft", "static", "unlimited")
	if diff := cmp.Diff([]string{"called", "soft", "unlimited"}, got); diff != "" {
		t.Errorf("functions that are granted calls differ (-want +got):\n%s", diff)
	}
	for _, f := range []string{"called", "unlimited"} {
		r.Route(t0, call(f))
	}
	g := r.Unasked(t0, grant.Report{Run: "1"}).Functions
	if want := (grant.Grant{Calls: 125, TimeoutMillis: 1500}); g["called"] != want {
		t.Errorf("granted %+v, want %+v", g["called"], want)
	}
	if g["unlimited"].Calls != grant.MaxCalls {
		t.Errorf("granted %+v of what has no limit", g["unlimited"])
	}
	if _, named := g["soft"]; named {
		t.Errorf("a function that was not called is granted calls, or these are taken back: %+v", g["soft"])
	}
}

// TestGrantsAreTakenBack where a limit is near, a function is gone, and the table is too
// old to say anything.
func TestGrantsAreTakenBack(t *testing.T) {
	for name, change := range map[string]func(*Router) time.Time{
		"half of it is used": func(r *Router) time.Time {
			for range 260 {
				r.Route(t0, call("f"))
			}
			return t0
		},
		"peers use it": func(r *Router) time.Time {
			r.current.Load().row("f").capacity.debitMany(0, 260)
			return t0
		},
		"it is gone": func(r *Router) time.Time {
			tab := oneFunction(1000)
			tab.Functions[0].Name = testvalue.Name("g")
			r.Swap(testtable.Valid(t, tab), t0)
			return t0
		},
		"the table is too old": func(*Router) time.Time { return t0.Add(table.MaxTTL) },
	} {
		t.Run(name, func(t *testing.T) {
			r := routerOf(t, oneFunction(1000))
			if got := granted(r, "f"); len(got) != 1 {
				t.Fatal("nothing is granted")
			}
			at := change(r)
			g, named := r.Unasked(at, grant.Report{Run: "1"}).Functions["f"]
			if !named || g.Calls != 0 {
				t.Errorf("not taken back: %+v, %v", g, named)
			}
			if _, named := r.Unasked(at, grant.Report{Run: "1"}).Functions["f"]; named {
				t.Error("taken back twice")
			}
		})
	}
}

// TestFunctionsCalledMost are granted calls where there are too many.
func TestFunctionsCalledMost(t *testing.T) {
	tab := oneFunction(1000)
	tab.Functions = nil
	for i := range grant.MaxFunctions + 10 {
		tab.Functions = append(tab.Functions, table.Function{Name: testvalue.Name(fmt.Sprintf("f%03d", i)), Local: &table.Local{Rate: testvalue.Bound(1000), Share: 1}})
	}
	r := routerOf(t, tab)
	for i := range tab.Functions {
		for range 1 + min(1, i/10) { // the first ten only once
			r.Route(t0, call(tab.Functions[i].Name.String()))
		}
	}
	g := r.Unasked(t0, grant.Report{Run: "1"}).Functions
	if _, least := g["f009"]; len(g) != grant.MaxFunctions || least {
		t.Errorf("%d functions are granted calls, one that is called least among them: %v", len(g), least)
	}
}

// TestRunsOfHAProxy: what an HAProxy counts is taken from where this program began to
// listen; another one begins at 0.
func TestRunsOfHAProxy(t *testing.T) {
	r := routerOf(t, oneFunction(-1))
	for _, step := range []struct {
		run     string
		counted uint32
		want    uint64
	}{
		{"1-100", 5000, 0}, // it was granted by who was here before
		{"1-100", 5007, 7},
		{"2-200", 10, 17},
		{"2-200", 10, 17},
		{"2-200", 3, 20},                // its row was forgotten in between
		{"2-200", 1 << 30, 20},          // nobody has granted so many
		{"2-200", 1<<30 + 1, 21},        //
		{"1-100", 1 << 31, 21},          //
		{"1-100", 1<<31 + 65536, 65557}, //
	} {
		r.Unasked(t0, grant.Report{Run: step.run, Counted: map[string]uint32{"f": step.counted}})
		if got := userCalls(r).Local; got != step.want {
			t.Errorf("run %s, %d: counted %d, want %d", step.run, step.counted, got, step.want)
		}
	}
	// What is not reported has been forgotten, and begins at 0.
	r.Unasked(t0, grant.Report{Run: "1-100"})
	r.Unasked(t0, grant.Report{Run: "1-100", Counted: map[string]uint32{"f": 4}})
	if got := userCalls(r).Local; got != 65561 {
		t.Errorf("counted %d, want 65561", got)
	}
}

func TestUnaskedWithoutATable(t *testing.T) {
	r := NewRouter(meter.New(t0))
	for n := range uint32(3) {
		if g := r.Unasked(t0, grant.Report{Run: "1", Counted: map[string]uint32{"f": n}}); len(g.Functions) != 0 {
			t.Errorf("granted %v", g)
		}
	}
	if got := r.Report(t0).Functions[0].User.Local; got != 2 {
		t.Errorf("counted %d calls, want 2", got)
	}
}

// TestDebitMany owes what as many single debits would, and no more than a bucket can.
func TestDebitMany(t *testing.T) {
	for _, rate := range []float64{0.001, 1, 7, 1000, 1e6} {
		one, many := routerOf(t, oneFunction(rate)), routerOf(t, oneFunction(rate))
		a, b := &one.current.Load().row("f").user, &many.current.Load().row("f").user
		for _, n := range []uint32{1, 3, 20, grant.MaxCalls} {
			for range n {
				a.debit(0)
			}
			b.debitMany(0, n)
			if a.usedUntil.Load() != b.usedUntil.Load() {
				t.Errorf("%v/s: after %d more, %d and at once %d", rate, n, a.usedUntil.Load(), b.usedUntil.Load())
			}
		}
	}
}

func BenchmarkUnasked(b *testing.B) {
	tab := testtable.New(1000, 0)
	r := routerOf(b, tab)
	report := grant.Report{Run: "1", Counted: map[string]uint32{}}
	for _, f := range tab.Functions {
		r.Route(t0, call(f.Name.String()))
		report.Counted[f.Name.String()] = 0
	}
	b.ReportAllocs()
	for b.Loop() {
		for name := range report.Counted {
			report.Counted[name]++
		}
		r.Unasked(t0, report)
	}
}

// TestLeastRate: from grant.LeastRate on a function that is not called is granted something,
// and nothing below.
func TestLeastRate(t *testing.T) {
	for perSecond, want := range map[float64]bool{grant.LeastRate: true, 1.5 * grant.LeastRate: true, 0.999 * grant.LeastRate: false, 1: false} {
		b := bucketAt(perSecond, new(atomic.Int64))
		if n := b.grantable(0); (n >= leastGrant) != want {
			t.Errorf("at %v requests/s %d calls may be granted, want at least %d: %v", perSecond, n, leastGrant, want)
		}
	}
}

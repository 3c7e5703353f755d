package simulator

import (
	"fmt"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// scenarioRun runs a scenario of two nodes, a and b, that each serve 50 calls a second.
func scenarioRun(t *testing.T, rest string) Result {
	t.Helper()
	s, err := scenario.Parse("x.yaml", []byte(`name: x
nodes:
  - {name: a, functions: [{name: f, process: cat, maxrate: 50}]}
  - {name: b, functions: [{name: f, process: cat, maxrate: 50}]}
`+rest), scenario.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.Links.Delay = LocalDelay
	c, _ = FromScenario(s, c)
	return runScenario(t, c)
}

func scenarioOf(t *testing.T, rest string) []summary.Load { return scenarioRun(t, rest).Loads }

// statuses are the answers to all calls of a load.
func statuses(l summary.Load) string { return fmt.Sprint(l.Status) }

// TestHang: what is sent to a part that hangs waits for it, and no longer than users do.
// Where HAProxy goes on, a hundred users are there at once, and about half of them get
// 429; of real processes, 46 did.
func TestHang(t *testing.T) {
	load := "load: [{target: a, function: f, rate: 20, duration: 20s}]\n"
	for fault, want := range map[string]struct {
		status      string
		least, most float64 // ms: the longest that a call takes
	}{
		"{at: 2s, do: stop, node: a, part: haproxy, duration: 5s}":  {"", 4950, 5300},
		"{at: 2s, do: stop, node: a, part: provider, duration: 5s}": {"map[200:400]", 4900, 5300},
		"{at: 2s, do: stop, node: a, part: haproxy}":                {"map[0:360 200:40]", 10_000, 10_000},
		"{at: 2s, do: stop, node: b, part: all, duration: 5s}":      {"map[200:400]", 0, 300},
		"{at: 2s, do: stop, node: a, part: controller}":             {"map[200:400]", 0, 300},
		"{at: 2s, do: stop, node: a, part: spoa, duration: 9s}":     {"map[200:400]", 0, 300},
		// What waits for it dies with it.
		"{at: 2s, do: stop, node: a, part: haproxy}\n  - {at: 4s, do: kill, node: a, part: haproxy, duration: 1s}": {"map[0:60 200:340]", 1900, 2000},
		"{at: 2s, do: stop, node: a, part: haproxy}\n  - {at: 4s, do: restart, node: a, part: haproxy}":            {"map[200:400]", 1900, 2300},
	} {
		l := scenarioOf(t, load+"faults:\n  - "+fault+"\n")[0]
		if want.status == "" {
			full := min(55, max(40, l.Status["429"]))
			want.status = fmt.Sprintf("map[200:%d 429:%d]", 400-full, full)
		}
		if got := statuses(l); got != want.status || l.Latency.Max < want.least || l.Latency.Max > want.most {
			t.Errorf("%s: %s, %v ms at most, want %s, %v to %v ms", fault, got, l.Latency.Max, want.status, want.least, want.most)
		}
	}
}

// TestHangingAgent: HAProxy waits for twenty answers in vain, then for one in a tenth of
// a second, and asks again once there is one.
func TestHangingAgent(t *testing.T) {
	w := &world{afflictions: &afflictions{dead: make([]parts, 1), hanging: make([]hanging, 1)}}
	waits := func(calls int) (answered, late int) {
		for range calls {
			w.now += 10 * time.Millisecond
			switch ok, waited := w.ask(0); {
			case ok:
				answered++
			case waited == askTimeout:
				late++
			case waited != 0:
				t.Fatalf("it waited for %v", waited)
			}
		}
		return answered, late
	}
	check := func(when string, calls, answered, late int) {
		t.Helper()
		if a, l := waits(calls); a != answered || l != late {
			t.Errorf("%s: of %d questions %d were answered and %d waited for in vain, want %d and %d", when, calls, a, l, answered, late)
		}
	}
	check("before", 10, 10, 0)
	w.stop(0, spoaPart)
	check("at first", 20, 0, 20)
	check("then", 100, 0, 10)
	w.afflictions.hanging[0].parts = 0
	w.now += tryEvery
	check("back", 100, 100, 0)
}

// TestHangingController: its peers miss it after three periods, and it them, and both
// know each other again at once.
func TestHangingController(t *testing.T) {
	loads := scenarioOf(t, `load:
  - {target: a, function: f, rate: 80, duration: 60s}
faults:
  - {at: 5s, do: stop, node: b, part: controller, duration: 25s}
expect: []
`)
	by := func(from, to int) (b int) {
		for _, s := range loads[0].Seconds {
			if s.T >= from && s.T < to {
				b += s.ByNode["b"]
			}
		}
		return b
	}
	if before, missed, since := by(1, 5), by(25, 29), by(35, 39); before < 100 || missed > before/3 || since < 100 {
		t.Errorf("b serves %d before its controller hangs, %d while it is missed, %d since", before, missed, since)
	}
}

// TestReload: no call is lost, and for a moment all are served at home.
func TestReload(t *testing.T) {
	const load = "load: [{target: a, function: f, rate: 80, duration: 10s}]\n"
	quiet := scenarioOf(t, load)[0]
	l := scenarioOf(t, load+"faults: [{at: 5s, do: reload, node: a, part: haproxy}]\n")[0]
	if statuses(l) != "map[200:800]" {
		t.Errorf("answers: %s", statuses(l))
	}
	if here, usually := l.Seconds[5].ByNode["a"], quiet.Seconds[5].ByNode["a"]; here < usually+8 || here > usually+16 {
		t.Errorf("in the second of the reload, %d calls are served at home, else %d", here, usually)
	}
	if here, usually := l.ByNode["a"], quiet.ByNode["a"]; here > usually+20 {
		t.Errorf("%d calls are served at home, without the reload %d", here, usually)
	}
	alone := scenarioOf(t, load+"faults: [{at: 5s, do: stop, node: a, part: controller}, {at: 5s, do: reload, node: a, part: haproxy}]\n")[0]
	if alone.Seconds[8].ByNode["b"] > 0 {
		t.Errorf("the servers are back without a controller: %v", alone.Seconds[8].ByNode)
	}
}

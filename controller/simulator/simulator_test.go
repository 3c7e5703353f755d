package simulator

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/internal/experiment/load/shape"
)

// federation is ten nodes of 10 to 50 requests/s.
func federation(t testing.TB, nodes int) *Instance {
	t.Helper()
	i, err := Generate{Nodes: nodes, Functions: 1, EdgeProb: 1, Capacity: [2]float64{10, 50}, Seed: 1}.Instance()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func simulate(t testing.TB, change func(*Config)) Result {
	t.Helper()
	c := Defaults()
	c.Instance, c.Duration, c.Links.Delay = federation(t, 10), 30*time.Second, 50*time.Millisecond
	change(&c)
	r, err := Run(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent == 0 || r.Served+r.Refused != r.Sent || r.Avoidable > r.Refused || r.InVain > r.Forwarded || r.Oracle > r.Sent {
		t.Fatalf("the numbers do not add up: %+v", r.Counts)
	}
	return r
}

func of(a, b uint64) float64 { return float64(a) / float64(b) }

func TestSameSeedSameNumbers(t *testing.T) {
	for _, name := range Strategies() {
		run := func(seed uint64) Result {
			return simulate(t, func(c *Config) {
				c.Strategy, c.Seed, c.Demand.Pattern, c.Demand.Move, c.Duration = name, seed, Moving, time.Second, 5*time.Second
				c.Links.Loss = 0.1
			})
		}
		a, b := run(7), run(7)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: the same seed, other numbers:\n%s", name, diff)
		}
		if other := run(8); other.Sent == a.Sent && other.Served == a.Served {
			t.Errorf("%s: another seed, the same numbers", name)
		}
	}
}

// TestStrategiesSeeTheSameArrivals: what they are compared by.
func TestStrategiesSeeTheSameArrivals(t *testing.T) {
	var want Result
	for i, name := range Strategies() {
		got := simulate(t, func(c *Config) { c.Strategy, c.Demand.Pattern, c.Duration = name, OnOff, 5*time.Second })
		if i == 0 {
			want = got
		}
		if got.Sent != want.Sent || got.Oracle != want.Oracle {
			t.Errorf("%s: %d calls, oracle %d; others %d and %d", name, got.Sent, got.Oracle, want.Sent, want.Oracle)
		}
	}
}

// TestHeadroom holds the default strategy to what it is worth. The numbers are
// those of these seeds; docs/strategies.md has more.
func TestHeadroom(t *testing.T) {
	for _, test := range []struct {
		name    string
		demand  Demand
		load    float64
		served  float64 // of the oracle's, at least
		inVain  float64 // of all calls, at most
		pattern Pattern
	}{
		{"steady", Demand{Pattern: Steady}, 0.8, 0.995, 0.005, Steady},
		{"steady, over capacity", Demand{Pattern: Steady}, 1.5, 0.995, 0.02, Steady},
		{"moving", Demand{Pattern: Moving, Move: 5 * time.Second}, 0.8, 0.99, 0.005, Moving},
		{"moving, at capacity", Demand{Pattern: Moving, Move: 5 * time.Second}, 1, 0.98, 0.01, Moving},
		{"moving, over capacity", Demand{Pattern: Moving, Move: 5 * time.Second}, 1.5, 0.99, 0.04, Moving},
		{"moving fast", Demand{Pattern: Moving, Move: 2 * time.Second}, 0.8, 0.99, 0.01, Moving},
		{"on and off", Demand{Pattern: OnOff}, 0.8, 0.98, 0.02, OnOff},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := func(name string) Result {
				return simulate(t, func(c *Config) {
					c.Strategy, c.Load, c.Demand.Pattern = name, test.load, test.demand.Pattern
					if test.demand.Move > 0 {
						c.Demand.Move = test.demand.Move
					}
				})
			}
			r := run("headroom")
			if got := of(r.Served, r.Oracle); got < test.served {
				t.Errorf("%.4f of the oracle's calls served, want %.4f", got, test.served)
			}
			if got := of(r.InVain, r.Sent); got > test.inVain {
				t.Errorf("%.4f of the calls forwarded in vain, want %.4f", got, test.inVain)
			}
			for _, other := range []string{"quotas", "random", "static", "recalc"} {
				if o := run(other); of(o.Served, o.Sent) > of(r.Served, r.Sent)+0.005 {
					t.Errorf("%s serves %.4f, the default %.4f", other, of(o.Served, o.Sent), of(r.Served, r.Sent))
				}
			}
		})
	}
}

// TestStep: a step is served from the first second on where anybody has room.
func TestStep(t *testing.T) {
	r := simulate(t, func(c *Config) {
		c.Demand.Pattern, c.Demand.Move, c.Load, c.Duration = Step, 10*time.Second, 0.9, 10*time.Second
	})
	for at, s := range r.Seconds[5:] {
		if got := of(uint64(s.Served), uint64(s.Sent)); got < 0.97 {
			t.Errorf("second %d after the step: %d of %d served", at, s.Served, s.Sent)
		}
	}
}

// TestTopology: nobody forwards to whom he does not reach.
func TestTopology(t *testing.T) {
	i := federation(t, 4)
	i.Edges = [][2]int{{0, 1}, {2, 3}}
	c := Defaults()
	c.Instance, c.Duration = i, 5*time.Second
	for _, name := range Strategies() {
		c.Strategy = name
		w, err := newWorld(c)
		if err != nil {
			t.Fatal(err)
		}
		for at := range w.nodes {
			w.nodes[at] = watched{w.nodes[at], t, w.reach[at]}
		}
		if err := w.run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// watched is a node that may forward to some only.
type watched struct {
	node
	t     *testing.T
	reach []int
}

func (w watched) user(now time.Duration, fn int) decision {
	d := w.node.user(now, fn)
	if d.verdict == forward && !slices.Contains(w.reach, d.peer) {
		w.t.Errorf("forwarded to node %d, which is out of reach", d.peer)
	}
	return d
}

func (w watched) hear(now time.Duration, from int, a *wire.Announcement) {
	if h, ok := w.node.(hearer); ok {
		h.hear(now, from, a)
	}
}

func (w watched) load(now time.Duration, fn int) float64 {
	if p, ok := w.node.(prober); ok {
		return p.load(now, fn)
	}
	return 0
}

func (w watched) probed(now time.Duration, peer, fn int, room float64) {
	if p, ok := w.node.(prober); ok {
		p.probed(now, peer, fn, room)
	}
}

// TestMachines compares the models with queueing theory: the mean time in M/M/1 is
// the service time over 1 - utilisation, whether calls wait in line or share.
func TestMachines(t *testing.T) {
	const service, rate = 0.02, 35.0 // s, requests/s: 70 % utilised
	for kind, cpus := range map[MachineKind]float64{ServersMachine: 1, SharedMachine: 1, TokenMachine: 1} {
		m := newMachine(Machine{kind}, cpus)
		want := service
		if m != nil {
			want = service / (1 - service*rate)
		} else {
			continue // without limits: the service time itself
		}
		r := rand.New(rand.NewPCG(3, 4))
		begun := map[int32]time.Duration{}
		now, sum, n := time.Duration(0), 0.0, 0
		end := func(until time.Duration) {
			for {
				at, id, any := m.next()
				if !any || at > until {
					return
				}
				m.end()
				sum += seconds(at - begun[id])
				delete(begun, id)
				n++
			}
		}
		for id := range int32(200_000) {
			now += duration(r.ExpFloat64() / rate)
			end(now)
			begun[id] = now
			m.begin(now, duration(r.ExpFloat64()*service), id)
		}
		end(never)
		if got := sum / float64(n); n != 200_000 || math.Abs(got-want) > 0.05*want {
			t.Errorf("%s: %d calls took %.4f s on average, theory says %.4f s", kind, n, got, want)
		}
	}
}

// TestOracleIsABound: it serves what the buckets hold, and no strategy that admits
// by them serves noticeably more.
func TestOracleIsABound(t *testing.T) {
	o := newOracle([][]float64{{10}, {20}}, nil)
	served := 0
	for i := range 100_000 { // 100/s for 1,000 s
		if o.serve(time.Duration(i)*10*time.Millisecond, i%2, 0) {
			served++
		}
	}
	if want := 30 * 1000; math.Abs(float64(served-want)) > 100 {
		t.Errorf("%d served, capacity is %d", served, want)
	}
	reached := newOracle([][]float64{{10}, {20}}, [][]int{{0}, {1}})
	for range 5 {
		if !reached.serve(0, 0, 0) {
			t.Error("refused although there is room")
		}
	}
	if reached.serve(0, 0, 0) {
		t.Error("served by a node that is out of reach")
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"load 0":                 func(c *Config) { c.Load = 0 },
		"load NaN":               func(c *Config) { c.Load = math.NaN() },
		"arrivals \"bursts\"":    func(c *Config) { c.Arrivals = "bursts" },
		"demand \"wild\"":        func(c *Config) { c.Demand.Pattern = "wild" },
		"loss 1":                 func(c *Config) { c.Links.Loss = 1 },
		"delay -1ns":             func(c *Config) { c.Links.Delay = -1 },
		"period 1ms":             func(c *Config) { c.Period = time.Millisecond },
		"machine \"steam\"":      func(c *Config) { c.Machine.Kind = "steam" },
		"unknown strategy \"x\"": func(c *Config) { c.Strategy = "x" },
		"no instance":            func(c *Config) { c.Instance = nil },
		"10000 nodes with 99990000 ways between them and 1 functions": func(c *Config) {
			c.Instance = &Instance{Nodes: make([]Node, maxNodes)}
			c.Instance.Nodes[0].Functions = []Function{{Name: "f", Maxrate: 1}}
		},
		"it would change about 8.64e+08 times": func(c *Config) {
			c.Demand.Pattern, c.Demand.Move, c.Duration, c.Instance = Moving, 100*time.Millisecond, maxDuration, federation(t, 1000)
			c.Instance.Edges = Edges{}
		},
		"times, which may be 10000000": func(c *Config) {
			c.Demand.Pattern, c.Demand.On, c.Demand.Off, c.Duration = OnOff, 10*time.Millisecond, 10*time.Millisecond, maxDuration
		},
		"the trace asks for nothing in its first 1m0s": func(c *Config) {
			c.Demand.Pattern, c.Demand.Trace = Traced, []shape.Step{{}, {At: time.Hour, Rate: 5}}
		},
	} {
		c := Defaults()
		c.Instance = federation(t, 2)
		change(&c)
		if _, err := Run(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParseInstance(t *testing.T) {
	good := `{"nodes": [{"functions": [{"name": "cat", "maxrate": 10}]}, {"name": "b", "cpus": 2, "functions": []}], "edges": [[0, 1]]}`
	i, err := parseInstance([]byte(good))
	if err != nil || i.Nodes[0].Name != "node-1" || i.Nodes[0].Functions[0].ServiceMillis != defaultServiceMillis {
		t.Errorf("%+v, %v", i, err)
	}
	one := `{"functions": [{"name": "cat", "maxrate": 1}]`
	if i, err := parseInstance([]byte("\ufeff" + good)); err != nil || len(i.Edges) != 1 {
		t.Errorf("with a byte order mark: %+v, %v", i, err)
	}
	for text, want := range map[string]string{
		`{`:      "line 1: it ends within a value",
		" \n":    "the file is empty",
		"\ufeff": "the file is empty",
		"[]":     "line 1: the whole file: a JSON array is not expected here",
		"{\"nodes\":\n[{\"functions\":\n[{\"name\": \"cat\", \"maxrate\": \"10\"}]}]\n\n}": "line 3: nodes.functions.maxrate: a JSON string is not expected here",
		"{\"nodes\":\n[{\"functions\":\n[{\"name\": \"cat\", \"maxrate\": NaN}]}]\n\n}":    "line 3: invalid character 'N'",
		`{"nodes": [` + one + `}, ` + one + `}], "edges": [[0, 1], [0, 1, 1]]}`:            "edges[1]: the indexes of two nodes are expected, and not [0 1 1]",
		`{"nodes": [` + one + `}, ` + one + `}], "edges": [[1]]}`:                          "edges[0]: the indexes of two nodes are expected, and not [1]",
		`{"nodes": [` + one + `}, ` + one + `}], "edges": 1}`:                              "edges: pairs of indexes",
		`{"nodes": [` + one + `, "strategy": "x"}]}`:                                       `nodes[0] (node-1): unknown strategy "x"`,
		`{"nodes": [` + one + `, "name": "a\u001b[31m"}]}`:                                 `nodes[0]: the name "a\x1b[31m"`,
		`{"nodes": [` + one + `, "cpus": 1e308}]}`:                                         "above 0 and at most 1e6",
		"{\n\"nods\":1}":             `unknown field "nods"`,
		`{"nodes": [], "nodes": []}`: `"nodes"`, // twice
		`{"Nodes": []}`:              `"Nodes"`,
		`{"nodes": []}`:              "0 nodes",
		`{"nodes": [{}]}`:            "0 functions",
		`{"nodes": [{"functions": [{"name": "cat", "maxrate": 0}]}]}`:                             "nodes[0] (node-1): functions[0] (cat): maxrate 0",
		`{"nodes": [{"functions": [{"name": "../x", "maxrate": 1}]}]}`:                            "no name of a function",
		`{"nodes": [{"name": "a", "functions": [{"name": "cat", "maxrate": 1}]}, {"name": "a"}]}`: "two nodes",
		`{"nodes": [{"cpus": -1, "functions": [{"name": "cat", "maxrate": 1}]}]}`:                 "cpus -1",
		`{"nodes": [{"functions": [{"name": "cat", "maxrate": 1}]}], "edges": [[0, 1]]}`:          "edges[0]",
		good + `{}`: "line 1: invalid character '{' after top-level value",
	} {
		if _, err := parseInstance([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseInstance(f *testing.F) {
	f.Add([]byte(`{"nodes": [{"functions": [{"name": "cat", "maxrate": 10}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := parseInstance(data)
		if err == nil && (len(i.Nodes) == 0 || len(i.functions()) == 0) {
			t.Errorf("%s was accepted", data)
		}
	})
}

// TestSweep: how many runs go on at a time changes nothing, nor does an error change
// what was run before it.
func TestSweep(t *testing.T) {
	base := Defaults()
	base.Duration, base.Warmup = 2*time.Second, time.Second
	seeds := []uint64{}
	s := Sweep{Base: base, Strategies: []string{"headroom", "random"}, Loads: []float64{0.8, 1.2}, Repeats: 3, Instance: func(seed uint64) (*Instance, error) {
		seeds = append(seeds, seed)
		return federation(t, 3), nil
	}}
	run := func(processors int) (rows []Row) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		done := 0.0
		rows, err := s.Run(t.Context(), func(_ string, all float64) { done = max(done, all) })
		if err != nil || done > 1+1e-9 {
			t.Fatalf("%v, %v of it done", err, done)
		}
		return rows
	}
	rows := run(1)
	if diff := cmp.Diff(rows, run(4)); diff != "" {
		t.Errorf("four at a time (-one by one +now):\n%s", diff)
	}
	if want := []uint64{1, 2, 3, 1, 2, 3}; !slices.Equal(seeds, want) {
		t.Errorf("instances of the seeds %v, want %v", seeds, want)
	}
	for i, row := range rows {
		if row.Repeat != 1+i/4 || row.Strategy != s.Strategies[i%2] || row.Load != s.Loads[i/2%2] || row.Seed != uint64(1+i/4) {
			t.Errorf("row %d is of %s, load %v, repeat %d, seed %d", i, row.Strategy, row.Load, row.Repeat, row.Seed)
		}
	}
	for want, change := range map[string]func(*Sweep){
		"there must be 1 to":          func(s *Sweep) { s.Repeats = math.MaxInt/4 - 1 }, // which times four is negative, or none
		"4 times: there must":         func(s *Sweep) { s.Strategies, s.Repeats = nil, 4 },
		"-1 times: there must":        func(s *Sweep) { s.Repeats = -1 },
		"strategy random is named":    func(s *Sweep) { s.Strategies = []string{"random", "random"} },
		"load 0.8 is named twice":     func(s *Sweep) { s.Loads = []float64{0.8, 1, 0.8} },
		"4611686018427387904 times: ": func(s *Sweep) { s.Repeats = 1 << 62 },
	} {
		other := s
		change(&other)
		if _, err := other.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// Runs that are too short to look at the context end with it nevertheless.
	ended, end := context.WithCancel(t.Context())
	s.Repeats = 1000
	if got, err := s.Run(ended, func(string, float64) { end() }); !errors.Is(err, context.Canceled) || len(got) > 100 {
		t.Errorf("%d runs after the end, %v", len(got), err)
	}
	s.Repeats = 3
	s.Strategies[1] = "nobody's"
	if got, err := s.Run(t.Context(), func(string, float64) {}); err == nil || len(got) != 1 || !cmp.Equal(got[0], rows[0]) {
		t.Errorf("%d rows before an error, %v", len(got), err)
	}
}

package simulator

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

const scenarios = "../../deploy/emulator/scenarios/"

// fromFile is the run of a scenario's file.
func fromFile(t *testing.T, path string) (*scenario.Scenario, Config, []Note) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(path, text, scenario.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.Links.Delay = LocalDelay
	c, notes := FromScenario(s, c)
	return s, c, notes
}

func runScenario(t *testing.T, c Config) Result {
	t.Helper()
	r, err := Run(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOriginals are the published tests of the original, in full size: everything is
// served, and what the original's strategies lose is seen.
func TestOriginals(t *testing.T) {
	for _, file := range []string{"test-1.yaml", "test-2.yaml", "test-3.yaml"} {
		s, c, notes := fromFile(t, scenarios+"original/"+file)
		if len(notes) > 0 {
			t.Errorf("%s: %v", file, notes)
		}
		r := runScenario(t, c)
		for _, v := range summary.Check(s.Expect, summary.Summary{Loads: r.Loads}) {
			t.Errorf("%s:%d: %s", file, v.Line, v.Reason)
		}
	}
	_, c, _ := fromFile(t, scenarios+"original/test-1.yaml")
	c.Strategy = "node-margin@60s"
	margin := runScenario(t, c)
	if got := of(margin.Served, margin.Sent); got < 0.955 || got > 0.985 { // 0.9763 was published
		t.Errorf("node margin serves %.4f of the first test", got)
	}
}

// TestNotes: what is otherwise than the scenario says is named by its line.
func TestNotes(t *testing.T) {
	s, err := scenario.Parse("x.yaml", []byte(`name: x
tls: true
fast_path: true
nodes:
  - {name: a, functions: [{name: f, process: cat, maxrate: 10, timeout_ms: 5, labels: {x: y}}]}
  - {name: b, gateway: "http://10.0.0.7:8080", functions: [{name: f}]}
load:
  - {target: a, function: f, rate: 5, duration: 20s, headers: {Accept: x}}
`), scenario.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c, notes := FromScenario(s, Defaults())
	var got []string
	for _, n := range notes {
		word, _, _ := strings.Cut(n.Text, " ")
		got = append(got, word)
	}
	if want := "tls: fast_path: timeout_ms: labels: gateway:"; strings.Join(got, " ") != want {
		t.Errorf("noted %s, want %s", strings.Join(got, " "), want)
	}
	r := runScenario(t, c)
	if r.Sent != 100 || r.Loads[0].Sent != 100 || len(r.Loads) != 1 {
		t.Errorf("%d calls, loads %+v", r.Sent, r.Loads)
	}
}

// TestFaults: of a federation with room for all, users see no more of a fault than its
// nature and the time until it is noticed make them.
func TestFaults(t *testing.T) {
	for text, lost := range map[string][2]float64{ // of all calls
		"kill node-2 controller at 5s for 10s": {0, 0.001},
		"kill node-2 spoa at 5s for 10s":       {0, 0.001},
		"kill node-2 haproxy at 5s for 10s":    {0.03, 0.09}, // its users, for half of the time
		"kill node-2 provider at 5s for 10s":   {0, 0.04},    // its users, until it is noticed
		"kill node-2 all at 5s for 10s":        {0.03, 0.09},
		"partition node-2 at 5s for 10s":       {0, 0.01},
		"restart node-2 controller at 5s":      {0, 0.001},
		"stop node-2 controller at 5s for 10s": {0, 0.001},
		"stop node-2 spoa at 5s for 10s":       {0, 0.001},
		"stop node-2 haproxy at 5s for 9s":     {0.02, 0.06}, // its users wait, and then come all at once
		"stop node-2 provider at 5s for 9s":    {0, 0.001},
		"stop node-2 all at 5s for 9s":         {0.02, 0.06},
		"reload node-2 haproxy at 5s":          {0, 0.001},
	} {
		i := federation(t, 10)
		faults, err := i.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		r := simulate(t, func(c *Config) {
			c.Instance, c.Faults, c.Load, c.Duration, c.Demand.Skew, c.Links.Delay = i, faults, 0.5, 20*time.Second, 0, 5*time.Millisecond
		})
		if got := of(r.Refused, r.Sent); got < lost[0] || got > lost[1] {
			t.Errorf("%s: %.4f of the calls are not served, want %v to %v", text, got, lost[0], lost[1])
		}
		if r.Seconds[19].Served < r.Seconds[19].Sent*97/100 {
			t.Errorf("%s: in the end %+v", text, r.Seconds[19])
		}
	}
}

func TestChurnAndLostCalls(t *testing.T) {
	r := simulate(t, func(c *Config) {
		c.Load, c.Churn, c.Links.CallLoss = 0.5, Churn{10 * time.Second, 2 * time.Second}, 0.05
	})
	// A sixth of the time, a node is not there for its users; nobody else is to notice much.
	if got := of(r.Served, r.Oracle); got < 0.95 {
		t.Errorf("%.4f of the oracle's calls served", got)
	}
	if got := of(r.Refused, r.Sent); got < 0.02 {
		t.Errorf("only %.4f are not served: nothing broke", got)
	}
	quiet := simulate(t, func(c *Config) { c.Load = 0.5 })
	if r.P99Millis <= quiet.P99Millis+100 {
		t.Errorf("p99 is %.0f ms with lost messages and %.0f ms without", r.P99Millis, quiet.P99Millis)
	}
}

func TestParseFaultRefuses(t *testing.T) {
	i := federation(t, 2)
	for text, want := range map[string]string{
		"":                                        "does not say when",
		"at 5s":                                   "does nothing",
		"kill node-1 spoa":                        "does not say when",
		"kill node-1 spoa at":                     `no time behind "at"`,
		"kill node-1 spoa at noon":                `behind "at", a time`,
		"kill node-1 spoa at 5s for 0s":           `behind "for", a time of 1ms`,
		"kill node-9 spoa at 5s":                  `no node "node-9"`,
		"kill node-1 brain at 5s":                 `unknown part "brain"`,
		"kill node-1 at 5s":                       "kill needs a node and a part",
		"explode node-1 spoa at 5s":               `unknown action "explode"`,
		"reload node-1 spoa at 5s":                "only haproxy can be reloaded",
		"reload node-1 haproxy at 5s for 1s":      "only kill, stop and partition last",
		"partition at 5s":                         "partition: name a node",
		"partition node-1 spoa at 5s":             "whole nodes",
		"restart node-1 all at 5s for 1s":         "only kill, stop and partition last",
		"kill node-1 spoa provider at 5s for 10s": "kill needs a node and a part",
	} {
		if _, err := i.ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

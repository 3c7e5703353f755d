package faults

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/report"
)

func TestReport(t *testing.T) {
	r := Report{
		Setting: report.Setting{Date: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Commit: "abc", Machine: "2 cores", HAProxy: "2.6.12"},
		Results: []Result{
			{
				Case: "x", About: "X: dies", Here: Impact{Sent: 9, Errors: map[string]int{"0": 2, "503": 1}}, Normal: -1, Complain: "no servers",
				Checks: []Verdict{{Target: "no error", Measured: "3"}, {Target: "no reload", Met: true, Measured: "0"}},
			},
			{Case: "y", About: "Y: hangs", Checks: []Verdict{{Target: "no error", Met: true, Measured: "0"}}},
			{Case: "z", About: "Z: jumps", NotRun: "it cannot"},
		},
	}
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-01-02 03:04 UTC, commit abc, on 2 cores, HAProxy 2.6.12", "2 of 3 faults were done, 1 are not possible on this machine. In 1 of those done, all targets were met.",
		"| X: dies | 2 x no response, 1 x 503 of 9 |", "**not met**: no error (3) |", "| Y: hangs | none of 0 |", "| met |",
		"| Z: jumps | | | | | | | | | not run here |", "not run here: it cannot.", "What was wrong last: no servers.",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	for line := range strings.Lines(b.String()) {
		if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") && n != 11 {
			t.Errorf("%d bars in %s", n, line)
		}
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || len(back.Results) != 3 {
		t.Errorf("read back: %v, %d results", err, len(back.Results))
	}
}

func TestSelect(t *testing.T) {
	all, err := Select(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Name] || c.About == "" || c.inflict == nil {
			t.Errorf("test case %q: named twice, says nothing, or does nothing", c.Name)
		}
		seen[c.Name] = true
	}
	if one, err := Select([]string{"node-kill"}); err != nil || len(one) != 1 || one[0].Name != "node-kill" {
		t.Errorf("Select(node-kill) = %v, %v", one, err)
	}
	if _, err := Select([]string{"node-kill", "moon"}); err == nil {
		t.Error("a test case that does not exist was selected")
	}
}

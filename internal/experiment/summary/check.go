package summary

import (
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// Violation is an expectation that did not hold.
type Violation struct {
	Line   int // of the expectation in the scenario's file; 0: expected of every run
	Reason string
}

// Check holds a summary against what is expected. Besides that it expects of
// every run that HAProxy was never reloaded but by a fault.
func Check(expect []scenario.Expectation, s Summary) []Violation {
	var violations []Violation
	for _, e := range expect {
		violations = append(violations, check(e, s.Loads)...)
	}
	for _, n := range s.Nodes {
		if n.HAProxyReloads != 0 {
			violations = append(violations, Violation{0, fmt.Sprintf("%s: HAProxy was reloaded %d times, expected 0",
				n.Name, n.HAProxyReloads)})
		}
	}
	return violations
}

func check(e scenario.Expectation, loads []Load) []Violation {
	of := "all loads"
	if e.Load > 0 {
		of = fmt.Sprintf("load %d", e.Load)
		loads = loads[e.Load-1 : e.Load]
	}
	from, to := int(e.From/time.Second), int(e.To/time.Second)
	status, byNode := window(loads, from, to)
	others := 0.0
	for key, rate := range status {
		if _, named := e.Status[key]; !named {
			others += rate
		}
	}
	status[scenario.Other] = others

	var violations []Violation
	expect := func(what string, ranges map[string]scenario.Range, got map[string]float64) {
		for _, key := range sortedKeys(ranges) {
			if !ranges[key].Contains(got[key]) {
				violations = append(violations, Violation{e.Line, fmt.Sprintf("%s, seconds %d to %d: %s %s: %.4g/s, expected %s",
					of, from, to, what, key, got[key], ranges[key])})
			}
		}
	}
	expect("status", e.Status, status)
	expect("served by", e.ByNode, byNode)
	return violations
}

// window gives the average rates in requests/s over the seconds [from, to).
func window(loads []Load, from, to int) (status, byNode map[string]float64) {
	statuses, nodes := map[string]int{}, map[string]int{}
	for _, l := range loads {
		for _, s := range l.Seconds {
			if s.T >= from && s.T < to {
				add(statuses, s.Status)
				add(nodes, s.ByNode)
			}
		}
	}
	return rates(statuses, to-from), rates(nodes, to-from)
}

func rates(counts map[string]int, seconds int) map[string]float64 {
	rates := make(map[string]float64, len(counts))
	for key, n := range counts {
		rates[key] = float64(n) / float64(seconds)
	}
	return rates
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

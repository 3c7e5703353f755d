// Package summary turns the results of an experiment into its summary, and
// holds the summary against what the scenario expects. It is pure.
package summary

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// Summary is what OUT/summary.json holds.
type Summary struct {
	Scenario string `json:"scenario"`
	Strategy string `json:"strategy"`
	Seed     uint64 `json:"seed"`
	Version  string `json:"version"` // of the program that ran it
	Loads    []Load `json:"loads"`
	Nodes    []Node `json:"nodes"`
}

// Load tells what became of one load's requests.
type Load struct {
	Target   string `json:"target"`
	Function string `json:"function"`
	Sent     int    `json:"sent"`
	// Status counts the requests by status; "0" are those without a response.
	Status map[string]int `json:"status"`
	// ByNode counts the 200s by the name of the node that executed the function.
	ByNode  map[string]int `json:"by_node"`
	Latency Latency        `json:"latency_ms"`
	// Seconds are those from the load's start to its last request, without a gap.
	Seconds []Second `json:"seconds"`
}

// Latency is the time from sending a request to the end of its response, over
// all requests of a load, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Second counts the requests sent within [T, T+1) seconds after t = 0.
type Second struct {
	T      int            `json:"t"`
	Status map[string]int `json:"status"`
	ByNode map[string]int `json:"by_node"`
}

// Node is what happened to one node.
type Node struct {
	Name   string `json:"name"`
	PeerID string `json:"peer_id"`
	// HAProxyReloads counts the reloads that no fault asked for.
	HAProxyReloads int `json:"haproxy_reloads"`
	// Restarts counts the parts that faults started anew.
	Restarts int `json:"restarts"`
}

// Sample is the result of one request.
type Sample struct {
	At      time.Duration // when it was sent, after t = 0
	Latency time.Duration
	Status  int    // 0: no response
	Node    string // that executed the function; empty if no node did
}

// OfLoad summarises the samples of one load, in any order.
func OfLoad(l scenario.Load, samples []Sample) Load {
	sum := Load{
		Target: l.Target, Function: l.Function, Sent: len(samples),
		Status: map[string]int{}, ByNode: map[string]int{},
		Latency: latency(samples), Seconds: seconds(l, samples),
	}
	for _, s := range sum.Seconds {
		add(sum.Status, s.Status)
		add(sum.ByNode, s.ByNode)
	}
	return sum
}

func seconds(l scenario.Load, samples []Sample) []Second {
	first := int(l.Start / time.Second)
	last := first
	for _, s := range samples {
		last = max(last, second(s))
	}
	all := make([]Second, last-first+1)
	for i := range all {
		all[i] = Second{T: first + i, Status: map[string]int{}, ByNode: map[string]int{}}
	}
	for _, s := range samples {
		at := all[max(0, second(s)-first)]
		at.Status[strconv.Itoa(s.Status)]++
		if s.Status == 200 {
			at.ByNode[s.Executor()]++
		}
	}
	return all
}

func second(s Sample) int { return int(s.At / time.Second) }

// Executor names the node that served a 200; those that do not tell are counted
// too, so that the sums match.
func (s Sample) Executor() string {
	if s.Node == "" {
		return "unknown"
	}
	return s.Node
}

func add(sum, counts map[string]int) {
	for key, n := range counts {
		sum[key] += n
	}
}

func latency(samples []Sample) Latency {
	if len(samples) == 0 {
		return Latency{}
	}
	sorted := make([]time.Duration, len(samples))
	for i, s := range samples {
		sorted[i] = s.Latency
	}
	slices.Sort(sorted)
	quantile := func(q float64) float64 {
		rank := max(1, int(math.Ceil(q*float64(len(sorted)))))
		return milliseconds(sorted[rank-1])
	}
	return Latency{P50: quantile(0.5), P90: quantile(0.9), P99: quantile(0.99), Max: quantile(1)}
}

// milliseconds rounds to whole microseconds.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

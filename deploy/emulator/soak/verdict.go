package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what came of a soak.
type Report struct {
	Seed        uint64
	Wanted      time.Duration
	Lasted      time.Duration
	Interrupted bool
	Race        bool // the programs were built with the race detector
	Reloads     int  // of HAProxies, that no fault asked for
	Leftovers   []string
	PeerTLS     bool     // requests between the nodes went over TLS
	Missing     []string // what this machine did not allow, and why
	Checks      []Verdict

	outcome  outcome
	visitors int
	usages   []usage
	logs     logbook
	unwell   []string // what was wrong with nodes at the end
	crashed  string   // the parts that ended by themselves
}

// Verdict says whether one thing asked for was found.
type Verdict struct {
	Asked    string
	Met      bool
	Measured string
}

// Met reports whether everything was.
func (r Report) Met() bool {
	return !slices.ContainsFunc(r.Checks, func(v Verdict) bool { return !v.Met })
}

// minServed is how many of the requests that were sent while all nodes were well
// must be served: far fewer than they are, but a federation that refuses
// everybody is no good.
const minServed = 0.5

// judge fills in the checks.
func (r *Report) judge() {
	o := r.outcome
	r.Checks = []Verdict{
		{
			"every request answered, unless a fault of a provider, an HAProxy, a node or its line broke it off",
			o.sent > 0 && len(o.lost)+o.unseen == 0, requestsText(o) + list(": ", o.lost),
		},
		{
			fmt.Sprintf("at least %.0f %% served of those sent while all nodes were well", 100*minServed),
			o.calm > 0 && float64(o.calmServed) >= minServed*float64(o.calm) || o.calm == 0 && (r.Interrupted || o.sent == 0),
			share(o.calmServed, o.calm),
		},
		r.wellAgain(),
		r.raceFree(),
		{"no panic", r.logs.panics == 0, count(r.logs.panics, r.logs.first)},
		{"no part ended by itself", r.crashed == "", orNone(strings.ReplaceAll(r.crashed, "\n", " "))},
		{"no HAProxy reloaded by DFaaS", r.Reloads == 0, fmt.Sprint(r.Reloads)},
		r.steady("goroutines", goroutineSlack, 1, func(u usage) *trend { return u.goroutines }),
		r.steady("resident memory, MiB", memorySlack, 1<<20, func(u usage) *trend { return u.memory }),
		r.steady("open files", fileSlack, 1, func(u usage) *trend { return u.files }),
		{"no process left behind", len(r.Leftovers) == 0, orNone(strings.Join(r.Leftovers, "; "))},
	}
}

// wellAgain asks for every node to be whole again after each fault.
func (r *Report) wellAgain() Verdict {
	slowest, wrong := time.Duration(0), slices.Clone(r.unwell)
	for _, i := range r.outcome.incidents {
		if i.err != nil {
			wrong = append(wrong, fmt.Sprintf("%s after %s at %.0f s: %v", i.node, i.fault, i.began.Seconds(), i.err))
		} else if i.normal >= 0 {
			slowest = max(slowest, i.normal-i.undone)
		}
	}
	measured := fmt.Sprintf("%d faults, the slowest recovery took %.1f s", len(r.outcome.incidents), slowest.Seconds())
	return Verdict{
		fmt.Sprintf("every node well within %v of the end of each fault, and at the end", wellWithin),
		len(wrong) == 0, strings.ReplaceAll(measured+list(": ", wrong), "\n", " "),
	}
}

func (r *Report) raceFree() Verdict {
	v := Verdict{"no data race", r.Race && r.logs.races == 0, count(r.logs.races, r.logs.first)}
	if !r.Race {
		v.Measured = "not looked for: the programs are not built with -race, as `make soak` does it"
	}
	return v
}

// tooShort is what is said where nothing can be said.
const tooShort = "no process lived long enough to tell"

// steady asks for something not to grow in any process. Unit is for the reader.
func (r *Report) steady(what string, slack, unit int, of func(usage) *trend) Verdict {
	v := Verdict{Asked: what + ": no process's grows", Met: true}
	var growing []string
	judged := 0
	for _, u := range r.usages {
		t := of(u)
		if t == nil {
			continue
		}
		judged++
		if t.grows(slack) {
			growing = append(growing, fmt.Sprintf("%s of %s: %s", u.life.part, u.life.node, t.text(unit)))
		}
	}
	switch {
	case judged == 0:
		v.Met, v.Measured = r.Interrupted, tooShort
	case len(growing) > 0:
		v.Met, v.Measured = false, strings.Join(growing, "; ")
	default:
		v.Measured = fmt.Sprintf("none of %d", judged)
	}
	return v
}

// text is a trend for the reader.
func (t *trend) text(unit int) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%d, %d, %d", t.start/unit, t.middle/unit, t.end/unit)
}

// requestsText says what became of the requests.
func requestsText(o outcome) string {
	return fmt.Sprintf("%d requests: %d served, %d refused, %d broken off by faults (%s), %d lost", o.sent, o.served, o.refused,
		o.explained, statuses(o.counts.broken), len(o.lost)+o.unseen)
}

// statuses writes counts by status.
func statuses(counts map[int]int) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		name := fmt.Sprint(status)
		if status == 0 {
			name = "no answer"
		}
		parts = append(parts, fmt.Sprintf("%d x %s", counts[status], name))
	}
	return strings.Join(parts, ", ")
}

// list writes the first few of something.
func list[T any](before string, all []T) string {
	const most = 5
	if len(all) == 0 {
		return ""
	}
	var parts []string
	for _, entry := range all[:min(most, len(all))] {
		parts = append(parts, fmt.Sprint(entry))
	}
	if len(all) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(all)-most))
	}
	return before + strings.Join(parts, "; ")
}

func share(part, whole int) string {
	if whole == 0 {
		return "none sent"
	}
	return fmt.Sprintf("%.1f %% of %d", 100*float64(part)/float64(whole), whole)
}

func count(n int, first string) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, the first in %s", n, strings.TrimSpace(first))
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// incident is a fault that happened. Times are those since the soak's begin.
type incident struct {
	node   string
	fault  fault
	began  time.Duration
	undone time.Duration // below 0: not yet
	normal time.Duration // when the node was well again; below 0: not yet
	err    error         // why it could not be done, or undone, or was not well in time
}

// aftermath is how long after a harmful fault was undone a request may still
// break off: a started HAProxy or provider takes a moment to listen.
const aftermath = 2 * time.Second

// explains reports whether a request that was on its way from one time to another
// may have broken off because of the fault. Any node may have executed it.
func (i incident) explains(from, to time.Duration) bool {
	return i.fault.harmful() && to >= i.began && (i.undone < 0 || from <= i.undone+aftermath)
}

// broken is a request that was not answered as DFaaS answers a user.
type broken struct {
	load     string
	from, to time.Duration
	status   int // 0: there was no response
}

func (b broken) String() string {
	what := fmt.Sprintf("answered with %d", b.status)
	if b.status == 0 {
		what = "without an answer"
	}
	return fmt.Sprintf("%s at %.1f s, %s after %.1f s", b.load, b.from.Seconds(), what, (b.to - b.from).Seconds())
}

// maxBroken bounds how many of them are remembered; the rest is counted.
const maxBroken = 10_000

// tally counts what became of the requests. It is safe for concurrent use.
type tally struct {
	mu        sync.Mutex
	counts    counts
	incidents []*incident
	broken    []broken
}

// counts are requests by what became of them.
type counts struct {
	sent, served, refused int
	broken                map[int]int // by status
	// unseen are broken ones that are not remembered.
	unseen int
	// calm are those sent while no fault was going on; calmServed the served of them.
	calm, calmServed int
}

// answered counts one request of a load.
func (t *tally) answered(load string, s summary.Sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.counts
	c.sent++
	calm := t.calm(s.At)
	if calm {
		c.calm++
	}
	switch s.Status {
	case 200:
		c.served++
		if calm {
			c.calmServed++
		}
		return
	case 429, 503: // over the limit, or nobody has room: an answer to live with
		c.refused++
		return
	}
	if c.broken == nil {
		c.broken = make(map[int]int)
	}
	c.broken[s.Status]++
	if len(t.broken) >= maxBroken {
		c.unseen++
		return
	}
	t.broken = append(t.broken, broken{load: load, from: s.At, to: s.At + s.Latency, status: s.Status})
}

// calm reports whether nothing was wrong with any node at a time.
func (t *tally) calm(at time.Duration) bool {
	for _, i := range slices.Backward(t.incidents) {
		if at >= i.began && (i.normal < 0 || at <= i.normal) {
			return false
		}
	}
	return true
}

// begin notes that a fault begins.
func (t *tally) begin(node string, f fault, now time.Duration) *incident {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := &incident{node: node, fault: f, began: now, undone: -1, normal: -1}
	t.incidents = append(t.incidents, i)
	return i
}

// change changes an incident.
func (t *tally) change(i *incident, how func(*incident)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	how(i)
}

// outcome is the tally at one time.
type outcome struct {
	counts
	incidents []incident
	explained int
	lost      []broken // nothing explains these
}

func (t *tally) outcome() outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := outcome{counts: t.counts}
	o.counts.broken = maps.Clone(t.counts.broken)
	for _, i := range t.incidents {
		o.incidents = append(o.incidents, *i)
	}
	for _, b := range t.broken {
		if slices.ContainsFunc(o.incidents, func(i incident) bool { return i.explains(b.from, b.to) }) {
			o.explained++
		} else {
			o.lost = append(o.lost, b)
		}
	}
	return o
}

// now lists the faults that are going on.
func (o outcome) now() string {
	var all []string
	for _, i := range o.incidents {
		if i.undone < 0 {
			all = append(all, fmt.Sprintf("%s of %s", i.fault, i.node))
		}
	}
	if len(all) == 0 {
		return "none now"
	}
	return "now: " + strings.Join(all, ", ")
}

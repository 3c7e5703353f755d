package simulator

import (
	"math/rand/v2"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// link is what lies between two nodes that reach each other.
func (w *world) link(a, b int) topology.Link {
	link := topology.Link{Delay: w.config.Links.Delay, Loss: w.config.Links.CallLoss}
	if w.routes == nil {
		return link
	}
	way, _ := w.routes.Link(a, b)
	return link.Then(way)
}

// delay is how long a message takes from one node to another if it does not get lost.
func (w *world) delay(a, b int) time.Duration {
	link := w.link(a, b)
	return link.Delay + jitter(w.jitters, link.Jitter)
}

func jitter(r *rand.Rand, most time.Duration) time.Duration {
	if most == 0 {
		return 0
	}
	return time.Duration((2*r.Float64() - 1) * float64(most))
}

// hop is how long a message takes from one node to another: TCP sends again what gets
// lost.
func (w *world) hop(a, b int) time.Duration {
	link := w.link(a, b)
	d := link.Delay + jitter(w.jitters, link.Jitter)
	if link.Loss == 0 {
		return d
	}
	wait := retransmit
	for range maxRetransmit {
		if w.callLinks.Float64() >= link.Loss {
			break
		}
		d += wait
		wait *= 2
	}
	return d
}

// hearers calls each for every node that hears of a node's announcements.
func (w *world) hearers(from int, each func(int)) {
	if w.routes == nil {
		w.neighbours(from, each)
		return
	}
	for n := range w.capacity {
		if n != from && !w.cut(from, n) {
			each(n)
		}
	}
}

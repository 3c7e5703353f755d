package simulator

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// Fault is something that is done to nodes while they are simulated: a part is
// killed, hangs, is started anew or reloaded, or nodes are cut off from the others or
// reach them again.
// A world without faults is one in which nothing ever breaks.
type Fault struct {
	At   time.Duration // after the warm-up
	Do   scenario.Action
	Part scenario.Part // with an action on one
	// Nodes are those that it is done to, by index; with Heal none is all.
	Nodes []int
	// Edge is the index of the link that it is done to, with an action on one; Link is
	// what that is like from then on, with ChangeLink.
	Edge int
	Link topology.Link
}

// Churn is nodes that fail and come back by themselves, all parts at once.
type Churn struct {
	Up   time.Duration // mean time that a node is up, exponentially distributed; 0: it never fails
	Down time.Duration // mean time until it is back
}

func (c Churn) check() error {
	if c.Up != 0 && (c.Up < time.Second || c.Down < 100*time.Millisecond || c.Up > maxDuration || c.Down > maxDuration) {
		return fmt.Errorf("churn: up for %v and down for %v: these may be 1s to %v and 100ms to %v", c.Up, c.Down, maxDuration, maxDuration)
	}
	return nil
}

// faults are those of the churn until end, in no order.
func (c Churn) faults(nodes int, seed uint64, end time.Duration) []Fault {
	if c.Up == 0 {
		return nil
	}
	r := rand.New(rand.NewPCG(seed, streamChurn))
	var out []Fault
	for n := range nodes {
		at := time.Duration(0)
		for {
			at += duration(r.ExpFloat64() * seconds(c.Up))
			if at >= end {
				break
			}
			out = append(out, Fault{At: at, Do: scenario.Kill, Part: scenario.All, Nodes: []int{n}})
			at += max(100*time.Millisecond, duration(r.ExpFloat64()*seconds(c.Down)))
			out = append(out, Fault{At: at, Do: scenario.Restart, Part: scenario.All, Nodes: []int{n}})
		}
	}
	return out
}

func (f Fault) check(nodes int, t *topology.Topology) error {
	if onPart(f.Do) {
		if err := scenario.CheckFault(f.Do, f.Part); err != nil {
			return err
		}
	}
	if f.At < 0 || f.At > maxDuration {
		return fmt.Errorf("%s at %v: it may be 0 to %v", f.Do, f.At, maxDuration)
	}
	for _, n := range f.Nodes {
		if n < 0 || n >= nodes {
			return fmt.Errorf("%s: there is no node %d", f.Do, n)
		}
	}
	if f.Do.OnLink() {
		if t == nil || f.Edge < 0 || f.Edge >= len(t.Edges) {
			return fmt.Errorf("%s: there is no link %d", f.Do, f.Edge)
		}
		return nil
	}
	if len(f.Nodes) == 0 && f.Do != scenario.Heal {
		return fmt.Errorf("%s: name a node", f.Do)
	}
	return nil
}

// onPart reports whether the action is one on parts of nodes.
func onPart(do scenario.Action) bool { return slices.Contains(scenario.Actions(), do) }

// parts are some of the parts of a node.
type parts uint8

const (
	spoaPart parts = 1 << iota
	controllerPart
	haproxyPart
	providerPart
	allParts = spoaPart | controllerPart | haproxyPart | providerPart
)

func partsOf(p scenario.Part) parts {
	switch p {
	case scenario.SPOA:
		return spoaPart
	case scenario.Controller:
		return controllerPart
	case scenario.HAProxy:
		return haproxyPart
	case scenario.Provider:
		return providerPart
	}
	return allParts
}

// What a fault costs where there is no clock to ask: how HAProxy and the drop-in are
// set up (haproxy/dfaas.cfg).
const (
	connectTimeout = 200 * time.Millisecond // to a peer that is out of reach
	noticeDown     = 2 * time.Second        // health checks: every second, two must fail
	noticeHang     = 3 * time.Second        // those that get no answer take longer to fail
	noticeUp       = time.Second            // one must succeed
	// maxRetransmit is how often a message is sent again before that is given up.
	maxRetransmit = 6
	// retransmit is the least time after which TCP sends again what was lost; it
	// doubles each time.
	retransmit = 200 * time.Millisecond
)

// afflictions are the faults of a world and what they have broken. It is nil in a
// world without any.
type afflictions struct {
	timeline []Fault
	dead     []parts // by node
	side     []int   // by node: nodes of different sides do not reach each other
	sides    int     // so many have been made
	hanging  []hanging
	waits    int32  // so many times has a call waited for what hangs
	reloaded []bool // by node: HAProxy has no servers of peers yet
}

// newAfflictions returns nil if nothing ever breaks.
func newAfflictions(c *Config) *afflictions {
	nodes := len(c.Instance.Nodes)
	timeline := append(slices.Clone(c.Faults), c.Churn.faults(nodes, c.Seed, c.Duration)...)
	if len(timeline) == 0 {
		return nil
	}
	slices.SortStableFunc(timeline, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i := range timeline {
		timeline[i].At += c.Warmup
	}
	return &afflictions{timeline: timeline, dead: make([]parts, nodes), side: make([]int, nodes), hanging: make([]hanging, nodes), reloaded: make([]bool, nodes)}
}

// without reports whether any of these parts of a node is dead.
func (w *world) without(n int, p parts) bool {
	return w.afflictions != nil && w.afflictions.dead[n]&p != 0
}

// cut reports whether two nodes do not reach each other: a partition lies between them,
// or no links that are up.
func (w *world) cut(a, b int) bool {
	if w.routes != nil {
		_, ok := w.routes.Link(a, b)
		return !ok
	}
	return w.afflictions != nil && w.afflictions.side[a] != w.afflictions.side[b]
}

// healthy reports whether HAProxy at one node would find another one's to be up.
func (w *world) healthy(from, n int) bool {
	return !w.cut(from, n) && !w.silent(n, haproxyPart|providerPart)
}

// afflict does the next fault of the timeline.
func (w *world) afflict(i int) {
	f := &w.afflictions.timeline[i]
	notice := noticeDown
	switch f.Do {
	case scenario.Kill:
		for _, n := range f.Nodes {
			w.kill(n, partsOf(f.Part))
		}
	case scenario.Restart:
		for _, n := range f.Nodes {
			w.restart(n, partsOf(f.Part))
		}
		notice = noticeUp
	case scenario.Stop:
		for _, n := range f.Nodes {
			w.stop(n, partsOf(f.Part))
		}
		notice = noticeHang
	case scenario.Continue:
		for _, n := range f.Nodes {
			w.resume(n, partsOf(f.Part))
		}
		notice = noticeUp
	case scenario.Reload:
		for _, n := range f.Nodes {
			w.reload(n)
		}
	case scenario.Partition:
		w.afflictions.sides++
		for _, n := range f.Nodes {
			w.move(n, w.afflictions.sides)
		}
	case scenario.Heal:
		for n := range w.afflictions.side {
			if len(f.Nodes) == 0 || slices.Contains(f.Nodes, n) {
				w.move(n, 0)
			}
		}
		notice = noticeUp
	case scenario.LinkDown:
		w.routes.SetDown(f.Edge, true)
	case scenario.LinkUp:
		w.routes.SetDown(f.Edge, false)
		notice = noticeUp
	case scenario.ChangeLink:
		w.topology.Edges[f.Edge].Link = f.Link
		w.routes.Changed()
	}
	w.queue.push(event{at: w.now + notice, kind: checks})
	if i+1 < len(w.afflictions.timeline) {
		w.queue.push(event{at: w.afflictions.timeline[i+1].At, kind: fails, a: int32(i + 1)})
	}
}

// move puts a node on a side of the partitions.
func (w *world) move(n, side int) {
	w.afflictions.side[n] = side
	if w.routes != nil {
		w.routes.SetSide(n, side)
	}
}

// restartable is a node whose parts keep something that dies with them.
type restartable interface {
	killed(now time.Duration, p parts)
	restarted(now time.Duration, p, wereDead parts)
	// checked is told that HAProxy has looked at its servers.
	checked(now time.Duration)
}

func (w *world) kill(n int, p parts) {
	w.die(n, p)
	w.afflictions.dead[n] |= p
	if r, ok := w.nodes[n].(restartable); ok {
		r.killed(w.now, p)
		w.schedule(n)
	}
	if p&(haproxyPart|providerPart) == 0 {
		return
	}
	for i := range w.calls { // those that it works on are lost
		if c := &w.calls[i]; int(c.at) == n {
			c.lost = true
		}
	}
}

// restart ends what is there, as it is asked to, and starts it.
func (w *world) restart(n int, p parts) {
	w.resume(n, p)
	dead := w.afflictions.dead[n]
	w.afflictions.dead[n] &^= p
	if r, ok := w.nodes[n].(restartable); ok {
		r.restarted(w.now, p, dead)
	}
	w.wakesAt[n] = -1
	w.schedule(n)
}

// check has every HAProxy look at its servers.
func (w *world) check() {
	for n := range w.nodes {
		if r, ok := w.nodes[n].(restartable); ok && !w.silent(n, haproxyPart|controllerPart) {
			r.checked(w.now)
			w.schedule(n)
		}
	}
}

// fall has a call whose peer cannot be reached decided on anew, or else served by its
// own node's gateway, as HAProxy does.
func (w *world) fall(id int32) {
	if w.hold(int(w.calls[id].node), haproxyPart, falls, id) || w.again(id) {
		return
	}
	w.serveHere(id, 0)
}

// serveHere has a call served by its own node's gateway, unless that does not have the
// function or the decision was to refuse the call, with that status, if the peer is lost.
func (w *world) serveHere(id int32, refused int16) {
	c := &w.calls[id]
	if refused == 0 && w.capacity[c.node][c.fn] == 0 {
		refused = statusUnavailable
	}
	if refused != 0 {
		c.refused, c.status = true, refused
		w.done(id)
		return
	}
	w.begin(id, int(c.node))
}

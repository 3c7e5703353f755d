package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/load"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// stream is a constant load that lasts until it is stopped.
type stream struct {
	cancel context.CancelFunc
	done   chan struct{}
	start  time.Time
	// answered counts the responses so far.
	answered atomic.Int64
	// inRow counts the responses since the last one that was not a 200.
	inRow atomic.Int64
	sent  load.Sent // to be read after done
	err   error
	// late ends to measure for which part of the time a timer was late.
	late func() float64
}

// stream sends rate requests/s of the function to the node. It ends with the
// test at the latest.
func (c *cluster) stream(t *testing.T, n *federation.Node, name string, rate float64) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{cancel: cancel, done: make(chan struct{}), start: time.Now(), late: sync.OnceValue(meterLate())}
	go func() {
		defer close(s.done)
		s.sent, s.err = load.Send(ctx, load.Attack{
			Load: scenario.Load{
				Target: n.Name, Function: name, Rate: rate, Duration: 5 * time.Minute, Method: http.MethodPost, Body: "hello",
			},
			URL: n.URL, Zero: s.start, Dial: c.Dial, Results: io.Discard, Observe: s.observe,
			Node: func(h http.Header) string { return c.NameOf(h.Get(haproxy.HeaderNodeID)) },
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-s.done
		s.late()
	})
	return s
}

func (s *stream) observe(sample summary.Sample) {
	s.answered.Add(1)
	if s.inRow.Add(1); sample.Status != http.StatusOK {
		s.inRow.Store(0)
	}
}

// progress waits for so many more responses, which is how tests let time pass.
func (s *stream) progress(t *testing.T, responses int64) {
	t.Helper()
	goal := s.answered.Load() + responses
	eventually(t, patience, fmt.Sprintf("%d more responses", responses), func() error {
		if n := s.answered.Load(); n < goal {
			return fmt.Errorf("%d so far", n)
		}
		return nil
	})
}

// stop ends the load, waits for the last response and returns all.
func (s *stream) stop(t *testing.T) []summary.Sample {
	t.Helper()
	s.cancel()
	<-s.done
	if s.err != nil {
		t.Fatal(s.err)
	}
	if s.busy() {
		t.Logf("requests were sent up to %v late, and a timer was late for %.0f %% of the time: this machine was busy", s.sent.Delay, 100*s.late())
	}
	return s.sent.Samples
}

// busy reports whether the machine was, to be asked when the load has been stopped.
func (s *stream) busy() bool { return s.sent.Delay > load.Late || s.late() > lateShare }

// flawless asserts that every one of a load's requests was answered 200, and returns how
// many each node served.
func flawless(t *testing.T, s *stream, samples []summary.Sample) map[string]int {
	t.Helper()
	return flawlessBut(t, s, samples, len(samples)/100)
}

// flawlessBut is flawless with so many excused that a busy machine was late with.
func flawlessBut(t *testing.T, s *stream, samples []summary.Sample, most int) map[string]int {
	t.Helper()
	late := s.busy()
	if late {
		most = len(samples) / 10 // what is so busy may be late with everything
	}
	by, flaws, busy := make(map[string]int), 0, 0
	for _, sample := range samples {
		if sample.Status == http.StatusOK {
			by[sample.Node]++
			continue
		}
		// Calls that a busy machine has delayed come all at once and may find the
		// buckets empty; those that its agent was late for are served where they are, or not.
		// One that is so busy may also take all peers for down. That is no fault, as long as
		// it is rare.
		excused := sample.Status == http.StatusTooManyRequests || undecided(sample) || late && sample.Status == http.StatusServiceUnavailable
		if excused && busy < most {
			busy++
			continue
		}
		if flaws++; flaws <= 10 {
			t.Errorf("after %v: answered %d by %q in %v", sample.At, sample.Status, sample.Node, sample.Latency)
		}
	}
	if busy > 0 {
		t.Logf("%d of %d requests were refused, %d may be", busy, len(samples), most)
	}
	if flaws > 0 {
		t.Errorf("%d of %d requests were not answered 200", flaws, len(samples))
	}
	return by
}

// agentPatience is how long HAProxy waits for the agent, `timeout processing`. Then
// it serves locally, which it cannot for a function that is not there.
const agentPatience = 20 * time.Millisecond

// undecided reports whether nobody was asked in time where the request should go.
func undecided(s summary.Sample) bool {
	return s.Status == http.StatusServiceUnavailable && s.Latency >= agentPatience
}

// act does something to a part of a node.
func act(t *testing.T, n *federation.Node, action scenario.Action, part scenario.Part) {
	t.Helper()
	if err := n.Do(t.Context(), action, part); err != nil {
		t.Fatal(err)
	}
}

// surplus is a function that node-1 of three must forward half of the calls of,
// at a load of surplusLoad requests/s; each other node could take all of these.
func surplus() []scenario.Node {
	return nodes(
		[]scenario.Function{echo("funca", 20)},
		[]scenario.Function{echo("funca", 40)},
		[]scenario.Function{echo("funca", 40)},
	)
}

const surplusLoad = 40 // requests/s

// awaitForwarding waits until node-1 sends surplus to each of the nodes.
func (c *cluster) awaitForwarding(t *testing.T, to ...*federation.Node) {
	t.Helper()
	for _, n := range to {
		eventually(t, patience, "node-1 sends surplus to "+n.Name, func() error {
			routes, err := c.one.Admin().Routes(t.Context(), "funca")
			if err != nil {
				return err
			}
			for _, r := range routes {
				if r.Kind == "out" && r.Peer == n.PeerID && r.Measured > 1 {
					return nil
				}
			}
			return fmt.Errorf("routes %+v", routes)
		})
	}
}

// TestFaults kills, stops and reloads parts of nodes under load, one after the
// other. Whatever it is, users notice nothing.
func TestFaults(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: surplus()})
	outage := func(do, undo scenario.Action, part scenario.Part) func(*testing.T, *stream) {
		return func(t *testing.T, s *stream) { c.outage(t, do, undo, part, s, c.one, c.two) }
	}
	for _, fault := range []struct {
		name   string
		happen func(*testing.T, *stream)
	}{
		{"SPOAKilled", outage(scenario.Kill, scenario.Restart, scenario.SPOA)},
		{"SPOAStopped", outage(scenario.Stop, scenario.Continue, scenario.SPOA)},
		{"ControllerKilled", outage(scenario.Kill, scenario.Restart, scenario.Controller)},
		{"ControllerStopped", outage(scenario.Stop, scenario.Continue, scenario.Controller)},
		{"ControllerRestarted", c.restarted},
		{"HAProxyReloaded", c.reloaded},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s := c.stream(t, c.one, "funca", surplusLoad)
			c.awaitForwarding(t, c.two, c.three)
			fault.happen(t, s)
			if err := c.WaitReady(t.Context()); err != nil {
				t.Error(err)
			}
			c.awaitForwarding(t, c.two, c.three)
			t.Logf("served by %v", flawless(t, s, s.stop(t)))
		})
	}
	c.quiet(t)
}

// outage does something to the part of each node in turn and, three seconds of
// load later, undoes it.
func (c *cluster) outage(t *testing.T, do, undo scenario.Action, part scenario.Part, s *stream, nodes ...*federation.Node) {
	t.Helper()
	for _, n := range nodes {
		act(t, n, do, part)
		s.progress(t, 3*surplusLoad)
		act(t, n, undo, part)
		s.progress(t, surplusLoad)
	}
}

// restarted restarts controllers as an upgrade does.
func (c *cluster) restarted(t *testing.T, s *stream) {
	for _, n := range c.Nodes() {
		act(t, n, scenario.Restart, scenario.Controller)
		s.progress(t, 3*surplusLoad)
	}
}

// restored is how soon all peers must be back in an HAProxy that was reloaded.
const restored = time.Second

// reloaded has somebody else reload the HAProxy of the sender and that of a
// receiver.
func (c *cluster) reloaded(t *testing.T, s *stream) {
	for _, n := range []*federation.Node{c.one, c.two} {
		s.progress(t, surplusLoad)
		proxy := haproxy.New(n.HAProxySocket)
		before, err := proxy.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		act(t, n, scenario.Reload, scenario.HAProxy)
		begin := time.Now()
		eventually(t, restored, "the servers of both peers are back in HAProxy of "+n.Name, func() error {
			if now, err := proxy.Info(t.Context()); err != nil || now.PID == before.PID {
				return fmt.Errorf("the old process still answers, or none: %w", err)
			}
			servers, err := proxy.Servers(t.Context(), haproxy.BackendPeers)
			return errors.Join(err, bothUp(servers))
		})
		t.Logf("%s: restored %v after the new worker took over", n.Name, time.Since(begin))
		s.progress(t, 2*surplusLoad)
	}
}

// bothUp reports whether two peers have servers that may be used.
func bothUp(servers []haproxy.Server) error {
	up := 0
	for _, server := range servers {
		if haproxy.ValidPeerID(server.Name) && server.State == haproxy.Up {
			up++
		}
	}
	if up != 2 {
		return fmt.Errorf("servers %+v", servers)
	}
	return nil
}

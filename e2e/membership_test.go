package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// TestMembership has nodes leave, die and come back under load.
func TestMembership(t *testing.T) {
	t.Parallel()
	all := surplus()
	all[2].Functions = append(all[2].Functions, echo("only", 2*surplusLoad))
	c := start(t, federation.Options{Nodes: all})
	t.Run("RestartOfTheOnlyOne", c.restartOfTheOnlyOne)
	t.Run("Leave", c.leave)
	t.Run("Die", c.die)
	t.Run("SmugglingBehindADeadPeer", c.smugglingBehindADeadPeer)
	c.quiet(t)
}

// pid returns the process id of a node's part.
func pid(t *testing.T, n *federation.Node, part scenario.Part) int {
	t.Helper()
	for _, p := range n.Parts() {
		if p.Part == part && p.PID != 0 {
			return p.PID
		}
	}
	t.Fatalf("%s of %s does not run", part, n.Name)
	return 0
}

// leave: a controller that is asked to stop says goodbye. Its node goes on serving
// for a while, since the controller may only be started anew, and then gets nothing
// more. Nothing is lost, neither then nor when it comes back.
func (c *cluster) leave(t *testing.T) {
	s := c.stream(t, c.one, "funca", surplusLoad)
	c.awaitForwarding(t, c.two, c.three)
	if err := syscall.Kill(pid(t, c.three, scenario.Controller), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, scheduling, "node-1 has heard it", func() error {
		peers, err := c.one.Admin().Peers(t.Context())
		if i := slices.IndexFunc(peers, func(p api.Peer) bool { return p.ID == c.three.PeerID }); i < 0 || peers[i].Reason != "has left" {
			err = errors.Join(err, fmt.Errorf("peers %+v", peers))
		}
		return err
	})
	s.progress(t, 3*surplusLoad)
	c.awaitForwarding(t, c.three)
	c.awaitGone(t, c.three, begin.Add(leaveGrace+scenario.DefaultPeriod+scheduling))
	t.Logf("%s is out of the routes after %v", c.three.Name, time.Since(begin))
	s.progress(t, surplusLoad)
	act(t, c.three, scenario.Restart, scenario.Controller)
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitForwarding(t, c.three)
	t.Logf("served by %v", flawless(t, s, s.stop(t)))
}

// leaveGrace is how long a node that says goodbye may be sent something.
const leaveGrace = 10 * time.Second

// restartOfTheOnlyOne: users of other nodes do not notice that the controller of the
// only node that has a function is started anew.
func (c *cluster) restartOfTheOnlyOne(t *testing.T) {
	s := c.stream(t, c.one, "only", surplusLoad)
	for range 2 {
		s.progress(t, surplusLoad)
		act(t, c.three, scenario.Restart, scenario.Controller)
		s.progress(t, 5*surplusLoad)
	}
	samples := s.stop(t)
	flawlessBut(t, s, samples, len(samples)/50) // what the agent is late for cannot be served here
}

// awaitGone waits until node-1 neither routes to the node nor takes it for alive.
func (c *cluster) awaitGone(t *testing.T, n *federation.Node, deadline time.Time) {
	t.Helper()
	eventually(t, time.Until(deadline), n.Name+" is out of the routes", func() error {
		routes, err := c.one.Admin().Routes(t.Context(), "")
		if slices.ContainsFunc(routes, func(r api.Route) bool { return r.Peer == n.PeerID }) {
			err = errors.Join(err, fmt.Errorf("routes %+v", routes))
		}
		peers, peersErr := c.one.Admin().Peers(t.Context())
		if slices.ContainsFunc(peers, func(p api.Peer) bool { return p.ID == n.PeerID && p.State == "alive" }) {
			err = errors.Join(err, fmt.Errorf("peers %+v", peers))
		}
		return errors.Join(err, peersErr)
	})
}

// scheduling is what a busy machine may add to a promised time.
const scheduling = 500 * time.Millisecond

// die: a node that falls silent gets nothing more as soon as HAProxy notices,
// and is out of the plans after three periods.
func (c *cluster) die(t *testing.T) {
	s := c.stream(t, c.one, "funca", surplusLoad)
	c.awaitForwarding(t, c.two, c.three)
	act(t, c.three, scenario.Kill, scenario.All)
	begin := time.Now()
	eventually(t, 3*scenario.DefaultPeriod, "nothing is sent to the dead node", func() error {
		routes, err := c.one.Admin().Routes(t.Context(), "funca")
		for _, r := range routes {
			if r.Kind == "out" && r.Peer == c.three.PeerID && r.Rate > 0 {
				err = errors.Join(err, fmt.Errorf("route %+v", r))
			}
		}
		return err
	})
	quiet := time.Since(begin)
	c.awaitGone(t, c.three, begin.Add(3*scenario.DefaultPeriod+scheduling))
	t.Logf("nothing is sent after %v, out of the routes after %v", quiet, time.Since(begin))
	s.progress(t, surplusLoad)
	act(t, c.three, scenario.Restart, scenario.All)
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitForwarding(t, c.two, c.three)

	// Only what the node was just executing can be lost.
	lost := 0
	for _, sample := range s.stop(t) {
		if sample.Status != http.StatusOK {
			lost++
			t.Logf("after %v: answered %d by %q in %v", sample.At, sample.Status, sample.Node, sample.Latency)
			if at := s.start.Add(sample.At); at.Before(begin.Add(-time.Second)) || at.After(begin.Add(time.Second)) {
				t.Errorf("lost %v after the node died", at.Sub(begin))
			}
		}
	}
	if lost > 3 {
		t.Errorf("%d requests were lost", lost)
	}
}

// smugglingBehindADeadPeer: a request that was to go to a peer and, since that is
// dead, is served here after all, shows the function nothing of it.
func (c *cluster) smugglingBehindADeadPeer(t *testing.T) {
	deploy(t, c.one, function("env", "env", maxrate("0.01")))
	deploy(t, c.three, function("env", "env", maxrate("100")))
	fellBack := func() int64 {
		servers, err := haproxy.New(c.one.HAProxySocket).Servers(t.Context(), haproxy.BackendPeers)
		if err != nil {
			t.Fatal(err)
		}
		total, known := int64(0), false
		for _, server := range servers {
			if strings.HasPrefix(server.Name, haproxy.ServerLocal) { // there are two, which take turns
				total, known = total+server.Total, true
			}
		}
		if !known {
			t.Fatalf("no server %s in %+v", haproxy.ServerLocal, servers)
		}
		return total
	}
	for end := time.Now().Add(time.Minute); ; {
		awaitServed(t, c.one, "/function/env", c.three)
		before := fellBack()
		act(t, c.three, scenario.Kill, scenario.HAProxy)
		// The worker is killed with its master, but may be a moment later to die.
		eventually(t, patience, "nobody listens any more at node-3", func() error {
			if _, err := send(t.Context(), c.three, request{path: "/healthz"}); !errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("connecting gave: %v", err)
			}
			return nil
		})
		r := call(t, c.one, request{path: "/function/env", header: smuggled()})
		fell := fellBack() > before
		act(t, c.three, scenario.Restart, scenario.HAProxy)
		if err := c.WaitReady(t.Context()); err != nil {
			t.Error(err)
		}
		if fell {
			if err := errors.Join(served(r, c.one), clean(r)); err != nil {
				t.Error(err)
			}
			return
		}
		// A busy machine may have noticed before that the peer is down.
		if time.Now().After(end) {
			t.Fatalf("no request fell back, the last was answered %v", r)
		}
	}
}

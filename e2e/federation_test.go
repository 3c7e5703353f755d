package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
)

// TestFederation has a federation of three nodes, in which nothing fails, serve
// all kinds of calls. Every test has functions of its own.
func TestFederation(t *testing.T) {
	t.Parallel()
	env, cat := process("env-here", "env", 100), process("cat-here", "cat", 100)
	envThere, catThere := process("env-there", "env", 100), process("cat-there", "cat", 100)
	c := start(t, federation.Options{
		Period: 500 * time.Millisecond,
		Nodes:  nodes([]scenario.Function{env, cat}, nil, []scenario.Function{envThere, catThere}),
	})
	sideBySide(t, 5, []subtest{
		{"LargeBodies", c.largeBodies},
		{"OneHop", c.oneHop},
		{"ServedBy", c.servedBy},
		{"ExactNames", c.exactNames},
		{"PathAndQuery", c.pathAndQuery},
		{"Namespaces", c.namespaces},
		{"Refusals", c.refusals},
		{"Live", c.live},
		{"TimeLimit", c.timeLimit},
		{"BadLabels", c.badLabels},
		{"Smuggling", c.smuggling},
		{"Tokens", c.tokens},
	})
	c.quiet(t)
}

// servedBy: the node that executed is named, be it here or elsewhere.
func (c *cluster) servedBy(t *testing.T) {
	for range 5 {
		for path, by := range map[string]*federation.Node{"/function/env-here": c.one, "/function/env-there": c.three} {
			if err := served(get(t, c.one, path), by); err != nil {
				t.Errorf("%s at node-1: %v", path, err)
			}
		}
	}
	// A function must not pass itself off as another node.
	deploy(t, c.three, function("liar", "env", nil))
	awaitServed(t, c.two, "/function/liar", c.three)
}

// exactNames: a name matches whole, be it a part of another or have dashes.
func (c *cluster) exactNames(t *testing.T) {
	for _, name := range []string{"foo", "foobar", "foo-bar", "foo-bar-2"} {
		deploy(t, c.one, function(name, "echo here "+name, nil))
		deploy(t, c.three, function("far-"+name, "echo there "+name, nil))
	}
	for _, name := range []string{"foo", "foobar", "foo-bar", "foo-bar-2"} {
		for path, by := range map[string]*federation.Node{name: c.one, "far-" + name: c.three} {
			for _, rest := range []string{"", "/", "/foobar", "?foobar"} {
				where := "here"
				if by == c.three {
					where = "there"
				}
				want := where + " " + name + "\n"
				eventually(t, patience, "/function/"+path+rest+" is "+want, func() error {
					r := get(t, c.one, "/function/"+path+rest)
					if err := served(r, by); err != nil || string(r.body) == want {
						return err
					}
					return fmt.Errorf("answered %v", r)
				})
			}
		}
	}
	for _, path := range []string{"foob", "fo", "FOO", "foo-", "foo-ba", "far-foob", "far", "foo%2Fbar", "foo.", "%66oo-", "foo;bar"} {
		// Without the agent's decision in time, the gateway is asked, which reads escapes.
		eventually(t, patience, "/function/"+path+" is not found", func() error {
			return refused(get(t, c.one, "/function/"+path), http.StatusNotFound, c.one)
		})
	}
}

// pathAndQuery: a function sees the rest of the path, / if there is none, and the
// query as the user wrote them.
func (c *cluster) pathAndQuery(t *testing.T) {
	for _, rest := range []struct{ path, query, seen string }{
		{"", "", "/"},
		{"/", "", "/"},
		{"/a/b/", "", "/a/b/"},
		{"/a//b", "x=1&x=2&y", "/a//b"},
		{"/with%20space", "q=%20+%2B%26&e=&%C3%A4", "/with space"},
		{"", "a=b?c=d/../e", "/"},
		{"/a/./b", "a%00b", "/a/./b"},
		{"/function/env-here", "/function/other", "/function/env-here"},
	} {
		for name, by := range map[string]*federation.Node{"env-here": c.one, "env-there": c.three} {
			path := "/function/" + name + rest.path
			if rest.query != "" {
				path += "?" + rest.query
			}
			r := get(t, c.one, path)
			if err := served(r, by); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if seen := environment(r); seen["Http_Path"] != rest.seen || seen["Http_Query"] != rest.query {
				t.Errorf("%s: the function sees path %q and query %q", path, seen["Http_Path"], seen["Http_Query"])
			}
		}
	}
}

// environment reads what the command env printed.
func environment(r reply) map[string]string {
	env := make(map[string]string)
	for line := range strings.Lines(string(r.body)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	return env
}

// largeBodies: ten megabytes come back as they were sent, with and without their
// length known beforehand.
func (c *cluster) largeBodies(t *testing.T) {
	body := payload(10 << 20)
	for name, by := range map[string]*federation.Node{"cat-here": c.one, "cat-there": c.three} {
		for _, chunked := range []bool{false, true} {
			// A refusal, for want of the agent's decision in time, may break the upload off.
			eventually(t, patience, name+" is served", func() error {
				r, err := send(t.Context(), c.one, request{path: "/function/" + name, body: body, chunked: chunked})
				if err = errors.Join(err, served(r, by)); err == nil && !bytes.Equal(r.body, body) {
					t.Errorf("%s, in chunks %v: %d other bytes came back", name, chunked, len(r.body))
				}
				return err
			})
		}
	}
}

// namespaces: NAME.NAMESPACE is another function than NAME.
func (c *cluster) namespaces(t *testing.T) {
	inDev := function("spaced", "echo dev", nil)
	inDev.Namespace = "dev"
	deploy(t, c.three, inDev)
	for _, n := range c.Nodes() {
		awaitServed(t, n, "/function/spaced.dev", c.three)
		awaitServed(t, n, "/function/spaced.dev/x?y", c.three)
	}
	for _, path := range []string{"/function/spaced", "/function/spaced.prod", "/function/spaced.openfaas-fn"} {
		if err := refused(get(t, c.one, path), http.StatusNotFound, c.one); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	deploy(t, c.one, function("spaced", "echo default", nil))
	for _, path := range []string{"/function/spaced", "/function/spaced.openfaas-fn"} {
		awaitServed(t, c.two, path, c.one)
		if r := get(t, c.two, path); string(r.body) != "default\n" {
			t.Errorf("%s: %v", path, r)
		}
	}
	if r := get(t, c.one, "/function/spaced.dev"); string(r.body) != "dev\n" || served(r, c.three) != nil {
		t.Errorf("/function/spaced.dev: %v", r)
	}
}

// refusals: whoever is turned away learns in one line why, by whom, and when to
// try again.
func (c *cluster) refusals(t *testing.T) {
	deploy(t, c.one, function("narrow", "cat", maxrate("0")))
	deploy(t, c.two, function("full", "cat", maxrate("0")))
	deploy(t, c.three, function("full", "cat", maxrate("0")))
	for _, want := range []struct {
		path   string
		at     *federation.Node
		status int
	}{
		{"/function/nobody-has-this", c.one, http.StatusNotFound},
		{"/function/nobody-has-this", c.two, http.StatusNotFound},
		{"/system/functions", c.one, http.StatusNotFound},
		{"/", c.one, http.StatusNotFound},
		{"/function/env-here/../../system/functions", c.one, http.StatusBadRequest},
		{"/function/narrow", c.one, http.StatusTooManyRequests},    // nobody else has it
		{"/function/full", c.two, http.StatusServiceUnavailable},   // nor has node-3 room
		{"/function/full", c.one, http.StatusServiceUnavailable},   // it is not even here
		{"/function/narrow", c.two, http.StatusServiceUnavailable}, // the same
	} {
		r := awaitStatus(t, patience, want.at, want.path, want.status)
		if err := refused(r, want.status, want.at); err != nil {
			t.Errorf("%s at %s: %v", want.path, want.at.Name, err)
		}
	}
	forged := call(t, c.one, request{path: "/function/env-here", header: http.Header{"DFaaS-Node-ID": {"malicious-id"}}})
	if err := refused(forged, http.StatusForbidden, c.one); err != nil {
		t.Errorf("a forged node id: %v", err)
	}
}

// removed is how soon the removal of a function must show everywhere.
const removed = 2 * time.Second

// live: what is deployed, updated and removed takes effect without anything
// being restarted, at the node itself and at others.
func (c *cluster) live(t *testing.T) {
	g := gateway(t, c.three)
	path := "/function/lively"
	awaitStatus(t, patience, c.one, path, http.StatusNotFound)
	deploy(t, c.three, function("lively", "echo first", maxrate("50")))
	if err := served(get(t, c.three, path), c.three); err != nil {
		t.Errorf("called as soon as it was deployed: %v", err)
	}
	awaitServed(t, c.one, path, c.three)
	awaitServed(t, c.three, path, c.three)

	if err := g.Update(t.Context(), function("lively", "echo second", maxrate("0"))); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, patience, c.one, path, http.StatusServiceUnavailable)
	awaitStatus(t, patience, c.three, path, http.StatusTooManyRequests)

	if err := g.Update(t.Context(), function("lively", "echo third", maxrate("70"))); err != nil {
		t.Fatal(err)
	}
	awaitServed(t, c.one, path, c.three)
	if r := get(t, c.one, path); string(r.body) != "third\n" {
		t.Errorf("after an update: %v", r)
	}
	eventually(t, patience, "the new capacity is known", func() error {
		routes, err := c.three.Admin().Routes(t.Context(), "lively")
		if err == nil && (len(routes) == 0 || routes[0].Kind != "local" || routes[0].Rate != 70) {
			err = fmt.Errorf("routes %+v", routes)
		}
		return err
	})

	// A second place for it, then one less, then none.
	deploy(t, c.one, function("lively", "echo here", maxrate("50")))
	awaitServed(t, c.one, path, c.one)
	if err := gateway(t, c.one).Remove(t.Context(), "lively"); err != nil {
		t.Fatal(err)
	}
	eventually(t, removed, "the other place serves", func() error { return served(get(t, c.one, path), c.three) })
	if err := g.Remove(t.Context(), "lively"); err != nil {
		t.Fatal(err)
	}
	last := time.Now()
	for _, n := range []*federation.Node{c.three, c.one, c.two} {
		awaitStatus(t, time.Until(last.Add(removed)), n, path, http.StatusNotFound)
	}
}

// timeLimit: a function that thinks longer than its label allows is given up,
// wherever it runs.
func (c *cluster) timeLimit(t *testing.T) {
	limit := map[string]string{faasd.LabelTimeoutMS: "300"}
	deploy(t, c.one, function("slow-here", "sleep 3", limit))
	deploy(t, c.three, function("slow-there", "sleep 3", limit))
	for _, path := range []string{"/function/slow-here", "/function/slow-there"} {
		eventually(t, patience, path+" is given up", func() error {
			begin := time.Now()
			r := get(t, c.one, path)
			if r.status != http.StatusGatewayTimeout {
				return fmt.Errorf("answered %v", r)
			}
			if took := time.Since(begin); took > 2*time.Second {
				return fmt.Errorf("given up after %v", took)
			}
			return oneLine(r)
		})
	}
}

// badLabels: a label that is no number costs the function its part in the
// federation, and the operator one line in the log.
func (c *cluster) badLabels(t *testing.T) {
	deploy(t, c.two, function("odd", "echo odd", map[string]string{faasd.LabelMaxRate: "fast", faasd.LabelTimeoutMS: "soon"}))
	awaitServed(t, c.two, "/function/odd", c.two)
	eventually(t, patience, "the function is listed with its fault", func() error {
		functions, err := c.two.Admin().Functions(t.Context())
		if err != nil {
			return err
		}
		for _, f := range functions {
			if f.Name == "odd" && f.Local && f.Capacity == -1 && strings.Contains(f.Warning, "fast") && strings.Contains(f.Warning, "soon") {
				return nil
			}
		}
		return fmt.Errorf("functions %+v", functions)
	})
	// Everybody else's functions are none the worse for it, and the log tells
	// once, however often the list is read and changes.
	for _, name := range []string{"even-1", "even-2", "even-3"} {
		deploy(t, c.two, function(name, "echo even", maxrate("10")))
		awaitServed(t, c.one, "/function/"+name, c.two)
	}
	warnings := 0
	for line := range strings.Lines(logOf(t, c.two, scenario.Controller)) {
		if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, `"function":"odd"`) {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings in the log, expected 1", warnings)
	}
}

// oneHop: with two of three nodes overloaded, what one node sends another is
// served there or refused there, and never sent on.
func (c *cluster) oneHop(t *testing.T) {
	const rate, seconds = 30, 3
	capacities := map[*federation.Node]string{c.one: "5", c.two: "5", c.three: "20"}
	for n, rate := range capacities {
		deploy(t, n, echoFunction("hop", maxrate(rate)))
	}
	for _, n := range c.Nodes() {
		awaitServed(t, n, "/function/hop", n)
		awaitPeers(t, n, "hop", 2)
	}
	before, ranBefore := c.meters(t, "hop"), c.invocations(t, "hop")
	var group errgroup.Group
	loads := make(map[*federation.Node]*tally)
	for _, n := range []*federation.Node{c.one, c.two} {
		loads[n] = new(tally)
		group.Go(func() error { return loads[n].run(t.Context(), n, "/function/hop", rate, seconds*time.Second) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	after := c.meters(t, "hop")

	executed := 0
	for n, load := range loads {
		t.Logf("%s: %v", n.Name, load)
		executed += load.status[http.StatusOK]
		if load.by[c.three.PeerID] == 0 {
			t.Errorf("%s sent nothing to node-3", n.Name)
		}
		if sum := load.status[http.StatusOK] + load.status[http.StatusTooManyRequests] + load.status[http.StatusServiceUnavailable]; sum != load.sent {
			t.Errorf("%s: %d of %d answered 200, 429 or 503", n.Name, sum, load.sent)
		}
	}
	for _, n := range c.Nodes() {
		sent := 0
		if load := loads[n]; load != nil {
			sent = load.sent
		}
		// A request sent on would count as a user's where it is sent on.
		if users := int(after[n].User.Total() - before[n].User.Total()); users > sent {
			t.Errorf("%s took %d requests for users', there were %d", n.Name, users, sent)
		}
		for _, other := range c.Nodes() {
			out := after[n].Out[other.PeerID] - before[n].Out[other.PeerID]
			in := after[other].In[n.PeerID].Local + after[other].In[n.PeerID].Limited - before[other].In[n.PeerID].Local - before[other].In[n.PeerID].Limited
			if in > out {
				t.Errorf("%s got %d requests from %s, which sent %d", other.Name, in, n.Name, out)
			}
		}
	}
	// Each answer of a function comes from one execution.
	if ran := c.invocations(t, "hop") - ranBefore; ran != executed {
		t.Errorf("the function ran %d times for %d answers", ran, executed)
	}
}

// invocations counts how often the function ran, on all nodes together.
func (c *cluster) invocations(t *testing.T, name string) int {
	t.Helper()
	ran := 0
	for _, n := range c.Nodes() {
		list, err := gateway(t, n).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list.Functions {
			if f.Name.String() == name {
				ran += int(f.Status.InvocationCount)
			}
		}
	}
	return ran
}

// awaitPeers waits until the node knows that so many peers have the function.
func awaitPeers(t *testing.T, n *federation.Node, name string, peers int) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("%s knows %d peers that have %s", n.Name, peers, name), func() error {
		routes, err := n.Admin().Routes(t.Context(), name)
		out := 0
		for _, r := range routes {
			if r.Kind == "out" {
				out++
			}
		}
		if err == nil && out != peers {
			err = fmt.Errorf("routes %+v", routes)
		}
		return err
	})
}

// meters reads every node's counters of the function.
func (c *cluster) meters(t *testing.T, name string) map[*federation.Node]meter.Function {
	t.Helper()
	all := make(map[*federation.Node]meter.Function)
	for _, n := range c.Nodes() {
		spoa := control.New(n.ControlSocket)
		report, err := spoa.Meter(t.Context())
		spoa.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Functions {
			if f.Name == name {
				all[n] = f
			}
		}
	}
	return all
}

// tally counts the replies to a load.
type tally struct {
	sent   int
	mu     sync.Mutex
	status map[int]int
	by     map[string]int // peer id of who executed
}

func (l *tally) String() string {
	return fmt.Sprintf("%d sent, status %v, by %v", l.sent, l.status, l.by)
}

// run calls the path at a constant rate.
func (l *tally) run(ctx context.Context, n *federation.Node, path string, rate int, d time.Duration) error {
	l.status, l.by = make(map[int]int), make(map[string]int)
	pace := time.NewTicker(time.Second / time.Duration(rate))
	defer pace.Stop()
	var group errgroup.Group
	for range int(d.Seconds() * float64(rate)) {
		<-pace.C
		l.sent++
		group.Go(func() error {
			r, err := send(ctx, n, request{path: path})
			if err != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.status[r.status]++
			if r.status == http.StatusOK {
				l.by[r.node()]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return errors.Join(fmt.Errorf("load on %s", n.Name), err)
	}
	return nil
}

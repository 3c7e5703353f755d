package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
)

// noticed is how long it may take until calls go elsewhere.
const noticed = 2 * time.Second

// TestNoReplica takes the replica of a function away, at one node and then at the
// other.
func TestNoReplica(t *testing.T) {
	t.Parallel()
	cat := []scenario.Function{process("cat", "cat", 2000)}
	c := start(t, federation.Options{Nodes: nodes(cat, cat)})
	scale := func(n *federation.Node, replicas uint64) {
		t.Helper()
		response, err := http.Post(n.Gateway+"/system/scale-function/cat", "application/json", strings.NewReader(fmt.Sprintf(`{"replicas":%d}`, replicas)))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusAccepted {
			t.Fatalf("scaling to %d: %s", replicas, response.Status)
		}
	}
	// all calls the function at both nodes, and expects that one of them serves all calls.
	// The other serves what its agent was late for, and has a replica then.
	all := func(idle, by *federation.Node) {
		t.Helper()
		late := 0
		for range 50 {
			for _, at := range []*federation.Node{idle, by} {
				begun := time.Now()
				r := call(t, at, request{path: "/function/cat"})
				err := served(r, by)
				switch {
				case err == nil:
				case at == idle && served(r, idle) == nil && time.Since(begun) >= agentPatience && late < 5:
					late++
					scale(idle, 0)
					inTime(t, "the peer comes first again", func() error { return c.comesLast(t, idle, "cat") })
				default:
					t.Fatalf("at %s: %v", at.Name, err)
				}
			}
		}
	}
	awaitServed(t, c.one, "/function/cat", c.one)
	awaitServed(t, c.two, "/function/cat", c.two)
	awaitPeers(t, c.one, "cat", 1)

	scale(c.one, 0)
	inTime(t, "the peer comes first", func() error { return c.comesLast(t, c.one, "cat") })
	if state, _ := stateOf(t, c.one, "cat"); state != "idle" {
		t.Errorf("the function is %q", state)
	}
	all(c.one, c.two)

	// Nobody has a replica: who is asked wakes its own, and serves the other's users.
	scale(c.two, 0)
	inTime(t, "nobody has it", func() error {
		if state, _ := stateOf(t, c.two, "cat"); state != "idle" {
			return fmt.Errorf("the function is %q", state)
		}
		if c.comesLast(t, c.one, "cat") == nil {
			return errors.New("the peer comes first")
		}
		return nil
	})
	if err := served(call(t, c.one, request{path: "/function/cat"}), c.one); err != nil {
		t.Error(err)
	}
	inTime(t, "users of the other go there", func() error { return c.comesLast(t, c.two, "cat") })
	all(c.two, c.one)
	c.quiet(t)
}

// comesLast reports whether users of the node are sent to peers first.
func (c *cluster) comesLast(t *testing.T, n *federation.Node, function string) error {
	t.Helper()
	spoa := control.New(n.ControlSocket)
	defer spoa.Close()
	current, err := spoa.Table(t.Context())
	if err != nil || current == nil {
		return fmt.Errorf("no table: %w", err)
	}
	for _, row := range current.Functions {
		if row.Name.String() == function && row.Local != nil && row.Local.Share == 0 && len(row.Forward) > 0 && row.Forward[0].Rate.PerSecond() != 0 {
			return nil
		}
	}
	return fmt.Errorf("functions %+v", current.Functions)
}

// inTime waits for a condition as long as may be.
func inTime(t *testing.T, what string, condition func() error) {
	t.Helper()
	begun := time.Now()
	eventually(t, noticed, what, condition)
	t.Logf("%s: after %v", what, time.Since(begun).Round(10*time.Millisecond))
}

// stateOf returns what the node says of one of its functions, and the warning.
func stateOf(t *testing.T, n *federation.Node, name string) (state, warning string) {
	t.Helper()
	functions, err := api.NewClient(n.AdminSocket).Functions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		if f.Name == name {
			return f.State, f.Warning
		}
	}
	return "", ""
}

// TestFailingFunction breaks a function at one of two nodes that have it, and repairs
// it.
func TestFailingFunction(t *testing.T) {
	t.Parallel()
	cat := []scenario.Function{process("cat", "cat", 2000)}
	c := start(t, federation.Options{Nodes: nodes(cat, cat)})
	awaitServed(t, c.one, "/function/cat", c.one)
	awaitPeers(t, c.one, "cat", 1)
	ask := func(by *federation.Node) func() error {
		return func() error {
			r, err := send(t.Context(), c.one, request{path: "/function/cat"})
			return errors.Join(err, served(r, by))
		}
	}
	if err := gateway(t, c.one).Update(t.Context(), function("cat", "false", maxrate("2000"))); err != nil {
		t.Fatal(err)
	}
	if r := call(t, c.one, request{path: "/function/cat"}); r.status != http.StatusInternalServerError || r.node() != c.one.PeerID {
		t.Errorf("the function's own error is answered %v by %s", r, r.node())
	}
	inTime(t, "users go to the peer", ask(c.two))
	if state, _ := stateOf(t, c.one, "cat"); state != "failing" {
		t.Errorf("the function is %q", state)
	}
	var failed []error
	for range 50 {
		if err := ask(c.two)(); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 10 { // after a second, a tenth of the calls try whether it still fails
		t.Fatal(errors.Join(failed...))
	}
	if err := gateway(t, c.one).Update(t.Context(), function("cat", "cat", maxrate("2000"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the function is tried again and found well", func() error {
		for range 20 { // a trial takes one call in ten
			if err := ask(c.one)(); err != nil {
				return err
			}
		}
		return nil
	})
	if state, _ := stateOf(t, c.one, "cat"); state != "ready" {
		t.Errorf("the function is %q", state)
	}
	for range 50 {
		if err := ask(c.one)(); err != nil {
			t.Fatal(err)
		}
	}
	c.quiet(t)
}

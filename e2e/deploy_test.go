package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
)

// TestDeployThenCall: as soon as the gateway has said that a function is deployed, or
// another one than before, it can be called at its node, by as many as like, whatever
// the node knows of it by then.
func TestDeployThenCall(t *testing.T) {
	t.Parallel()
	const functions = 30
	at := func(n int) string { return fmt.Sprintf("f-%d", n) }
	var there []scenario.Function
	for n := 0; n < functions; n += 10 { // some are at the peer, too
		there = append(there, echo(at(n), 1000))
	}
	c := start(t, federation.Options{Nodes: nodes([]scenario.Function{echo("here", 1000)}, there)})
	g := gateway(t, c.one)
	print := func(name, text string) types.FunctionDeployment {
		labels := maxrate("1000")
		return types.FunctionDeployment{Service: name, Image: "process/" + name, EnvProcess: "echo " + text, Labels: &labels}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("Deploy", func(t *testing.T) {
		for n := range functions {
			must(g.Deploy(t.Context(), echoFunction(at(n), maxrate("1000"))))
			c.callAtOnce(t, at(n), 20, nil)
		}
	})
	// The names that a gateway takes beyond those of DNS, here and at a peer.
	t.Run("Names", func(t *testing.T) {
		for _, name := range []string{"my_func", "MyFunc"} {
			deploy(t, c.one, echoFunction(name, maxrate("1000")))
			c.callAtOnce(t, name, 5, nil)
			awaitServed(t, c.two, "/function/"+name, c.one)
		}
	})
	t.Run("Update", func(t *testing.T) {
		must(g.Deploy(t.Context(), print("text", "0")))
		for n := range 10 {
			text := fmt.Sprint(n + 1)
			must(g.Update(t.Context(), print("text", text)))
			c.callAtOnce(t, "text", 10, func(r reply) error {
				if got := strings.TrimSpace(string(r.body)); got != text {
					return fmt.Errorf("the function says %q, want %q", got, text)
				}
				return nil
			})
		}
	})
	t.Run("RemoveAndDeploy", func(t *testing.T) {
		for n := range functions {
			must(g.Remove(t.Context(), at(n)))
			must(g.Deploy(t.Context(), echoFunction(at(n), maxrate("1000"))))
			c.callAtOnce(t, at(n), 20, nil)
		}
	})
	t.Run("RemoveAndDeployLater", func(t *testing.T) {
		for n := range functions {
			must(g.Remove(t.Context(), at(n)))
		}
		spoa := control.New(c.one.ControlSocket)
		defer spoa.Close()
		eventually(t, patience, "node-1 knows that they are gone", func() error {
			current, err := spoa.Table(t.Context())
			if err != nil {
				return err
			}
			for _, row := range current.Functions {
				if strings.HasPrefix(row.Name.String(), "f-") && row.Local != nil {
					err = errors.Join(err, fmt.Errorf("%s is there", row.Name))
				}
			}
			return err
		})
		for n := range functions {
			must(g.Deploy(t.Context(), echoFunction(at(n), maxrate("1000"))))
			c.callAtOnce(t, at(n), 20, nil)
		}
	})
	for _, name := range append([]string{"text"}, names(functions, at)...) {
		must(g.Remove(context.WithoutCancel(t.Context()), faasd.Name(name, "")))
	}
	c.quiet(t)
}

func names(n int, at func(int) string) (all []string) {
	for i := range n {
		all = append(all, at(i))
	}
	return all
}

// callAtOnce calls a function of node-1 so many times, in turn and as often at the same
// time: every call must be answered by the function.
func (c *cluster) callAtOnce(t *testing.T, name string, times int, check func(reply) error) {
	t.Helper()
	ask := func() error {
		r, err := send(t.Context(), c.one, request{path: "/function/" + name})
		switch {
		case err != nil:
			return err
		case r.status != http.StatusOK:
			return fmt.Errorf("%s: %v", name, r)
		case check != nil:
			return check(r)
		}
		return nil
	}
	for n := range times {
		if err := ask(); err != nil {
			t.Errorf("call %d: %v", n+1, err)
		}
	}
	errs := make([]error, times)
	var callers sync.WaitGroup
	for n := range times {
		callers.Go(func() { errs[n] = ask() })
	}
	callers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("at the same time: %v", err)
	}
}

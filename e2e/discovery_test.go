package e2e

import (
	"testing"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// TestDiscovery has controllers find each other through those that they were
// told of. (By multicast, which the loopback interface does not have: see the
// tests of package overlay.)
func TestDiscovery(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{process("on-1", "cat", 100)},
		[]scenario.Function{process("on-2", "cat", 100)},
		[]scenario.Function{process("on-3", "cat", 100)},
	)})
	all := c.Nodes()
	t.Run("Star", func(t *testing.T) {
		// The emulator tells all of the first only.
		for _, n := range all[1:] {
			if conf := c.configuration(t, n); len(conf.Bootstrap) != 1 || conf.MDNS {
				t.Fatalf("%s was told of %v, multicast %v", n.Name, conf.Bootstrap, conf.MDNS)
			}
		}
		c.everybodyServesEverybody(t)
	})
	t.Run("Chain", func(t *testing.T) {
		// node-1 was told of node-2, that of node-3, that of nobody.
		addresses := make(map[*federation.Node][]string)
		for _, n := range all {
			status, err := n.Admin().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			addresses[n] = status.Addresses
			act(t, n, scenario.Kill, scenario.Controller)
		}
		c.reconfigure(t, c.one, func(conf *config.Config) { conf.Bootstrap = addresses[c.two] })
		c.reconfigure(t, c.two, func(conf *config.Config) { conf.Bootstrap = addresses[c.three] })
		c.reconfigure(t, c.three, func(conf *config.Config) { conf.Bootstrap = nil })
		if err := c.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.everybodyServesEverybody(t)
	})
	t.Run("Join", func(t *testing.T) {
		// Nobody was told of anybody, until an operator says so.
		for _, n := range all {
			act(t, n, scenario.Kill, scenario.Controller)
		}
		for _, n := range all {
			c.reconfigure(t, n, func(conf *config.Config) { conf.Bootstrap = nil })
		}
		for _, n := range all[1:] {
			eventually(t, patience, n.Name+" joins node-1", func() error {
				status, err := c.one.Admin().Status(t.Context())
				if err != nil {
					return err
				}
				return n.Admin().Join(t.Context(), status.Addresses[0])
			})
		}
		if err := c.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.everybodyServesEverybody(t)
	})
	c.quiet(t)
}

func (c *cluster) everybodyServesEverybody(t *testing.T) {
	t.Helper()
	for _, at := range c.Nodes() {
		for name, by := range map[string]*federation.Node{"on-1": c.one, "on-2": c.two, "on-3": c.three} {
			awaitServed(t, at, "/function/"+name, by)
		}
	}
}

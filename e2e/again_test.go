package e2e

import (
	"fmt"
	"testing"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// TestGatewayDies: nobody notices that a node's gateway is killed while peers can
// serve: neither the node's own users, nor those of a node that goes on sending
// calls there.
func TestGatewayDies(t *testing.T) {
	t.Parallel()
	cat, wc := process("cat", "cat", 2000), process("wc", "wc", 2000)
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{wc}, []scenario.Function{cat, wc}, []scenario.Function{cat, wc},
	)})
	awaitPeers(t, c.one, "cat", 2)
	awaitPeers(t, c.two, "wc", 2)
	awaitServed(t, c.two, "/function/wc", c.two)
	// Both peers have answered, so that they are known to refuse in a way that lets a call go on.
	for _, n := range []*federation.Node{c.two, c.three} {
		awaitServed(t, c.one, "/function/cat", n)
	}
	if err := c.two.Do(t.Context(), scenario.Kill, scenario.Provider); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := served(call(t, c.one, request{path: "/function/cat"}), c.three); err != nil {
			t.Errorf("a user of another node: %v", err)
		}
		if r := call(t, c.two, request{path: "/function/wc"}); served(r, c.one) != nil && served(r, c.three) != nil {
			t.Errorf("a user of the node itself: %v", served(r, c.one))
		}
	}
	if m := c.meters(t, "cat")[c.one]; m.Returned == nil || m.Returned.Forwarded == 0 {
		t.Errorf("no call has come back: %s", fmt.Sprint(m))
	}
	if err := c.two.Do(t.Context(), scenario.Restart, scenario.Provider); err != nil {
		t.Fatal(err)
	}
	awaitServed(t, c.two, "/function/wc", c.two)
}

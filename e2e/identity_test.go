package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// TestCopiedIdentity: a second machine runs with a copy of a node's identity.key, as one
// does that was made from the first one's image. One of the two is told, and doctor says
// what to do; nodes that have no part in it work on.
func TestCopiedIdentity(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{process("funca", "cat", 100)},
		[]scenario.Function{process("funcb", "cat", 100)},
		[]scenario.Function{process("funcc", "cat", 100)},
	)})
	twin := c.startTwin(t, c.two)
	ill := ""
	eventually(t, patience, "one of the two nodes is told", func() error {
		var errs []error
		for _, socket := range []string{c.two.AdminSocket.String(), twin} {
			told, err := toldOfTwin(t, socket, c.two.PeerID)
			if told {
				ill = socket
				return nil
			}
			errs = append(errs, err)
		}
		return fmt.Errorf("neither is: %w", errors.Join(errs...))
	})
	_, text := execute(t, "dfaasctl", "--socket", ill, "doctor")
	if !strings.Contains(text, "two machines have the same identity.key") {
		t.Errorf("doctor at %s does not say so:\n%s", ill, text)
	}
	awaitServed(t, c.one, "/function/funcc", c.three)
	awaitServed(t, c.three, "/function/funca", c.one)
	c.quiet(t)
}

// startTwin starts a controller with a copy of the node's identity until the test ends, and
// returns its admin socket. It has no other parts.
func (c *cluster) startTwin(t *testing.T, n *federation.Node) (adminSocket string) {
	t.Helper()
	dir := shortDir(t)
	conf := c.configuration(t, n)
	key, err := os.ReadFile(conf.Identity)
	if err != nil {
		t.Fatal(err)
	}
	alone := standalone(dir)
	conf.Identity, conf.Listen, conf.HTTPAddress, conf.Gateway = alone.Identity, alone.Listen, alone.HTTPAddress, alone.Gateway
	conf.HAProxySocket, conf.SPOASocket, conf.AdminSocket = alone.HAProxySocket, alone.SPOASocket, alone.AdminSocket
	text, err := yaml.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "controller.yaml")
	if err := errors.Join(os.WriteFile(conf.Identity, key, 0o600), os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, command("dfaas-controller", "--config", file))
	return conf.AdminSocket
}

// toldOfTwin reports whether a controller knows that another one has its identity: peers
// have said so, or it has heard the other itself.
func toldOfTwin(t *testing.T, adminSocket, id string) (bool, error) {
	t.Helper()
	admin := api.NewClient(testvalue.Path(adminSocket))
	status, err := admin.Status(t.Context())
	if err != nil {
		return false, err
	}
	for _, r := range status.RefusedBy {
		if strings.Contains(r.Reason, "identity of another node") {
			return true, nil
		}
	}
	peers, err := admin.Peers(t.Context())
	for _, p := range peers {
		if p.ID == id && p.State == "refused" && strings.Contains(p.Reason, "another node uses this node's identity") {
			return true, nil
		}
	}
	return false, errors.Join(err, fmt.Errorf("refused by %+v, peers %+v", status.RefusedBy, peers))
}

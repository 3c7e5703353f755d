package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy/haproxytest"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// TestForeignGateway has a node whose gateway was there before and asks for
// credentials, as faasd does.
func TestForeignGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("basic-auth-user", "admin")
	password := write("basic-auth-password", "open sesame")
	wrong := write("wrong-password", "open barley")
	address := haproxytest.FreeAddr(t)
	provider := command("dfaas-provider", "--listen", address, "--state-dir", filepath.Join(dir, "state"),
		"--basic-auth-dir", dir, "--allow-processes")
	runUntilEnd(t, provider)
	g, err := faasd.New(faasd.Options{URL: "http://" + address, User: "admin", PasswordFile: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	eventually(t, patience, "the gateway answers", func() error { return g.Healthy(t.Context()) })
	if err := g.Deploy(t.Context(), function("lent", "cat", maxrate("100"))); err != nil {
		t.Fatal(err)
	}

	all := nodes([]scenario.Function{{Name: "lent"}}, []scenario.Function{process("own", "cat", 100)})
	all[0].Gateway, all[0].GatewayUser, all[0].GatewayPasswordFile = "http://"+address, "admin", password
	c := start(t, federation.Options{Nodes: all})
	for path, by := range map[string]*federation.Node{"/function/lent": c.one, "/function/own": c.two} {
		for _, at := range c.Nodes() {
			r := call(t, at, request{path: path, body: []byte("hello")})
			if err := served(r, by); err != nil || string(r.body) != "hello" {
				t.Errorf("%s at %s: %v %v", path, at.Name, r, err)
			}
		}
	}
	// What changes there takes effect as it does with a provider of one's own.
	if err := g.Deploy(t.Context(), function("lent-later", "cat", nil)); err != nil {
		t.Fatal(err)
	}
	awaitServed(t, c.two, "/function/lent-later", c.one)
	if err := g.Remove(t.Context(), "lent-later"); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, removed, c.two, "/function/lent-later", http.StatusNotFound)

	// With the wrong password the node cannot know its functions, and says why.
	c.reconfigure(t, c.one, func(conf *config.Config) { conf.GatewayPasswordFile = wrong })
	c.awaitComponent(t, c.one.AdminSocket.String(), "gateway", "check the gateway's user and password file")
	awaitServed(t, c.one, "/function/lent", c.one)
	c.reconfigure(t, c.one, func(conf *config.Config) { conf.GatewayPasswordFile = password })
	awaitServed(t, c.two, "/function/lent", c.one)
	c.quiet(t)
}

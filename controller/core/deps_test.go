package core_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: a core decides, and does nothing else. What it is made of has
// no network, no clock of its own, no metrics and no log.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, dep := range strings.Fields(string(out)) {
		for _, never := range []string{
			"libp2p", "multiformats", "haproxytech", "prometheus", "zerolog", "net/http", "os/exec", "log", "log/slog",
			"github.com/dfaas/dfaas/haproxy", "github.com/dfaas/dfaas/faasd", "github.com/dfaas/dfaas/controller/overlay",
		} {
			if dep == never || strings.Contains(never, "/") && strings.HasPrefix(dep, never+"/") ||
				!strings.Contains(never, "/") && never != "log" && strings.Contains(dep, never) {
				t.Errorf("the core depends on %s", dep)
			}
		}
	}
}

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The agent sits in the data path and runs with the rights to do nothing else.
// What talks to other nodes stays out of its binary.
func TestLinksNoLibp2p(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list -deps: %v", err)
	}
	if !strings.Contains(string(out), "haproxy-spoe-go") {
		t.Fatal("go list does not list what dfaas-spoa links")
	}
	for dep := range strings.Lines(string(out)) {
		if strings.Contains(dep, "libp2p") || strings.Contains(dep, "dfaas/controller/") {
			t.Errorf("dfaas-spoa links %s", strings.TrimSpace(dep))
		}
	}
}

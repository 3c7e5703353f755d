package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// TestAsync has one node with a queue: asynchronous calls at the others go there, as
// long as it has the function, and are executed even if it dies meanwhile.
func TestAsync(t *testing.T) {
	dir := t.TempDir()
	wrapper := filepath.Join(dir, "provider-without-queue")
	text := fmt.Sprintf("#!/bin/sh\nexec %s --queue-calls 0 \"$@\"\n", built.binaries[scenario.Provider])
	if err := os.WriteFile(wrapper, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	done := filepath.Join(dir, "done")
	script := filepath.Join(dir, "script.sh")
	if err := os.WriteFile(script, fmt.Appendf(nil, "input=$(cat); while [ -e %[1]s.wait ]; do sleep 0.02; done; echo $input >>%[1]s\n", done), 0o600); err != nil {
		t.Fatal(err)
	}
	// At a rate of one call in 100 s: a queue takes what the function cannot serve.
	both := process("both", "sh "+script, 0.01)
	c := start(t, federation.Options{
		Nodes:   nodes([]scenario.Function{both, process("without", "cat", 10)}, []scenario.Function{both}),
		Special: map[string]federation.Binaries{"node-1": {scenario.Provider: wrapper}},
	})
	eventually(t, patience, "node-1 knows of the queue", func() error {
		status, err := c.one.Admin().Status(t.Context())
		if err != nil || status.Async {
			return fmt.Errorf("node-1 takes asynchronous calls: %v, %w", status.Async, err)
		}
		peers, err := c.one.Admin().Peers(t.Context())
		for _, p := range peers {
			if p.State == "alive" && p.Async && p.Server == "up" {
				return err
			}
		}
		return fmt.Errorf("peers %+v, %w", peers, err)
	})
	async := func(at *federation.Node, function, body string) reply {
		t.Helper()
		return call(t, at, request{path: "/async-function/" + function, body: []byte(body)})
	}
	eventually(t, patience, "node-1's table has the queue", func() error {
		if r := async(c.one, "both", "first"); r.status != http.StatusAccepted {
			return fmt.Errorf("answered %v", r)
		}
		return nil
	})
	executed := func(want string) {
		t.Helper()
		eventually(t, patience, "calls are executed", func() error {
			got, err := os.ReadFile(done)
			for _, word := range strings.Fields(want) {
				if !strings.Contains(string(got), word+"\n") {
					err = errors.Join(err, fmt.Errorf("not %s", word))
				}
			}
			return err
		})
	}
	for i := range 6 {
		for _, at := range c.Nodes() {
			if r := async(at, "both", fmt.Sprintf("%s-%d", at.Name, i)); r.status != http.StatusAccepted || r.node() != c.two.PeerID {
				t.Errorf("at %s: %v", at.Name, r)
			}
		}
	}
	executed("first node-1-0 node-1-1 node-1-2 node-1-3 node-1-4 node-1-5 node-2-0 node-2-1 node-2-2 node-2-3 node-2-4 node-2-5")
	if r := async(c.one, "without", "x"); r.status != http.StatusNotImplemented || !strings.Contains(string(r.body), "queue") || r.node() != c.one.PeerID {
		t.Errorf("without a queue: %v", r)
	}
	// They are no demand, of anybody.
	functions, err := c.one.Admin().Functions(t.Context())
	for _, f := range functions {
		if f.UserRate != 0 || f.OutRate != 0 || f.Refused != 0 {
			t.Errorf("counted as demand: %+v, %v", f, err)
		}
	}

	// Accepted, and killed before, or while, it is executed.
	if err := os.WriteFile(done+".wait", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := async(c.one, "both", "survivor"); r.status != http.StatusAccepted {
		t.Errorf("%v", r)
	}
	if err := c.two.Do(t.Context(), scenario.Kill, scenario.Provider); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(done + ".wait"); err != nil {
		t.Fatal(err)
	}
	if err := c.two.Do(t.Context(), scenario.Restart, scenario.Provider); err != nil {
		t.Fatal(err)
	}
	executed("survivor")
}

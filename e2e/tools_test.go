package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// TestDfaasctl looks at a live federation with the operator's tool: while all is
// well, while a peer is down, and while the node itself is ill.
func TestDfaasctl(t *testing.T) {
	t.Parallel()
	c := start(t, federation.Options{Nodes: nodes(
		[]scenario.Function{process("figlet", "cat", 100)},
		[]scenario.Function{process("figlet", "cat", 100), process("ocr", "cat", 100)},
		[]scenario.Function{process("shasum", "cat", 100)},
	)})
	t.Run("AllWell", func(t *testing.T) {
		c.views(t, map[string]string{c.two.PeerID: "alive", c.three.PeerID: "alive"})
		c.doctor(t, 0)
	})
	t.Run("PeerDown", func(t *testing.T) {
		act(t, c.three, scenario.Kill, scenario.All)
		// In every state on the way from alive to gone.
		c.views(t, map[string]string{c.two.PeerID: "alive", c.three.PeerID: ""})
		c.doctor(t, 0)
		eventually(t, patience, "the peer is listed as expired", func() error { return c.state(t, c.three.PeerID, "expired") })
		c.views(t, map[string]string{c.two.PeerID: "alive", c.three.PeerID: "expired"})
		c.doctor(t, 0)
	})
	t.Run("NodeIll", func(t *testing.T) {
		act(t, c.one, scenario.Kill, scenario.SPOA)
		// Right away, when HAProxy has yet to notice.
		code, text := c.doctorText(t)
		if code != 1 || !strings.Contains(text, "FAIL  spoa: ") || !strings.Contains(text, "FAIL  haproxy asks spoa: ") || !strings.Contains(text, "-> systemctl start dfaas-spoa") {
			t.Errorf("doctor: exit status %d\n%s", code, text)
		}
		// It answers all the same.
		c.views(t, map[string]string{c.two.PeerID: "alive", c.three.PeerID: "expired"})
		act(t, c.one, scenario.Kill, scenario.Controller)
		for _, view := range []string{"status", "peers", "functions", "routes"} {
			code, output := c.dfaasctl(t, view)
			if code != 1 || strings.Count(output, "\n") != 1 || !strings.Contains(output, "systemctl start dfaas-controller") {
				t.Errorf("dfaasctl %s without a controller: exit status %d\n%s", view, code, output)
			}
		}
		if code, text := c.doctorText(t); code != 1 || !strings.Contains(text, "FAIL  controller: ") {
			t.Errorf("doctor: exit status %d\n%s", code, text)
		}
	})
}

// dfaasctl runs a command of dfaasctl for node-1.
func (c *cluster) dfaasctl(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	return execute(t, "dfaasctl", append([]string{"--socket", c.one.AdminSocket.String()}, args...)...)
}

// table runs a view and returns its lines split into columns; the view must not
// fail.
func (c *cluster) table(t *testing.T, args ...string) [][]string {
	t.Helper()
	code, output := c.dfaasctl(t, args...)
	if code != 0 {
		t.Errorf("dfaasctl %v: exit status %d\n%s", args, code, output)
	}
	var lines [][]string
	for line := range strings.Lines(output) {
		lines = append(lines, strings.Fields(line))
	}
	return lines
}

// decoded runs a view with -o json.
func decoded[T any](t *testing.T, c *cluster, args ...string) T {
	t.Helper()
	code, output := c.dfaasctl(t, append(args, "-o", "json")...)
	var value T
	if err := json.Unmarshal([]byte(output), &value); code != 0 || err != nil {
		t.Errorf("dfaasctl %v -o json: exit status %d, %v\n%s", args, code, err, output)
	}
	return value
}

// state reports whether node-1 sees the peer in that state.
func (c *cluster) state(t *testing.T, id, state string) error {
	t.Helper()
	for _, p := range decoded[[]api.Peer](t, c, "peers") {
		if p.ID == id && p.State == state {
			return nil
		}
	}
	return fmt.Errorf("%s is not %s", id, state)
}

// views runs every view in both forms. peers are the states expected of peers;
// "" is any.
func (c *cluster) views(t *testing.T, peers map[string]string) {
	t.Helper()
	if status := decoded[api.Status](t, c, "status"); status.NodeID != c.one.PeerID || len(status.Components) != 4 {
		t.Errorf("status %+v", status)
	}
	if lines := c.table(t, "status"); len(lines) == 0 || !slices.Equal(lines[0], []string{"Node", c.one.PeerID}) {
		t.Errorf("status %v", lines)
	}

	listed := decoded[[]api.Peer](t, c, "peers")
	lines := c.table(t, "peers", "--no-trunc")
	if len(listed) != len(peers) || len(lines) != len(peers)+1 {
		t.Errorf("peers %+v\n%v", listed, lines)
	}
	names := map[string]string{c.two.PeerID: c.two.Name, c.three.PeerID: c.three.Name}
	for id, state := range peers {
		if !slices.ContainsFunc(listed, func(p api.Peer) bool { return p.ID == id && p.Name == names[id] && (p.State == state || state == "") }) {
			t.Errorf("%s is not listed as %s: %+v", id, state, listed)
		}
		if !slices.ContainsFunc(lines, func(line []string) bool {
			return line[0] == id && line[1] == names[id] && (line[2] == state || state == "")
		}) {
			t.Errorf("%s is not listed as %s: %v", id, state, lines)
		}
	}

	functions := decoded[[]api.Function](t, c, "functions")
	lines = c.table(t, "functions")
	for name, local := range map[string]bool{"figlet": true, "ocr": false} {
		here := map[bool]string{true: "ready", false: "no"}[local]
		if !slices.ContainsFunc(functions, func(f api.Function) bool { return f.Name == name && f.Local == local && f.Peers == 1 }) {
			t.Errorf("%s is not listed: %+v", name, functions)
		}
		if !slices.ContainsFunc(lines, func(line []string) bool { return line[0] == name && line[1] == here }) {
			t.Errorf("%s is not listed: %v", name, lines)
		}
	}

	for _, args := range [][]string{{"routes"}, {"routes", "figlet"}} {
		routes := decoded[[]api.Route](t, c, args...)
		lines := c.table(t, append(args, "--no-trunc")...)
		for _, kind := range []string{"local", "out", "in"} {
			there := slices.ContainsFunc(routes, func(r api.Route) bool {
				return r.Function == "figlet" && r.Kind == kind && (kind == "local" || r.Peer == c.two.PeerID)
			})
			if !there || !slices.ContainsFunc(lines, func(line []string) bool { return line[0] == "figlet" && line[1] == kind }) {
				t.Errorf("dfaasctl %v has no %s route of figlet to node-2: %+v\n%v", args, kind, routes, lines)
			}
		}
	}
	if code, output := c.dfaasctl(t, "routes", "no-such-function"); code != 1 || !strings.Contains(output, "no-such-function") {
		t.Errorf("routes of a function that nobody has: exit status %d\n%s", code, output)
	}
}

// doctor examines node-1 in both forms and expects so many failed checks.
func (c *cluster) doctor(t *testing.T, failed int) {
	t.Helper()
	type result struct{ Check, Level, Finding, Hint string }
	results := decoded[[]result](t, c, "doctor", "--config", c.config())
	for _, r := range results {
		if r.Level == "FAIL" {
			failed--
			t.Logf("%+v", r)
		}
	}
	if failed != 0 || len(results) < 15 {
		t.Errorf("%d more failures expected in %+v", failed, results)
	}
	if code, text := c.doctorText(t); code != 0 || strings.Count(text, "\n") < 15 {
		t.Errorf("exit status %d\n%s", code, text)
	}
}

func (c *cluster) doctorText(t *testing.T) (code int, output string) {
	t.Helper()
	return c.dfaasctl(t, "doctor", "--config", c.config())
}

// config is the path of the configuration of node-1's controller.
func (c *cluster) config() string { return filepath.Join(c.Dir(), "node-1", "controller.yaml") }

package simulator

import (
	"fmt"
	"testing"
)

// TestForged: calls that claim to come from a peer and do not are refused and no user's;
// those that might be a peer's are let through where nobody can tell.
func TestForged(t *testing.T) {
	const badToken = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ4In0.AAAA"
	member := peerID(1).String()
	for name, c := range map[string]struct{ headers, faults, top, want string }{
		"made up":                {"DFaaS-Node-ID: malicious-id", "", "", "map[403:100]"},
		"empty":                  {"dfaas-node-id: ''", "", "", "map[403:100]"},
		"a member without token": {"DFaaS-Node-ID: " + member, "", "", "map[403:100]"},
		"a member's, forged":     {"DFaaS-Node-ID: " + member + ", DFaaS-Token: " + badToken, "", "", "map[403:100]"},
		"nobody's":               {"DFaaS-Node-ID: " + peerID(99).String() + ", DFaaS-Token: " + badToken, "", "", "map[403:100]"},
		"a token alone":          {"DFaaS-Token: " + badToken, "", "", "map[200:100]"},
		"nobody to tell":         {"DFaaS-Node-ID: " + member + ", DFaaS-Token: " + badToken, "kill", "", "map[200:100]"},
		"nobody needed to tell":  {"DFaaS-Node-ID: malicious-id", "kill", "", "map[403:100]"},
		"without certificate":    {"DFaaS-Node-ID: " + member + ", DFaaS-Token: " + badToken, "kill", "tls: true\n", "map[403:100]"},
		"an agent that hangs":    {"DFaaS-Node-ID: " + member + ", DFaaS-Token: " + badToken, "stop", "", "map[200:100]"},
	} {
		text := c.top + fmt.Sprintf(`load:
  - {target: a, function: f, rate: 10, duration: 10s}
  - {target: a, function: f, rate: 10, start: 1s, duration: 10s, headers: {%s}}
`, c.headers)
		if c.faults != "" {
			text += fmt.Sprintf("faults: [{at: 0s, do: %s, node: a, part: spoa}]\n", c.faults)
		}
		r := scenarioRun(t, text)
		if statuses(r.Loads[0]) != "map[200:100]" || statuses(r.Loads[1]) != c.want {
			t.Errorf("%s: users get %s, forgers %s, want %s", name, statuses(r.Loads[0]), statuses(r.Loads[1]), c.want)
		}
		if users := map[bool]uint64{true: 200, false: 100}[name == "a token alone"]; r.Sent != users {
			t.Errorf("%s: %d calls of users, want %d", name, r.Sent, users)
		}
	}
}

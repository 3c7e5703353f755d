package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/dfaas/dfaas/controller/api"
)

// controllerFacts is what dfaas-controller says over its admin socket.
type controllerFacts struct {
	err    error
	status api.Status
	peers  []api.Peer
}

func gatherController(ctx context.Context, socket string) controllerFacts {
	client := api.NewClient(socket)
	var f controllerFacts
	if f.status, f.err = client.Status(ctx); f.err == nil {
		f.peers, f.err = client.Peers(ctx)
	}
	return f
}

func controllerChecks() []check {
	return []check{
		{"controller", judgeAdminSocket},
		{"controller parts", judgeComponents},
		{"peers", judgePeers},
		{"refused peers", judgeRefused},
		{"peers' servers", judgeServers},
	}
}

func judgeAdminSocket(f *Facts) Verdict {
	if f.Controller.err != nil {
		return unreachable(f.Controller.err, "systemctl status dfaas-controller; journalctl -u dfaas-controller")
	}
	s := f.Controller.status
	return ok("%s, federation %s, strategy %s", s.Version, s.Federation, s.Strategy)
}

// judgeComponents reports what the controller itself cannot reach: this
// program may run as another user, who can.
func judgeComponents(f *Facts) Verdict {
	if f.Controller.err != nil || len(f.Controller.status.Components) == 0 {
		return skip()
	}
	var well, ill []string
	for _, c := range f.Controller.status.Components {
		if c.OK {
			well = append(well, c.Name)
		} else {
			ill = append(ill, fmt.Sprintf("%s: %s", c.Name, c.Error))
		}
	}
	if len(ill) > 0 {
		return fail("fix the parts named; the controller tries again by itself", "%s", strings.Join(ill, "; "))
	}
	return ok("reaches %s", few(well))
}

func judgePeers(f *Facts) Verdict {
	if f.Controller.err != nil {
		return skip()
	}
	states := map[string]int{}
	for _, p := range f.Controller.peers {
		states[p.State]++
	}
	if states["alive"] == 0 {
		return warn("dfaasctl join ADDRESS, or list members under bootstrap; federation and federation_key must be the same on all nodes",
			"alone: no other node is alive")
	}
	finding := fmt.Sprintf("%d alive", states["alive"])
	for _, state := range []string{"connected", "expired"} {
		if states[state] > 0 {
			finding += fmt.Sprintf(", %d %s", states[state], state)
		}
	}
	return ok("%s", finding)
}

func judgeRefused(f *Facts) Verdict {
	var refused []string
	for _, p := range f.Controller.peers {
		if p.State == "refused" {
			refused = append(refused, p.ID+": "+p.Reason)
		}
	}
	if len(refused) == 0 {
		return skip()
	}
	return warn("add those that belong here to allow_peers or allow_addresses; the others can do no harm", "%s", few(refused))
}

// judgeServers compares who is alive with whom HAProxy can reach.
func judgeServers(f *Facts) Verdict {
	alive := 0
	var lost []string
	for _, p := range f.Controller.peers {
		if p.State != "alive" {
			continue
		}
		alive++
		if p.Server != "up" {
			lost = append(lost, fmt.Sprintf("%s at %s (%s)", p.ID, p.HTTP, p.Server))
		}
	}
	switch {
	case alive == 0:
		return skip()
	case len(lost) > 0:
		return warn("open the peer's HAProxy port in firewalls between the nodes, and check its http_address; "+
			"curl http://ADDRESS/healthz from here must answer 200",
			"alive, but not reached by HAProxy: %s", few(lost))
	default:
		return ok("HAProxy reaches all %d", alive)
	}
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/api"
)

// controllerFacts is what dfaas-controller says over its admin socket.
type controllerFacts struct {
	err       error
	status    api.Status
	peers     []api.Peer
	functions []api.Function
}

// A part that has just been started the controller finds again within this time.
const (
	patience  = 3 * time.Second
	lookAgain = 200 * time.Millisecond
)

func gatherController(ctx context.Context, socket string) controllerFacts {
	path, err := api.ParseSocket(socket)
	if err != nil {
		return controllerFacts{err: err}
	}
	client := api.NewClient(path)
	var f controllerFacts
	f.status, f.err = client.Status(ctx)
	for deadline := time.Now().Add(patience); f.err == nil && failing(f.status) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return f
		case <-time.After(lookAgain):
		}
		f.status, f.err = client.Status(ctx)
	}
	if f.err == nil {
		f.peers, f.err = client.Peers(ctx)
	}
	if f.err == nil {
		f.functions, f.err = client.Functions(ctx)
	}
	return f
}

func failing(s api.Status) bool {
	return slices.ContainsFunc(s.Components, func(c api.Component) bool { return !c.OK })
}

func controllerChecks() []check {
	return []check{
		{"controller", judgeAdminSocket},
		{"controller parts", judgeComponents},
		{"peers", judgePeers},
		{"refused peers", judgeRefused},
		{"refused by peers", judgeRefusedBy},
		{"limits", judgeBounds},
		{"newer peers", judgeNewer},
		{"functions", judgeFunctions},
		{"peers' servers", judgeServers},
	}
}

func judgeAdminSocket(f *Facts) Verdict {
	if f.Controller.err != nil {
		hint := "systemctl start dfaas-controller; if it does not stay: journalctl -u dfaas-controller"
		if f.ConfigError != nil {
			hint = "correct its configuration first; then systemctl start dfaas-controller"
		}
		return unreachable(f.Controller.err, hint)
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
			ill = append(ill, fmt.Sprintf("%s: %s", c.Name, oneLine(errors.New(c.Error))))
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
		return f.judgeAlone(states)
	}
	finding := fmt.Sprintf("%d alive", states["alive"])
	for _, state := range []string{"connected", "expired"} {
		if states[state] > 0 {
			finding += fmt.Sprintf(", %d %s", states[state], state)
		}
	}
	return ok("%s", finding)
}

// judgeAlone says why nobody is alive, as far as that can be seen from here.
func (f *Facts) judgeAlone(states map[string]int) Verdict {
	const reach = "the members under bootstrap must run, and their listen port (31600) be open in firewalls"
	overlay := f.component("overlay")
	switch {
	case states["connected"] > 0:
		return warn("announcements come within seconds; if not: federation must have the same name on all nodes, here it is "+
			f.Controller.status.Federation+", and their versions must be neighbours",
			"alone: %s connected, but not heard", count(states["connected"], "node"))
	case states["refused"] > 0:
		return warn("see refused peers", "alone: %s turned away, or turning this node away", count(states["refused"], "node"))
	case states["expired"] > 0:
		return warn("look at their dfaas-controller, and whether their listen port (31600) is still open in firewalls; dfaasctl peers names them", "alone: %s silent", count(states["expired"], "node"))
	case overlay != nil && !overlay.OK:
		return warn(reach, "alone: %s", oneLine(errors.New(overlay.Error)))
	case len(f.Config.Bootstrap) == 0 && !f.Config.MDNS:
		return warn("list members under bootstrap, or dfaasctl join ADDRESS", "alone: there is nobody under bootstrap, and mdns is off")
	case len(f.Config.Bootstrap) == 0:
		return warn("members on other networks must be listed under bootstrap, or dfaasctl join ADDRESS",
			"alone: no member was found on the local network, and there is nobody under bootstrap")
	default:
		return warn(reach, "alone: no other node is alive")
	}
}

// component is a part as the controller sees it; nil if it says nothing of it.
func (f *Facts) component(name string) *api.Component {
	for i, c := range f.Controller.status.Components {
		if c.Name == name {
			return &f.Controller.status.Components[i]
		}
	}
	return nil
}

// refusals are the causes for which nodes turn each other away, by words of what
// the controller says, and what is to be done.
var refusals = []struct{ words, hint string }{
	{"federation key", "compare the keys: federation_key must hold the same on all nodes (sha256sum), and the id in bootstrap be that node's (dfaasctl id)"},
	{"not in its allow_peers", "add this node's id (dfaasctl id) to allow_peers there"},
	{"allow list", "add those that belong here to allow_peers; the others can do no harm"},
	{"allow_peers", "add those that belong here to allow_peers; the others can do no harm"},
	{"allow_addresses", "correct http_address there, or add its network to allow_addresses here"},
	{"peer_tls", "set peer_tls the same on all nodes"},
	{"identity", "two machines have the same identity.key: delete it on the copy and restart its dfaas-controller"},
	{"upgrade", "upgrade the older of the two nodes"},
	{"clock", "set the clocks right: timedatectl set-ntp true"},
}

func judgeRefused(f *Facts) Verdict {
	var refused, hints []string
	for _, p := range f.Controller.peers {
		if p.State != "refused" {
			continue
		}
		refused = append(refused, p.ID+": "+p.Reason)
		if hint := refusalHint(p.Reason); !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	if len(refused) == 0 {
		return skip()
	}
	return warn(strings.Join(hints, "; "), "%s", few(refused))
}

// judgeRefusedBy reports what peers have against this node. It is their word, so no
// more than a warning.
func judgeRefusedBy(f *Facts) Verdict {
	refusals := f.Controller.status.RefusedBy
	if f.Controller.err != nil || len(refusals) == 0 {
		return skip()
	}
	var said, hints []string
	for _, r := range refusals {
		said = append(said, fmt.Sprintf("%s says that this node %s", r.Peer, r.Reason))
		hint := "look at dfaasctl peers on the peer"
		if strings.Contains(r.Reason, "http_address") {
			hint = "set http_address here to the address that peers see, or add it to allow_addresses on the peer"
		} else if strings.Contains(r.Reason, "peer_tls") {
			hint = "set peer_tls the same on all nodes"
		} else if strings.Contains(r.Reason, "identity") {
			hint = refusalHint(r.Reason)
		}
		if !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	return warn(strings.Join(hints, "; "), "%s", few(said))
}

func judgeBounds(f *Facts) Verdict {
	warnings := f.Controller.status.Warnings
	if f.Controller.err != nil || len(warnings) == 0 {
		return skip()
	}
	return warn("docs/operate.md says what each limit is for", "%s", few(warnings))
}

func refusalHint(reason string) string {
	for _, r := range refusals {
		if strings.Contains(reason, r.words) {
			return r.hint
		}
	}
	return "docs/operate.md, peers, says what each note means"
}

// judgeNewer finds members that this node is too old for.
func judgeNewer(f *Facts) Verdict {
	var newer []string
	for _, p := range f.Controller.peers {
		if p.State == "newer" {
			newer = append(newer, p.ID)
		}
	}
	if len(newer) == 0 {
		return skip()
	}
	return warn("upgrade dfaas-controller and dfaas-spoa on this node", "a newer protocol is spoken by %s", few(newer))
}

// judgeFunctions finds functions of this node that do not take part as deployed.
func judgeFunctions(f *Facts) Verdict {
	var warned []string
	for _, fn := range f.Controller.functions {
		if fn.Warning != "" {
			warned = append(warned, fn.Name+": "+fn.Warning)
		}
	}
	if len(warned) == 0 {
		return skip()
	}
	return warn("correct the labels, or do what the warning says; dfaasctl functions shows all", "%s", few(warned))
}

// judgeServers compares who is alive with whom HAProxy can reach.
func judgeServers(f *Facts) Verdict {
	alive := 0
	var lost, hints []string
	for _, p := range f.Controller.peers {
		if p.State != "alive" || p.Apart {
			continue
		}
		alive++
		if p.Server == "up" {
			continue
		}
		said := f.HAProxy.peers.check(p.ID)
		lost = append(lost, fmt.Sprintf("%s at %s (%s)", p.ID, p.HTTP, strings.TrimSpace(p.Server+" "+said)))
		if hint := serverHint(p.Server, said); !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	switch {
	case alive == 0:
		return skip()
	case len(lost) > 0:
		return warn(strings.Join(hints, "; "), "alive, but not reached by HAProxy: %s", few(lost))
	default:
		return ok("HAProxy reaches all %d", alive)
	}
}

// serverHint goes by what HAProxy's health check said last.
func serverHint(state, said string) string {
	switch {
	case state == "none":
		return "the controller could not give HAProxy a server for it: see haproxy and controller parts"
	case state == "maint":
		return "it is being added or removed: look again in a few seconds"
	case strings.HasPrefix(said, "L7STS"):
		return "HAProxy there answers, but its gateway is down: dfaasctl doctor on that node"
	case strings.HasPrefix(said, "L4CON"):
		return "nobody listens there: HAProxy of that node is down, or its http_address is not what its DFAAS_BIND opens"
	case strings.HasPrefix(said, "L4TOUT"):
		return "a firewall between the nodes, or farther away than DFAAS_PEER_CONNECT; its http_address may be wrong"
	case strings.HasPrefix(said, "L6"):
		return "TLS fails: peer_tls and DFAAS_TLS_BIND must be the same on all nodes"
	default:
		return "open the peer's HAProxy port in firewalls between the nodes, and check its http_address; " +
			"curl http://ADDRESS/healthz from here must answer 200"
	}
}

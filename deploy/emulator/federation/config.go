package federation

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// maxDir bounds the path of a federation's directory: sockets are in it, and
// HAProxy needs some bytes of their paths for a suffix of its own.
const maxDir = unixsock.MaxPath - len("/") - maxName - len("/control.sock.1234567.tmp")

// Name is that of every federation here: overlays of different ones have
// different keys.
const Name = "emulator"

const maxName = 32 // of a node, as the scenario allows

// files are the paths of a node's files.
type files struct{ dir string }

func (f files) identity() string   { return filepath.Join(f.dir, "identity.key") }
func (f files) controller() string { return filepath.Join(f.dir, "controller.yaml") }
func (f files) haproxy() string    { return filepath.Join(f.dir, "haproxy.cfg") }
func (f files) dropIn() string     { return filepath.Join(f.dir, "dfaas.cfg") }
func (f files) spoe() string       { return filepath.Join(f.dir, "dfaas-spoe.conf") }
func (f files) provider() string   { return filepath.Join(f.dir, "provider") }
func (f files) tls() string        { return filepath.Join(f.dir, "tls") }
func (f files) spoaSocket() string { return filepath.Join(f.dir, "spoa.sock") }
func (f files) control() string    { return filepath.Join(f.dir, "control.sock") }
func (f files) admin() string      { return filepath.Join(f.dir, "admin.sock") }
func (f files) runtime() string    { return filepath.Join(f.dir, "haproxy.sock") }
func (f files) master() string     { return filepath.Join(f.dir, "master.sock") }

func (n *Node) overlayAddr() string {
	return fmt.Sprintf("/ip4/%s/tcp/%d", n.place.host, n.place.ports.Overlay)
}

// writeConfig writes the node's configuration. The first node of the federation
// is the one that the others start from.
func (f *Federation) writeConfig(n *Node, o Options) error {
	controller := config.Default()
	controller.Federation = Name
	controller.NodeName = wire.NodeName(n.Name)
	controller.Identity = n.files.identity()
	controller.FederationKey = f.key
	controller.Listen = []string{n.overlayAddr()}
	if first := f.nodes[0]; n != first && !o.MDNS {
		controller.Bootstrap = []string{first.overlayAddr() + "/p2p/" + first.PeerID}
	}
	// Other federations on this machine or network are none of its business.
	controller.MDNS = o.MDNS
	controller.HTTPAddress = n.place.address(n.place.ports.HTTP)
	if o.TLS {
		controller.PeerTLS, controller.TLSDir, controller.HTTPAddress = true, n.files.tls(), n.place.address(n.place.ports.TLS)
	}
	controller.Strategy = n.spec.Strategy
	if controller.Strategy == "" {
		controller.Strategy = o.Strategy
	}
	controller.Period = o.Period
	controller.DefaultMaxrate = o.DefaultMaxrate
	for _, name := range o.Neighbours[n.Name] {
		controller.Neighbours = append(controller.Neighbours, f.Node(name).PeerID)
	}
	controller.HAProxySocket = n.files.runtime()
	controller.SPOASocket = n.files.control()
	controller.AdminSocket = n.files.admin()
	controller.Gateway = n.Gateway
	controller.GatewayUser = n.spec.GatewayUser
	controller.GatewayPasswordFile = n.spec.GatewayPasswordFile
	text, err := yaml.Marshal(controller)
	if err != nil {
		return fmt.Errorf("encoding the controller's configuration: %w", err)
	}
	global := "global\n    log stderr format raw local0\n    hard-stop-after 5s\n" +
		"    stats socket " + n.files.runtime() + " mode 600 level admin\n"
	for path, content := range map[string]string{
		n.files.controller(): string(text),
		n.files.haproxy():    global,
		n.files.dropIn():     haproxy.Config(),
		n.files.spoe():       haproxy.SPOEConfig(),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("configuring %s: %w", n.Name, err)
		}
	}
	return nil
}

// processes lists the node's parts in the order in which they start.
func (f *Federation) processes(n *Node, o Options) []*process {
	var all []*process
	for _, part := range scenario.Parts() {
		if part == scenario.Provider && n.spec.Gateway != "" {
			continue
		}
		path := o.Special[n.Name][part]
		if path == "" {
			path = o.Binaries[part]
		}
		all = append(all, &process{
			part: part, node: n.Name, path: path, args: n.args(part), env: f.environment(n, part, o),
			log: filepath.Join(n.Logs, string(part)+".log"), spawner: n.place.spawner, groups: f.groups,
		})
	}
	return all
}

func (n *Node) args(part scenario.Part) []string {
	switch part {
	case scenario.Provider:
		return []string{"--listen", n.place.gateway(), "--state-dir", n.files.provider(), "--allow-processes"}
	case scenario.SPOA:
		return []string{"--listen", n.files.spoaSocket(), "--control", n.files.control()}
	case scenario.HAProxy:
		return []string{"-W", "-S", n.files.master() + ",mode,600", "-f", n.files.haproxy(), "-f", n.files.dropIn()}
	default:
		return []string{"--config", n.files.controller()}
	}
}

// environment is the emulator's own without what configures DFaaS; for HAProxy
// with the settings of the node's drop-in.
func (f *Federation) environment(n *Node, part scenario.Part, o Options) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "DFAAS_") {
			env = append(env, entry)
		}
	}
	if part != scenario.HAProxy {
		return env
	}
	if n.place.ports.TLS != 0 {
		env = append(env, haproxy.EnvTLSBind+"="+n.place.address(n.place.ports.TLS), haproxy.EnvTLSDir+"="+n.files.tls())
	}
	if o.FastPath {
		env = append(env, haproxy.EnvFastPath+"="+haproxy.FastPathOn)
	}
	if limit := f.peerConnect(n, o); limit != 0 {
		env = append(env, haproxy.EnvPeerConnect+"="+strconv.FormatInt(limit.Milliseconds(), 10)+"ms")
	}
	return append(env,
		haproxy.EnvBind+"="+n.place.address(n.place.ports.HTTP),
		haproxy.EnvStats+"="+n.place.address(n.place.ports.Stats),
		haproxy.EnvGateway+"="+hostPort(n.Gateway),
		haproxy.EnvSPOA+"=unix@"+n.files.spoaSocket(),
		haproxy.EnvSPOEConf+"="+n.files.spoe(),
		haproxy.EnvNodeID+"="+n.PeerID,
		haproxy.EnvInstance+"="+f.id+"-"+n.Name,
	)
}

// peerConnect is how long a node has to wait for a connection to the peer that is
// farthest away, as its operator would have to set it; 0 where the default will do.
func (f *Federation) peerConnect(n *Node, o Options) time.Duration {
	const enough = 100 * time.Millisecond // there and back
	if f.network == nil || o.Topology == nil {
		return 0
	}
	self, farthest := slices.Index(f.nodes, n), time.Duration(0)
	routes := topology.NewRoutes(o.Topology)
	for other := range f.nodes {
		if way, ok := routes.Link(self, other); ok {
			farthest = max(farthest, 2*(way.Delay+way.Jitter))
		}
	}
	if farthest <= enough {
		return 0
	}
	return 100*time.Millisecond + farthest*3/2
}

// hostPort is the address of a gateway's http URL with its port.
func hostPort(gateway string) string {
	u, err := url.Parse(gateway)
	if err != nil || u.Port() != "" {
		return strings.TrimPrefix(gateway, "http://")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

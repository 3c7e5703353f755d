// Package config holds the controller's options: one definition, from which
// the file's keys, the environment, the flags and the documentation follow.
package config

import (
	"net/netip"
	"time"
)

// Config is every option of dfaas-controller. The comment of a field is what
// users read (docs/configuration.md and --help are made from it): what it is,
// in which unit, its range, its default, and what is traded when it is changed.
//
// A Config is a value: it is read once at start and never changed after.
type Config struct {
	// The name of the federation to join. Nodes of differently named federations never hear each other.
	// The name separates, it does not protect: that is what federation_key and allow_peers are for.
	// Range: 1 to 63 lower-case letters, digits and dashes. Default: dfaas.
	Federation string `yaml:"federation"`
	// The path of this node's private key (Ed25519); the peer id is made from it. The file is created with mode 0600
	// when there is none. Whoever has the file is this node: keep it private, keep it when the machine is rebuilt.
	// Range: a path. Default: /var/lib/dfaas/identity.key.
	Identity string `yaml:"identity"`
	// The path of the key that all members share (libp2p swarm key, made by "dfaasctl keygen"). Nobody without it
	// can even connect. One secret for all is easy to hand out, but a member is only shut out again by a new key for all others.
	// Range: a path, or empty for none. Default: empty.
	FederationKey string `yaml:"federation_key"`
	// Lets anybody who reaches the listen address become a member: announce functions and have requests forwarded.
	// For experiments on a closed network. It contradicts federation_key and allow_peers.
	// Range: true or false. Default: false.
	OpenFederation bool `yaml:"open_federation"`
	// The peer ids that may be members; all others are refused. The strictest control, at the price of a list to
	// keep on every node. Together with federation_key both must hold.
	// Range: peer ids such as 12D3KooW..., at most 256. Default: empty.
	AllowPeers []string `yaml:"allow_peers"`
	// The addresses where the overlay listens for other controllers. A fixed port can be opened in a firewall and named
	// in other nodes' bootstrap; port 0 takes any free one.
	// Range: 1 to 16 multiaddrs of the form /ip4/IP/tcp/PORT or /ip6/IP/tcp/PORT. Default: /ip4/0.0.0.0/tcp/31600.
	Listen []string `yaml:"listen"`
	// Members to connect to at start and again when they are lost. One reachable member is enough to find all; two
	// or three let a node start while one is down. Not needed where mdns finds the others.
	// Range: multiaddrs ending in /p2p/PEER-ID, at most 64. Default: empty.
	Bootstrap []string `yaml:"bootstrap"`
	// Finds members on the same local network without any bootstrap. It tells everybody on that network that this node exists.
	// Range: true or false. Default: true.
	MDNS bool `yaml:"mdns"`
	// Finds members beyond the local network through the members already known (a Kademlia table of this federation only).
	// Without it a node connects only to those that bootstrap or mdns name, which saves some memory and idle traffic.
	// Range: true or false. Default: true.
	DHT bool `yaml:"dht"`
	// The address of this node's HAProxy as peers reach it: forwarded requests come here. It must be an address
	// that the node also has on the overlay, or peers refuse it (see allow_addresses).
	// Range: IP:PORT, the IP a literal. Default: empty, and then it must be set.
	HTTPAddress string `yaml:"http_address"`
	// Makes requests between nodes go over TLS, each side showing a certificate that follows from its peer id; no authority
	// is needed. HAProxy must have DFAAS_TLS_BIND, and http_address be its port (docs/install.md). It costs some CPU, and all
	// nodes must agree: those with and those without refuse each other.
	// Range: true or false. Default: false.
	PeerTLS bool `yaml:"peer_tls"`
	// The directory for the certificates of peer_tls, from which HAProxy reads them when it starts. HAProxy's setting
	// DFAAS_TLS_DIR must name it in the same words.
	// Range: a path from /, of letters, digits and ./_-. Default: /var/lib/dfaas/tls.
	TLSDir string `yaml:"tls_dir"`
	// Networks from which peers' announced addresses are accepted although they are not the address that the
	// peer is connected from: for nodes behind NAT or with several interfaces. Every network listed here is one that a member
	// may make this node send requests to, so keep it narrow.
	// Range: CIDR networks or IPs, at most 64. Default: empty.
	AllowAddresses []string `yaml:"allow_addresses"`
	// The rule that decides how much is served here and how much is sent to whom. All nodes of a federation should use the same:
	// headroom (surplus fills the spare capacity of all), recalc (the original DFaaS), static (60 % here), random, alllocal.
	// Range: headroom, recalc, static, random or alllocal. Default: headroom.
	Strategy string `yaml:"strategy"`
	// The time between two plans, and at most between two announcements; a peer that is silent for three periods is taken
	// for dead. Shorter follows changes sooner, longer costs less gossip and CPU and smooths noise.
	// Range: 100ms to 10m. Default: 1s.
	Period time.Duration `yaml:"period"`
	// The rate, in requests/s, that this node is taken to serve of a function without the label dfaas.maxrate.
	// It is a soft limit: users beyond it are forwarded if a peer has room, but never refused. Too high and the node keeps what
	// peers could serve faster; too low and it forwards what it could serve itself.
	// Range: 0.001 to 1000000. Default: 100.
	DefaultMaxrate float64 `yaml:"default_maxrate"`
	// HAProxy's runtime socket ("stats socket PATH level admin"), over which peers become servers.
	// Range: a path of at most 107 bytes. Default: /run/haproxy/admin.sock.
	HAProxySocket string `yaml:"haproxy_socket"`
	// The control socket of dfaas-spoa, over which it gets its table and tells its counters.
	// Range: a path of at most 107 bytes. Default: /run/dfaas/spoa-control.sock.
	SPOASocket string `yaml:"spoa_socket"`
	// The socket for dfaasctl. It is created with mode 0660: the group of the process may use it.
	// Range: a path of at most 107 bytes. Default: /run/dfaas/admin.sock.
	AdminSocket string `yaml:"admin_socket"`
	// The OpenFaaS gateway of this node (faasd, OpenFaaS or dfaas-provider): where functions and labels are read from.
	// Range: an http or https URL, or HOST:PORT. Default: http://127.0.0.1:8080.
	Gateway string `yaml:"gateway"`
	// The user for the gateway's basic authentication. It goes together with gateway_password_file.
	// Range: a user name, or empty for no authentication. Default: empty.
	GatewayUser string `yaml:"gateway_user"`
	// The path of a file with the gateway's password, and nothing else. The password itself is no option, so
	// that it shows neither in a process list nor in a configuration that is passed on.
	// Range: a path, or empty for no authentication. Default: empty.
	GatewayPasswordFile string `yaml:"gateway_password_file"`
	// Where /metrics is served for Prometheus. There is no authentication: use a loopback or management address.
	// Range: HOST:PORT, or empty for nowhere. Default: empty.
	Metrics string `yaml:"metrics"`
	// The least important level that is logged. debug tells of every plan and every announcement.
	// Range: debug, info, warn or error. Default: info.
	LogLevel string `yaml:"log_level"`
	// How to log: json for machines (journald, Loki) or console for people.
	// Range: json or console. Default: json.
	LogFormat string `yaml:"log_format"`
}

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "/etc/dfaas/controller.yaml"

// Default returns the defaults. They validate once http_address and one of
// federation_key, allow_peers and open_federation are set.
func Default() Config {
	return Config{
		Federation:     "dfaas",
		Identity:       "/var/lib/dfaas/identity.key",
		Listen:         []string{"/ip4/0.0.0.0/tcp/31600"},
		TLSDir:         "/var/lib/dfaas/tls",
		MDNS:           true,
		DHT:            true,
		Strategy:       "headroom",
		Period:         time.Second,
		DefaultMaxrate: 100,
		HAProxySocket:  "/run/haproxy/admin.sock",
		SPOASocket:     "/run/dfaas/spoa-control.sock",
		AdminSocket:    "/run/dfaas/admin.sock",
		Gateway:        "http://127.0.0.1:8080",
		LogLevel:       "info",
		LogFormat:      "json",
	}
}

// AllowedNetworks returns AllowAddresses parsed; a bare IP is a network of one.
// It must only be called on a validated Config.
func (c *Config) AllowedNetworks() []netip.Prefix {
	networks := make([]netip.Prefix, 0, len(c.AllowAddresses))
	for _, s := range c.AllowAddresses {
		if p, err := parseNetwork(s); err == nil {
			networks = append(networks, p)
		}
	}
	return networks
}

// HTTPAddrPort returns HTTPAddress parsed; the zero AddrPort if it is invalid.
func (c *Config) HTTPAddrPort() netip.AddrPort {
	a, _ := netip.ParseAddrPort(c.HTTPAddress)
	return a
}

package config

import (
	"fmt"
	"strings"
)

// option is one option under the names that users know, and what they read of it.
type option struct {
	key   string // in the file; the flag has dashes for underscores
	value func(*Config) any
	short string // for --help
	more  string // follows it in docs/configuration.md
	takes string // which values are good, with their unit
}

// options lists all options, in the order in which people meet them.
func options() []option {
	return []option{
		{
			"federation", func(c *Config) any { return &c.Federation },
			"name of the federation to join",
			"Nodes of federations with different names never hear each other. The name separates, it does not protect: " +
				"that is what federation_key and allow_peers are for.",
			"1 to 63 lower-case letters, digits and dashes",
		},
		{
			"node_name", func(c *Config) any { return &c.NodeName },
			"what this node is called",
			"It is announced, and shown beside the peer id in dfaasctl, logs and metrics. It proves nothing: two nodes may have the same. " +
				"Without it, the node is called by its host's name up to the first dot.",
			"1 to 63 lower-case letters, digits and dashes, or empty for the host's name",
		},
		{
			"identity", func(c *Config) any { return &c.Identity },
			"file with this node's private key (Ed25519)",
			"The peer id is made from it. If there is no file, one is created with mode 0600. Whoever has the file is this node: " +
				"keep it private, and keep it when you rebuild the machine.",
			"a path",
		},
		{
			"federation_key", func(c *Config) any { return &c.FederationKey },
			"file with the key that all members share",
			"It is a libp2p swarm key, made by `dfaasctl keygen`. Without it nobody can even connect. One secret is easy to hand out, " +
				"but to shut a member out again, all others need a new one.",
			"a path, or empty for no key",
		},
		{
			"open_federation", func(c *Config) any { return &c.OpenFederation },
			"let anybody who can connect become a member",
			"Members announce functions and have requests forwarded. For experiments on a closed network. " +
				"It contradicts federation_key and allow_peers.",
			"true or false",
		},
		{
			"allow_peers", func(c *Config) any { return &c.AllowPeers },
			"peer ids that may be members; all others are refused",
			"The strictest control, but every node has a list to keep. Together with federation_key, both must hold.",
			"peer ids (12D3KooW...), at most 256",
		},
		{
			"neighbours", func(c *Config) any { return &c.Neighbours },
			"peer ids of the only members to exchange calls with",
			"All others stay members, known and announced to, but nothing is forwarded to them and nothing is admitted from them: " +
				"for nodes that are far away, or whose line is dear. If two nodes are to exchange calls, each has to list the other. " +
				"Without it, calls go wherever there is room.",
			"peer ids (12D3KooW...), at most 1000, or empty for all members",
		},
		{
			"listen", func(c *Config) any { return &c.Listen },
			"addresses on which to listen for other controllers",
			"A fixed port can be opened in a firewall and named in the bootstrap of other nodes; port 0 takes any free one.",
			"1 to 16 multiaddrs, /ip4/IP/tcp/PORT or /ip6/IP/tcp/PORT",
		},
		{
			"bootstrap", func(c *Config) any { return &c.Bootstrap },
			"members to connect to at start, and again when they are lost",
			"One that can be reached is enough to find all; with two or three, a node can start while one is down. " +
				"Not needed where mdns finds the others. With allow_peers, they must be in that list.",
			"multiaddrs with a peer id, /ip4/IP/tcp/PORT/p2p/PEER-ID, at most 64",
		},
		{
			"mdns", func(c *Config) any { return &c.MDNS },
			"find members on the local network",
			"No bootstrap is needed then. Everybody on that network learns that this node exists.",
			"true or false",
		},
		{
			"dht", func(c *Config) any { return &c.DHT },
			"find members beyond the local network through those already known",
			"It is a Kademlia table of this federation only. Without it a node connects only to those that bootstrap or mdns name, " +
				"which saves some memory and idle traffic.",
			"true or false",
		},
		{
			"http_address", func(c *Config) any { return &c.HTTPAddress },
			"address of this node's HAProxy as peers reach it",
			"Forwarded requests come here. It must be set, and be an address that the node also has on the overlay, or peers refuse it " +
				"(see allow_addresses).",
			"IP:PORT, no names",
		},
		{
			"peer_tls", func(c *Config) any { return &c.PeerTLS },
			"use TLS for requests between nodes",
			"Both sides show a certificate that follows from their peer id; no authority is needed. HAProxy must have DFAAS_TLS_BIND, and " +
				"http_address must have its port (docs/install.md). It costs some CPU. All nodes must agree: those with and those " +
				"without refuse each other.",
			"true or false",
		},
		{
			"tls_dir", func(c *Config) any { return &c.TLSDir },
			"directory for the certificates of peer_tls",
			"HAProxy reads them there when it starts. Its setting DFAAS_TLS_DIR must be the same, letter for letter.",
			"a path from /, of letters, digits and ./_-",
		},
		{
			"allow_addresses", func(c *Config) any { return &c.AllowAddresses },
			"networks in which peers may announce any address",
			"Elsewhere a peer may only announce the address that it is connected from. For nodes behind NAT or with several interfaces. " +
				"A member can make this node send requests to any address listed here, so keep it narrow.",
			"CIDR networks or IPs, at most 64",
		},
		{
			"strategy", func(c *Config) any { return &c.Strategy },
			"how to decide what is served here and what is sent to whom",
			"All nodes of a federation should use the same: headroom (surplus fills the spare capacity of all), recalc (the original DFaaS), " +
				"static (60 % here), random, alllocal.",
			"headroom, recalc, static, random or alllocal",
		},
		{
			"period", func(c *Config) any { return &c.Period },
			"time between two plans, and at most between two announcements",
			"A peer that is silent for three periods is taken for dead. A shorter one follows changes sooner; a longer one costs less " +
				"traffic and CPU, and smooths noise.",
			"100ms to 10m",
		},
		{
			"default_maxrate", func(c *Config) any { return &c.DefaultMaxrate },
			"requests/s that this node is taken to serve of a function without dfaas.maxrate",
			"It is a soft limit: requests over it are forwarded if a peer has room, and never refused. If it is too high, the node keeps " +
				"what peers could serve faster; if too low, it forwards what it could serve itself.",
			"0.001 to 1000000",
		},
		{
			"max_peer_timeout", func(c *Config) any { return &c.MaxPeerTimeout },
			"the longest that a call to a peer may take by the peer's own word",
			"It holds for functions without dfaas.timeout_ms here; what this node's label says is not cut. A member that never answers " +
				"holds a caller's connection for this long.",
			"1s to 1h",
		},
		{
			"haproxy_socket", func(c *Config) any { return &c.HAProxySocket },
			"HAProxy's runtime socket",
			"In haproxy.cfg: `stats socket PATH level admin`. Peers become servers over it.",
			"a path of at most 107 bytes",
		},
		{
			"spoa_socket", func(c *Config) any { return &c.SPOASocket },
			"control socket of dfaas-spoa",
			"Tables go there, counters are read from it.",
			"a path of at most 107 bytes",
		},
		{
			"admin_socket", func(c *Config) any { return &c.AdminSocket },
			"socket for dfaasctl",
			"It is created with mode 0660: the group of the process may use it.",
			"a path of at most 107 bytes",
		},
		{
			"gateway", func(c *Config) any { return &c.Gateway },
			"OpenFaaS gateway of this node (faasd, OpenFaaS or dfaas-provider)",
			"Functions and their labels are read from it.",
			"an http or https URL, or HOST:PORT",
		},
		{
			"gateway_user", func(c *Config) any { return &c.GatewayUser },
			"user for the gateway's basic authentication",
			"It goes together with gateway_password_file.",
			"a user name, or empty for no authentication",
		},
		{
			"gateway_password_file", func(c *Config) any { return &c.GatewayPasswordFile },
			"file with the gateway's password, and nothing else",
			"The password itself is not an option: it would show in the process list and in configurations that are passed on.",
			"a path, or empty for no authentication",
		},
		{
			"async", func(c *Config) any { return &c.Async },
			"whether the gateway takes asynchronous calls (/async-function/NAME)",
			"auto asks it: dfaas-provider says so; any other is taken to have a queue if it answers 405 to the method OPTIONS there, " +
				"as OpenFaaS and faasd do with NATS (docs/functions.md). While it has none, calls go to peers that have.",
			"auto, on or off",
		},
		{
			"metrics", func(c *Config) any { return &c.Metrics },
			"where to serve /metrics for Prometheus",
			"There is no authentication: use a loopback or management address.",
			"HOST:PORT, or empty for nowhere",
		},
		{
			"log_level", func(c *Config) any { return &c.LogLevel },
			"lowest level that is logged",
			"debug logs every plan and every announcement.",
			"debug, info, warn or error",
		},
		{
			"log_format", func(c *Config) any { return &c.LogFormat },
			"json for machines, or console for people",
			"In systemd's journal, lines carry their priority and leave the time to it.",
			"json or console",
		},
	}
}

// Docs returns the table of all options for docs/configuration.md, in Markdown.
func Docs() string {
	var b strings.Builder
	b.WriteString("| key | flag | variable | default | takes | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
	def := Default()
	for _, o := range options() {
		value := "-"
		if text := o.format(&def); text != "" {
			value = "`" + text + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s | %s%s. %s |\n",
			o.key, o.flag(), o.env(), value, o.takes, strings.ToUpper(o.short[:1]), o.short[1:], o.more)
	}
	return b.String()
}

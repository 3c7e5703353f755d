package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Bounds of the options.
const (
	minPeriod     = 100 * time.Millisecond
	maxPeriod     = 10 * time.Minute
	minMaxrate    = 0.001
	maxListen     = 16
	maxBootstrap  = 64
	maxAllowPeers = 256
	maxNeighbours = 1000
	maxNetworks   = 64
)

var federationName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// faults collects what is wrong with a Config.
type faults []error

// add notes that an option's value is wrong and how to fix it.
func (f *faults) add(key string, value any, hint string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %q: %s", key, fmt.Sprint(value), fmt.Sprintf(hint, args...)))
}

// Settings are a Config that was found valid, with its values in the types in
// which the program uses them: they are parsed here and nowhere else.
type Settings struct {
	Config // as it was written

	AllowPeers     []peer.ID   // empty: no list
	Neighbours     []peerid.ID // empty: all members
	Listen         []multiaddr.Multiaddr
	Bootstrap      []peer.AddrInfo // by peer, each once
	HTTPAddress    netip.AddrPort
	AllowAddresses []netip.Prefix // a bare IP is a network of one
	Strategy       strategy.Strategy
	DefaultMaxrate limit.Rate

	HAProxySocket, SPOASocket, AdminSocket unixsock.Path
}

// Parse checks every option and returns their values, or all faults joined,
// each with the option, its value and a hint. It looks at values only, not at
// files or sockets.
func (c Config) Parse() (Settings, error) {
	var f faults
	s := Settings{Config: c}
	s.parseTrust(&f)
	s.parseOverlay(&f)
	s.parseAddresses(&f)
	s.parsePlanning(&f)
	s.parseSockets(&f)
	c.validateGateway(&f)
	c.validateLog(&f)
	return s, errors.Join(f...)
}

func (s *Settings) parseTrust(f *faults) {
	c := &s.Config
	if !federationName.MatchString(c.Federation) {
		f.add("federation", c.Federation, "use 1 to 63 lower-case letters, digits and dashes")
	}
	if c.NodeName != "" && wire.CheckNodeName(c.NodeName) != nil {
		f.add("node_name", c.NodeName, "use 1 to 63 lower-case letters, digits and dashes")
	}
	if c.Identity == "" {
		f.add("identity", "", "give the path of this node's key file; it is created if there is none")
	}
	closed := c.FederationKey != "" || len(c.AllowPeers) > 0
	switch {
	case !closed && !c.OpenFederation:
		f.add("federation_key", "", "it is not set who may join: give the file of a shared key (dfaasctl keygen makes one), "+
			"or list members in allow_peers, or set open_federation: true to let in anybody")
	case closed && c.OpenFederation:
		f.add("open_federation", true, "contradicts federation_key and allow_peers: remove one side")
	}
	for _, id := range parsePeers(f, "allow_peers", c.AllowPeers, maxAllowPeers) {
		s.AllowPeers = append(s.AllowPeers, peer.ID(id.Multihash()))
	}
	s.Neighbours = parsePeers(f, "neighbours", c.Neighbours, maxNeighbours)
	for _, id := range s.Neighbours {
		if len(s.AllowPeers) > 0 && !slices.Contains(c.AllowPeers, id.String()) {
			f.add("neighbours", id, "that peer is not in allow_peers: add it there, or remove it here")
		}
	}
}

// parsePeers accepts peer ids with an Ed25519 key in them, the only kind that tokens
// can be checked against.
func parsePeers(f *faults, key string, texts []string, most int) (ids []peerid.ID) {
	bound(f, key, texts, most)
	for _, text := range texts {
		id, err := peerid.Parse(text)
		if err != nil {
			f.add(key, text, "not the id of a DFaaS node (12D3KooW...): `dfaasctl id` prints it on that node")
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

func (s *Settings) parseOverlay(f *faults) {
	if len(s.Config.Listen) == 0 {
		f.add("listen", "", "give at least one address, such as /ip4/0.0.0.0/tcp/31600")
	}
	bound(f, "listen", s.Config.Listen, maxListen)
	for _, text := range s.Config.Listen {
		address, why := parseListen(text)
		if why != "" {
			f.add("listen", text, "%s", why)
			continue
		}
		s.Listen = append(s.Listen, address)
	}
	bound(f, "bootstrap", s.Config.Bootstrap, maxBootstrap)
	for _, text := range s.Config.Bootstrap {
		s.parseBootstrap(f, text)
	}
}

func (s *Settings) parseBootstrap(f *faults, text string) {
	info, err := peer.AddrInfoFromString(text)
	switch {
	case err != nil:
		f.add("bootstrap", text, "not the address of a member, such as /ip4/192.0.2.1/tcp/31600/p2p/12D3KooW...: "+
			"`dfaasctl status` prints it on that node")
	case len(info.Addrs) == 0:
		f.add("bootstrap", text, "has a peer id, but no address before it: write it like /ip4/192.0.2.1/tcp/31600/p2p/12D3KooW...")
	case len(s.Config.AllowPeers) > 0 && !slices.Contains(s.Config.AllowPeers, info.ID.String()):
		f.add("bootstrap", text, "that peer is not in allow_peers: add it there, or remove it here")
	default:
		i := slices.IndexFunc(s.Bootstrap, func(b peer.AddrInfo) bool { return b.ID == info.ID })
		if i < 0 {
			s.Bootstrap = append(s.Bootstrap, *info)
		} else {
			s.Bootstrap[i].Addrs = append(s.Bootstrap[i].Addrs, info.Addrs...)
		}
	}
}

// parseListen says why an address is refused. Only TCP is spoken: libp2p's
// private networks work over nothing else.
func parseListen(text string) (address multiaddr.Multiaddr, why string) {
	address, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		return nil, "not a multiaddr: write it like /ip4/0.0.0.0/tcp/31600"
	}
	names := []string{}
	for _, p := range address.Protocols() {
		names = append(names, p.Name)
	}
	switch strings.Join(names, "/") {
	case "ip4/tcp", "ip6/tcp":
		return address, ""
	case "ip4/tcp/p2p", "ip6/tcp/p2p":
		return nil, "leave out /p2p/...: this node's own id is implied"
	default:
		return nil, "only TCP is spoken: write it like /ip4/0.0.0.0/tcp/31600"
	}
}

func (s *Settings) parseAddresses(f *faults) {
	c := &s.Config
	var why string
	if s.HTTPAddress, why = parseHTTPAddress(c.HTTPAddress); why != "" {
		f.add("http_address", c.HTTPAddress, "%s: give the IP:PORT where peers reach this node's HAProxy, such as 192.0.2.10:8180", why)
	}
	if _, err := haproxy.NewTLS(unixsock.Path{}, c.TLSDir); err != nil {
		f.add("tls_dir", c.TLSDir, "use a path from / of letters, digits and ./_- such as /var/lib/dfaas/tls")
	}
	bound(f, "allow_addresses", c.AllowAddresses, maxNetworks)
	for _, text := range c.AllowAddresses {
		network, err := parseNetwork(text)
		if err != nil {
			f.add("allow_addresses", text, "not a network: use CIDR notation, such as 192.0.2.0/24")
			continue
		}
		s.AllowAddresses = append(s.AllowAddresses, network)
	}
}

// parseHTTPAddress says why an address for peers is refused.
func parseHTTPAddress(text string) (address netip.AddrPort, why string) {
	if text == "" {
		return address, "not set"
	}
	if _, err := netip.ParseAddrPort(text); err != nil {
		return address, "not of the form IP:PORT (names are not looked up)"
	}
	address, err := wire.ParseHTTP(text)
	if err != nil {
		return address, "nobody can connect to it: not the unspecified address, port 0, multicast, broadcast, or one with a zone"
	}
	return address, ""
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

func (s *Settings) parsePlanning(f *faults) {
	c := &s.Config
	var err error
	if s.Strategy, err = strategy.New(c.Strategy); err != nil {
		f.add("strategy", c.Strategy, "no such strategy: use one of %s", strings.Join(strategy.Names(), ", "))
	}
	if c.Period < minPeriod || c.Period > maxPeriod {
		f.add("period", c.Period, "out of range: use %s to %s", minPeriod, maxPeriod)
	}
	if s.DefaultMaxrate, err = limit.NewRate(c.DefaultMaxrate); err != nil || c.DefaultMaxrate < minMaxrate {
		f.add("default_maxrate", c.DefaultMaxrate, "out of range: use %v to %d requests/s", minMaxrate, int(limit.MaxRate))
	}
	if c.MaxPeerTimeout < time.Second || c.MaxPeerTimeout > limit.MaxTimeout {
		f.add("max_peer_timeout", c.MaxPeerTimeout, "out of range: use %s to %s", time.Second, limit.MaxTimeout)
	}
}

func (s *Settings) parseSockets(f *faults) {
	c, used := &s.Config, map[string]string{}
	for _, o := range []struct {
		key, text string
		path      *unixsock.Path
	}{
		{"haproxy_socket", c.HAProxySocket, &s.HAProxySocket}, {"spoa_socket", c.SPOASocket, &s.SPOASocket}, {"admin_socket", c.AdminSocket, &s.AdminSocket},
	} {
		other := used[filepath.Clean(o.text)]
		var err error
		if *o.path, err = unixsock.ParsePath(o.text); err != nil {
			f.add(o.key, o.text, "%s", err)
		} else if other != "" {
			f.add(o.key, o.text, "the same as %s: each has its own socket", other)
		}
		used[filepath.Clean(o.text)] = o.key
	}
}

func (c *Config) validateGateway(f *faults) {
	if why := badGateway(c.GatewayURL()); why != "" {
		f.add("gateway", c.Gateway, "%s: write it like http://127.0.0.1:8080", why)
	}
	if (c.GatewayUser == "") != (c.GatewayPasswordFile == "") {
		f.add("gateway_user", c.GatewayUser, "goes together with gateway_password_file: set both or neither")
	}
	oneOf(f, "async", c.Async, faasd.AsyncValues())
	if strings.ContainsAny(c.GatewayUser, ":\r\n\x00") {
		f.add("gateway_user", c.GatewayUser, "a user name has neither colons nor control characters")
	}
	if c.Metrics == "" {
		return
	}
	_, port, err := net.SplitHostPort(c.Metrics)
	if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil || n > 65535 {
		f.add("metrics", c.Metrics, "not of the form HOST:PORT, such as 127.0.0.1:9464")
	}
}

// GatewayURL returns Gateway with http:// before it when no scheme was given.
func (c *Config) GatewayURL() string {
	if strings.Contains(c.Gateway, "://") {
		return c.Gateway
	}
	return "http://" + c.Gateway
}

func badGateway(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "":
		return "not a URL with a host"
	case u.Scheme != "http" && u.Scheme != "https":
		return "neither http nor https"
	case u.User != nil:
		return "credentials do not belong in the URL (use gateway_user and gateway_password_file)"
	case u.RawQuery != "" || u.Fragment != "":
		return "a query or fragment does not belong here"
	}
	return ""
}

func (c *Config) validateLog(f *faults) {
	oneOf(f, "log_level", c.LogLevel, cli.LogLevels)
	oneOf(f, "log_format", c.LogFormat, cli.LogFormats)
}

func oneOf(f *faults, key, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		f.add(key, value, "use one of %s", strings.Join(allowed, ", "))
	}
}

func bound(f *faults, key string, values []string, most int) {
	if len(values) > most {
		f.add(key, len(values), "more values than the %d allowed", most)
	}
}

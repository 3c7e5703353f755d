package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/unixsock"
)

const (
	somePeer  = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	otherPeer = "12D3KooWLRPJAA5o6s3h8d6eZ9VnKYbYrxhQwTQ1GQTqDrTdmFHp"
)

// valid returns a Config that validates.
func valid() Config {
	c := Default()
	c.HTTPAddress = "192.0.2.10:8081"
	c.FederationKey = "/etc/dfaas/federation.key"
	return c
}

// load runs Load as a command line would, with a file of that content.
func load(t *testing.T, file string, environ []string, args ...string) (Settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse(append([]string{"--config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	return Load(fs, environ)
}

func TestDefaultNeedsOnlyTrustAndAddress(t *testing.T) {
	c := valid()
	if _, err := c.Parse(); err != nil {
		t.Errorf("defaults with http_address and federation_key: %v", err)
	}
	_, err := Default().Parse()
	for _, key := range []string{"http_address", "federation_key"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("bare defaults: no fault about %s in: %v", key, err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	base := "http_address: 192.0.2.1:80\nopen_federation: true\n"
	for _, tc := range []struct {
		name, file string
		env, args  []string
		want       time.Duration
	}{
		{"default", "", nil, nil, time.Second},
		{"file", "period: 2s\n", nil, nil, 2 * time.Second},
		{"env over file", "period: 2s\n", []string{"DFAAS_PERIOD=3s"}, nil, 3 * time.Second},
		{"flag over env", "period: 2s\n", []string{"DFAAS_PERIOD=3s"}, []string{"--period=4s"}, 4 * time.Second},
		{"empty variable is not set", "period: 2s\n", []string{"DFAAS_PERIOD="}, nil, 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := load(t, base+tc.file, tc.env, tc.args...)
			if err != nil || c.Period != tc.want {
				t.Errorf("period %v, error %v; want %v", c.Period, err, tc.want)
			}
		})
	}
}

// TestEveryWayIn sets every option by file, variable and flag and expects the
// same Config of all three.
func TestEveryWayIn(t *testing.T) {
	want := Config{
		Federation: "lab", NodeName: "edge-3", Identity: "/i", FederationKey: "/k", AllowPeers: []string{somePeer}, Neighbours: []string{somePeer},
		Listen:    []string{"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2"},
		Bootstrap: []string{"/ip4/127.0.0.1/tcp/3/p2p/" + somePeer},
		MDNS:      false, DHT: false, HTTPAddress: "127.0.0.1:8081", PeerTLS: true, TLSDir: "/t",
		AllowAddresses: []string{"10.0.0.0/8", "192.0.2.1"},
		Strategy:       "recalc", Period: 2500 * time.Millisecond, DefaultMaxrate: 12.5, MaxPeerTimeout: 90 * time.Second,
		HAProxySocket: "/h", SPOASocket: "/s", AdminSocket: "/a",
		Gateway: "https://gw:8080", GatewayUser: "admin", GatewayPasswordFile: "/p", Async: "off",
		Metrics: "127.0.0.1:9464", LogLevel: "debug", LogFormat: "console",
	}
	var file strings.Builder
	var env, args []string
	for _, o := range options() {
		value := o.format(&want)
		if value == "" {
			value = "false"
		}
		if o.kind() == kindList {
			file.WriteString(o.key + ": [\"" + strings.ReplaceAll(value, ",", "\", \"") + "\"]\n")
		} else {
			file.WriteString(o.key + ": \"" + value + "\"\n")
		}
		env = append(env, o.env()+"="+value)
		args = append(args, "--"+o.flag()+"="+value)
	}
	for name, in := range map[string]func() (Settings, error){
		"file":  func() (Settings, error) { return load(t, file.String(), nil) },
		"env":   func() (Settings, error) { return load(t, "", env) },
		"flags": func() (Settings, error) { return load(t, "", nil, args...) },
	} {
		got, err := in()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got.Config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestListFlagsAddUp(t *testing.T) {
	c, err := load(t, "http_address: 192.0.2.1:80\nopen_federation: true\nlisten: [/ip4/127.0.0.1/tcp/9]\n", nil,
		"--listen=/ip4/127.0.0.1/tcp/1", "--listen=/ip4/127.0.0.1/tcp/2,/ip4/127.0.0.1/tcp/3")
	want := []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/3"}
	if err != nil || !slices.Equal(c.Config.Listen, want) {
		t.Errorf("listen %v, error %v", c.Listen, err)
	}
}

func TestFileFaults(t *testing.T) {
	for _, tc := range []struct{ name, file, want string }{
		{"unknown key", "federation: x\nperoid: 1s\n", "c:2: peroid: no such option: did you mean period?"},
		{"dashes", "log-level: info\n", "c:1: log-level: no such option: did you mean log_level?"},
		{"nothing near", "xyzzyplugh: 1\n", "no such option: see"},
		{"twice", "mdns: true\nfederation: x\nmdns: false\n", `c:3: the configuration: key "mdns" is there twice`},
		{"half written", "federation: x\nperiod:\n", "c:2: period: has no value"},
		{"cut off", "listen: [/ip4/0.0.0.0/tcp/1,\n", "not valid YAML"},
		{"tab", "listen:\n\t- x\n", "c:2: not valid YAML"},
		{"no mapping", "just words\n", "c:1: the configuration: a mapping (key: value) is expected"},
		{"two documents", "mdns: true\n---\nmdns: false\n", "more than one document"},
		{"list for scalar", "period: [1s, 2s]\n", "c:1: period: takes one value"},
		{"list of one for scalar", "period: [1s]\n", "c:1: period: takes one value"},
		{"mapping for scalar", "period: {a: b}\n", "c:1: period: takes a plain value"},
		{"null in a list", "allow_peers: [~]\n", "c:1: allow_peers: the item in line 1"},
		{"no unit", "period: 5\n", `c:1: period: "5" is not a duration`},
		{"no number", "default_maxrate: .nan\n", "c:1: default_maxrate: "},
		{"no bool", "mdns: maybe\n", `c:1: mdns: "maybe" is neither true nor false`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Default()
			err := parseFile("c", []byte(tc.file), &c)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %q", err, tc.want)
			}
		})
	}
	c := Default()
	if err := parseFile("c", make([]byte, maxFile+1), &c); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("huge file: %v", err)
	}
}

func TestEmptyFilesAreFine(t *testing.T) {
	for _, file := range []string{"", "\n", "# nothing\n", "---\n", "{}\n"} {
		c := Default()
		if err := parseFile("c", []byte(file), &c); err != nil {
			t.Errorf("%q: %v", file, err)
		}
		if diff := cmp.Diff(Default(), c); diff != "" {
			t.Errorf("%q changed the defaults:\n%s", file, diff)
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := load(t, "peroid: 1s\nmdns: maybe\nlog_level: loud\n",
		[]string{"DFAAS_DEFAULT_MAXRATE=many"}, "--dht=perhaps", "--strategy=best")
	for _, want := range []string{
		"c.yaml:1: peroid", "c.yaml:2: mdns", "log_level: \"loud\": use one of", "DFAAS_DEFAULT_MAXRATE: \"many\"", "--dht: \"perhaps\"",
		"strategy: \"best\"", "http_address: \"\": not set", "federation_key",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs)
	_, err := Load(fs, []string{"DFAAS_CONFIG=" + filepath.Join(t.TempDir(), "none.yaml")})
	if err == nil || !strings.Contains(err.Error(), "none.yaml: no such file") {
		t.Errorf("a named file that is missing: %v", err)
	}
}

func TestValidate(t *testing.T) {
	long := "/" + strings.Repeat("x", unixsock.MaxPath)
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string // in the message; "" for valid
	}{
		{"federation", func(c *Config) { c.Federation = "A b" }, `federation: "A b": use 1 to 63`},
		{"federation too long", func(c *Config) { c.Federation = strings.Repeat("a", 64) }, "federation:"},
		{"no identity", func(c *Config) { c.Identity = "" }, "identity:"},
		{"nobody said who", func(c *Config) { c.FederationKey = "" }, "open_federation: true"},
		{"open", func(c *Config) { c.FederationKey, c.OpenFederation = "", true }, ""},
		{"open and closed", func(c *Config) { c.OpenFederation = true }, "contradicts"},
		{"allow list", func(c *Config) { c.FederationKey, c.AllowPeers = "", []string{somePeer} }, ""},
		{"bad peer", func(c *Config) { c.AllowPeers = []string{"node-2"} }, `allow_peers: "node-2": not the id`},
		{"RSA peer", func(c *Config) { c.AllowPeers = []string{"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} }, "allow_peers:"},
		{"neighbours", func(c *Config) { c.Neighbours = []string{somePeer} }, ""},
		{"bad neighbour", func(c *Config) { c.Neighbours = []string{"node-2"} }, `neighbours: "node-2": not the id`},
		{
			"neighbour that is a stranger", func(c *Config) { c.AllowPeers, c.Neighbours = []string{somePeer}, []string{otherPeer} },
			"that peer is not in allow_peers",
		},
		{"no listen", func(c *Config) { c.Listen = nil }, "listen:"},
		{"listen is no multiaddr", func(c *Config) { c.Listen = []string{"0.0.0.0:31600"} }, "not a multiaddr"},
		{"listen with id", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0/tcp/1/p2p/" + somePeer} }, "leave out /p2p/"},
		{"listen without port", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0"} }, "only TCP"},
		{"QUIC", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0/udp/1/quic-v1"} }, "only TCP"},
		{"bootstrap without address", func(c *Config) { c.Bootstrap = []string{"/p2p/" + somePeer} }, "no address before it"},
		{
			"bootstrap of a stranger", func(c *Config) {
				c.AllowPeers, c.Bootstrap = []string{somePeer}, []string{"/ip4/192.0.2.1/tcp/1/p2p/" + otherPeer}
			}, "that peer is not in allow_peers",
		},
		{"bootstrap without id", func(c *Config) { c.Bootstrap = []string{"/ip4/192.0.2.1/tcp/1"} }, "bootstrap:"},
		{"name as address", func(c *Config) { c.HTTPAddress = "node1:8081" }, "names are not looked up"},
		{"unspecified", func(c *Config) { c.HTTPAddress = "0.0.0.0:8081" }, "unspecified"},
		{"port 0", func(c *Config) { c.HTTPAddress = "192.0.2.1:0" }, "port 0"},
		{"IPv6", func(c *Config) { c.HTTPAddress = "[2001:db8::1]:8081" }, ""},
		{"relative tls_dir", func(c *Config) { c.TLSDir = "tls" }, `tls_dir: "tls": use a path from /`},
		{"tls_dir that is a command", func(c *Config) { c.TLSDir = "/t; shutdown" }, "tls_dir:"},
		{"networks", func(c *Config) { c.AllowAddresses = []string{"10.0.0.0/8", "2001:db8::1"} }, ""},
		{"bad network", func(c *Config) { c.AllowAddresses = []string{"10.0.0.0/33"} }, "allow_addresses:"},
		{"strategy", func(c *Config) { c.Strategy = "magic" }, "use one of alllocal, headroom"},
		{"period short", func(c *Config) { c.Period = time.Millisecond }, `period: "1ms": out of range: use 100ms to 10m`},
		{"no time for peers", func(c *Config) { c.MaxPeerTimeout = 0 }, `max_peer_timeout: "0s": out of range`},
		{"too much time for peers", func(c *Config) { c.MaxPeerTimeout = 2 * time.Hour }, `max_peer_timeout: "2h0m0s": out of range`},
		{"maxrate", func(c *Config) { c.DefaultMaxrate = 0 }, `default_maxrate: "0": out of range`},
		{"same sockets", func(c *Config) { c.SPOASocket = c.AdminSocket }, "the same as spoa_socket"},
		{"no socket", func(c *Config) { c.HAProxySocket = "" }, "haproxy_socket:"},
		{"long socket", func(c *Config) { c.SPOASocket = long }, "the path of a socket may have 107"},
		{"gateway HOST:PORT", func(c *Config) { c.Gateway = "127.0.0.1:8080" }, ""},
		{"gateway scheme", func(c *Config) { c.Gateway = "ftp://x" }, "neither http nor https"},
		{"gateway password in URL", func(c *Config) { c.Gateway = "http://a:b@x" }, "credentials"},
		{"half a login", func(c *Config) { c.GatewayUser = "admin" }, "set both or neither"},
		{"metrics", func(c *Config) { c.Metrics = "9464" }, "metrics:"},
		{"metrics on all", func(c *Config) { c.Metrics = ":9464" }, ""},
		{"log format", func(c *Config) { c.LogFormat = "xml" }, "use one of json, console"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := valid()
			tc.change(&c)
			_, err := c.Parse()
			if tc.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %q", err, tc.want)
			}
		})
	}
}

// TestOptions: the table has every field of Config, in order, and tells all of it.
func TestOptions(t *testing.T) {
	fields := reflect.TypeFor[Config]()
	table := options()
	if len(table) != fields.NumField() {
		t.Fatalf("%d options, %d fields", len(table), fields.NumField())
	}
	for i, o := range table {
		var c Config
		if key := fields.Field(i).Tag.Get("yaml"); key != o.key || o.value(&c) != reflect.ValueOf(&c).Elem().Field(i).Addr().Interface() {
			t.Errorf("option %d: %s, the field is %s", i, o.key, key)
		}
		if o.short == "" || o.more == "" || o.takes == "" || strings.HasSuffix(o.short, ".") || !strings.HasSuffix(o.more, ".") {
			t.Errorf("%s: %q, %q, %q", o.key, o.short, o.more, o.takes)
		}
	}
}

// TestSettings: values are there in the types in which they are used.
func TestSettings(t *testing.T) {
	c := valid()
	c.AllowPeers = []string{somePeer}
	c.Bootstrap = []string{"/ip4/192.0.2.1/tcp/1/p2p/" + somePeer, "/ip4/192.0.2.2/tcp/1/p2p/" + somePeer}
	c.AllowAddresses = []string{"10.1.2.3/8", "192.0.2.1"}
	s, err := c.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.AllowPeers) != 1 || s.AllowPeers[0].String() != somePeer || len(s.Listen) != 1 || s.Strategy == nil ||
		s.HTTPAddress != netip.MustParseAddrPort("192.0.2.10:8081") {
		t.Errorf("%+v", s)
	}
	if len(s.Bootstrap) != 1 || len(s.Bootstrap[0].Addrs) != 2 {
		t.Errorf("two addresses of one peer: %v", s.Bootstrap)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}; !slices.Equal(s.AllowAddresses, want) {
		t.Errorf("networks %v, want %v", s.AllowAddresses, want)
	}
}

// TestDocumentation compares docs/configuration.md with what
// "dfaas-controller config --docs" prints.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), Docs()) {
		t.Error("docs/configuration.md lacks the current table: put there what \"dfaas-controller config --docs\" prints")
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "federation: x\n", "listen: [a, b]\nperiod: 1s\n", "period: [1s", "a: &x [*x]\n", "? {a: b}\n: c\n",
		"mdns: !!binary gg\n", "---\n...\n",
	} {
		f.Add([]byte(seed))
	}
	f.Add([]byte("period: 100ms\ndefault_maxrate: 1e6\nlisten: /ip4/0.0.0.0/tcp/1\nallow_addresses: [10.0.0.0/8]\n"))
	f.Add([]byte("default_maxrate: NaN\nperiod: -1s\nbootstrap: [\"\\x00\"]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := valid()
		err := parseFile("c", data, &c)
		var s Settings
		if err == nil {
			s, err = c.Parse()
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if line == "" || strings.ContainsAny(line, "\r\x00\x1b") {
					t.Errorf("refused with the line %q of %q", line, err)
				}
			}
			return
		}
		if len(s.AllowAddresses) != len(c.AllowAddresses) || len(s.Listen) != len(c.Listen) || len(s.AllowPeers) != len(c.AllowPeers) ||
			!s.HTTPAddress.IsValid() || s.Strategy == nil {
			t.Errorf("accepted, but not all of it: %+v", s)
		}
		if c.Period < minPeriod || c.Period > maxPeriod || !(c.DefaultMaxrate >= minMaxrate && c.DefaultMaxrate <= limit.MaxRate) ||
			len(c.Listen) < 1 || len(c.Listen) > maxListen || len(c.Bootstrap) > maxBootstrap || len(c.AllowPeers) > maxAllowPeers {
			t.Errorf("accepted %+v", c)
		}
		if c.OpenFederation == (c.FederationKey != "" || len(c.AllowPeers) > 0) {
			t.Errorf("accepted without a word on who may join: %+v", c)
		}
	})
}

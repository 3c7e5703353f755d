package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

const somePeer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"

// valid returns a Config that validates.
func valid() Config {
	c := Default()
	c.HTTPAddress = "192.0.2.10:8081"
	c.FederationKey = "/etc/dfaas/federation.key"
	return c
}

// load runs Load as a command line would, with a file of that content.
func load(t *testing.T, file string, environ []string, args ...string) (Config, error) {
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
	if err := c.Validate(); err != nil {
		t.Errorf("defaults with http_address and federation_key: %v", err)
	}
	def := Default()
	err := def.Validate()
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
		Federation: "lab", Identity: "/i", FederationKey: "/k", AllowPeers: []string{somePeer},
		Listen:    []string{"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2"},
		Bootstrap: []string{"/ip4/127.0.0.1/tcp/3/p2p/" + somePeer},
		MDNS:      false, DHT: false, HTTPAddress: "127.0.0.1:8081", PeerTLS: true, TLSDir: "/t",
		AllowAddresses: []string{"10.0.0.0/8", "192.0.2.1"},
		Strategy:       "recalc", Period: 2500 * time.Millisecond, DefaultMaxrate: 12.5,
		HAProxySocket: "/h", SPOASocket: "/s", AdminSocket: "/a",
		Gateway: "https://gw:8080", GatewayUser: "admin", GatewayPasswordFile: "/p",
		Metrics: "127.0.0.1:9464", LogLevel: "debug", LogFormat: "console",
	}
	var file strings.Builder
	var env, args []string
	for _, o := range options() {
		value := o.format(&want)
		if value == "" {
			value = "false"
		}
		if o.isList() {
			file.WriteString(o.key + ": [\"" + strings.ReplaceAll(value, ",", "\", \"") + "\"]\n")
		} else {
			file.WriteString(o.key + ": \"" + value + "\"\n")
		}
		env = append(env, o.env()+"="+value)
		args = append(args, "--"+o.flag()+"="+value)
	}
	for name, in := range map[string]func() (Config, error){
		"file":  func() (Config, error) { return load(t, file.String(), nil) },
		"env":   func() (Config, error) { return load(t, "", env) },
		"flags": func() (Config, error) { return load(t, "", nil, args...) },
	} {
		got, err := in()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestListFlagsAddUp(t *testing.T) {
	c, err := load(t, "http_address: 192.0.2.1:80\nopen_federation: true\nlisten: [/ip4/127.0.0.1/tcp/9]\n", nil,
		"--listen=/ip4/127.0.0.1/tcp/1", "--listen=/ip4/127.0.0.1/tcp/2,/ip4/127.0.0.1/tcp/3")
	want := []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/3"}
	if err != nil || !reflect.DeepEqual(c.Listen, want) {
		t.Errorf("listen %v, error %v", c.Listen, err)
	}
}

func TestFileFaults(t *testing.T) {
	for _, tc := range []struct{ name, file, want string }{
		{"unknown key", "federation: x\nperoid: 1s\n", "c:2: peroid: no such option: did you mean period?"},
		{"dashes", "log-level: info\n", "c:1: log-level: no such option: did you mean log_level?"},
		{"nothing near", "xyzzyplugh: 1\n", "no such option: see"},
		{"twice", "mdns: true\nfederation: x\nmdns: false\n", "c:3: mdns: written twice, first in line 1"},
		{"half written", "federation: x\nperiod:\n", "c:2: period: has no value"},
		{"cut off", "listen: [/ip4/0.0.0.0/tcp/1,\n", "not valid YAML"},
		{"tab", "listen:\n\t- x\n", "not valid YAML: yaml: line 2"},
		{"no mapping", "just words\n", "c:1: not a list of options"},
		{"two documents", "mdns: true\n---\nmdns: false\n", "more than one document"},
		{"list for scalar", "period: [1s, 2s]\n", "c:1: period: takes one value"},
		{"list of one for scalar", "period: [1s]\n", "c:1: period: takes one value"},
		{"mapping for scalar", "period: {a: b}\n", "c:1: period: takes a plain value"},
		{"null in a list", "allow_peers: [~]\n", "c:1: allow_peers: the item in line 1"},
		{"alias", "federation: &a x\nidentity: *a\n", "c:2: identity: takes a plain value"},
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
	long := "/" + strings.Repeat("x", maxSocketPath)
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
		{"no listen", func(c *Config) { c.Listen = nil }, "listen:"},
		{"listen is no multiaddr", func(c *Config) { c.Listen = []string{"0.0.0.0:31600"} }, "not a multiaddr"},
		{"listen with id", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0/tcp/1/p2p/" + somePeer} }, "leave out /p2p/"},
		{"listen without port", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0"} }, "only TCP"},
		{"QUIC", func(c *Config) { c.Listen = []string{"/ip4/0.0.0.0/udp/1/quic-v1"} }, "only TCP"},
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
		{"maxrate", func(c *Config) { c.DefaultMaxrate = 0 }, `default_maxrate: "0": out of range`},
		{"same sockets", func(c *Config) { c.SPOASocket = c.AdminSocket }, "the same as spoa_socket"},
		{"no socket", func(c *Config) { c.HAProxySocket = "" }, "haproxy_socket:"},
		{"long socket", func(c *Config) { c.SPOASocket = long }, "107 bytes"},
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
			err := c.Validate()
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

// TestCommentsTellAll checks that each option's comment gives its range and
// the default that the code really has.
func TestCommentsTellAll(t *testing.T) {
	def := Default()
	for _, o := range options() {
		value := o.format(&def)
		if value == "" {
			value = "empty"
		}
		if !strings.Contains(o.doc, "Range: ") {
			t.Errorf("%s: the comment has no range", o.key)
		}
		if o.key == "http_address" {
			continue // has no default, and says so
		}
		if !strings.HasSuffix(o.doc, "Default: "+value+".") {
			t.Errorf("%s: the comment does not end with \"Default: %s.\": %s", o.key, value, o.doc)
		}
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
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if line == "" || strings.ContainsAny(line, "\r\x00\x1b") {
					t.Errorf("refused with the line %q of %q", line, err)
				}
			}
			return
		}
		if len(c.AllowedNetworks()) != len(c.AllowAddresses) {
			t.Errorf("validated networks %q do not parse", c.AllowAddresses)
		}
		if c.Period < minPeriod || c.Period > maxPeriod || !(c.DefaultMaxrate >= minMaxrate && c.DefaultMaxrate <= maxMaxrate) ||
			len(c.Listen) < 1 || len(c.Listen) > maxListen || len(c.Bootstrap) > maxBootstrap || len(c.AllowPeers) > maxAllowPeers {
			t.Errorf("accepted %+v", c)
		}
		if c.OpenFederation == (c.FederationKey != "" || len(c.AllowPeers) > 0) {
			t.Errorf("accepted without a word on who may join: %+v", c)
		}
	})
}

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/internal/cli"
)

// run executes a command line that is expected to end by itself.
func run(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	system := cli.System{Args: args, Environ: environ, Out: &out, Err: &errs}
	status = cli.Run(t.Context(), newCommand(system), system)
	return status, out.String(), errs.String()
}

// minimal is a configuration that is valid and harms nobody.
func minimal(dir string) []string {
	return []string{
		"DFAAS_CONFIG=/dev/null", "DFAAS_HTTP_ADDRESS=127.0.0.1:8081", "DFAAS_OPEN_FEDERATION=true", "DFAAS_MDNS=false",
		"DFAAS_LISTEN=/ip4/127.0.0.1/tcp/0", "DFAAS_IDENTITY=" + filepath.Join(dir, "id"),
		"DFAAS_ADMIN_SOCKET=" + filepath.Join(dir, "a"), "DFAAS_SPOA_SOCKET=" + filepath.Join(dir, "s"),
		"DFAAS_HAPROXY_SOCKET=" + filepath.Join(dir, "h"), "DFAAS_GATEWAY=127.0.0.1:1",
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := identity.CreateFederationKey(key); err != nil {
		t.Fatal(err)
	}
	env := minimal(dir)
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("federation: x\nperoid: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		env    []string
		args   []string
		status int
		want   string // in what it prints
	}{
		{"help", nil, []string{"--help"}, 0, "Examples:"},
		{"version", nil, []string{"version"}, 0, "dfaas-controller version unknown"},
		{"--version", nil, []string{"--version"}, 0, "dfaas-controller version unknown"},
		{"completion", nil, []string{"completion", "bash"}, 0, "bash completion"},
		{"documentation", nil, []string{"config", "--docs"}, 0, "| `http_address` |"},
		{"effective configuration", env, []string{"config", "--period=2s"}, 0, "period: 2s"},
		{"check", env, []string{"--check"}, 0, "the configuration is valid"},
		{"check of a placeholder", env, []string{"--check", "--http-address", "192.0.2.10:8180", "--listen", "/ip4/0.0.0.0/tcp/0"}, 0, "Warning: http_address: 192.0.2.10 is the placeholder"},
		{"health of one that does not run", env, []string{"health"}, cli.ExitFailure, "admin socket"},
		{"unknown flag", env, []string{"--perod=1s"}, cli.ExitUsage, "unknown flag: --perod"},
		{"unknown command", env, []string{"start"}, cli.ExitUsage, `unknown command "start"`},
		{"bad value", env, []string{"--check", "--period=1"}, cli.ExitUsage, `--period: "1" is not a duration`},
		{"bad file", env, []string{"--config", broken}, cli.ExitUsage, "broken.yaml:2: peroid: no such option: did you mean"},
		{"nobody may join", env, []string{"--check", "--open-federation=false"}, cli.ExitUsage, "it is not set who may join"},
		{
			"bootstrap not allowed", env, []string{
				"--check", "--open-federation=false", "--allow-peers", "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
				"--bootstrap", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWLRPJAA5o6s3h8d6eZ9VnKYbYrxhQwTQ1GQTqDrTdmFHp",
			}, cli.ExitUsage, "that peer is not in allow_peers",
		},
		{
			"bootstrap without address", env, []string{"--bootstrap", "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"},
			cli.ExitUsage, "no address before it",
		},
		{"key", env, []string{"--check", "--open-federation=false", "--federation-key", key}, 0, "valid"},
		{"key missing", env, []string{"--check", "--open-federation=false", "--federation-key", key + "x"}, cli.ExitUsage, "federation_key: "},
		{
			"password missing", env, []string{"--check", "--gateway-user=a", "--gateway-password-file=" + key + "x"},
			cli.ExitUsage, "gateway: read the gateway's password",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, stdout, stderr := run(t, tc.env, tc.args...)
			if status != tc.status || !strings.Contains(stdout+stderr, tc.want) {
				t.Errorf("status %d, want %d and %q in:\n%s%s", status, tc.status, tc.want, stdout, stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "id")); err == nil {
		t.Error("checking created an identity")
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for _, flag := range []string{"--listen=/ip4/127.0.0.1/tcp/" + port, "--metrics=127.0.0.1:" + port} {
		status, _, stderr := run(t, minimal(t.TempDir()), flag)
		if status != cli.ExitFailure || !strings.Contains(stderr, "has that port; stop it or set another") {
			t.Errorf("%s: status %d: %s", flag, status, stderr)
		}
	}
}

func TestSocketInUse(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("unix", filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	status, _, stderr := run(t, minimal(dir))
	if status != cli.ExitFailure || !strings.Contains(stderr, "is in use by another process: stop that one") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

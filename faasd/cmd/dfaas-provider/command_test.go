package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/faasd/provider"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/notify/notifytest"
)

// execute runs the command line with those arguments.
func execute(args ...string) (int, string) {
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a provider that starts stops at once
	system := cli.System{Args: args, Out: &out, Err: &out}
	return cli.Run(ctx, newCommand(system), system), out.String()
}

func TestCommands(t *testing.T) {
	for want, args := range map[string][]string{
		"dfaas-provider version unknown (go": {"version"},
		"tesseract stdin stdout":             {"catalogue"},
		"--allow-processes":                  {"--help"},
		"complete -o default":                {"completion", "bash"},
		`"message":"stopping"`:               {"--listen", "127.0.0.1:0", "--state-dir", t.TempDir()},
		"providing functions":                {"--listen", "127.0.0.1:0", "--state-dir", t.TempDir(), "--log-format", "console"},
		"--state-dir /var/lib/dfaa":          {"--help"},
	} {
		if code, out := execute(args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: exit code %d\n%s\nwant %q", args, code, out, want)
		}
	}
	code, out := execute("--listen", "127.0.0.1:0", "--state-dir", t.TempDir(), "--log-level", "error")
	if code != 0 || out != "" {
		t.Errorf("at level error: exit code %d\n%s", code, out)
	}
}

func TestCommandLineMistakes(t *testing.T) {
	for _, tc := range []struct {
		want string
		code int
		args []string
	}{
		{"unknown flag", cli.ExitUsage, []string{"--no-such-flag"}},
		{"unknown command", cli.ExitUsage, []string{"deploy"}},
		{"--log-level", cli.ExitUsage, []string{"--log-level", "loud"}},
		{"--log-format", cli.ExitUsage, []string{"--log-format", "xml"}},
		{"--insecure", cli.ExitUsage, []string{"--listen", "0.0.0.0:0", "--state-dir", t.TempDir()}},
		{"--exec-timeout", cli.ExitUsage, []string{"--exec-timeout", "-1s", "--state-dir", t.TempDir()}},
		{"--listen", cli.ExitFailure, []string{"--listen", "127.0.0.1:99999", "--state-dir", t.TempDir()}},
		{"--state-dir", cli.ExitFailure, []string{"--state-dir", "/dev/null/x"}},
	} {
		if code, out := execute(tc.args...); code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%q: exit code %d\n%s", tc.args, code, out)
		}
	}
}

// TestSystemd: systemd hears when the provider serves, that it is alive for as
// long as it answers, and when it ends.
func TestSystemd(t *testing.T) {
	const watchdog = 300 * time.Millisecond
	environ, said := notifytest.Systemd(t, watchdog)
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	o := provider.DefaultOptions()
	o.Listen, o.StateDir = "127.0.0.1:0", t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, zerolog.Nop()) }()
	notifytest.Want(t, said, "READY=1")
	for range 3 {
		notifytest.Want(t, said, "WATCHDOG=1")
	}
	cancel()
	notifytest.Want(t, said, "STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestProbe: a listener whose connections nobody accepts is no provider.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := probe(ctx, l.Addr()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the probe says %v", err)
	}
}

// A release says what it is, in all that OpenFaaS' clients ask for.
func TestCommitIsNeverEmpty(t *testing.T) {
	if got := commit("v1.2.3"); got == "" {
		t.Error("empty")
	}
}

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// run runs the command line with those arguments.
func run(args ...string) (string, error) {
	var out bytes.Buffer
	root := command("v1.2.3")
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a provider that starts stops at once
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func TestCommands(t *testing.T) {
	for want, args := range map[string][]string{
		"dfaas-provider v1.2.3":     {"version"},
		"tesseract stdin stdout":    {"catalogue"},
		"--allow-processes":         {"--help"},
		"complete -o default":       {"completion", "bash"},
		`"message":"stopping"`:      {"--listen", "127.0.0.1:0", "--state-dir", t.TempDir()},
		"providing functions":       {"--listen", "127.0.0.1:0", "--state-dir", t.TempDir(), "--log-format", "console"},
		"--state-dir /var/lib/dfaa": {"--help"},
	} {
		if out, err := run(args...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	out, err := run("--listen", "127.0.0.1:0", "--state-dir", t.TempDir(), "--log-level", "error")
	if err != nil || out != "" {
		t.Errorf("at level error: %v\n%s", err, out)
	}
}

func TestCommandLineMistakes(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown flag":    {"--no-such-flag"},
		"unknown command": {"deploy"},
		"--log-level":     {"--log-level", "loud"},
		"--log-format":    {"--log-format", "xml"},
		"--insecure":      {"--listen", "0.0.0.0:0", "--state-dir", t.TempDir()},
		"--listen":        {"--listen", "127.0.0.1:99999", "--state-dir", t.TempDir()},
		"--state-dir":     {"--state-dir", "/dev/null/x"},
	} {
		if out, err := run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/internal/cli"
)

// Every command says what it is for and how it is called, and the flags that its
// examples show exist.
func TestHelp(t *testing.T) {
	root := newCommand(System{System: cli.System{Out: io.Discard, Err: io.Discard}})
	for _, c := range root.Commands() {
		if c.Name() == "completion" || c.Name() == "help" {
			continue
		}
		if c.Short == "" || !strings.Contains(c.Example, "dfaasctl "+c.Name()) {
			t.Errorf("%s has no example", c.Name())
		}
		checkFlags(t, c)
	}
}

func checkFlags(t *testing.T, c *cobra.Command) {
	for line := range strings.Lines(c.Example) {
		_, call, ours := strings.Cut(line, "dfaasctl "+c.Name())
		call, _, _ = strings.Cut(call, "|")
		call, _, _ = strings.Cut(call, "&&")
		for word := range strings.FieldsSeq(call) {
			word = strings.Trim(word, ")")
			if name, long := strings.CutPrefix(word, "--"); ours && long && c.Flag(name) == nil {
				t.Errorf("%s: the example has %s", c.Name(), word)
			}
		}
	}
}

// The example that packages install must be a valid configuration as it is.
func TestExampleConfiguration(t *testing.T) {
	a := app{configFile: "../../../deploy/systemd/controller.yaml"}
	s := a.settings()
	if s.ConfigError != nil {
		t.Fatal(s.ConfigError)
	}
	if s.Config.FederationKey != defaultFederationKey {
		t.Errorf("it names %s, dfaasctl keygen writes %s", s.Config.FederationKey, defaultFederationKey)
	}
}

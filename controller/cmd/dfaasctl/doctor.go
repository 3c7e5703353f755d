package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/doctor"
	"github.com/dfaas/dfaas/controller/config"
)

func (a *app) doctorCommand() *cobra.Command {
	var configFile string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything this node needs, and say how to fix what is wrong",
		Long: `Check everything this node needs, and say how to fix what is wrong. Nothing is changed.

Each line is one check: OK, WARN (it works, but look at it) or FAIL. The exit code is 1 if any check fails.
It reads the controller's configuration to know what to look at; run it as root to have everything checked.`,
		Example: `  sudo dfaasctl doctor
  sudo dfaasctl doctor -o json | jq '.[] | select(.level != "OK")'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings := a.settings(configFile, c.Flags().Changed("socket"))
			results := doctor.Examine(c.Context(), settings)
			if err := a.printResults(results); err != nil {
				return err
			}
			if n := doctor.Failures(results); n > 0 {
				return fmt.Errorf("%d of %d checks failed", n, len(results))
			}
			return nil
		},
	}
	c.Flags().StringVar(&configFile, "config", "", "the controller's configuration file (default "+config.DefaultFile+" if it exists)")
	return c
}

// settings reads the controller's configuration as the controller does, but
// goes on with what it could read.
func (a *app) settings(configFile string, socketGiven bool) doctor.Settings {
	flags := pflag.NewFlagSet("doctor", pflag.ContinueOnError)
	config.AddFlags(flags)
	// These flags exist and take any text, so setting them cannot fail.
	_ = flags.Set("config", configFile)
	if socketGiven {
		_ = flags.Set("admin-socket", a.socket)
	}
	c, err := config.Load(flags, a.Environ)
	return doctor.Settings{Config: c, ConfigError: err}
}

func (a *app) printResults(results []doctor.Result) error {
	if a.format == formatJSON {
		return printJSON(a.Out, results)
	}
	var text strings.Builder
	for _, r := range results {
		fmt.Fprintf(&text, "%-4s  %s: %s\n", r.Level, r.Check, clean(r.Finding))
		if r.Hint != "" {
			fmt.Fprintf(&text, "      -> %s\n", clean(r.Hint))
		}
	}
	_, err := io.WriteString(a.Out, text.String())
	return err
}

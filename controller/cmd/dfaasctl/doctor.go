package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check everything this node needs, and say how to fix what is wrong",
		Long: `Check everything this node needs, and say how to fix what is wrong. Nothing is changed.

Each line is one check: OK, WARN (it works, but look at it) or FAIL. The exit code is 1 if any check fails.
It looks at what --config names, else at what the running controller was started with (also one that dfaas-emulator
started: name its socket), else at the configuration that it would start with. Run it as root to have everything checked.`,
		Example: `  sudo dfaasctl doctor
  dfaasctl doctor --socket .run/node-1/admin.sock
  sudo dfaasctl doctor -o json | jq '.[] | select(.level != "OK")'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings := a.settings()
			settings.Start = a.nextStart(settings.Config)
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

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/faults"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

func (a *app) faultsCommand() *cobra.Command {
	var out, jsonOut, keep string
	var only []string
	var list bool
	c := &cobra.Command{
		Use:   "faults",
		Short: "do every fault to a federation under load and report what users saw",
		Long: `faults starts a federation of three nodes, puts load on it and does one fault after the other to one of the nodes:
parts killed, hanging and restarted, a gateway that fails, a full disk, members that come and go, a node cut off, a
clock that jumps. It measures what users of that node and of another one saw and how long it took until everything was
normal, and holds that against the targets. The whole matrix takes about a quarter of an hour.

It fails (exit code 1) when the matrix could not be run, not when a target was missed: that is in the report.`,
		Example: "  dfaas-emulator faults -o docs/reliability.md\n  dfaas-emulator faults --only spoa-kill,haproxy-reload",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cases, err := faults.Select(only)
			if err != nil {
				return cli.Usage(err)
			}
			if list {
				for _, testCase := range cases {
					fmt.Fprintf(a.out, "%-20s %s\n", testCase.Name, testCase.About)
				}
				return nil
			}
			return a.faults(c.Context(), cases, out, jsonOut, keep)
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "-", "file for the report in Markdown; - is the terminal")
	c.Flags().StringVar(&jsonOut, "json", "", "file for the report in JSON as well")
	c.Flags().StringVar(&keep, "keep", "", "directory for the logs of the nodes and all responses (vegeta's JSON)")
	c.Flags().StringSliceVar(&only, "only", nil, "only these faults, by the names that --list shows")
	c.Flags().BoolVar(&list, "list", false, "list the faults and end")
	return c
}

func (a *app) faults(ctx context.Context, cases []faults.Case, out, jsonOut, keep string) error {
	binaries, err := findBinaries()
	if err != nil {
		return err
	}
	where, err := setting(ctx, binaries)
	if err != nil {
		return err
	}
	matrix := faults.Report{Setting: where}
	matrix.Results, err = faults.Run(ctx, cases, faults.Options{
		Binaries: binaries, Keep: keep, Log: a.logger(), Progress: func(line string) { fmt.Fprintln(a.err, line) },
	})
	// A matrix that is not whole replaces no report.
	if err != nil {
		return err
	}
	if jsonOut != "" {
		err = report.WriteFile(jsonOut, matrix.WriteJSON)
	}
	if out == "-" {
		return errors.Join(err, matrix.WriteMarkdown(a.out))
	}
	return errors.Join(err, report.WriteFile(out, matrix.WriteMarkdown))
}

// setting is this machine with its HAProxy.
func setting(ctx context.Context, binaries federation.Binaries) (report.Setting, error) {
	release, err := haproxy.Release(ctx, binaries[scenario.HAProxy])
	if err != nil {
		return report.Setting{}, err
	}
	return report.Here(cli.Version(version), release), nil
}

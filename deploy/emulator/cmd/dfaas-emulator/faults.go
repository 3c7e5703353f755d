package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/faults"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// faultsLimit bounds the whole matrix.
const faultsLimit = 20 * time.Minute

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
normal, and holds that against the targets. The whole matrix takes about twelve minutes.

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
	ctx, cancel := context.WithTimeout(ctx, faultsLimit)
	defer cancel()
	report := faults.Report{Setting: faultSetting(ctx, binaries)}
	report.Results, err = faults.Run(ctx, cases, faults.Options{
		Binaries: binaries, Keep: keep, Log: a.logger(), Progress: func(line string) { fmt.Fprintln(a.err, line) },
	})
	// A matrix that is not whole replaces no report.
	if err != nil {
		return err
	}
	if jsonOut != "" {
		err = writeFile(jsonOut, report.WriteJSON)
	}
	if out == "-" {
		return errors.Join(err, report.WriteMarkdown(a.out))
	}
	return errors.Join(err, writeFile(out, report.WriteMarkdown))
}

// writeFile replaces a file by what write writes.
func writeFile(path string, write func(io.Writer) error) error {
	var text strings.Builder
	if err := write(&text); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func faultSetting(ctx context.Context, binaries federation.Binaries) faults.Setting {
	s := faults.Setting{Date: time.Now(), Commit: cli.Version(version), HAProxy: "of an unknown version"}
	cpu := "an unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	s.Machine = fmt.Sprintf("%d cores of %s", runtime.NumCPU(), cpu)
	if text, err := exec.CommandContext(ctx, binaries[scenario.HAProxy], "-v").Output(); err == nil {
		if fields := strings.Fields(string(text)); len(fields) >= 3 {
			s.HAProxy = fields[2]
		}
	}
	return s
}

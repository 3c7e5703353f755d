// Command dfaas-paper makes the tables and figures of docs/strategies.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/e2e/paper"
	"github.com/dfaas/dfaas/internal/cli"
)

// version is set when the program is linked.
var version string

func main() {
	debug.SetGCPercent(400) // a simulation has little that lives long
	cli.Main(newCommand)
}

func newCommand(system cli.System) *cobra.Command {
	o := paper.Options{Stdout: system.Out, Progress: system.Err, Version: cli.Version(version)}
	var quick, emulator bool
	var binaries string
	var nodes []int
	var repeat int
	c := &cobra.Command{
		Use:   "dfaas-paper",
		Short: "make the tables and figures of docs/strategies.md",
		Long: `dfaas-paper simulates the grid of federations in which strategies are compared, holds the default strategy against
its aims in each cell, prints in which it misses them, and makes the tables and figures of docs/strategies.md. It uses all
processors. What it has done it keeps (--out): interrupted, it goes on from there, as long as the program is the same.

With --emulator it runs seven of the cells with real processes instead, for five minutes, and writes them beside what
the simulator says.`,
		Example: "  dfaas-paper\n  dfaas-paper --quick\n  dfaas-paper --emulator",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Grid = paper.Full()
			if quick {
				o.Grid = paper.Quick()
				var err error
				if o, err = aside(o); err != nil {
					return err
				}
			}
			if c.Flags().Changed("nodes") {
				o.Grid.Nodes = nodes
			}
			if repeat > 0 {
				o.Grid.Repeats = repeat
			}
			if emulator {
				found, err := federation.FindBinaries(binaries)
				if err != nil {
					return err
				}
				return paper.Compare(c.Context(), o, found)
			}
			return paper.Run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Out, "out", "o", "out/paper", "directory for the results of runs")
	f.StringVar(&o.Docs, "docs", "docs", "directory with strategies.md, and for its figures")
	f.StringVar(&o.Scenarios, "scenarios", "deploy/emulator/scenarios", "directory of the emulator's scenarios")
	f.StringVar(&binaries, "bin", "bin", "directory of the programs of make build")
	f.IntSliceVar(&nodes, "nodes", []int{3, 10, 50}, "only federations of so many nodes")
	f.IntVar(&repeat, "repeat", 0, "runs of each strategy in each cell (default 5)")
	f.BoolVar(&quick, "quick", false, "a few minutes, with numbers of little worth; the page is made in the directory of the results")
	f.BoolVar(&emulator, "emulator", false, "run seven cells with real processes")
	cli.AddVersion(c, cli.Version(version))
	return c
}

// aside makes of the page a copy in the directory of the results.
func aside(o paper.Options) (paper.Options, error) {
	o.Out = filepath.Join(o.Out, "quick")
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return o, fmt.Errorf("directory for the results: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(o.Docs, "strategies.md"))
	if err != nil {
		return o, fmt.Errorf("reading the page: %w", err)
	}
	o.Docs = o.Out
	return o, os.WriteFile(filepath.Join(o.Docs, "strategies.md"), data, 0o644)
}

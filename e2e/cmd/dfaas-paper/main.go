// Command dfaas-paper makes the tables and figures of docs/strategies.md.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/e2e/paper"
	"github.com/dfaas/dfaas/internal/cli"
)

func main() {
	debug.SetGCPercent(400) // a simulation has little that lives long
	cli.Main(newCommand)
}

func newCommand(system cli.System) *cobra.Command {
	o := paper.Options{Stdout: system.Out, Progress: system.Err}
	var quick, emulator, figures bool
	var binaries string
	var nodes []int
	var repeat int
	c := &cobra.Command{
		Use:   "dfaas-paper",
		Short: "make the tables and figures of docs/strategies.md",
		Long: `dfaas-paper simulates the grid of federations in which strategies are compared, holds the default strategy against
its aims in each cell, prints in which it misses them, and makes the tables and figures of docs/strategies.md. It uses all
processors. What it has done it keeps (--out): interrupted, it goes on from there, as long as the program is the same.
All cells are simulated once before any is a second time, so what there is is of the whole grid.

With --emulator it runs seven of the cells with real processes instead, for five minutes, and writes them beside what
the simulator says.`,
		Example: "  dfaas-paper\n  dfaas-paper --quick\n  timeout -s INT 40m dfaas-paper; dfaas-paper --as-is\n  dfaas-paper --emulator",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Version, err = self(); err != nil {
				return err
			}
			o.Grid = paper.Full()
			if quick {
				o.Grid = paper.Quick()
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
			if figures {
				o.Grid.Repeats = max(1, repeat)
			}
			if emulator || figures {
				found, err := federation.FindBinaries(binaries)
				if err != nil {
					return err
				}
				if figures {
					return paper.Figures(c.Context(), o, found)
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
	f.BoolVar(&o.AsIs, "as-is", false, "simulate nothing, and make the page of the results that are there")
	f.IntSliceVar(&nodes, "nodes", []int{3, 10, 50}, "only federations of so many nodes")
	f.IntVar(&repeat, "repeat", 0, "runs of each strategy in each cell (default 5)")
	f.BoolVar(&quick, "quick", false, "a few minutes, with numbers of little worth; the page is made in the directory of the results")
	f.BoolVar(&figures, "figures", false, "run the experiments that were published of the original DFaaS, for docs/research.md")
	f.StringVar(&o.Commit, "commit", "unknown", "version that figures say made them")
	f.BoolVar(&emulator, "emulator", false, "run seven cells with real processes")
	return c
}

// self is a digest of this program: what another one has simulated may be otherwise.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking at this program: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("looking at this program: %w", err)
	}
	defer file.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", fmt.Errorf("looking at this program: %w", err)
	}
	return hex.EncodeToString(digest.Sum(nil)[:8]), nil
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

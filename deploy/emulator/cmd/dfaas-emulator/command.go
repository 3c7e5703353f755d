package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/cli"
)

// app is what all commands share.
type app struct {
	out, err io.Writer
	verbose  bool
	// ignoreLimits has nodes use all of the machine, whatever the scenario says.
	ignoreLimits bool
}

func newCommand(system cli.System) *cobra.Command {
	a := &app{out: system.Out, err: system.Err}
	root := &cobra.Command{
		Use:   "dfaas-emulator",
		Short: "run DFaaS federations on this machine",
		Long: `dfaas-emulator runs DFaaS federations on this machine. Every node is the real thing: an HAProxy,
a dfaas-spoa, a dfaas-controller and a dfaas-provider, each a process of its own, on 127.0.0.1.

The programs are looked for beside dfaas-emulator, then in PATH.`,
		Example: `  dfaas-emulator demo -o out/demo
  dfaas-emulator run deploy/emulator/scenarios/headroom-50-0-0.yaml -o out/x --live
  dfaas-emulator up && dfaas-emulator ps && dfaas-emulator down`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what the emulator does")
	root.AddCommand(a.runCommand(), a.checkCommand(), a.demoCommand(), a.faultsCommand(), a.soakCommand(),
		a.upCommand(), a.psCommand(), a.execCommand(), a.logsCommand(), a.linkCommand(), a.faultCommand(), a.downCommand(), a.superviseCommand(), a.guestsCommand())
	cli.AddVersion(root, cli.Version(version))
	return root
}

func (a *app) logger() zerolog.Logger {
	if a.verbose {
		return cli.NewLogger(a.err, "debug", "console")
	}
	return cli.NewLogger(a.err, "warn", "console")
}

func (a *app) limitsFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.ignoreLimits, "ignore-limits", false, "start nodes without the limits that the scenario has as cpus and memory")
}

// binDir is where this program is, and usually the others.
func binDir() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for the programs: %w", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("looking for the programs: %w", err)
	}
	return filepath.Dir(path), nil
}

func findBinaries() (federation.Binaries, error) {
	dir, err := binDir()
	if err != nil {
		return nil, err
	}
	return federation.FindBinaries(dir)
}

// scenarioFiles completes the names of scenarios.
func scenarioFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/scenario"
)

// Exit codes.
const (
	exitFailed      = 1   // the experiment could not be run, or did not go as expected
	exitUsage       = 2   // wrong arguments, or a scenario that is refused
	exitInterrupted = 130 // by a signal
)

// usageError marks what is wrong before anything starts.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(usageError)), errors.As(err, new(scenario.Problems)):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// app is what all commands share.
type app struct {
	out, err io.Writer
	verbose  bool
}

func newCommand(out, errOut io.Writer) *cobra.Command {
	a := &app{out: out, err: errOut}
	root := &cobra.Command{
		Use:   "dfaas-emulator",
		Short: "run DFaaS federations on this machine",
		Long: `dfaas-emulator runs DFaaS federations on this machine. Every node is the real thing: an HAProxy,
a dfaas-spoa, a dfaas-controller and a dfaas-provider, each a process of its own, on 127.0.0.1.

The programs are looked for beside dfaas-emulator, then in PATH.`,
		Example: `  dfaas-emulator demo -o out/demo
  dfaas-emulator run deploy/emulator/scenarios/headroom-50-0-0.yaml -o out/x --live
  dfaas-emulator up && dfaas-emulator ps && dfaas-emulator down`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          arguments(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what the emulator does")
	root.AddCommand(a.runCommand(), a.checkCommand(), a.demoCommand(), a.faultsCommand(), a.soakCommand(),
		a.upCommand(), a.psCommand(), a.faultCommand(), a.downCommand(), a.superviseCommand())
	return root
}

// arguments marks a wrong number of arguments as a usage error.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%w: see %s --help", err, c.CommandPath())}
		}
		return nil
	}
}

func (a *app) logger() zerolog.Logger {
	level := zerolog.WarnLevel
	if a.verbose {
		level = zerolog.DebugLevel
	}
	writer := zerolog.ConsoleWriter{Out: a.err, TimeFormat: time.TimeOnly, NoColor: !isTerminal(a.err)}
	return zerolog.New(writer).Level(level).With().Timestamp().Logger()
}

// isTerminal reports whether people look at what is written to w.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
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

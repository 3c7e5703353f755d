// Package cli is what all commands have in common: how they are started and
// stopped, what their exit codes mean, where values come from that are not on
// the command line, and how they log.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	ExitFailure     = 1   // it could not start, or failed
	ExitUsage       = 2   // the command line, the environment or a configuration is wrong; nothing was started
	ExitInterrupted = 130 // ended by a signal before it was done
)

// System is what a program has from its surroundings.
type System struct {
	Args     []string // without the program's name
	Environ  []string // KEY=VALUE
	In       io.Reader
	Out, Err io.Writer
}

// usageError is an error that a command finds in how it was called.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// Usage marks an error of a running command as one in how it was called. nil
// stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Main runs the command that newCommand makes and ends the process. The first
// SIGINT or SIGTERM, or one of more, ends the command's context; the second
// ends the process at once.
func Main(newCommand func(System) *cobra.Command, more ...os.Signal) {
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, append(more, os.Interrupt, syscall.SIGTERM)...)
	go func() {
		<-signals
		signal.Stop(signals) // first, so that no second signal is ever swallowed
		end()
	}()
	system := System{Args: os.Args[1:], Environ: os.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(Run(ctx, newCommand(system), system))
}

// Run runs a command line and returns the exit code. Whatever is wrong before a
// command's own code starts is wrong with how it was called.
func Run(ctx context.Context, root *cobra.Command, system System) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(system.Args)
	root.SetOut(system.Out)
	root.SetErr(system.Err)
	started := false
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := fromEnvironment(c.Flags(), system); err != nil {
			return err
		}
		for _, warning := range misspelt(c.Flags(), system) {
			fmt.Fprintln(system.Err, "Warning:", warning)
		}
		started = true
		return nil
	}
	c, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case !started:
		printError(system.Err, fmt.Sprintf("%s: %v\nSee '%s --help'.", root.Name(), err, c.CommandPath()))
		return ExitUsage
	case errors.As(err, &usage):
		printError(system.Err, fmt.Sprintf("%s: %v", c.CommandPath(), err))
		return ExitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		printError(system.Err, fmt.Sprintf("%s: interrupted", c.CommandPath()))
		return ExitInterrupted
	default:
		printError(system.Err, fmt.Sprintf("%s: %v", c.CommandPath(), err))
		return ExitFailure
	}
}

// printError writes what ended the program; in the journal each line is an error.
func printError(w io.Writer, text string) {
	prefix := ""
	if inJournal(w) {
		prefix = priorityError
	}
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(w, "%s%s\n", prefix, line)
	}
}

// IsTerminal reports whether people look at what is written to w.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// IsColor reports whether w is a terminal that may be sent colours.
func IsColor(w io.Writer) bool { return IsTerminal(w) && os.Getenv("NO_COLOR") == "" }

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/churn"
	"github.com/dfaas/dfaas/deploy/emulator/soak"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/report"
)

func (a *app) soakCommand() *cobra.Command {
	var out string
	o := soak.Options{Clocks: true}
	c := &cobra.Command{
		Use:   "soak",
		Short: "keep a federation under random load and faults for long, and say whether it stood it",
		Long: `soak starts a federation of three nodes, puts random load on it, and lets parts and whole nodes of it die, hang and
restart, be cut off (as root) and have a wrong clock (with the go command, in the sources), and other members come and go. In the end, or when it is interrupted, it gives its verdict: lost responses, data
races, panics, goroutines, memory, open files and processes left behind.

What happens follows from the seed, which is printed. Data races are found only by programs that were built for it:
"make soak" does, and runs this.

It fails (exit code 1) when something asked for was not met.`,
		Example: "  dfaas-emulator soak --for 10m -o docs/soak.md\n  dfaas-emulator soak --for 1m --seed 7",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Duration < soak.MinDuration || o.Duration > soak.MaxDuration {
				return cli.Usage(fmt.Errorf("--for %v: use %v to %v", o.Duration, soak.MinDuration, soak.MaxDuration))
			}
			if o.Seed == 0 {
				o.Seed = uint64(rand.Uint32())
			}
			return a.soak(c.Context(), o, out)
		},
	}
	c.Flags().DurationVar(&o.Duration, "for", 30*time.Minute, "how long")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "decides what happens; 0: another one each time")
	c.Flags().BoolVar(&o.PeerTLS, "peer-tls", true, "TLS between the nodes")
	c.Flags().StringVarP(&out, "out", "o", "", "file for the report in Markdown as well")
	c.Flags().StringVar(&o.Logs, "logs", filepath.Join("out", "soak"), "directory for the logs of the nodes")
	_ = c.MarkFlagDirname("logs") // the flag exists
	return c
}

func (a *app) soak(ctx context.Context, o soak.Options, out string) error {
	var err error
	if o.Binaries, err = findBinaries(); err != nil {
		return err
	}
	if o.Emulator, err = os.Executable(); err != nil {
		return fmt.Errorf("where this program is: %w", err)
	}
	if o.Logs, err = filepath.Abs(o.Logs); err != nil {
		return fmt.Errorf("the directory of the logs: %w", err)
	}
	fmt.Fprintf(a.out, "soak for %v, seed %d, logs in %s\n", o.Duration, o.Seed, o.Logs)
	o.Log, o.Progress = a.logger(), func(line string) { fmt.Fprintln(a.out, line) }
	where, err := setting(ctx, o.Binaries)
	if err != nil {
		return err
	}
	result, err := soak.Run(ctx, o)
	if err != nil {
		return err
	}
	err = result.WriteText(a.out)
	if out != "" {
		err = errors.Join(err, report.WriteFile(out, func(w io.Writer) error { return result.WriteMarkdown(w, where) }))
	}
	if !result.Met() {
		err = errors.Join(err, errors.New("not everything asked for was met"))
	}
	if err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// guestsCommand is a process of soak.
func (a *app) guestsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    churn.Command,
		Short:  "let members come and go, as standard input says",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE:   func(c *cobra.Command, _ []string) error { return churn.Serve(c.Context(), c.InOrStdin(), a.out) },
	}
}

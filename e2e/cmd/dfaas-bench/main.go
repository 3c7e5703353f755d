// Command dfaas-bench measures what DFaaS costs and writes docs/performance.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/e2e/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "dfaas-bench: interrupted, everything stopped, nothing written")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "dfaas-bench:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	o := bench.Options{Stdout: os.Stdout, Progress: os.Stderr}
	c := &cobra.Command{
		Use:   "dfaas-bench",
		Short: "Measure what DFaaS costs",
		Long: `Measure what DFaaS costs, with real processes on the loopback interface, and
write the result as Markdown. It takes some minutes and stops by itself; Ctrl-C
stops it at once. It needs haproxy, wrk, go and the programs of make build.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Out == "" {
				return errors.New("--out is empty: name a file, or - for the terminal")
			}
			return bench.Run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Out, "out", "o", "docs/performance.md", "file to write, - for standard output")
	f.BoolVar(&o.Quick, "quick", false, "one minute instead of several, with numbers of no worth")
	f.StringVar(&o.Binaries, "bin", "bin", "directory of dfaas-spoa, dfaas-controller and dfaas-provider")
	f.StringVar(&o.Root, "root", ".", "the checkout, for its Go benchmarks")
	return c
}

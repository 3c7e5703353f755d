// Command dfaas-bench measures what DFaaS costs and writes docs/performance.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
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
write the result as Markdown. It takes half an hour and stops by itself; Ctrl-C
stops it at once. It needs haproxy, wrk, go and the programs of make build. The
HAProxies of Debian's other releases, and its Caddy, are unpacked into the user's
cache directory.`,
		Example:       "  dfaas-bench\n  dfaas-bench --quick --out -",
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
	f.BoolVar(&o.Quick, "quick", false, "three minutes instead of thirty, with numbers of no worth")
	f.StringVar(&o.Binaries, "bin", "bin", "directory of dfaas-spoa, dfaas-controller and dfaas-provider")
	f.StringVar(&o.Root, "root", ".", "the checkout, for its Go benchmarks")
	c.AddCommand(goProxy())
	return c
}

// goProxy is what this program starts itself as, to be compared.
func goProxy() *cobra.Command {
	return &cobra.Command{
		Use: bench.GoProxyCommand + " GATEWAY PEER", Short: "The reverse proxy that DFaaS is compared with",
		Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := net.FileListener(os.NewFile(3, "listener"))
			if err != nil {
				return fmt.Errorf("descriptor 3 is to be a listener: %w", err)
			}
			return bench.ServeGoProxy(c.Context(), l, args[0], args[1])
		},
	}
}

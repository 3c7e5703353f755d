package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/internal/cli"
)

const minInterval = 100 * time.Millisecond

// watch is the pair of flags that commands have which can be repeated.
type watch struct {
	on       bool
	interval time.Duration
}

func (w *watch) addFlags(c *cobra.Command) {
	c.Flags().BoolVarP(&w.on, "watch", "w", false, "print again and again until interrupted")
	c.Flags().DurationVar(&w.interval, "interval", time.Second, "time between prints with --watch, 100ms at least")
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		switch {
		case w.interval < minInterval:
			return cli.Usage(fmt.Errorf("--interval %s is shorter than %s", w.interval, minInterval))
		case c.Flags().Changed("interval") && !w.on:
			return cli.Usage(errors.New("--interval has no effect without --watch"))
		}
		return nil
	}
}

// run shows once, or with --watch until the context ends. While watching, a
// failure is shown in its turn: the controller may be just restarting.
func (w *watch) run(ctx context.Context, a *app, show func(context.Context) error) error {
	if !w.on {
		return show(ctx)
	}
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		a.clearScreen()
		if err := show(ctx); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(a.Err, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// clearScreen starts a terminal at its top. Tables in a file follow each other,
// and JSON documents need nothing between them.
func (a *app) clearScreen() {
	if a.format == formatTable && cli.IsTerminal(a.Out) {
		fmt.Fprint(a.Out, "\x1b[H\x1b[2J")
	}
}

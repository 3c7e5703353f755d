// Command dfaasctl shows what the DFaaS node of this machine does, and fixes
// what an operator can fix.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set when the program is linked.
var version = "unknown"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, System{
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Out:     os.Stdout,
		Err:     os.Stderr,
		Now:     time.Now,
		Version: version,
	})
}

// System is what the program has from its surroundings.
type System struct {
	Args     []string // without the program's name
	Environ  []string // KEY=VALUE
	Out, Err io.Writer
	Now      func() time.Time
	Version  string
}

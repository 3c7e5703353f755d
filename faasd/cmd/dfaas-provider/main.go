// Command dfaas-provider provides OpenFaaS functions as local processes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(version).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dfaas-provider:", err)
		os.Exit(1)
	}
}

// Command dfaas-spoa answers one question of HAProxy's for each function call:
// serve it here, send it to a peer, or refuse it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set when the program is linked.
var version = "dev"

// Exit codes.
const (
	exitFailed = 1 // it could not start, or broke
	exitUsage  = 2 // the command line or the environment is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand(version).ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "dfaas-spoa:", err)
	if failed := (*runError)(nil); errors.As(err, &failed) {
		os.Exit(exitFailed)
	}
	os.Exit(exitUsage)
}

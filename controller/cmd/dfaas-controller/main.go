// Command dfaas-controller is the part of a DFaaS node that plans: it watches
// the node's functions and load, talks with the other nodes of the federation,
// and keeps dfaas-spoa and HAProxy informed of where requests may go.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// version is set when a release is built.
var version = "unknown"

// Exit statuses.
const (
	exitFailure = 1 // it could not start or go on
	exitUsage   = 2 // the command line or the configuration is wrong
)

func main() {
	tune(os.Getenv)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

const (
	// gcPercent trades some CPU time, of which the controller needs little, for
	// memory: it shares an edge node with the functions.
	gcPercent = 50
	// maxCores leaves the others to HAProxy and the functions, whatever peers send
	// here. Besides, at rest most of the CPU time went into waking a second thread
	// for work that the first had done by then.
	maxCores = 1
)

// tune sets what the environment (GOMAXPROCS, GOGC) does not.
func tune(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(maxCores)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// execute runs the command line and returns the exit status.
func execute(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := newCommand(environ, stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch err := root.ExecuteContext(ctx); err.(type) {
	case nil:
		return 0
	case failure:
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return exitFailure
	default:
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return exitUsage
	}
}

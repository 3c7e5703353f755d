// Command dfaas-controller is the part of a DFaaS node that plans: it watches
// the node's functions and load, talks with the other nodes of the federation,
// and keeps dfaas-spoa and HAProxy informed of where requests may go.
package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/dfaas/dfaas/internal/cli"
)

// version is set when the program is linked.
var version string

func main() {
	tune(os.Getenv)
	cli.Main(newCommand)
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

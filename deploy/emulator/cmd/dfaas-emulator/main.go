// Command dfaas-emulator runs DFaaS federations on one machine: for
// experiments, for a demonstration, and to try things out.
package main

import (
	"syscall"

	"github.com/dfaas/dfaas/internal/cli"
)

// version is set when the program is linked.
var version string

func main() { cli.Main(newCommand, syscall.SIGHUP) }

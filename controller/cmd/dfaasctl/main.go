// Command dfaasctl shows what the DFaaS node of this machine does, and fixes
// what an operator can fix.
package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/internal/cli"
)

// version is set when the program is linked.
var version string

func main() {
	cli.Main(func(system cli.System) *cobra.Command {
		return newCommand(System{System: system, Now: time.Now, Version: cli.Version(version)})
	})
}

// System is what the program has from its surroundings.
type System struct {
	cli.System
	Now     func() time.Time
	Version string
}

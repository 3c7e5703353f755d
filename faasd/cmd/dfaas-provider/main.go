// Command dfaas-provider provides OpenFaaS functions as local processes.
package main

import "github.com/dfaas/dfaas/internal/cli"

// version is set when the program is linked.
var version string

func main() { cli.Main(newCommand) }

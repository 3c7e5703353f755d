// Command dfaas-spoa answers one question of HAProxy's for each function call:
// serve it here, send it to a peer, or refuse it.
package main

import "github.com/dfaas/dfaas/internal/cli"

// version is set when the program is linked.
var version string

func main() { cli.Main(newCommand) }

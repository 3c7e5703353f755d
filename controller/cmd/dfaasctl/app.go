package main

import (
	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/internal/cli"
)

const envSocket = "DFAAS_ADMIN_SOCKET"

// app is one run of the program: its surroundings and the flags that all
// commands share.
type app struct {
	System
	socket string
	format format
}

func newCommand(system System) *cobra.Command {
	a := &app{System: system, format: formatTable}
	root := &cobra.Command{
		Use:   "dfaasctl",
		Short: "Look at and control the DFaaS node of this machine",
		Long:  "dfaasctl talks to the dfaas-controller of this machine over its admin socket.",
		Example: `  dfaasctl status            is this node well?
  dfaasctl peers -w          who is in the federation, refreshed every second
  dfaasctl routes figlet     where calls of figlet go
  dfaasctl doctor            what is wrong, and how to fix it`,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", api.DefaultSocket, "admin socket of dfaas-controller")
	cli.FromVariable(flags, "socket", envSocket)
	flags.VarP(&a.format, "output", "o", "table or json")
	root.AddCommand(a.statusCommand(), a.peersCommand(), a.functionsCommand(), a.routesCommand(), a.joinCommand(),
		a.idCommand(), a.keygenCommand(), a.doctorCommand(), a.versionCommand())
	cli.AddVersion(root, a.Version)
	completeWith(root, "output", string(formatTable), string(formatJSON))
	return root
}

func (a *app) client() *api.Client { return api.NewClient(a.socket) }

// completeWith makes shells offer these values for a flag.
func completeWith(c *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist, which help would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

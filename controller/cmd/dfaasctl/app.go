package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

const envSocket = "DFAAS_ADMIN_SOCKET"

// app is one run of the program: its surroundings and the flags that all
// commands share.
type app struct {
	System
	socket string
	format format
}

// Run runs one command and returns the exit code: 0 done, 1 failed, 2 called
// the wrong way.
func Run(ctx context.Context, system System) int {
	a := &app{System: system, format: formatTable}
	started := false
	root := a.root()
	// Whatever is wrong before a command starts is wrong with how it was called.
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	command, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case started:
		fmt.Fprintf(a.Err, "dfaasctl %s: %v\n", command.Name(), err)
		return exitFailure
	default:
		fmt.Fprintf(a.Err, "dfaasctl: %v\nSee '%s --help'.\n", err, command.CommandPath())
		return exitUsage
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "dfaasctl",
		Short:         "Look at and control the DFaaS node of this machine",
		Long:          "dfaasctl talks to the dfaas-controller of this machine over its admin socket.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Example: `  dfaasctl status            is this node well?
  dfaasctl peers -w          who is in the federation, refreshed every second
  dfaasctl routes figlet     where calls of figlet go
  dfaasctl doctor            what is wrong, and how to fix it`,
	}
	root.SetArgs(a.Args)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", a.getenv(envSocket, api.DefaultSocket), "admin socket of dfaas-controller (env "+envSocket+")")
	flags.VarP(&a.format, "output", "o", "table or json")
	root.AddCommand(a.statusCommand(), a.peersCommand(), a.functionsCommand(), a.routesCommand(), a.joinCommand(),
		a.idCommand(), a.keygenCommand(), a.doctorCommand(), a.versionCommand())
	completeWith(root, "output", string(formatTable), string(formatJSON))
	return root
}

// getenv returns the variable's value; one that is empty counts as not set.
func (a *app) getenv(key, otherwise string) string {
	for _, line := range a.Environ {
		if value, ok := strings.CutPrefix(line, key+"="); ok && value != "" {
			return value
		}
	}
	return otherwise
}

func (a *app) client() *api.Client { return api.NewClient(a.socket) }

// completeWith makes shells offer these values for a flag.
func completeWith(c *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist, which help would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

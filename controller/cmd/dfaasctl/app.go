package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/internal/cli"
)

const envConfig = "DFAAS_CONFIG"

// app is one run of the program: its surroundings and the flags that commands
// share.
type app struct {
	System
	socket     string // "": where the configuration says
	configFile string // "": as the controller finds it
	format     format
}

func newCommand(system System) *cobra.Command {
	a := &app{System: system, format: formatTable}
	root := &cobra.Command{
		Use:   "dfaasctl",
		Short: "Look at and control the DFaaS node of this machine",
		Long: `dfaasctl talks to the dfaas-controller of this machine over its admin socket.

Exit codes: 0 done, 1 failed, 2 called the wrong way.`,
		Example: `  dfaasctl status            is this node well?
  dfaasctl peers -w          who is in the federation, refreshed every second
  dfaasctl routes figlet     where calls of figlet go
  dfaasctl doctor            what is wrong, and how to fix it`,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, flagSocket, "", "admin socket of dfaas-controller (env DFAAS_ADMIN_SOCKET; default: admin_socket of its\nconfiguration, "+
		api.DefaultSocket+")")
	flags.StringVar(&a.configFile, flagConfig, "", "configuration of dfaas-controller, which says where its files and sockets are\n(env "+envConfig+
		"; default: "+config.DefaultFile+" if it exists)")
	flags.VarP(&a.format, flagOutput, "o", "table or json")
	for _, c := range []*cobra.Command{a.statusCommand(), a.peersCommand(), a.functionsCommand(), a.routesCommand(), a.joinCommand(),
		a.doctorCommand(), a.versionCommand()} {
		root.AddCommand(uses(c, flagSocket, flagConfig, flagOutput))
	}
	for _, c := range []*cobra.Command{a.idCommand(), a.keygenCommand(), a.checkHAProxyCommand(), a.deployCommand()} {
		root.AddCommand(uses(c, flagConfig, flagOutput))
	}
	root.AddCommand(uses(a.simulateCommand(), flagOutput), uses(a.plotCommand(), flagOutput))
	cli.AddVersion(root, a.Version)
	completeWith(root, flagOutput, string(formatTable), string(formatJSON))
	// Here, not when it is run, so that it is looked through as well.
	root.InitDefaultCompletionCmd()
	refuseUnused(root)
	return root
}

// The flags that may stand before or behind any command.
const (
	flagSocket = "socket"
	flagConfig = "config"
	flagOutput = "output"
)

// uses notes which of these flags mean something to the command.
func uses(c *cobra.Command, flags ...string) *cobra.Command {
	c.Annotations = map[string]string{}
	for _, flag := range flags {
		c.Annotations[flag] = ""
	}
	return c
}

// refuseUnused keeps commands from ignoring a flag.
func refuseUnused(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnused(sub)
	}
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		for _, flag := range []string{flagSocket, flagConfig, flagOutput} {
			if _, used := c.Annotations[flag]; !used && c.Flags().Changed(flag) {
				return cli.Usage(fmt.Errorf("this command does not take --%s", flag))
			}
		}
		if check == nil {
			return nil
		}
		return check(c, args)
	}
}

// completeWith makes shells offer these values for a flag.
func completeWith(c *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist, which help would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

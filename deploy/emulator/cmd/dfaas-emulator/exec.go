package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netns"

	"github.com/dfaas/dfaas/deploy/emulator/supervisor"
	"github.com/dfaas/dfaas/internal/cli"
)

func (a *app) execCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "exec NODE -- COMMAND [ARGUMENT...]",
		Short: "run a command on a node of the federation that is up",
		Long: `exec runs a command where the node's parts run: in its network namespace, if it has one, which needs root. The command
finds the node's admin socket in DFAAS_ADMIN_SOCKET, so that dfaasctl asks the node's controller, its name in NODE and the URL
at which it serves in URL; the programs beside dfaas-emulator are in its PATH. Its exit code is that of exec.`,
		Example: `  dfaas-emulator exec node-2 -- dfaasctl peers
  dfaas-emulator exec node-2 -- sh -c 'curl -d hello $URL/function/figlet'
  dfaas-emulator exec node-2 -- ping -c 3 10.77.0.1`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return cli.Usage(errors.New("behind --, a command is expected"))
			}
			state, err := supervisor.NewClient(dir).State(c.Context())
			if err != nil {
				return err
			}
			node, err := nodeOf(state, args[0])
			if err != nil {
				return err
			}
			return execute(node, command)
		},
		ValidArgsFunction: nodeNames(&dir, 1),
	}
	c.Flags().SetInterspersed(false) // what follows the node is the command's
	dirFlag(c, &dir)
	return c
}

func nodeOf(state supervisor.State, name string) (*supervisor.Node, error) {
	var names []string
	for i := range state.Nodes {
		if state.Nodes[i].Name == name {
			return &state.Nodes[i], nil
		}
		names = append(names, state.Nodes[i].Name)
	}
	if !state.Ready {
		return nil, errors.New("the federation is still starting")
	}
	return nil, cli.Usage(fmt.Errorf("there is no node %q: there are %s", name, strings.Join(names, ", ")))
}

// execute turns this process into the command, and returns only if it cannot.
func execute(node *supervisor.Node, argv []string) error {
	own, err := binDir()
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+own); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	socket, err := filepath.Abs(node.AdminSocket)
	if err != nil {
		return err
	}
	url := node.URL
	if node.Address != "" {
		url = node.Address
	}
	runtime.LockOSThread() // the thread that enters becomes the command
	if node.Namespace != "" {
		space, err := netns.GetFromPath(node.Namespace)
		if err == nil {
			err = netns.Set(space)
		}
		if err != nil {
			return fmt.Errorf("entering the network of %s, which needs root: %w", node.Name, err)
		}
	}
	env := append(os.Environ(), "DFAAS_ADMIN_SOCKET="+socket, "NODE="+node.Name, "URL="+url)
	return fmt.Errorf("running %s: %w", path, syscall.Exec(path, argv, env))
}

// nodeNames completes the names of nodes, of which a command takes so many.
func nodeNames(dir *string, most int) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		if len(args) < most {
			if state, err := supervisor.NewClient(*dir).State(c.Context()); err == nil {
				for i := range state.Nodes {
					names = append(names, state.Nodes[i].Name)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

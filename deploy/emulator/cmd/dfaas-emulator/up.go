package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/demo"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/supervisor"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// bases are the ports that the federation that stays up counts from: node i,
// from 1, serves on http + i and has its statistics page on stats + i.
type bases struct{ http, stats int }

func (b *bases) flags(c *cobra.Command) {
	c.Flags().IntVar(&b.http, "base-port", 8080, "node i serves on this port + i")
	c.Flags().IntVar(&b.stats, "base-stats", 8400, "node i has its statistics page on this port + i")
}

// ports gives n nodes their ports.
func (b *bases) ports(n int) ([]federation.Ports, error) {
	if b.http < 1 || b.stats < 1 || max(b.http, b.stats)+n > 65535 {
		return nil, cli.Usage(fmt.Errorf("the ports of %d nodes from %d and %d on are not all between 1 and 65535", n, b.http, b.stats))
	}
	if apart := b.http - b.stats; apart > -n && apart < n {
		return nil, cli.Usage(fmt.Errorf("--base-port %d and --base-stats %d: of %d nodes, these are some of the same ports: let %d lie between them at least", b.http, b.stats, n, n))
	}
	ports := make([]federation.Ports, n)
	for i := range ports {
		ports[i] = federation.Ports{HTTP: b.http + i + 1, Stats: b.stats + i + 1}
	}
	return ports, nil
}

func dirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "dir", ".run", "directory of the federation: sockets, configuration, state and logs")
	_ = c.MarkFlagDirname("dir") // the flag exists
}

func (a *app) upCommand() *cobra.Command {
	var dir string
	var base bases
	c := &cobra.Command{
		Use:   "up [FILE]",
		Short: "start a federation and leave it running",
		Long: `up starts the nodes of a scenario (its load and its faults are left out), without FILE three nodes with the functions
figlet, shasum and ocr, and leaves them running in the background until "down".

Node i serves on http://127.0.0.1:808i and has HAProxy's statistics page on http://127.0.0.1:840i, unless --base-port
and --base-stats say otherwise. Nodes with networks of their own, which a topology with links needs (as root), serve on port 80
of an address of their own besides: see "exec" and "link".`,
		Example: `  dfaas-emulator up
  curl -d hello http://127.0.0.1:8081/function/figlet
  dfaasctl --socket .run/node-1/admin.sock peers
  dfaas-emulator down
  sudo dfaas-emulator up deploy/emulator/scenarios/topology-ring.yaml`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: scenarioFiles,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := upScenario(args)
			if err != nil {
				return err
			}
			if _, err := base.ports(len(s.Nodes)); err != nil {
				return err
			}
			if _, err := findBinaries(); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("looking for this program: %w", err)
			}
			argv := append([]string{
				self, "supervise", "--dir", dir, "--base-port", strconv.Itoa(base.http), "--base-stats", strconv.Itoa(base.stats),
				"--ignore-limits=" + strconv.FormatBool(a.ignoreLimits), "--",
			}, args...)
			state, err := supervisor.Detach(c.Context(), dir, argv)
			if err != nil {
				return err
			}
			return a.printUp(s, state, dir)
		},
	}
	dirFlag(c, &dir)
	base.flags(c)
	a.limitsFlag(c)
	return c
}

// superviseCommand is what up starts in the background.
func (a *app) superviseCommand() *cobra.Command {
	var dir string
	var base bases
	c := &cobra.Command{
		Use:    "supervise [FILE]",
		Short:  "keep a federation running, in the foreground",
		Args:   cobra.MaximumNArgs(1),
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := upScenario(args)
			if err != nil {
				return err
			}
			binaries, err := findBinaries()
			if err != nil {
				return err
			}
			listener, err := supervisor.Listen(dir)
			if err != nil {
				return err
			}
			ports, err := base.ports(len(s.Nodes))
			if err != nil {
				return err
			}
			a.verbose = true
			o := federation.Of(s)
			o.Binaries, o.Dir, o.Ports, o.Log, o.IgnoreLimits = binaries, dir, ports, a.logger(), a.ignoreLimits
			if o.Namespaces && o.Topology == nil && len(s.Nodes) > 1 { // so that there are links to change
				if o.Topology, err = (topology.Shape{Kind: topology.Mesh}).Topology(len(s.Nodes)); err != nil {
					return err
				}
			}
			return supervisor.Serve(c.Context(), listener, o)
		},
	}
	dirFlag(c, &dir)
	base.flags(c)
	a.limitsFlag(c)
	return c
}

// upScenario reads the scenario of up: the demo's without a file.
func upScenario(args []string) (*scenario.Scenario, error) {
	if len(args) == 0 {
		return demo.Scenario()
	}
	s, _, err := readScenario(args[0])
	return s, err
}

func (a *app) printUp(s *scenario.Scenario, state supervisor.State, dir string) error {
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tFUNCTIONS AT\tSTATISTICS\tADMIN SOCKET\tPEER ID")
	for _, n := range state.Nodes {
		fmt.Fprintf(t, "%s\t%s/function/NAME\t%s\t%s\t%s\n", n.Name, n.URL, n.Stats, n.AdminSocket, n.PeerID)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	first, function := state.Nodes[0], "NAME"
	if f := s.Nodes[0].Functions; len(f) > 0 {
		function = f[0].Name
	}
	fmt.Fprintf(a.out, `
Try:   curl -d hello %s/function/%s
       dfaasctl --socket %s peers
Look:  dfaas-emulator ps --dir %s
Stop:  dfaas-emulator down --dir %s
`, first.URL, function, supervisor.Quote(first.AdminSocket), supervisor.Quote(dir), supervisor.Quote(dir))
	return nil
}

func (a *app) psCommand() *cobra.Command {
	var dir, format string
	formats := []string{"text", "json", "gateways", "nodes"}
	c := &cobra.Command{
		Use:     "ps",
		Short:   "show the nodes of the federation that is up, and their parts",
		Example: "  dfaas-emulator ps\n  dfaas-emulator ps -o json\n  dfaasctl deploy cat --gateway $(dfaas-emulator ps -o gateways)",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(formats, format) {
				return cli.Usage(fmt.Errorf("unknown output format %q: use %s", format, strings.Join(formats, ", ")))
			}
			state, err := supervisor.NewClient(dir).State(c.Context())
			if err != nil {
				return err
			}
			switch format {
			case "json":
				encoder := json.NewEncoder(a.out)
				encoder.SetIndent("", "  ")
				return encoder.Encode(state)
			case "gateways":
				return printNames(a.out, state, func(n supervisor.Node) string { return n.Gateway })
			case "nodes":
				return printNames(a.out, state, func(n supervisor.Node) string { return n.PeerID })
			}
			return printState(a.out, state)
		},
	}
	dirFlag(c, &dir)
	c.Flags().StringVarP(&format, "output", "o", "text", "output format: text, json, gateways (NAME=URL, for dfaasctl deploy) or nodes (NAME=ID, for dfaasctl plot)")
	return c
}

// printNames writes NAME=VALUE of all nodes, as flags of dfaasctl read it.
func printNames(out io.Writer, state supervisor.State, value func(supervisor.Node) string) error {
	all := make([]string, len(state.Nodes))
	for i, n := range state.Nodes {
		all[i] = n.Name + "=" + value(n)
	}
	_, err := fmt.Fprintln(out, strings.Join(all, ","))
	return err
}

func printState(out io.Writer, state supervisor.State) error {
	if !state.Ready {
		_, err := fmt.Fprintln(out, "the federation is still starting")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tPART\tSTATE\tPID\tADDRESS")
	for _, n := range state.Nodes {
		health, problem := "healthy", ""
		if !n.Healthy {
			health, problem = "unhealthy", "  "+firstLine(n.Problem)
		}
		fmt.Fprintf(t, "%s\t\t%s\t\t%s%s\n", n.Name, health, n.URL, problem)
		for _, p := range n.Parts {
			pid := "-"
			if p.PID != 0 {
				pid = strconv.Itoa(p.PID)
			}
			fmt.Fprintf(t, "\t%s\t%s\t%s\t%s\n", p.Part, p.State, pid, partAddress(n, p.Part))
		}
	}
	return t.Flush()
}

func partAddress(n supervisor.Node, part scenario.Part) string {
	switch part {
	case scenario.HAProxy:
		return n.Stats
	case scenario.Controller:
		return n.AdminSocket
	case scenario.Provider:
		return n.Gateway
	default:
		return ""
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (a *app) faultCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "fault ACTION NODE PART | fault partition NODE,NODE | fault heal [NODE,NODE]",
		Short: "kill, stop, continue, restart or reload a part of the federation that is up, or part its nodes",
		Long: `fault does something to a part (spoa, controller, haproxy, provider) of a node, or to all of them:

  kill      end it at once (SIGKILL); it stays dead until it is restarted
  stop      make it hang (SIGSTOP)
  continue  end that (SIGCONT)
  restart   end it if it runs, then start it
  reload    haproxy only: reload it, as an operator would

Nodes with networks of their own can be parted:

  partition  they are cut off from all others, and still reach one another
  heal       they reach the others again; without nodes, all do`,
		Example: "  dfaas-emulator fault kill node-2 spoa\n  dfaas-emulator fault restart node-2 all\n  dfaas-emulator fault partition node-1,node-2",
		Args:    cobra.RangeArgs(1, 3),
		RunE: func(c *cobra.Command, args []string) error {
			action, err := scenario.ParseAction(args[0])
			if err != nil {
				return cli.Usage(err)
			}
			if action == scenario.Partition && len(args) == 2 || action == scenario.Heal && len(args) <= 2 {
				var nodes []string
				if len(args) == 2 {
					nodes = strings.Split(args[1], ",")
				}
				return supervisor.NewClient(dir).Do(c.Context(), supervisor.Fault{Do: action, Nodes: nodes})
			}
			if len(args) != 3 {
				return cli.Usage(fmt.Errorf("%s: a node and a part are expected", action))
			}
			part, err := scenario.ParsePart(args[2])
			if err != nil {
				return cli.Usage(err)
			}
			if err := scenario.CheckFault(action, part); err != nil {
				return cli.Usage(err)
			}
			return supervisor.NewClient(dir).Do(c.Context(), supervisor.Fault{Do: action, Node: args[1], Part: part})
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return faultCompletion(args), cobra.ShellCompDirectiveNoFileComp
		},
	}
	dirFlag(c, &dir)
	return c
}

func faultCompletion(args []string) (words []string) {
	switch len(args) {
	case 0:
		for _, action := range append(scenario.Actions(), scenario.Partition, scenario.Heal) {
			words = append(words, string(action))
		}
	case 2:
		for _, part := range append(scenario.Parts(), scenario.All) {
			words = append(words, string(part))
		}
	}
	return words
}

func (a *app) downCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "down",
		Short: "stop the federation that is up, or remove what one that crashed has left",
		Long: `down stops the federation that is up. Of one whose supervisor was killed, the kernel has ended all processes, namespaces
and devices with it; down removes what is left of it in the file system. Configuration, identities and logs stay in --dir.`,
		Example: "  dfaas-emulator down",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), 2*federation.EndTimeout)
			defer cancel()
			err := supervisor.NewClient(dir).Stop(ctx)
			if errors.Is(err, supervisor.ErrDown) {
				if err := supervisor.Tidy(dir); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "no federation is up in %s\n", dir)
				return nil
			}
			return err
		},
	}
	dirFlag(c, &dir)
	return c
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/deploy/emulator/supervisor"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

func (a *app) linkCommand() *cobra.Command {
	var dir, format string
	c := &cobra.Command{
		Use:   "link [NODE NODE CHANGE...]",
		Short: "show or change the links of the federation that is up",
		Long: `link shows the links between the nodes of a federation whose nodes have networks of their own, or changes one. A change is

  delay=20ms jitter=2ms rate=100mbit loss=1%   one or several; 0 ends it (delay=0s, rate=0, loss=0)
  down, up                                     nothing goes over it, or again

for both directions, from then on.`,
		Example: `  dfaas-emulator link
  dfaas-emulator link node-1 node-2 delay=50ms loss=1%
  dfaas-emulator link node-1 node-2 down`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return fmt.Errorf("two nodes and a change are expected, or nothing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return cli.Usage(fmt.Errorf("unknown output format %q: use text or json", format))
			}
			client := supervisor.NewClient(dir)
			if len(args) > 0 {
				change, err := parseChange(args)
				if err != nil {
					return cli.Usage(err)
				}
				return client.Link(c.Context(), change)
			}
			state, err := client.State(c.Context())
			if err != nil {
				return err
			}
			return a.printLinks(state, format)
		},
		ValidArgsFunction: nodeNames(&dir, 2),
	}
	dirFlag(c, &dir)
	c.Flags().StringVarP(&format, "output", "o", "text", "output format: text or json")
	return c
}

// parseChange reads two nodes and what is changed of their link.
func parseChange(args []string) (supervisor.Change, error) {
	change := supervisor.Change{Between: [2]string(args), Set: make(map[string]string)}
	var link topology.Link
	for _, word := range args[2:] {
		if word == "down" || word == "up" {
			down := word == "down"
			change.Down = &down
			continue
		}
		name, text, given := strings.Cut(word, "=")
		if !given {
			return change, fmt.Errorf("%q: down, up, or one of %s with = and a value is expected", word, strings.Join(topology.Properties(), ", "))
		}
		if err := link.Set(name, text); err != nil {
			return change, err
		}
		change.Set[name] = text
	}
	return change, nil
}

func (a *app) printLinks(state supervisor.State, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(append([]supervisor.Link{}, state.Links...))
	}
	if len(state.Links) == 0 {
		_, err := fmt.Fprintln(a.out, "the nodes share the loopback interface: there are no links (a topology with links, or network: namespaces, has some)")
		return err
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tNODE\tSTATE\tLINK")
	for _, l := range state.Links {
		is := "up"
		if l.Down {
			is = "down"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Between[0], l.Between[1], is, l.Link)
	}
	return t.Flush()
}

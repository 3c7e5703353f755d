package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
)

// completionTimeout bounds how long the Tab key may take.
const completionTimeout = time.Second

func (a *app) routesCommand() *cobra.Command {
	var w watch
	var wide, full bool
	c := &cobra.Command{
		Use:   "routes [FUNCTION]",
		Short: "Show where calls may go and what is admitted from peers",
		Long: `Show where calls may go and what is admitted from peers, as planned last.

KIND      local  served here
          out    user calls that this node may send the peer
          in     calls that this node admits from the peer
WEIGHT    local: the part of user calls tried here first; out: the part of this peer among the peers
LIMIT     requests/s: local: what this node can serve; out, in: what is reserved. With the strategy headroom,
          more is sent and admitted while there is room
MEASURED  requests/s over the last period`,
		Example: `  dfaasctl routes
  dfaasctl routes figlet -w
  dfaasctl routes figlet -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeFunction,
		RunE: func(c *cobra.Command, args []string) error {
			function := ""
			if len(args) == 1 {
				function = args[0]
			}
			return w.run(c.Context(), a, func(ctx context.Context) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				routes, err := client.Routes(ctx, function)
				if err != nil {
					return err
				}
				if function != "" && len(routes) == 0 {
					return fmt.Errorf("no node has a function %q: see dfaasctl functions", function)
				}
				return a.print(routes, func() table { return routeTable(routes, wide || full) })
			})
		},
	}
	w.addFlags(c)
	c.Flags().BoolVar(&wide, "wide", false, "the same as --no-trunc")
	addNoTrunc(c, &full)
	return c
}

func routeTable(routes []api.Route, full bool) table {
	var ids []string
	for _, r := range routes {
		ids = append(ids, r.Peer)
	}
	short := shortener(ids)
	t := table{{"FUNCTION", "KIND", "PEER", "NAME", "WEIGHT", "LIMIT", "MEASURED"}}
	for _, r := range routes {
		peer, weight := r.Peer, ""
		if !full {
			peer = short(peer)
		}
		if r.Kind != "in" {
			weight = strconv.FormatFloat(r.Weight, 'f', 2, 64)
		}
		t.add(r.Function, r.Kind, peer, r.PeerName, weight, rate(r.Rate), rate(r.Measured))
	}
	return t
}

// completeFunction offers the names that the controller knows; none while it
// does not answer.
func (a *app) completeFunction(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	client, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	functions, err := client.Functions(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(functions))
	for i, f := range functions {
		names[i] = clean(f.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

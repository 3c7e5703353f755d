package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
)

func (a *app) functionsCommand() *cobra.Command {
	var w watch
	c := &cobra.Command{
		Use:     "functions",
		Aliases: []string{"fn"},
		Short:   "List the functions of this node and of its peers, with their load",
		Long: `List the functions of this node and of its peers, with their load. All rates are requests/s.

HERE      deployed on this node: ready, or no. Peers that have it come first if no
          replica is ready (idle) or calls fail here (failing; trial: tried again)
CAPACITY  what this node can serve (label dfaas.maxrate)
USERS     demand of this node's own users
IN        served here for peers
OUT       sent to peers
REFUSED   answered 429 or 503
PEERS     how many of them have it`,
		Example: `  dfaasctl functions
  dfaasctl functions -w --interval 2s
  dfaasctl functions -o json | jq '.[] | select(.refused > 0)'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return w.run(c.Context(), a, func(ctx context.Context) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				functions, err := client.Functions(ctx)
				if err != nil {
					return err
				}
				return a.print(functions, func() table { return functionTable(functions) })
			})
		},
	}
	w.addFlags(c)
	return c
}

func functionTable(functions []api.Function) table {
	t := table{{"FUNCTION", "HERE", "CAPACITY", "USERS", "IN", "OUT", "REFUSED", "PEERS", "WARNING"}}
	for _, f := range functions {
		capacity, here := "", yesNo(f.Local)
		if f.State != "" {
			here = f.State
		}
		if f.Local {
			capacity = rate(f.Capacity)
		}
		t.add(f.Name, here, capacity, rate(f.UserRate), rate(f.InRate), rate(f.OutRate), rate(f.Refused),
			strconv.Itoa(f.Peers), f.Warning)
	}
	return t
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// joined is the output of join.
type joined struct {
	Joined string `json:"joined"` // the address
}

func (a *app) joinCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "join ADDRESS",
		Short: "Connect to a member of the federation",
		Long: `Connect to a member of the federation, given as a multiaddr with its peer id. "dfaasctl status" prints
that on the other node, under Addresses. The other members are found through this one.

If the connection is lost, the node tries for an hour to restore it. To keep it, and to have it
after a restart, list the address under bootstrap in the controller's configuration.`,
		Example: `  dfaasctl join /ip4/192.0.2.7/tcp/31600/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := client.Join(c.Context(), args[0]); err != nil {
				return err
			}
			if a.format == formatJSON {
				return printJSON(a.Out, joined{args[0]})
			}
			_, err = fmt.Fprintln(a.Out, "joined", args[0])
			return err
		},
	}
}

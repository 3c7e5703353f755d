package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show this node and the parts that it is made of",
		Example: `  dfaasctl status
  dfaasctl status -o json | jq -r .node_id`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			status, err := a.client().Status(c.Context())
			if err != nil {
				return err
			}
			if a.format == formatJSON {
				return printJSON(a.Out, status)
			}
			if err := statusTable(status).write(a.Out); err != nil {
				return err
			}
			fmt.Fprintln(a.Out)
			return componentTable(status.Components, a.Now()).write(a.Out)
		},
	}
}

func statusTable(s api.Status) table {
	var t table
	t.add("Node", s.NodeID)
	t.add("Version", s.Version)
	t.add("Federation", s.Federation)
	t.add("Strategy", fmt.Sprintf("%s every %s", s.Strategy, span(millis(s.PeriodMillis))))
	t.add("Uptime", span(millis(s.UptimeMillis)))
	t.add("HTTP", s.HTTPAddress)
	t.add("Peers", fmt.Sprintf("%d alive", s.Peers))
	t.add("Functions", fmt.Sprintf("%d deployed here", s.Functions))
	t.add("Table", fmt.Sprintf("version %d", s.TableVersion))
	label := "Addresses"
	for _, address := range s.Addresses {
		t.add(label, address)
		label = " "
	}
	return t
}

func componentTable(components []api.Component, now time.Time) table {
	t := table{{"COMPONENT", "STATE", "FOR", "ERROR"}}
	for _, c := range components {
		state := "ok"
		if !c.OK {
			state = "failing"
		}
		since := ""
		if c.Since > 0 {
			since = span(now.Sub(time.UnixMilli(c.Since)))
		}
		t.add(c.Name, state, since, c.Error)
	}
	return t
}

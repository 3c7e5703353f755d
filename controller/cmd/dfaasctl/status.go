package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show this node and the parts that it is made of",
		Example: `  dfaasctl status
  dfaasctl status -o json | jq -r .node_id`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			status, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			if a.format == formatJSON {
				return printJSON(a.Out, shown{status, slices.Concat(status.Warnings, addressWarnings(status))})
			}
			if err := statusTable(status).write(a.Out); err != nil {
				return err
			}
			fmt.Fprintln(a.Out)
			return componentTable(status.Components, a.Now()).write(a.Out)
		},
	}
}

// shown is the output of status.
type shown struct {
	api.Status
	Warnings []string `json:"warnings,omitempty"`
}

// addressWarnings compares the address that peers are told with those that the
// controller listens at for them.
func addressWarnings(s api.Status) []string {
	http, err := netip.ParseAddrPort(s.HTTPAddress)
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, address := range s.Addresses {
		// /ip4/192.0.2.1/tcp/31600/p2p/12D3KooW...
		if parts := strings.SplitN(address, "/", 4); len(parts) == 4 {
			if ip, err := netip.ParseAddr(parts[2]); err == nil {
				own = append(own, ip)
			}
		}
	}
	if len(own) == 0 {
		return nil
	}
	if warning := config.AddressWarning(http.Addr(), own); warning != "" {
		return []string{"http_address: " + warning}
	}
	return nil
}

func statusTable(s api.Status) table {
	var t table
	t.add("Node", s.NodeID)
	if s.NodeName != "" {
		t.add("Name", s.NodeName)
	}
	t.add("Version", s.Version)
	t.add("Federation", s.Federation)
	t.add("Strategy", fmt.Sprintf("%s every %s", s.Strategy, span(millis(s.PeriodMillis))))
	t.add("Uptime", span(millis(s.UptimeMillis)))
	t.add("HTTP", s.HTTPAddress)
	t.add("Peers", fmt.Sprintf("%d alive", s.Peers))
	t.add("Functions", fmt.Sprintf("%d deployed here", s.Functions))
	if s.Async {
		t.add("Async", "asynchronous calls are taken here")
	}
	t.add("Table", fmt.Sprintf("version %d", s.TableVersion))
	if f := s.FastPath; f != nil && f.Error != "" {
		t.add("Fast path", "every call is asked about: "+f.Error)
	} else if f != nil {
		t.add("Fast path", fmt.Sprintf("functions called now without a question: %d", f.Functions))
	}
	for _, warning := range slices.Concat(s.Warnings, addressWarnings(s)) {
		t.add("Warning", warning)
	}
	if n := len(s.RefusedBy); n > 0 {
		t.add("Refused by", fmt.Sprintf("%d of the peers; one of them says: it %s", n, s.RefusedBy[0].Reason))
	}
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

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/cmd/dfaasctl/doctor"
)

func (a *app) peersCommand() *cobra.Command {
	var w watch
	var wide, full bool
	c := &cobra.Command{
		Use:     "peers",
		Aliases: []string{"members"},
		Short:   "List the other nodes of the federation",
		Long: `List the other nodes of the federation.

NAME    what it calls itself; only PEER is proven
STATE   alive      announces itself
        expired    has been silent for three periods
        connected  has not announced itself yet
        refused    is not let in; NOTE says why
        newer      speaks a newer protocol: upgrade this node
SERVER  what HAProxy's health check says of it: up, down, maint, or none
AGE     since its last announcement
RTT     round-trip time on the overlay

A peer that is down is a row like any other, not a failure of the command.`,
		Example: `  dfaasctl peers
  dfaasctl peers --wide
  dfaasctl peers -o json | jq -r '.[] | select(.state != "alive") | .id'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return w.run(c.Context(), a, func(ctx context.Context) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				peers, err := client.Peers(ctx)
				if err != nil {
					return err
				}
				return a.print(peers, func() table { return peerTable(peers, wide, wide || full) })
			})
		},
	}
	w.addFlags(c)
	c.Flags().BoolVar(&wide, "wide", false, "more columns, and nothing shortened")
	addNoTrunc(c, &full)
	return c
}

// addNoTrunc adds the flag that keeps peer ids whole.
func addNoTrunc(c *cobra.Command, full *bool) {
	c.Flags().BoolVar(full, "no-trunc", false, "do not shorten peer ids")
}

func peerTable(peers []api.Peer, wide, full bool) table {
	short := shortener(nil)
	if !full {
		ids := make([]string, len(peers))
		for i, p := range peers {
			ids[i] = p.ID
		}
		short = shortener(ids)
	}
	header := []string{"PEER", "NAME", "STATE", "HTTP", "SERVER", "AGE", "RTT"}
	if wide {
		header = append(header, "STRATEGY", "SKEW")
	}
	t := table{append(header, "FUNCTIONS", "NOTE")}
	for _, p := range peers {
		id := p.ID
		if !full {
			id = short(id)
		}
		line := []string{id, p.Name, p.State, p.HTTP, p.Server, announced(p, millis(p.AgeMillis)), roundTrip(p)}
		if wide {
			line = append(line, p.Strategy, announced(p, millis(p.ClockSkewMillis)))
		}
		t.add(append(line, functionList(p.Functions, wide), peerNote(p))...)
	}
	return t
}

// announced prints what is known only of peers that announced themselves.
func announced(p api.Peer, d time.Duration) string {
	if p.AgeMillis < 0 {
		return ""
	}
	return span(d)
}

func roundTrip(p api.Peer) string {
	if p.RTTMicros <= 0 {
		return ""
	}
	return span(time.Duration(p.RTTMicros) * time.Microsecond)
}

// functionList names the functions, or as many as fit a line.
func functionList(names []string, all bool) string {
	const fit = 40 // bytes
	names = slices.Sorted(slices.Values(names))
	length := 0
	for i, name := range names {
		length += len(name) + 1
		if !all && length > fit && i > 0 {
			return strings.Join(names[:i], ",") + " +" + strconv.Itoa(len(names)-i)
		}
	}
	return strings.Join(names, ",")
}

func peerNote(p api.Peer) string {
	if p.Reason != "" || p.AgeMillis < 0 {
		return p.Reason
	}
	switch skew := millis(p.ClockSkewMillis); {
	case skew > doctor.MaxSkew:
		return fmt.Sprintf("its clock is %s ahead", span(skew))
	case skew < -doctor.MaxSkew:
		return fmt.Sprintf("its clock is %s behind", span(-skew))
	}
	return ""
}

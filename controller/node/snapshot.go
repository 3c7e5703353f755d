package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/haproxy"
)

var _ api.Source = (*Node)(nil)

// snapshot is the loop's state as others may read it. It is never changed once
// it was published; what is made from it for a reader is made when they ask.
type snapshot struct {
	at           time.Time
	components   []api.Component
	tableVersion uint64
	gatewayUp    bool
	functions    []function // deployed here
	alive, gone  []membership.Member
	refused      []membership.Refusal
	skew         map[string]time.Duration
	servers      map[string]haproxy.State
	plan         strategy.Plan
	smooth       map[string]float64       // user rates, by function
	last         map[string]functionRates // measured over the last period
}

// publish makes the loop's present state the one that readers see.
func (l *loop) publish(now time.Time) {
	counts := l.o.Members.Counts()
	l.node.metrics.members.counts.Store(&counts)
	l.node.snapshot.Store(&snapshot{
		at:           now,
		components:   []api.Component{l.spoa.status(), l.haproxy.status(), l.gatewayUp.status(), l.overlay.status()},
		tableVersion: l.version,
		gatewayUp:    l.gateway.up(),
		functions:    l.gateway.functions,
		alive:        l.o.Members.Alive(),
		gone:         l.o.Members.Gone(),
		refused:      l.o.Members.Refused(now),
		skew:         l.clocks.skews(now),
		servers:      l.servers,
		plan:         l.plan,
		smooth:       maps.Clone(l.rates.smooth),
		last:         l.rates.last,
	})
}

// Status implements api.Source.
func (n *Node) Status() api.Status {
	s, o := n.snapshot.Load(), n.options
	status := api.Status{
		NodeID: o.Self, Version: o.Version, Federation: o.Federation, Strategy: o.Strategy.Name(),
		PeriodMillis: o.Period.Milliseconds(), UptimeMillis: time.Since(n.started).Milliseconds(),
		HTTPAddress: o.HTTP.String(), Addresses: o.Overlay.Addrs(),
		Peers: len(s.alive), TableVersion: s.tableVersion, Components: s.components,
	}
	if s.gatewayUp {
		status.Functions = len(s.functions)
	}
	return status
}

// Peers implements api.Source.
func (n *Node) Peers() []api.Peer {
	s := n.snapshot.Load()
	rows := make(map[string]api.Peer)
	connected := n.options.Overlay.Peers()
	for _, r := range slices.Concat(n.options.Overlay.Refused(), s.refused) {
		rows[r.Peer] = api.Peer{ID: r.Peer, State: "refused", AgeMillis: -1, Reason: r.Reason}
	}
	for _, p := range connected {
		if _, refused := rows[p.ID]; !refused {
			rows[p.ID] = api.Peer{ID: p.ID, State: "connected", AgeMillis: -1}
		}
	}
	for _, m := range s.gone {
		if row, other := rows[m.ID]; !other || row.State == "connected" {
			rows[m.ID] = s.member(m, "expired")
		}
	}
	for _, m := range s.alive {
		rows[m.ID] = s.member(m, "alive")
	}
	for _, p := range connected {
		row := rows[p.ID]
		row.RTTMicros = p.RTT.Microseconds()
		rows[p.ID] = row
	}
	return slices.Collect(maps.Values(rows))
}

// member is a row of a node that has announced itself.
func (s *snapshot) member(m membership.Member, state string) api.Peer {
	p := api.Peer{
		ID: m.ID, State: state, HTTP: m.HTTP.String(), Strategy: m.Strategy,
		AgeMillis: max(0, time.Since(m.LastSeen).Milliseconds()), ClockSkewMillis: s.skew[m.ID].Milliseconds(),
		Server: "none",
	}
	if m.Left {
		p.Reason = "has left"
	}
	if state, there := s.servers[m.ID]; there {
		p.Server = string(state)
	}
	for _, o := range m.Offers {
		if !o.Absent {
			p.Functions = append(p.Functions, o.Name)
		}
	}
	return p
}

// Functions implements api.Source.
func (n *Node) Functions() []api.Function {
	s := n.snapshot.Load()
	rows := make(map[string]api.Function)
	for _, f := range s.functions {
		row := api.Function{Name: f.name, Local: s.gatewayUp, Capacity: f.capacity, Warning: f.warning}
		if !s.gatewayUp {
			row.Warning = "the gateway does not answer"
		}
		rows[f.name] = row
	}
	for _, m := range s.alive {
		for _, o := range m.Offers {
			if o.Absent {
				continue
			}
			row := rows[o.Name]
			row.Name = o.Name
			row.Peers++
			rows[o.Name] = row
		}
	}
	out := make([]api.Function, 0, len(rows))
	for name, row := range rows {
		last := s.last[name]
		row.UserRate, row.InRate, row.OutRate, row.Refused = s.smooth[name], last.inRate(), last.outRate(), last.refused
		out = append(out, row)
	}
	return out
}

// Routes implements api.Source.
func (n *Node) Routes(function string) []api.Route {
	s := n.snapshot.Load()
	var out []api.Route
	for _, p := range s.plan.Functions {
		if function == "" || function == p.Name {
			out = append(out, s.routes(p)...)
		}
	}
	return out
}

// routes are the rows of one function.
func (s *snapshot) routes(p strategy.FunctionPlan) []api.Route {
	last := s.last[p.Name]
	var out []api.Route
	if p.Local != nil {
		here := last.user - last.outRate() - last.refused
		out = append(out, api.Route{
			Function: p.Name, Kind: "local", Weight: p.Local.Share, Rate: p.Local.Rate, Measured: max(0, here),
		})
	}
	for _, f := range p.Out {
		out = append(out, api.Route{
			Function: p.Name, Kind: "out", Peer: f.Peer, Weight: f.Weight, Rate: f.Rate, Measured: last.out[f.Peer],
		})
	}
	for _, f := range p.In {
		out = append(out, api.Route{Function: p.Name, Kind: "in", Peer: f.Peer, Rate: f.Rate, Measured: last.in[f.Peer]})
	}
	return out
}

// Join implements api.Source.
func (n *Node) Join(ctx context.Context, address string) error {
	if _, err := peer.AddrInfoFromString(address); err != nil {
		return fmt.Errorf("%w: %q is not a multiaddr with /p2p/PEER-ID: %w", api.ErrBadAddress, address, err)
	}
	_, err := n.options.Overlay.Join(ctx, address)
	return err
}

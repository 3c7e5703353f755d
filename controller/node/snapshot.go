package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/haproxy"
)

var _ api.Source = (*Node)(nil)

// snapshot is the core's state as others may read it. It is never changed once
// it was published; what is made from it for a reader is made when they ask.
type snapshot struct {
	core.View
	wall    time.Duration            // this machine's clock minus the node's time
	servers map[string]haproxy.State // of peers
}

// publish makes the core's present state the one that readers see.
func (l *loop) publish(now time.Time) {
	s := &snapshot{View: l.core.View(now), wall: l.wall, servers: l.servers}
	l.node.metrics.observe(&s.View)
	l.node.snapshot.Store(s)
}

// Status implements api.Source.
func (n *Node) Status() api.Status {
	s, o := n.snapshot.Load(), n.options
	status := api.Status{
		NodeID: o.Self.String(), NodeName: o.Name, Version: o.Version, Federation: o.Federation, Strategy: o.Strategy.Name(),
		PeriodMillis: o.Period.Milliseconds(), UptimeMillis: time.Since(n.started).Milliseconds(),
		HTTPAddress: o.HTTP.String(), Addresses: o.Overlay.Addrs(),
		Async: s.Async, Peers: len(s.Alive), TableVersion: s.TableVersion, Components: s.components(),
		FastPath: n.fastPath(),
	}
	if s.GatewayUp {
		status.Functions = len(s.Functions)
	}
	for _, r := range o.Overlay.RefusedBy() {
		status.RefusedBy = append(status.RefusedBy, api.Refusal{Peer: r.Peer, Reason: r.Reason})
	}
	for _, b := range boundedIn(&s.View) {
		if warning := b.warning(); warning != "" {
			status.Warnings = append(status.Warnings, warning)
		}
	}
	return status
}

// fastPath is nil if HAProxy asks about every call, as it is to.
func (n *Node) fastPath() *api.FastPath {
	s := n.courier.Status()
	if s == nil {
		return nil
	}
	shown := &api.FastPath{Functions: s.Functions}
	if s.Err != nil {
		shown.Error = s.Err.Error()
	}
	return shown
}

func (s *snapshot) components() []api.Component {
	all := make([]api.Component, 0, len(s.Components))
	for _, c := range s.Components {
		row := api.Component{Name: c.Name, OK: c.Err == nil, Since: c.Since.Add(s.wall).UnixMilli()}
		if c.Err != nil {
			row.Error = c.Err.Error()
		}
		all = append(all, row)
	}
	return all
}

// Peers implements api.Source.
func (n *Node) Peers() []api.Peer {
	s := n.snapshot.Load()
	rows := make(map[string]api.Peer)
	connected := n.options.Overlay.Peers()
	refused, moreRefused := latest(slices.Concat(n.options.Overlay.Refused(), s.Refused), maxRefusedRows)
	gone, moreGone := withoutVisitors(s.Gone)
	for _, r := range refused {
		state := "refused"
		if r.Reason == wire.ErrNewer.Error() {
			state = "newer"
		}
		rows[r.Peer] = api.Peer{ID: r.Peer, State: state, AgeMillis: -1, Reason: r.Reason}
	}
	for _, p := range connected {
		if _, refused := rows[p.ID]; !refused {
			rows[p.ID] = api.Peer{ID: p.ID, State: "connected", AgeMillis: -1}
		}
	}
	for _, m := range gone {
		if row, other := rows[m.ID.String()]; !other || row.State == "connected" {
			rows[m.ID.String()] = s.member(m, "expired")
		}
	}
	for _, m := range s.Alive {
		rows[m.ID.String()] = s.member(m, "alive")
	}
	for _, p := range connected {
		row := rows[p.ID]
		row.RTTMicros = p.RTT.Microseconds()
		rows[p.ID] = row
	}
	return append(slices.Collect(maps.Values(rows)), summaries(moreRefused, moreGone)...)
}

const (
	// maxRefusedRows and maxVisitorRows are how many of those that are turned away,
	// and of those that are gone and were here for less than visit, have a row of
	// their own. Somebody who makes up identities must not bury the others.
	maxRefusedRows = 32
	maxVisitorRows = 16
	visit          = time.Minute
	// others is in place of a peer id in the row of the rest.
	others = "others"
)

// latest returns the latest refusals, and how many are left out.
func latest(all []membership.Refusal, most int) (list []membership.Refusal, left int) {
	if len(all) <= most {
		return all, 0
	}
	list = slices.SortedStableFunc(slices.Values(all), func(a, b membership.Refusal) int { return b.Last.Compare(a.Last) })
	return list[:most], len(all) - most
}

// withoutVisitors leaves out members that were here for a moment, but for the latest.
func withoutVisitors(gone []membership.Member) (list []membership.Member, left int) {
	list = slices.SortedStableFunc(slices.Values(gone), func(a, b membership.Member) int { return b.LastSeen.Compare(a.LastSeen) })
	visitors := 0
	list = slices.DeleteFunc(list, func(m membership.Member) bool {
		if m.LastSeen.Sub(m.Since) >= visit {
			return false
		}
		visitors++
		return visitors > maxVisitorRows
	})
	return list, max(0, visitors-maxVisitorRows)
}

// summaries are the rows of those that have none.
func summaries(refused, gone int) (rows []api.Peer) {
	if refused > 0 {
		rows = append(rows, api.Peer{ID: others, State: "refused", AgeMillis: -1, Reason: fmt.Sprintf("%d more were turned away", refused)})
	}
	if gone > 0 {
		rows = append(rows, api.Peer{
			ID: others, State: "expired", AgeMillis: -1, Reason: fmt.Sprintf("%d more, each here for less than a minute", gone),
		})
	}
	return rows
}

// member is a row of a node that has announced itself.
func (s *snapshot) member(m membership.Member, state string) api.Peer {
	id := m.ID.String()
	p := api.Peer{
		ID: id, Name: m.Name, State: state, Async: m.Async, Protocol: m.Version, HTTP: m.HTTP.String(), Strategy: m.Strategy,
		AgeMillis: max(0, time.Since(m.LastSeen).Milliseconds()), ClockSkewMillis: s.Skews[id].Milliseconds(),
		Server: "none",
	}
	if p.Apart = s.Neighbours != nil && !s.Neighbours[m.ID]; p.Apart {
		p.Reason = "not in neighbours"
	}
	if m.Left {
		p.Reason = "has left"
	}
	if state, there := s.servers[id]; there {
		p.Server = string(state)
	}
	for _, o := range m.Offers {
		if !o.Absent {
			p.Functions = append(p.Functions, o.Name.String())
		}
	}
	return p
}

// Functions implements api.Source.
func (n *Node) Functions() []api.Function {
	s := n.snapshot.Load()
	rows := make(map[string]api.Function)
	for _, f := range s.Functions {
		row := api.Function{Name: f.Name.String(), Local: s.GatewayUp, Capacity: f.Capacity.PerSecond(), Warning: f.Warning}
		if s.GatewayUp {
			row.State = cmp.Or(string(s.Standings[f.Name.String()]), string(core.Ready))
		}
		switch _, left := slices.BinarySearch(s.Unannounced, f.Name.String()); {
		case !s.GatewayUp:
			row.Warning = "the gateway does not answer"
		case row.Warning != "":
		case s.SPOANewest < 2 && !f.Name.InFirst():
			row.Warning = "dfaas-spoa is older and does not know such a name: upgrade it"
		case left:
			row.Warning = "not announced to all members: too many functions, or members of an older version"
		}
		rows[f.Name.String()] = row
	}
	for _, m := range s.Alive {
		for _, o := range m.Offers {
			if o.Absent {
				continue
			}
			row := rows[o.Name.String()]
			row.Name = o.Name.String()
			row.Peers++
			rows[o.Name.String()] = row
		}
	}
	out := make([]api.Function, 0, len(rows))
	for name, row := range rows {
		last := s.Rates[name]
		row.UserRate, row.InRate, row.OutRate, row.Refused = s.Demand[name], last.Served(), last.Sent(), last.Refused
		out = append(out, row)
	}
	return out
}

// Routes implements api.Source.
func (n *Node) Routes(function string) []api.Route {
	s := n.snapshot.Load()
	var out []api.Route
	for _, p := range s.Plan.Functions {
		if function == "" || function == p.Name.String() {
			out = append(out, s.routes(p)...)
		}
	}
	names := make(map[string]string, len(s.Alive))
	for i := range s.Alive {
		names[s.Alive[i].ID.String()] = s.Alive[i].Name
	}
	for i := range out {
		out[i].PeerName = names[out[i].Peer]
	}
	return out
}

// routes are the rows of one function.
func (s *snapshot) routes(p strategy.FunctionPlan) []api.Route {
	last := s.Rates[p.Name.String()]
	var out []api.Route
	if p.Local != nil {
		out = append(out, api.Route{
			Function: p.Name.String(), Kind: "local", Weight: p.Local.Share, Rate: p.Local.Rate.PerSecond(), Measured: last.Here,
		})
	}
	var all float64
	for _, f := range p.Out {
		all += f.Weight
	}
	for _, f := range p.Out {
		part := 0.0
		if all > 0 {
			part = f.Weight / all
		}
		out = append(out, api.Route{
			Function: p.Name.String(), Kind: "out", Peer: f.Peer, Weight: part, Rate: f.Rate.PerSecond(), Measured: last.Out[f.Peer],
		})
	}
	for _, f := range p.In {
		out = append(out, api.Route{Function: p.Name.String(), Kind: "in", Peer: f.Peer, Rate: f.Rate.PerSecond(), Measured: last.In[f.Peer]})
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

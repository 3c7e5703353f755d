package core

import (
	"maps"
	"time"

	"github.com/dfaas/dfaas/controller/estimate"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// View is a core's state as others may read it. It is never changed afterwards.
type View struct {
	At           time.Time
	Components   []Component // spoa, haproxy, gateway, overlay
	TableVersion uint64      // accepted last
	GatewayUp    bool
	Async        bool                // this node takes asynchronous calls
	Functions    []Function          // deployed here
	Standings    map[string]Standing // of these, those that are not Ready
	Unannounced  []string            // functions that not all members are told of, sorted
	SPOANewest   int                 // version of tables that the SPOA understands; 0: it does not say
	Neighbours   map[peerid.ID]bool  // Options.Neighbours, not to be changed
	Alive, Gone  []membership.Member
	Refused      []membership.Refusal
	Members      membership.Counts
	Routes       Routes
	Skews        map[string]time.Duration // peers' clocks minus this machine's
	Plan         strategy.Plan
	Demand       map[string]float64                // user rates, requests/s, by function
	Rates        map[string]estimate.FunctionRates // measured over the last period
	Report       *meter.Report                     // the SPOA's counters, read last; nil: never
	Table        *table.Table                      // the newest, without a version; nil: none yet
	Peers        []strategy.Peer                   // as the last plan takes them
	Servers      map[string]Server                 // of peers, as HAProxy said last
	Answers      map[string]estimate.Answers       // what became of calls to peers, since the start
}

// View returns the state now.
func (c *Core) View(now time.Time) View {
	newest := table.Newest()
	if c.report != nil {
		newest = c.report.TableNewest
	}
	return View{
		At:           now,
		Components:   []Component{c.spoa, c.haproxy, c.gatewayUp, c.overlay},
		TableVersion: c.tables.accepted,
		GatewayUp:    c.gateway.up(),
		Async:        c.gateway.takesAsync(),
		Functions:    c.gateway.functions,
		Standings:    c.standings,
		Unannounced:  c.unannounced,
		SPOANewest:   newest,
		Neighbours:   c.o.Neighbours,
		Alive:        c.o.Members.Alive(),
		Gone:         c.o.Members.Gone(),
		Refused:      c.o.Members.Refused(now),
		Members:      c.o.Members.Counts(),
		Routes:       c.maker.routes(),
		Skews:        c.clocks.Skews(),
		Plan:         c.plan,
		Demand:       maps.Clone(c.rates.Smooth()),
		Rates:        c.rates.Last(),
		Report:       c.report,
		Table:        c.tables.newest,
		Peers:        c.observed.Peers,
		Servers:      c.servers,
		Answers:      c.trust.Answers(),
	}
}

// NameOf returns what a member calls itself, "" for no name and who is not a member.
func (c *Core) NameOf(id peerid.ID) string { return c.o.Members.NameOf(id) }

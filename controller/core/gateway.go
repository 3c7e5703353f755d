package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

// Function is what a core needs to know of a function that the gateway has
// deployed.
type Function struct {
	Name          funcname.Name
	Capacity      limit.Bound
	Soft          bool   // nobody wrote the capacity down
	TimeoutMillis int64  // 0: none written down
	Warning       string // what is wrong with its labels
	Idle          bool   // no replica is ready: a call waits for one, or fails
}

// gateway is what is known of the gateway's functions.
type gateway struct {
	functions []Function // of the last list that was read
	async     bool       // it takes asynchronous calls, as it said last
	refused   string     // functions that its list had and that were left out, and why
	looked    bool       // there has been an answer or an error
	read      bool       // a list was read at some time
	failures  int        // looks in vain since
}

// gatewayFall is how many looks in vain it takes to believe that the gateway is
// down: a single one may be a gateway that is busy.
const gatewayFall = 2

// up reports whether the functions can be had from the gateway now.
func (g *gateway) up() bool { return g.read && g.failures < gatewayFall }

func (c *Core) onGateway(now time.Time, e Gateway) {
	before := c.gateway
	c.gateway.looked = true
	c.note(&c.gatewayUp, now, e.Err)
	if e.Err != nil {
		c.gateway.failures++
	} else {
		c.gateway.failures, c.gateway.read, c.gateway.functions, c.gateway.async = 0, true, e.Functions, e.Async
		c.warnFunctions(e.Refused)
		c.judgeFunctions(now) // those that are new have not been looked at
		c.noteStandings(now)
	}
	if before.takesAsync() != c.gateway.takesAsync() {
		c.newcomers = true // everybody should hear of it at once
		c.log(Info, "asynchronous calls", Field{"taken_here", c.gateway.takesAsync()})
		c.soon(now)
	}
	if before.up() == c.gateway.up() && before.looked && slices.Equal(before.functions, c.gateway.functions) {
		return
	}
	c.log(Info, "functions of this node", Field{"functions", len(c.gateway.functions)}, Field{"gateway", c.gateway.up()})
	c.soon(now)
}

// warnFunctions logs what is wrong with functions, each fault once.
func (c *Core) warnFunctions(refused []string) {
	warned := make(map[string]string)
	for _, f := range c.gateway.functions {
		if f.Warning == "" {
			continue
		}
		name := f.Name.String()
		if f.Warning != c.warned[name] {
			c.log(Warn, f.Warning, Field{"function", name})
		}
		warned[name] = f.Warning
	}
	c.warned = warned
	if text := fmt.Sprint(refused); text != c.gateway.refused {
		c.gateway.refused = text
		if len(refused) > 0 {
			c.log(Warn, "functions of the gateway are left out", Field{"reasons", refused})
		}
	}
}

// local returns the functions that this node can serve now.
func (c *Core) local() []Function {
	if !c.gateway.up() {
		return nil
	}
	return c.gateway.functions
}

// stranded returns the functions of a gateway that is down.
func (c *Core) stranded() []funcname.Name {
	if c.gateway.up() {
		return nil
	}
	names := make([]funcname.Name, 0, len(c.gateway.functions))
	for _, f := range c.gateway.functions {
		names = append(names, f.Name)
	}
	return names
}

package core

import (
	"time"
)

// Standing is why calls of a function deployed here are better served by peers, or
// Ready.
type Standing string

const (
	Ready Standing = "ready"
	Idle  Standing = "idle" // no replica is ready
)

// standing is that of a function deployed here.
func (c *Core) standing(f *Function) Standing {
	if f.Idle {
		return Idle
	}
	return Ready
}

// noteStandings logs what has become of functions since the last time, and has a plan
// made.
func (c *Core) noteStandings(now time.Time) {
	standings := make(map[string]Standing)
	for i := range c.gateway.functions {
		f := &c.gateway.functions[i]
		is, was := c.standing(f), c.standings[f.Name]
		if is != Ready {
			standings[f.Name] = is
		}
		if is == was || is == Ready && was == "" {
			continue
		}
		switch is {
		case Idle:
			c.log(Info, "no replica of the function is ready: peers that have it come first", Field{"function", f.Name})
		default:
			c.log(Info, "the function is ready", Field{"function", f.Name})
		}
		c.soon(now)
	}
	c.standings = standings
}

package core

import (
	"errors"
	"time"
)

// Component is one part that a node depends on, and how it is doing.
type Component struct {
	Name  string
	Err   error     // nil: well
	Since time.Time // of the last change between well and not

	logged time.Time // when a failure was logged last
}

// repeatLog is how long a failure that has changed its reason is not logged
// again.
const repeatLog = 10 * time.Second

var errNotReached = errors.New("not reached yet")

func newComponent(name string, now time.Time) Component {
	return Component{Name: name, Since: now, Err: errNotReached}
}

// note follows how a part is doing; nil means well. It is logged when that
// changes rather than whenever it is seen.
func (c *Core) note(part *Component, now time.Time, err error) {
	before := part.Err
	part.Err = err
	if (before == nil) != (err == nil) {
		part.Since = now
	}
	switch {
	case err == nil && before != nil:
		c.log(Info, "works", Field{"component", part.Name})
	case err == nil:
	case before == nil, before == errNotReached, before.Error() != err.Error() && now.Sub(part.logged) >= repeatLog:
		part.logged = now
		c.log(Warn, "does not work, will keep trying", Field{"component", part.Name}, Field{"error", err})
	}
}

func (c *Core) log(level Level, message string, fields ...Field) {
	c.fx.Logs = append(c.fx.Logs, Log{level, message, fields})
}

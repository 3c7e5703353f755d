package node

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/api"
)

// component follows how one part that this node depends on is doing, and logs
// when that changes rather than whenever it is seen.
type component struct {
	name   string
	since  time.Time // of the last change between well and not
	err    error     // nil: well
	logged time.Time // when a failure was logged last
}

// repeatLog is how long a failure that has changed its reason is not logged
// again.
const repeatLog = 10 * time.Second

var errNotReached = errors.New("not reached yet")

func newComponent(name string, now time.Time) *component {
	return &component{name: name, since: now, err: errNotReached}
}

// report notes how the part is doing; nil means well.
func (c *component) report(now time.Time, err error, log zerolog.Logger) {
	before := c.err
	c.err = err
	if (before == nil) != (err == nil) {
		c.since = now
	}
	switch {
	case err == nil && before != nil:
		log.Info().Str("component", c.name).Msg("works")
	case err == nil:
	case before == nil, before == errNotReached, before.Error() != err.Error() && now.Sub(c.logged) >= repeatLog:
		c.logged = now
		log.Warn().Str("component", c.name).Err(err).Msg("does not work, will keep trying")
	}
}

func (c *component) ok() bool { return c.err == nil }

// status is the component as the admin interface shows it.
func (c *component) status() api.Component {
	s := api.Component{Name: c.name, OK: c.ok(), Since: c.since.UnixMilli()}
	if c.err != nil {
		s.Error = c.err.Error()
	}
	return s
}

// Package courier carries between HAProxy and the agent what neither can tell the other:
// how many calls HAProxy has served without a question, and how many more it may.
package courier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/grant"
)

// HAProxy counts, and is granted calls. Calls end with their context.
type HAProxy interface {
	Unasked(ctx context.Context) (haproxy.Unasked, error)
	Grant(ctx context.Context, before haproxy.Unasked, grants []haproxy.Grant) error
}

// SPOA takes in what HAProxy has counted, and grants. The error wraps control.ErrOlder if
// it is of a release that knows nothing of that.
type SPOA interface {
	Unasked(ctx context.Context, report grant.Report) (grant.Grants, error)
}

const (
	// roundTimeout bounds a round: the agent's counters are read after it.
	roundTimeout = 500 * time.Millisecond
	// pause is for how long nothing is carried where nothing can be, or need be, and for an
	// HAProxy that may hang. It is longer than what HAProxy has been granted lasts.
	pause = 5 * time.Second
)

// Status is how HAProxy serves calls without a question.
type Status struct {
	// Functions is how many were granted calls in the last round. Those that nobody calls
	// are granted none.
	Functions int
	Err       error // why all is asked about
}

// Courier decides nothing. While it carries nothing, be it dead, what HAProxy was granted
// ends, and every call is asked about. One goroutine uses it, but for Status.
type Courier struct {
	haproxy HAProxy
	spoa    SPOA
	log     zerolog.Logger

	idleUntil time.Time
	status    atomic.Pointer[Status] // nil: HAProxy asks about everything, as it is to
}

// New returns a courier that has yet to find out whether there is anything to carry.
func New(proxy HAProxy, spoa SPOA, log zerolog.Logger) *Courier {
	return &Courier{haproxy: proxy, spoa: spoa, log: log}
}

// Status returns how it is, nil if HAProxy is to ask about every call. It may be called
// from any goroutine, and nobody may change what it returns.
func (c *Courier) Status() *Status { return c.status.Load() }

// Carry makes one round, which takes half a second at most, unless there is none to
// make. It is for who reads the agent's counters, just before: then they are as new
// for calls that nobody asked about as for others.
func (c *Courier) Carry(ctx context.Context) {
	if time.Now().Before(c.idleUntil) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	on, granted, err := c.round(ctx)
	// An agent that has died is back at any time, and asking whether it is costs no more than
	// asking one that is there.
	if _, absent := errors.AsType[*absentError](err); !absent && (err != nil || !on) {
		c.idleUntil = time.Now().Add(pause)
	}
	c.note(on, Status{granted, err})
}

// round reports whether HAProxy is to serve calls without a question, and of how many
// functions it has just been granted some.
func (c *Courier) round(ctx context.Context) (on bool, granted int, err error) {
	counted, err := c.haproxy.Unasked(ctx)
	if err != nil {
		return c.Status() != nil, 0, fmt.Errorf("reading what HAProxy has served without a question: %w", err)
	}
	if !counted.On {
		return false, 0, nil
	}
	report := grant.Report{Run: counted.Run, Counted: make(map[string]uint32, len(counted.Functions))}
	for name, f := range counted.Functions {
		if f.Count != 0 {
			report.Counted[name] = f.Count
		}
	}
	answer, err := c.spoa.Unasked(ctx, report)
	if err != nil {
		err = fmt.Errorf("telling dfaas-spoa what HAProxy has served without a question: %w", err)
		if !errors.Is(err, control.ErrOlder) {
			err = &absentError{err}
		}
		return true, 0, err
	}
	grants, granted := grantsOf(answer, counted)
	if err := c.haproxy.Grant(ctx, counted, grants); err != nil {
		return true, 0, fmt.Errorf("telling HAProxy what it may serve without a question: %w", err)
	}
	return true, granted, nil
}

// absentError is that the agent did not answer.
type absentError struct{ error }

func (e *absentError) Unwrap() error { return e.error }

// grantsOf says in HAProxy's counts what was granted beyond them, and of how many functions
// that is any.
func grantsOf(answer grant.Grants, counted haproxy.Unasked) (grants []haproxy.Grant, some int) {
	grants = make([]haproxy.Grant, 0, len(answer.Functions))
	for name, g := range answer.Functions {
		one := haproxy.Grant{Function: name}
		if g.Calls > 0 {
			one.UpTo = counted.Functions[name].Count + min(g.Calls, grant.MaxCalls)
			one.TimeoutMillis = uint32(max(0, g.TimeoutMillis))
			some++
		}
		grants = append(grants, one)
	}
	slices.SortFunc(grants, func(a, b haproxy.Grant) int { return strings.Compare(a.Function, b.Function) })
	return grants, some
}

// note makes known how it is, and logs it when that is new.
func (c *Courier) note(on bool, now Status) {
	var next *Status
	if on {
		next = &now
	}
	before := c.status.Swap(next)
	worked, works := before != nil && before.Err == nil, on && now.Err == nil
	fails := on && now.Err != nil && (before == nil || before.Err == nil || before.Err.Error() != now.Err.Error())
	switch {
	case works && !worked:
		c.log.Info().Msg("fast path: calls of functions that are far from their limits are served without a question")
	case fails:
		c.log.Warn().Err(now.Err).Msg("fast path: every call is asked about")
	case !on && before != nil:
		c.log.Info().Msg("fast path: off, every call is asked about")
	}
}

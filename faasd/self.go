package faasd

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Values of Options.Async.
const (
	AsyncAuto = "auto" // the gateway is asked
	AsyncOn   = "on"
	AsyncOff  = "off"
)

// AsyncValues lists them.
func AsyncValues() []string { return []string{AsyncAuto, AsyncOn, AsyncOff} }

const (
	// selfAge is how long what a gateway says of itself is taken for true.
	selfAge = time.Minute
	// selfTimeout is how long the list of functions waits for each answer.
	selfTimeout = time.Second
	// asyncProbe is a path where OpenFaaS' gateway knows the method POST and no other,
	// if it has a queue, and knows nothing if it has none. Nothing is called.
	asyncProbe = "/async-function/dfaas-probe"
)

// self is what a gateway said of itself, and when.
type self struct {
	orchestration string // what runs its functions; "": it does not say
	async         bool   // it takes asynchronous calls
	at            time.Time
}

// itself returns what the gateway says of itself. What it does not answer is asked
// again at the next look.
func (c *Client) itself(ctx context.Context) self {
	if known := c.self.Load(); known != nil && time.Since(known.at) < selfAge {
		return *known
	}
	var own self
	if before := c.self.Load(); before != nil {
		own = *before // it is not another one because it does not answer now
	}
	infoCtx, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	info, infoErr := c.Info(infoCtx)
	if infoErr == nil {
		own.orchestration = info.Provider.Orchestration
	}
	var asyncErr error
	switch {
	case c.async == AsyncOn || c.async == AsyncOff:
		own.async = c.async == AsyncOn
	case info.Async != nil:
		own.async = *info.Async
	default:
		own.async, asyncErr = c.probeAsync(ctx)
	}
	own.at = time.Now()
	var status *StatusError
	if asyncErr == nil && (infoErr == nil || errors.As(infoErr, &status)) {
		c.self.Store(&own)
	}
	return own
}

// probeAsync reports whether the gateway has a route for asynchronous calls.
func (c *Client) probeAsync(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	err := c.call(ctx, http.MethodOptions, asyncProbe, "", nil, nil)
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code == http.StatusMethodNotAllowed, nil
	}
	return false, err
}

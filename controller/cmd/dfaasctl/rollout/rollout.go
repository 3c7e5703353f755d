// Package rollout deploys functions at the gateways of several nodes, at all of them
// at the same time.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/faasd"
)

// Gateway is where to deploy.
type Gateway struct {
	Name string // of its node
	API
}

// API is what is used of a gateway's. *faasd.Client is one.
type API interface {
	Deploy(context.Context, types.FunctionDeployment) error
	Update(context.Context, types.FunctionDeployment) error
	List(context.Context) (faasd.List, error)
}

// Patience is how long to bear with a gateway that does not answer or cannot do it now.
type Patience struct {
	Tries int           // 1 at least
	Every time.Duration // between two tries
	// Ready, unless 0, is how long a function that was deployed may take until it has a
	// replica that takes calls.
	Ready time.Duration
}

// readyEvery is between two looks at whether a function is ready.
const readyEvery = 500 * time.Millisecond

// What was done.
const (
	Deployed = "deployed" // it was not there
	Updated  = "updated"  // it is what it was to be now, whatever it was before
	Failed   = "failed"
)

// Result is what became of a function at a gateway.
type Result struct {
	Node     string `json:"node"`
	Function string `json:"function"`
	Result   string `json:"result"`
	Tries    int    `json:"tries"`
	Error    string `json:"error,omitempty"`
}

// Run deploys all functions at all gateways, and returns what became of each: by
// gateway, then by function, in the order given. again is called for every try that
// failed and is to be repeated, by any goroutine. A context that ends ends the waiting.
func Run(ctx context.Context, gateways []Gateway, functions []types.FunctionDeployment, p Patience, again func(Result)) []Result {
	results := make([]Result, len(gateways)*len(functions))
	var all sync.WaitGroup
	for g := range gateways {
		all.Go(func() { // one after the other: a small node pulls one image at a time
			for f := range functions {
				results[g*len(functions)+f] = one(ctx, gateways[g], functions[f], p, again)
			}
		})
	}
	all.Wait()
	return results
}

func one(ctx context.Context, g Gateway, f types.FunctionDeployment, p Patience, again func(Result)) Result {
	r := Result{Node: g.Name, Function: faasd.Name(f.Service, f.Namespace)}
	for {
		r.Tries++
		did, err := put(ctx, g, f)
		if err == nil {
			r.Result, r.Error = did, ""
			break
		}
		r.Result, r.Error = Failed, err.Error()
		if r.Tries >= p.Tries || !passing(err) {
			return r
		}
		again(r)
		if err := pause(ctx, p.Every); err != nil {
			return r
		}
	}
	if p.Ready > 0 {
		if err := ready(ctx, g, r.Function, p.Ready); err != nil {
			r.Result, r.Error = Failed, err.Error()
		}
	}
	return r
}

// put updates a function, or deploys it if it is not there.
func put(ctx context.Context, g Gateway, f types.FunctionDeployment) (did string, err error) {
	err = g.Update(ctx, f)
	var status *faasd.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return Deployed, g.Deploy(ctx, f)
	}
	return Updated, err
}

// passing reports whether it may be done if it is tried again: the gateway was not
// reached, or says that it cannot do it now.
func passing(err error) bool {
	var status *faasd.StatusError
	if !errors.As(err, &status) {
		return !errors.Is(err, context.Canceled)
	}
	return status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests
}

// ready waits until a replica of the function takes calls, or nobody knows.
func ready(ctx context.Context, g Gateway, function string, within time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	last := errors.New("it is not listed")
	for {
		list, err := g.List(waiting)
		if err != nil {
			last = err
		}
		for i := range list.Functions {
			switch f := &list.Functions[i]; {
			case f.Name.String() != function:
			case f.Ready > 0, !f.ReadyKnown:
				return nil
			default:
				last = errors.New("no replica takes calls")
			}
		}
		if err := pause(waiting, readyEvery); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("deployed, and interrupted before it was ready: %w", ctx.Err())
			}
			return fmt.Errorf("deployed, and not ready after %v: %w", within, last)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

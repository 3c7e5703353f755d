package faasd

import (
	"context"
	"time"
)

// orchestrationAge is how long what a gateway says of itself is taken for true.
const orchestrationAge = time.Minute

// infoTimeout is how long the list of functions waits for it.
const infoTimeout = time.Second

// Where a gateway's list of functions says how many replicas are ready.
const (
	// readyAvailable: in availableReplicas. 0 and a missing field are the same.
	readyAvailable = "available"
	// readyReplicas: in replicas. faasd counts only tasks that run, and leaves
	// availableReplicas out of its list.
	readyReplicas = "replicas"
)

// readyBy says it for the orchestrations that /system/info names.
var readyBy = map[string]string{
	"kubernetes": readyAvailable, // faas-netes
	"processes":  readyAvailable, // the embedded provider
	"containerd": readyReplicas,  // faasd
}

// orchestration is what a gateway said of itself, and when.
type orchestration struct {
	name string
	at   time.Time
}

// setReady fills in how many replicas of each function are ready.
func (c *Client) setReady(ctx context.Context, functions []Function) {
	by := ""
	for _, f := range functions {
		if f.Status.AvailableReplicas > 0 {
			by = readyAvailable // whoever says it of one says it of all
			break
		}
	}
	if by == "" && len(functions) > 0 {
		by = readyBy[c.orchestration(ctx)]
	}
	for i := range functions {
		f := &functions[i]
		f.ReadyKnown = by != ""
		f.Ready = f.Status.Replicas
		if by == readyAvailable {
			f.Ready = f.Status.AvailableReplicas
		}
	}
}

// orchestration is what runs the gateway's functions; empty, if it does not say.
func (c *Client) orchestration(ctx context.Context) string {
	if known := c.runs.Load(); known != nil && time.Since(known.at) < orchestrationAge {
		return known.name
	}
	ctx, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	info, err := c.Info(ctx)
	if err != nil {
		return "" // asked again at the next look
	}
	c.runs.Store(&orchestration{name: info.Provider.Orchestration, at: time.Now()})
	return info.Provider.Orchestration
}

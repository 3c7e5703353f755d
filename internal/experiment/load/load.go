// Package load sends the requests of a load at their times with vegeta's library.
package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/dfaas/dfaas/internal/experiment/load/shape"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// Timeout is how long a request may take before it counts as unanswered.
const Timeout = 10 * time.Second

// Late is from when on a request counts as not sent in time: what follows from
// it is a matter of this machine, not of the federation.
const Late = 250 * time.Millisecond

// idleTime is how long a connection is kept for the next request: less than the
// 60 s of the drop-in, or both ends could be about to use and to close it at once,
// and a body that is half sent is not sent again.
const idleTime = 30 * time.Second

// maxWorkers bounds the requests in flight of one load.
const maxWorkers = 10_000

// Attack is one load to be sent.
type Attack struct {
	Load scenario.Load
	URL  string    // of the target node, without a path
	Zero time.Time // t = 0
	// Dial makes the connections; nil: as any program here does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Node names the node that executed a function by the headers of the
	// response; empty if they do not tell.
	Node func(http.Header) string
	// Results receives every result in vegeta's JSON encoding, without the body.
	Results io.Writer
	// Observe is called with every sample as it arrives, by one goroutine; it
	// must not block.
	Observe func(summary.Sample)
}

// Sent is a load that was sent.
type Sent struct {
	Samples []summary.Sample
	// Delay is how late the latest request was sent.
	Delay time.Duration
}

// Send waits for the load's start, sends it and returns when the last request
// was answered. It returns what was sent so far when ctx ends, without an error.
func Send(ctx context.Context, a Attack) (Sent, error) {
	start := time.NewTimer(time.Until(a.Zero.Add(a.Load.Start)))
	defer start.Stop()
	select {
	case <-ctx.Done():
		return Sent{}, nil
	case <-start.C:
	}
	// A transport of its own, since vegeta would leave its idle connections open.
	transport := &http.Transport{DialContext: a.Dial, MaxIdleConnsPerHost: maxWorkers, IdleConnTimeout: idleTime}
	defer transport.CloseIdleConnections()
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: transport}),
		vegeta.Timeout(Timeout), vegeta.MaxWorkers(maxWorkers), vegeta.Redirects(vegeta.NoFollow),
		vegeta.HTTP2(false), vegeta.Proxy(nil),
	)
	pace := newPacer(a.Load.Times())
	results := attacker.Attack(vegeta.NewStaticTargeter(target(a)), pace, 0, "")
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	return collect(a, pace, results)
}

// collect drains the results even when they cannot be written any more.
func collect(a Attack, pace pacer, results <-chan *vegeta.Result) (Sent, error) {
	encode := vegeta.NewJSONEncoder(a.Results)
	sent := Sent{Samples: make([]summary.Sample, 0, len(pace.due))}
	var failed error
	for result := range results {
		sample := summary.Sample{
			At: result.Timestamp.Sub(a.Zero), Latency: result.Latency,
			Status: int(result.Code), Node: a.Node(result.Headers),
		}
		sent.Samples = append(sent.Samples, sample)
		sent.Delay = max(sent.Delay, sample.At-a.Load.Start-pace.due[result.Seq])
		a.Observe(sample)
		result.Body = nil
		if err := encode(result); err != nil && failed == nil {
			failed = fmt.Errorf("writing the results of the load on %s: %w", a.Load.Target, err)
		}
	}
	return sent, failed
}

func target(a Attack) vegeta.Target {
	l := a.Load
	url := a.URL + "/function/" + l.Function + l.Path
	if l.Query != "" {
		url += "?" + l.Query
	}
	headers := make(http.Header, len(l.Headers))
	for name, value := range l.Headers {
		headers.Set(name, value)
	}
	return vegeta.Target{Method: l.Method, URL: url, Body: []byte(l.Body), Header: headers}
}

// pacer sends each request when it is due. (Vegeta's own sends the first request
// one interval late.)
type pacer struct{ due []time.Duration } // after the start

func newPacer(times *shape.Times) pacer {
	var p pacer
	for at, more := times.Next(); more; at, more = times.Next() {
		p.due = append(p.due, at)
	}
	return p
}

// Pace implements vegeta.Pacer.
func (p pacer) Pace(elapsed time.Duration, sent uint64) (wait time.Duration, stop bool) {
	if sent >= uint64(len(p.due)) {
		return 0, true
	}
	return max(0, p.due[sent]-elapsed), false
}

// Rate implements vegeta.Pacer: the mean, for nothing here asks.
func (p pacer) Rate(time.Duration) float64 {
	if len(p.due) == 0 || p.due[len(p.due)-1] == 0 {
		return 0
	}
	return float64(len(p.due)-1) / p.due[len(p.due)-1].Seconds()
}

// Package agent speaks SPOP, the protocol in which HAProxy asks. It is the one
// package that knows it.
//
// Greetings, and the encoding of numbers, are left to negasus/haproxy-spoe-go. Its
// loop is not used: it starts a goroutine for each question, allocates for each
// argument, and trusts what it reads. Here, one goroutine for each connection reads
// what is there, decides, and answers all of it in one write, from buffers that it
// keeps. A malformed frame ends its connection.
package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/spoa/route"
)

// maxConnections is how many connections may be open at once. HAProxy opens
// about one for each of its threads, and a few more under load.
const maxConnections = 512

// Agent answers HAProxy's questions from a router.
type Agent struct {
	router *route.Router
	log    zerolog.Logger
	// noise logs what callers can cause at will: a few lines each second.
	noise  zerolog.Logger
	timing prometheus.Histogram
	seed   maphash.Seed // of what addresses of users are told apart by
	counters
}

// counters are updated by all connections.
type counters struct {
	connections        atomic.Int64
	connectionsRefused atomic.Uint64
	framesRefused      atomic.Uint64
	panics             atomic.Uint64
}

// New returns an agent that answers from the router.
func New(router *route.Router, log zerolog.Logger) *Agent {
	return &Agent{
		router: router,
		log:    log,
		noise:  log.Sample(&zerolog.BurstSampler{Burst: 5, Period: time.Second}),
		timing: newTiming(),
		seed:   maphash.MakeSeed(),
	}
}

// Connections is the number of connections open now.
func (a *Agent) Connections() int64 { return a.connections.Load() }

// ConnectionsRefused counts connections closed at once because too many were open.
func (a *Agent) ConnectionsRefused() uint64 { return a.connectionsRefused.Load() }

// FramesRefused counts malformed frames: each ended its connection.
func (a *Agent) FramesRefused() uint64 { return a.framesRefused.Load() }

// Panics counts panics recovered from: each made one decision "serve it here".
func (a *Agent) Panics() uint64 { return a.panics.Load() }

// Serve accepts connections until the context ends. It then stops reading,
// finishes what it was asked already, closes the listener and all connections,
// and returns nil.
func (a *Agent) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // the error of Accept says it all
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept SPOP connection: %w", err)
		case err != nil:
			// Out of file descriptors, most likely: wait for some to be closed.
			a.noise.Error().Err(err).Msg("cannot accept SPOP connection")
			pause(ctx, 100*time.Millisecond)
			continue
		}
		if a.connections.Add(1) > maxConnections {
			a.connections.Add(-1)
			a.connectionsRefused.Add(1)
			a.noise.Warn().Int("most", maxConnections).Msg("too many SPOP connections, one refused")
			_ = conn.Close()
			continue
		}
		open.Go(func() { a.serve(ctx, conn) })
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// serve runs one connection to its end.
func (a *Agent) serve(ctx context.Context, socket net.Conn) {
	defer a.connections.Add(-1)
	c := newConn(socket, a)
	stop := context.AfterFunc(ctx, c.stop)
	defer stop()
	err := c.run()
	// HAProxy being restarted is nothing to worry about.
	if closed := c.Close(); err == nil {
		err = closed
	}
	if err != nil {
		a.noise.Info().Err(err).Msg("SPOP connection ended")
	}
}

// recovered logs a panic inside a decision, which is a fault of this program.
func (a *Agent) recovered(p any) {
	a.panics.Add(1)
	a.noise.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("decision failed, the request is served locally")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/internal/httpserve"
	"github.com/dfaas/dfaas/internal/notify"
	"github.com/dfaas/dfaas/internal/pace"
	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/agent"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
)

const (
	controlMode     = 0o660
	shutdownTimeout = 5 * time.Second
	// fewCores is up to how many the agent is better off with one of them:
	// HAProxy needs the rest, and handing work between threads costs more than it
	// gains.
	fewCores = 2
)

// Run serves until the context ends, then cleans up in reverse order and
// returns nil; or returns why it cannot serve.
func Run(ctx context.Context, o Options) (err error) {
	tune()
	var cleanUps []func() error
	defer func() {
		for i := len(cleanUps) - 1; i >= 0; i-- {
			err = errors.Join(err, cleanUps[i]())
		}
	}()
	open := func(l net.Listener, err error) (net.Listener, error) {
		if err == nil {
			cleanUps = append(cleanUps, func() error { return closeListener(l) })
		}
		return l, err
	}

	spop, err := open(unixsock.Listen(o.Listen, o.SocketMode, o.SocketGroup))
	if err != nil {
		return fmt.Errorf("socket for HAProxy (--listen): %w", err)
	}
	ctl, err := open(unixsock.Listen(o.Control, controlMode, ""))
	if err != nil {
		return fmt.Errorf("control socket (--control): %w", err)
	}
	var metrics net.Listener
	if o.Metrics != "" {
		if metrics, err = open(new(net.ListenConfig).Listen(ctx, "tcp", o.Metrics)); err != nil {
			return fmt.Errorf("metrics (--metrics): %w", err)
		}
	}

	start := time.Now()
	router := route.NewRouter(meter.New(start))
	router.Pace = pace.New
	spoa := agent.New(router, o.Log)
	server := control.NewServer(router, spoa, o.Version, start, o.Log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return spoa.Serve(ctx, spop) })
	group.Go(func() error { return httpserve.Run(ctx, ctl, httpserve.New(server.Handler()), shutdownTimeout) })
	ready := o.Log.Info().Str("version", o.Version).Stringer("listen", o.Listen).Stringer("control", o.Control)
	if metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", server.Metrics())
		group.Go(func() error { return httpserve.Run(ctx, metrics, httpserve.New(mux), shutdownTimeout) })
		ready = ready.Stringer("metrics", metrics.Addr())
	}
	ready.Msg("ready")
	systemd := notify.New(o.Log)
	systemd.Ready()
	group.Go(func() error {
		systemd.Watch(ctx, func(ctx context.Context) error { return agent.Probe(ctx, o.Listen) })
		return nil
	})
	defer systemd.StopsWith(ctx)()
	err = group.Wait()
	o.Log.Info().Err(err).Msg("stopped")
	return err
}

// tune sets what the environment (GOMAXPROCS) does not. Garbage is left to Go: decisions
// make none.
func tune() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.NumCPU() <= fewCores {
		runtime.GOMAXPROCS(1)
	}
}

// closeListener closes what may be closed already.
func closeListener(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

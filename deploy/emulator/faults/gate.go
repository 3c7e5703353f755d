package faults

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/faasd/provider"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// mode is how a gate treats what comes.
type mode int

const (
	sound   mode = iota
	failing      // 500 for everything
	hanging      // no answer until it is sound again
)

// gate is a provider behind a proxy that can be told to fail.
type gate struct {
	url    string
	state  atomic.Pointer[gateState]
	server *http.Server
	stop   context.CancelFunc
	ended  chan error
}

type gateState struct {
	mode mode
	over chan struct{} // closed when another state follows
}

const gateTimeout = 10 * time.Second

// newGate starts both and deploys the functions.
func newGate(ctx context.Context, dir string, functions []scenario.Function, log zerolog.Logger) (_ *gate, err error) {
	// Its end is close's business: it outlives the last request.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	g := &gate{stop: stop, ended: make(chan error, 1)}
	g.state.Store(&gateState{over: make(chan struct{})})
	listening := make(chan net.Addr, 1)
	o := provider.DefaultOptions()
	o.Listen, o.StateDir, o.AllowProcesses = "127.0.0.1:0", dir, true
	o.OnListen = func(a net.Addr) { listening <- a }
	go func() { g.ended <- provider.Run(running, o, log.Level(zerolog.ErrorLevel)) }()
	var behind *url.URL
	select {
	case a := <-listening:
		behind = &url.URL{Scheme: "http", Host: a.String()}
	case err := <-g.ended:
		stop()
		return nil, fmt.Errorf("starting the provider behind the faulty gateway: %w", err)
	case <-time.After(gateTimeout):
		stop()
		return nil, fmt.Errorf("the provider behind the faulty gateway does not start")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		return nil, fmt.Errorf("the faulty gateway: %w", err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	g.url = "http://" + listener.Addr().String()
	g.server = &http.Server{Handler: g.handler(proxy), ReadHeaderTimeout: gateTimeout}
	go g.server.Serve(listener)
	if err := deploy(ctx, behind.String(), functions); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// handler lets requests pass, fail or wait.
func (g *gate) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			s := g.state.Load()
			switch s.mode {
			case sound:
				next.ServeHTTP(w, r)
				return
			case failing:
				http.Error(w, "made to fail", http.StatusInternalServerError)
				return
			}
			select {
			case <-s.over:
			case <-r.Context().Done():
				return
			}
		}
	})
}

// set changes how requests are treated, those that hang included.
func (g *gate) set(m mode) {
	old := g.state.Swap(&gateState{mode: m, over: make(chan struct{})})
	close(old.over)
}

func (g *gate) close() {
	g.server.Close()
	g.stop()
	<-g.ended
}

func deploy(ctx context.Context, gateway string, functions []scenario.Function) error {
	client, err := faasd.New(faasd.Options{URL: gateway})
	if err != nil {
		return fmt.Errorf("deploying functions: %w", err)
	}
	defer client.Close()
	for _, f := range functions {
		if err := client.Deploy(ctx, deployment(f)); err != nil {
			return fmt.Errorf("deploying functions: %w", err)
		}
	}
	return nil
}

// deployment has the function run a process: http-echo is a command of
// dfaas-provider, and this provider is within another program.
func deployment(f scenario.Function) types.FunctionDeployment {
	const process = "cat"
	labels := map[string]string{faasd.LabelMaxRate: strconv.FormatFloat(*f.Maxrate, 'f', -1, 64)}
	return types.FunctionDeployment{Service: f.Name, Image: "process/" + process, EnvProcess: process, Labels: &labels}
}

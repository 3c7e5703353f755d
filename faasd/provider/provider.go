// Package provider is an OpenFaaS-compatible provider that runs functions as
// processes of this machine: no containers, no images, one program.
//
// It speaks the REST API of the OpenFaaS gateway, in the types of
// github.com/openfaas/faas-provider and with its basic auth. That module's
// server (bootstrap.Serve) is not used: it keeps its router in a package
// variable, listens on all addresses of one port, ends the program when that
// fails, and its proxy buffers and logs in ways that this provider must not.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/dfaas/dfaas/faasd/functions"
	"github.com/dfaas/dfaas/faasd/queue"
)

// shutdownGrace is how long calls may go on when the provider stops.
const shutdownGrace = 5 * time.Second

// Bounds of the queue's options.
const (
	maxQueueCalls   = 100_000
	minQueueBytes   = 1 << 20
	maxQueueBytes   = 1 << 40
	maxQueueWorkers = 1000
)

// Options configures a provider. DefaultOptions has good values for all but the
// optional ones.
type Options struct {
	Listen   string // HOST:PORT
	StateDir string // owned by this provider alone

	// BasicAuthDir holds the files basic-auth-user and basic-auth-password that
	// guard the REST API. Empty: no credentials are asked for.
	BasicAuthDir string
	// Insecure allows to listen beyond loop-back without BasicAuthDir.
	Insecure bool
	// NoConfinement lets functions read each other's secrets and the provider's.
	NoConfinement bool
	// FunctionUsers is FIRST-LAST, user ids of which each function gets one of its own.
	// It takes the rights to change users. Empty: functions run as the provider's user.
	FunctionUsers string
	// AllowProcesses lets whoever may use the REST API run any command.
	AllowProcesses bool

	ExecTimeout time.Duration // of calls whose function sets none; above 0, at most 1 h
	MaxInflight int64         // calls at once of functions that set none; 1 to 10,000
	MaxBody     int64         // bytes of one call's request
	MaxOutput   int64         // bytes of one call's response
	MaxUploads  int           // request bodies at once that are read before their process starts; 1 to 10,000

	// QueueCalls is how many asynchronous calls may wait, 0 to 100,000; 0: there is no
	// queue. QueueBytes is what they may take of the disk together, 1 MiB to 1 TiB.
	QueueCalls int
	QueueBytes int64
	// QueueWorkers is how many of them are executed at once; 1 to 1,000.
	QueueWorkers int
	// CallbackAllow are addresses and networks, besides public ones, that results may
	// be sent to.
	CallbackAllow []string

	Version types.VersionInfo // of this program
	// OnListen, if set, is told the address once the provider serves.
	OnListen func(net.Addr)
}

// DefaultOptions are the values that the command line starts from.
func DefaultOptions() Options {
	return Options{
		Listen:      "127.0.0.1:8080",
		StateDir:    "/var/lib/dfaas-provider",
		ExecTimeout: time.Minute,
		MaxInflight: 128,
		MaxBody:     64 << 20,
		MaxOutput:   256 << 20,
		MaxUploads:  256,

		QueueCalls: 1000, QueueBytes: 256 << 20, QueueWorkers: 16,
	}
}

// Run provides functions until ctx ends, and then ends their processes. It
// returns nil after an orderly stop.
func Run(ctx context.Context, o Options, logger zerolog.Logger) error {
	credentials, err := o.check()
	if err != nil {
		return err
	}
	catalogue, err := functions.Load()
	if err != nil {
		return err
	}
	dir, err := openStateDir(o.StateDir)
	if err != nil {
		return err
	}
	defer dir.close()
	if dir.users, err = o.users(); err != nil {
		return err
	}
	if err := dir.clearMounts(); err != nil {
		return err
	}
	launcher, err := newLauncher(o.MaxBody, o.MaxOutput, o.MaxUploads, dir.spoolDir())
	if err != nil {
		return err
	}
	defer launcher.close()

	metrics := newMetrics()
	registry := newRegistry(dir, o.resolver(catalogue), metrics, o.MaxOutput, o.confinement(dir, logger), logger)
	defer registry.stop()
	if err := registry.restore(); err != nil {
		return err
	}
	p := &server{registry: registry, launcher: launcher, metrics: metrics, version: o.Version, stopping: ctx.Done()}
	if o.QueueCalls > 0 {
		if p.queue, p.noQueue = o.openQueue(p, dir, logger); p.noQueue == nil {
			defer p.queue.Close()
			metrics.registry.MustRegister(p.queue)
		} else { // a full disk or a damaged file are no reasons to serve nobody
			logger.Error().Err(p.noQueue).Msg("asynchronous calls are not taken until the next start")
		}
	} else if _, err := os.Stat(dir.queueFile()); err == nil {
		logger.Warn().Str("queue", dir.queueFile()).Msg("there is a queue of an earlier run: what waits in it is not executed without --queue-calls")
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w (choose another address with --listen)", err)
	}
	o.warn(logger, credentials)
	return p.serve(ctx, listener, credentials, o.OnListen, logger)
}

// openQueue opens the queue of asynchronous calls.
func (o *Options) openQueue(p *server, dir *stateDir, logger zerolog.Logger) (*queue.Queue, error) {
	allowed, err := o.networks()
	if err != nil {
		return nil, err
	}
	return queue.Open(queue.Options{
		Path: dir.queueFile(), Calls: o.QueueCalls, Bytes: o.QueueBytes, Workers: o.QueueWorkers, Allowed: allowed,
		Executor: executor{p}, Log: logger,
	})
}

func (o *Options) networks() ([]netip.Prefix, error) {
	var allowed []netip.Prefix
	for _, text := range o.CallbackAllow {
		network, err := queue.ParseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("--callback-allow: %w", err)
		}
		allowed = append(allowed, network)
	}
	return allowed, nil
}

// serve serves until ctx ends, and returns when all calls have ended.
func (p *server) serve(ctx context.Context, listener net.Listener, credentials *auth.BasicAuthCredentials,
	onListen func(net.Addr), logger zerolog.Logger) error {
	calls, endCalls := context.WithCancelCause(context.Background())
	defer endCalls(nil)
	web := &http.Server{
		Handler:           p.handler(credentials),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // the environment of a process must hold it
		ErrorLog:          log.New(logger, "", 0),
		BaseContext:       func(net.Listener) context.Context { return calls },
	}
	changes, endChanges := context.WithCancel(context.Background())
	defer func() {
		endChanges()
		<-p.registry.stopped
	}()
	go p.registry.run(changes)
	begin, endBegin := context.WithCancel(ctx)
	queued := make(chan struct{})
	go func() {
		defer close(queued)
		if p.queue != nil {
			p.queue.Run(begin, calls)
		}
	}()
	defer func() {
		endBegin()
		endCalls(errStopping)
		<-queued
	}()

	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	logger.Info().Str("listen", listener.Addr().String()).Str("state", p.registry.dir.path).
		Int("functions", len(p.registry.all())).Msg("providing functions")
	if onListen != nil {
		onListen(listener.Addr())
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	logger.Info().Msg("stopping")
	return shutDown(web, endCalls, queued)
}

// shutDown lets calls end by themselves for a while, also those of the queue, which
// begins no more and closes queued then, and ends the rest.
func shutDown(web *http.Server, endCalls context.CancelCauseFunc, queued <-chan struct{}) error {
	for _, grace := range []time.Duration{shutdownGrace, killGrace + time.Second} {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		err := web.Shutdown(ctx)
		if err == nil {
			select {
			case <-queued:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		cancel()
		if err == nil {
			return nil
		}
		endCalls(errStopping)
	}
	return web.Close()
}

// Check reports what is wrong with the options: what it accepts, Run accepts.
func (o *Options) Check() error {
	_, err := o.check()
	return err
}

// check checks the options and reads the credentials, nil if there are none.
func (o *Options) check() (*auth.BasicAuthCredentials, error) {
	switch {
	case o.StateDir == "":
		return nil, errors.New("--state-dir is empty: name a directory")
	case o.ExecTimeout <= 0 || o.ExecTimeout > maxExecTimeout:
		return nil, fmt.Errorf("--exec-timeout %s: use more than 0 and at most %s", o.ExecTimeout, maxExecTimeout)
	case o.MaxInflight < 1 || o.MaxInflight > maxInflight:
		return nil, fmt.Errorf("--max-inflight %d: use 1 to %d", o.MaxInflight, maxInflight)
	case o.MaxUploads < 1 || o.MaxUploads > maxInflight:
		return nil, fmt.Errorf("--max-uploads %d: use 1 to %d", o.MaxUploads, maxInflight)
	case o.QueueCalls < 0 || o.QueueCalls > maxQueueCalls:
		return nil, fmt.Errorf("--queue-calls %d: use 0, for no queue, to %d", o.QueueCalls, maxQueueCalls)
	case o.QueueBytes < minQueueBytes || o.QueueBytes > maxQueueBytes:
		return nil, fmt.Errorf("--queue-bytes %d: use %d to %d", o.QueueBytes, minQueueBytes, int64(maxQueueBytes))
	case o.QueueWorkers < 1 || o.QueueWorkers > maxQueueWorkers:
		return nil, fmt.Errorf("--queue-workers %d: use 1 to %d", o.QueueWorkers, maxQueueWorkers)
	case o.MaxBody < 1 || o.MaxOutput < 1:
		return nil, errors.New("--max-body and --max-output must be above 0")
	}
	if _, err := o.networks(); err != nil {
		return nil, err
	}
	if _, err := parseUsers(o.FunctionUsers); err != nil {
		return nil, err
	}
	credentials, err := o.credentials()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w (use HOST:PORT)", err)
	}
	if credentials == nil && !o.Insecure && !loopback(host) {
		return nil, fmt.Errorf("--listen %s: others could deploy functions here; guard the REST API with --basic-auth-dir, "+
			"listen on 127.0.0.1, or accept it with --insecure", o.Listen)
	}
	return credentials, nil
}

// users are those of functions, nil if there are none.
func (o *Options) users() (*users, error) {
	ids, err := parseUsers(o.FunctionUsers)
	if err != nil || o.FunctionUsers == "" {
		return nil, err
	}
	return newUsers(ids), checkCapabilities()
}

func (o *Options) credentials() (*auth.BasicAuthCredentials, error) {
	if o.BasicAuthDir == "" {
		return nil, nil
	}
	reader := auth.ReadBasicAuthFromDisk{SecretMountPath: o.BasicAuthDir}
	credentials, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("--basic-auth-dir: %w (it must hold basic-auth-user and basic-auth-password)", err)
	}
	if credentials.User == "" || credentials.Password == "" {
		return nil, fmt.Errorf("--basic-auth-dir: basic-auth-user or basic-auth-password in %s is empty", o.BasicAuthDir)
	}
	return credentials, nil
}

// warn says at the start what an operator may regret.
func (o *Options) warn(logger zerolog.Logger, credentials *auth.BasicAuthCredentials) {
	if o.AllowProcesses && os.Geteuid() == 0 && o.FunctionUsers == "" {
		logger.Warn().Msg("running as root with --allow-processes: whoever can deploy a function is root on this machine")
	}
	if host, _, err := net.SplitHostPort(o.Listen); err == nil && credentials == nil && !loopback(host) {
		logger.Warn().Str("listen", o.Listen).Msg("the REST API is open to everybody who can reach it (--insecure)")
	}
}

// confinement is that of the functions' processes, nil if there is none.
func (o *Options) confinement(dir *stateDir, logger zerolog.Logger) *confinement {
	if o.NoConfinement {
		return nil
	}
	hidden := []string{dir.path}
	if o.BasicAuthDir != "" {
		hidden = append(hidden, o.BasicAuthDir)
		for _, name := range []string{"basic-auth-user", "basic-auth-password"} { // which may be links to elsewhere
			hidden = append(hidden, filepath.Join(o.BasicAuthDir, name))
		}
	}
	c, err := newConfinement(hidden...)
	if err == nil {
		// Its threads are confined as their functions are, so those could else look
		// into its memory through them.
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	if err != nil {
		logger.Warn().Err(err).Msg("functions are not confined: any of them can read all secrets and the password of the REST API")
		return nil
	}
	return c
}

func (o *Options) resolver(catalogue *functions.Catalogue) *resolver {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	return &resolver{
		catalogue: catalogue, allowProcesses: o.AllowProcesses,
		path: path, timeout: o.ExecTimeout, maxInflight: o.MaxInflight,
	}
}

// loopback reports whether host can be reached from this machine only.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

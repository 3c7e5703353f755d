package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/node"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/httpserve"
	"github.com/dfaas/dfaas/internal/notify"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// shutdownTimeout bounds how long requests under way hold up the end.
const shutdownTimeout = time.Second

// Run runs a controller with a valid configuration until the context ends, and
// takes it down in the reverse order of its start. The error is nil when the
// context ended it.
func Run(ctx context.Context, conf config.Settings, log zerolog.Logger) error {
	key, err := federationKey(conf)
	if err != nil {
		return err
	}
	gateway, err := newGateway(conf)
	if err != nil {
		return err
	}
	defer gateway.Close()
	id, err := identity.LoadOrCreate(conf.Identity)
	if err != nil {
		return err
	}
	if conf.OpenFederation {
		log.Warn().Msg("open_federation: anybody who reaches this node may become a member and have requests forwarded to it")
	}

	for _, warning := range conf.Warnings() {
		log.Warn().Msg(warning)
	}

	systemd := notify.New(log)
	defer systemd.StopsWith(ctx)()
	// The services below end with serving, after the node has left; should one
	// of them fail, everything ends.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	var services sync.WaitGroup
	defer services.Wait()
	defer stopServing()
	serve := func(service func(context.Context) error) {
		services.Go(func() {
			if err := service(serving); err != nil {
				stop(err)
			}
		})
	}

	registry := newRegistry()
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	if conf.Metrics != "" {
		listener, err := net.Listen("tcp", conf.Metrics)
		if err != nil {
			return explainListen("metrics", err)
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		serve(func(ctx context.Context) error {
			return httpserve.Run(ctx, listener, httpserve.New(mux), shutdownTimeout)
		})
	}
	admin, err := api.Listen(conf.AdminSocket)
	if err != nil {
		return err
	}
	defer admin.Close()
	network, err := overlay.New(serving, overlay.Config{
		Federation: conf.Federation, Identity: id, PSK: key, AllowPeers: conf.AllowPeers,
		Listen: conf.Listen, Bootstrap: conf.Bootstrap, MDNS: conf.MDNS, DHT: conf.DHT,
		Log: log.With().Str("part", "overlay").Logger(), Registerer: registry,
	})
	if err != nil {
		return explainListen("listen", err)
	}
	defer network.Close()
	members := membership.New(membership.Options{Self: id.PeerID(), TLS: conf.PeerTLS, Allowed: conf.AllowAddresses})
	proxy, certificates, err := newHAProxy(conf, id)
	if err != nil {
		return err
	}
	spoa := control.New(conf.SPOASocket)
	defer spoa.Close()
	spoa.Log = log.With().Str("part", "spoa").Logger()
	name := nodeName(conf)

	n := node.New(node.Options{
		Self: id.PeerID(), Name: name, Version: cli.Version(version), Federation: conf.Federation, Strategy: conf.Strategy,
		Period: conf.Period, DefaultMaxrate: conf.DefaultMaxrate, MaxPeerTimeout: conf.MaxPeerTimeout, HTTP: conf.HTTPAddress,
		DefaultNamespace: faasd.DefaultNamespace, HasBootstrap: len(conf.Bootstrap) > 0, Neighbours: neighbours(conf),
		SPOA: spoa, HAProxy: proxy, Gateway: gateway.Watch(ctx, 0), Overlay: network,
		Members: members, Minter: identity.NewMinter(id), Certificates: certificates,
		Seed: rand.Uint64(), Systemd: systemd, Log: log, Registerer: registry,
	})
	serve(func(ctx context.Context) error { return api.Serve(ctx, admin, n, metrics, log) })
	log.Info().Str("version", cli.Version(version)).Stringer("node_id", id).Str("node_name", name).Stringer("http", conf.HTTPAddress).Strs("addresses", network.Addrs()).
		Str("federation", conf.Federation).Str("strategy", conf.Config.Strategy).Msg("dfaas-controller is running")
	n.Run(ctx)
	log.Info().Msg("dfaas-controller has left the federation")
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// nodeName is what the node is called: by its operator, or else as its host.
// neighbours are the ids of the members to exchange calls with, nil for all.
func neighbours(conf config.Settings) map[peerid.ID]bool {
	if len(conf.Neighbours) == 0 {
		return nil
	}
	ids := make(map[peerid.ID]bool)
	for _, id := range conf.Neighbours {
		ids[id] = true
	}
	return ids
}

func nodeName(conf config.Settings) string {
	if conf.NodeName != "" {
		return conf.NodeName
	}
	host, err := os.Hostname()
	if err != nil {
		return "" // it has none, and needs none
	}
	return wire.NodeName(host)
}

// newHAProxy returns the client of HAProxy, and with peer_tls the certificates
// for it, their files ready for an HAProxy that starts.
func newHAProxy(conf config.Settings, id *identity.Identity) (*haproxy.Client, node.Certificates, error) {
	if !conf.PeerTLS {
		return haproxy.New(conf.HAProxySocket), nil, nil
	}
	client, err := haproxy.NewTLS(conf.HAProxySocket, conf.TLSDir)
	if err != nil {
		return nil, nil, fmt.Errorf("tls_dir: %w", err)
	}
	certificates := identity.NewCertificates(id, conf.TLSDir)
	if err := certificates.Prepare(time.Now()); err != nil {
		return nil, nil, fmt.Errorf("peer_tls: %w", err)
	}
	return client, certificates, nil
}

// federationKey reads the federation's key; nil if there is none.
func federationKey(conf config.Settings) (pnet.PSK, error) {
	if conf.FederationKey == "" {
		return nil, nil
	}
	return identity.LoadFederationKey(conf.FederationKey)
}

func newGateway(conf config.Settings) (*faasd.Client, error) {
	return faasd.New(faasd.Options{URL: conf.GatewayURL(), User: conf.GatewayUser, PasswordFile: conf.GatewayPasswordFile, Async: conf.Async})
}

// explainListen adds the hint to the commonest reason why listening fails.
func explainListen(key string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		return fmt.Errorf("%s: %w: another program, or another dfaas-controller, has that port; stop it or set another %s", key, err, key)
	}
	return fmt.Errorf("%s: %w", key, err)
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

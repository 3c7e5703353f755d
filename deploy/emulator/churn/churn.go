// Package churn lets members come to a running federation and leave it. They
// are real members of the overlay, with identities of their own and the
// federation's key; each has a server that answers for all functions.
package churn

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/haproxy/peercert"
	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
)

const (
	// beat is the time between two announcements of a visitor.
	beat = 800 * time.Millisecond
	// farewell is how long a guest's last word has to get around.
	farewell = 200 * time.Millisecond
	// linger is how long a guest's server answers after the guest has left: longer
	// than anybody takes one for a member that left without a word.
	linger = 30 * time.Second

	headerTimeout = 10 * time.Second
	maxBody       = 1 << 20
)

// House is where a federation's visitors are served. It is safe for concurrent use.
type House struct {
	host      string // IP address
	psk       pnet.PSK
	bootstrap []peer.AddrInfo
	tls       bool

	mu      sync.Mutex
	closed  bool
	servers map[*http.Server]bool
}

// Options of a house.
type Options struct {
	// Host is the IP address of the visitors.
	Host string `json:"host"`
	// Key is the path of the federation key.
	Key string `json:"key"`
	// Bootstrap are addresses of members, with their ids.
	Bootstrap []string `json:"bootstrap"`
	// TLS: as peer_tls of the nodes.
	TLS bool `json:"tls"`
}

// OptionsFor are those for visitors of a federation, all of whose nodes must run.
func OptionsFor(ctx context.Context, f *federation.Federation, host string, tls bool) (Options, error) {
	o := Options{Host: host, Key: filepath.Join(f.Dir(), "federation.key"), TLS: tls}
	for _, n := range f.Nodes() {
		status, err := n.Admin().Status(ctx)
		if err != nil {
			return Options{}, err
		}
		o.Bootstrap = append(o.Bootstrap, status.Addresses...)
	}
	return o, nil
}

// Open prepares for visitors.
func Open(o Options) (*House, error) {
	psk, err := identity.LoadFederationKey(o.Key)
	if err != nil {
		return nil, err
	}
	h := &House{host: o.Host, psk: psk, tls: o.TLS, servers: make(map[*http.Server]bool)}
	for _, text := range o.Bootstrap {
		info, err := peer.AddrInfoFromString(text)
		if err != nil {
			return nil, fmt.Errorf("an address of a node: %w", err)
		}
		h.bootstrap = append(h.bootstrap, *info)
	}
	return h, nil
}

// serve starts a guest's server, which answers as an HAProxy of a node would.
func (h *House) serve(id *identity.Identity) (server *http.Server, address string, err error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(h.host, "0"))
	if err != nil {
		return nil, "", err
	}
	address = listener.Addr().String()
	if h.tls {
		own, err := peercert.Issue(id.String(), id.Ed25519(), time.Now())
		if err != nil {
			listener.Close()
			return nil, "", err
		}
		pair, err := tls.X509KeyPair([]byte(own.PEM), []byte(own.PEM))
		if err != nil {
			listener.Close()
			return nil, "", err
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	}
	server = &http.Server{
		ReadHeaderTimeout: headerTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(haproxy.HeaderNodeID, "coming-and-going")
			io.Copy(w, http.MaxBytesReader(w, r.Body, maxBody))
		}),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		listener.Close()
		return nil, "", http.ErrServerClosed
	}
	h.servers[server] = true
	go server.Serve(listener)
	return server, address, nil
}

// retire ends a guest's server a while after the guest has left.
func (h *House) retire(server *http.Server) {
	time.AfterFunc(linger, func() {
		server.Close()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.servers, server)
	})
}

// Close ends the servers.
func (h *House) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for server := range h.servers {
		server.Close()
	}
}

// Visit is one guest's stay.
type Visit struct {
	Function string        `json:"function"`
	Capacity float64       `json:"capacity"` // of the function, requests/s
	Life     time.Duration `json:"life"`     // nanoseconds
	Polite   bool          `json:"polite"`   // it says that it leaves
}

// Receive returns when the guest has left.
func (h *House) Receive(ctx context.Context, v Visit) error {
	if err := h.receive(ctx, v); err != nil {
		return fmt.Errorf("a member that comes and goes: %w", err)
	}
	return nil
}

func (h *House) receive(ctx context.Context, v Visit) error {
	function, err := funcname.Parse(v.Function)
	if err != nil {
		return err
	}
	capacity, err := limit.NewRate(v.Capacity)
	if err != nil {
		return err
	}
	id, err := identity.Generate()
	if err != nil {
		return err
	}
	server, address, err := h.serve(id)
	if err != nil {
		return err
	}
	defer h.retire(server)
	o, err := overlay.New(ctx, overlay.Config{
		Federation: federation.Name, Identity: id, PSK: h.psk, Listen: []ma.Multiaddr{ma.StringCast("/ip4/" + h.host + "/tcp/0")},
		Bootstrap: h.bootstrap, Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	defer o.Close()
	go func() {
		for range o.Messages() { // it does not care
		}
	}()
	a := wire.Announcement{
		V: wire.Version, Epoch: time.Now().UnixMilli(), HTTP: address, TLS: h.tls, Strategy: "headroom",
		PeriodMillis: time.Second.Milliseconds(), Offers: []strategy.Offer{{Name: function, Capacity: capacity}},
	}
	announce := func() error {
		a.Seq++
		a.SentAtMillis = time.Now().UnixMilli()
		_, err := o.Publish(ctx, a)
		return err
	}
	for end := time.Now().Add(v.Life); time.Now().Before(end); {
		if err := announce(); err != nil {
			return err
		}
		if err := pause.For(ctx, beat); err != nil {
			return err
		}
	}
	if !v.Polite {
		return nil
	}
	a.Leaving = true
	if err := announce(); err != nil {
		return err
	}
	return pause.For(ctx, farewell)
}

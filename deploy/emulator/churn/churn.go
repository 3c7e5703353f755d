// Package churn lets members come to a running federation and leave it. They
// are real members of the overlay, with identities of their own and the
// federation's key; their functions are one server that answers for all.
package churn

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
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
)

const (
	host = "127.0.0.1"
	// beat is the time between two announcements of a visitor.
	beat = 800 * time.Millisecond
	// farewell is how long a guest's last word has to get around.
	farewell = 200 * time.Millisecond

	headerTimeout = 10 * time.Second
	maxBody       = 1 << 20
)

// House is where a federation's guests are served. It is safe for concurrent use.
type House struct {
	psk       pnet.PSK
	bootstrap []peer.AddrInfo
	listener  net.Listener
	server    *http.Server
}

// Open prepares for guests of the federation, all of whose nodes must run.
func Open(ctx context.Context, f *federation.Federation) (*House, error) {
	psk, err := identity.LoadFederationKey(filepath.Join(f.Dir(), "federation.key"))
	if err != nil {
		return nil, err
	}
	h := &House{psk: psk}
	for _, n := range f.Nodes() {
		status, err := n.Admin().Status(ctx)
		if err != nil {
			return nil, err
		}
		for _, text := range status.Addresses {
			info, err := peer.AddrInfoFromString(text)
			if err != nil {
				return nil, fmt.Errorf("an address of %s: %w", n.Name, err)
			}
			h.bootstrap = append(h.bootstrap, *info)
		}
	}
	if h.listener, err = net.Listen("tcp", host+":0"); err != nil {
		return nil, fmt.Errorf("the members that come and go: %w", err)
	}
	// It answers as an HAProxy of a node would.
	h.server = &http.Server{
		ReadHeaderTimeout: headerTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(haproxy.HeaderNodeID, "coming-and-going")
			io.Copy(w, http.MaxBytesReader(w, r.Body, maxBody))
		}),
	}
	go h.server.Serve(h.listener)
	return h, nil
}

// Close ends the server.
func (h *House) Close() { h.server.Close() }

// Visit is one guest's stay.
type Visit struct {
	Function string
	Capacity float64 // of the function, requests/s
	Life     time.Duration
	Polite   bool // it says that it leaves
}

// Receive returns when the guest has left.
func (h *House) Receive(ctx context.Context, v Visit) error {
	if err := h.receive(ctx, v); err != nil {
		return fmt.Errorf("a member that comes and goes: %w", err)
	}
	return nil
}

func (h *House) receive(ctx context.Context, v Visit) error {
	id, err := identity.Generate()
	if err != nil {
		return err
	}
	o, err := overlay.New(ctx, overlay.Config{
		Federation: federation.Name, Identity: id, PSK: h.psk, Listen: []ma.Multiaddr{ma.StringCast("/ip4/" + host + "/tcp/0")},
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
		V: wire.Version, Epoch: time.Now().UnixMilli(), HTTP: h.listener.Addr().String(), Strategy: "headroom",
		PeriodMillis: time.Second.Milliseconds(), Offers: []strategy.Offer{{Name: v.Function, Capacity: v.Capacity}},
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

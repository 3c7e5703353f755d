package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	wire "github.com/dfaas/dfaas/controller/federation"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/controller/overlay"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/haproxy"
)

const (
	churnMembers = 200
	churnTime    = time.Minute
	// churnLife is how long a member stays, in which it announces itself churnBeat
	// after churnBeat.
	churnLife = 3 * time.Second
	churnBeat = 800 * time.Millisecond
	// churnCapacity is what each offers of the function of the faulty node's users.
	churnCapacity = 5.0
)

// churn lets members join and leave. They are real members of the overlay, with
// an identity of their own and the federation's key; their functions are one
// server that answers for all.
func churn(ctx context.Context, b *bed) (notes []string, err error) {
	psk, err := identity.LoadFederationKey(filepath.Join(b.f.Dir(), "federation.key"))
	if err != nil {
		return nil, err
	}
	var bootstrap []string
	for _, n := range b.f.Nodes() {
		status, err := n.Admin().Status(ctx)
		if err != nil {
			return nil, err
		}
		bootstrap = append(bootstrap, status.Addresses...)
	}
	address, shut, err := serveStub()
	if err != nil {
		return nil, err
	}
	defer shut()
	begin := time.Now()
	group, living := errgroup.WithContext(ctx)
	for i := range churnMembers {
		if sleep(living, time.Until(begin.Add(time.Duration(i)*(churnTime-churnLife)/churnMembers))) != nil {
			break
		}
		m := member{psk: psk, bootstrap: bootstrap, http: address, polite: i%2 == 0}
		group.Go(func() error { return m.live(living) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%d members joined and left in %.0f s", churnMembers, time.Since(begin).Seconds())}, nil
}

// member is one that comes and goes.
type member struct {
	psk       pnet.PSK
	bootstrap []string
	http      string // where its functions are
	polite    bool   // it says that it leaves
}

func (m member) live(ctx context.Context) error {
	id, err := identity.Generate()
	if err != nil {
		return err
	}
	o, err := overlay.New(ctx, overlay.Config{
		Federation: "emulator", Identity: id, PSK: m.psk, Listen: []string{"/ip4/" + loopback.String() + "/tcp/0"},
		Bootstrap: m.bootstrap, Log: zerolog.Nop(),
	})
	if err != nil {
		return fmt.Errorf("a member that comes and goes: %w", err)
	}
	defer o.Close()
	go func() {
		for range o.Messages() { // it does not care
		}
	}()
	a := wire.Announcement{
		V: wire.Version, Epoch: time.Now().UnixMilli(), HTTP: m.http, Strategy: "headroom",
		PeriodMillis: time.Second.Milliseconds(), Offers: []strategy.Offer{{Name: here, Capacity: churnCapacity}},
	}
	for end := time.Now().Add(churnLife); time.Now().Before(end); {
		if err := m.announce(ctx, o, &a); err != nil {
			return err
		}
		if err := sleep(ctx, churnBeat); err != nil {
			return err
		}
	}
	if !m.polite {
		return nil
	}
	a.Leaving = true
	if err := m.announce(ctx, o, &a); err != nil {
		return err
	}
	return sleep(ctx, churnBeat/4) // for the word to get around
}

func (m member) announce(ctx context.Context, o *overlay.Overlay, a *wire.Announcement) error {
	a.Seq++
	a.SentAtMillis = time.Now().UnixMilli()
	if _, err := o.Publish(ctx, *a); err != nil {
		return fmt.Errorf("a member that comes and goes: %w", err)
	}
	return nil
}

// serveStub answers as an HAProxy of a node would.
func serveStub() (address string, shut func(), err error) {
	listener, err := net.Listen("tcp", loopback.String()+":0")
	if err != nil {
		return "", nil, fmt.Errorf("the members that come and go: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: gateTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(haproxy.HeaderNodeID, "coming-and-going")
			io.Copy(w, http.MaxBytesReader(w, r.Body, 1<<20))
		}),
	}
	go server.Serve(listener)
	return listener.Addr().String(), func() { server.Close() }, nil
}

package agent

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
)

func TestProbe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	probe := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return Probe(ctx, testvalue.Path(path))
	}
	// Connections are accepted by the kernel, answered by nobody.
	if err := probe(50 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an agent that hangs: %v", err)
	}
	a := New(route.NewRouter(meter.New(time.Now())), zerolog.New(zerolog.NewTestWriter(t)))
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- a.Serve(ctx, l) }()
	for range 3 {
		if err := probe(10 * time.Second); err != nil {
			t.Error(err)
		}
	}
	a.connections.Add(maxConnections)
	if err := probe(10 * time.Second); err != nil {
		t.Errorf("an agent that refuses is not one that hangs: %v", err)
	}
	a.connections.Add(-maxConnections)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if a.Panics() > 0 || a.FramesRefused() > 0 {
		t.Errorf("%d panics, %d frames refused", a.Panics(), a.FramesRefused())
	}
	if err := probe(time.Second); err == nil {
		t.Error("nobody listens, and the probe is content")
	}
}

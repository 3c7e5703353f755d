package bench

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

func TestWakeUps(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	// Collecting garbage stops all threads, now and then while one waits for another.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	took, err := wakeUps(t.Context(), 100)
	if err != nil || len(took) != 100 {
		t.Fatalf("%d measured: %v", len(took), err)
	}
	for _, us := range took {
		if us <= 0 {
			t.Fatalf("one took %g us", us)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := wakeUps(ctx, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

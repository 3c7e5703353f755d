package pace

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
)

// TestNetworkGetsItsTurn: on one thread, a goroutine that waits for the network gets what
// has come when another one gives way. (By runtime.Gosched it would not. Now and then the
// kernel takes the thread away just then, and the sleep is over before.)
func TestNetworkGetsItsTurn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var came atomic.Int32
	go func() {
		for {
			if _, err := r.Read(make([]byte, 1)); err != nil {
				return
			}
			came.Add(1)
		}
	}()
	const tries = 100
	inTime := 0
	for i := range int32(tries) {
		for came.Load() < i {
			giveWay() // until it waits for the next
		}
		if _, err := w.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		giveWay()
		if came.Load() > i {
			inTime++
		}
	}
	if inTime < tries/2 {
		t.Errorf("what had come was read in %d of %d pauses", inTime, tries)
	}
}

// BenchmarkPause is what it costs to call it, a pause now and then included.
func BenchmarkPause(b *testing.B) {
	pause := New()
	b.ReportAllocs()
	for b.Loop() {
		pause()
	}
}

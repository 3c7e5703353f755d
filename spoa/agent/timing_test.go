package agent

import (
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/route"
)

// One decision in 64 is timed, whatever their order.
func TestDecisionsAreSampled(t *testing.T) {
	a := New(route.NewRouter(meter.New(time.Now())), zerolog.Nop())
	const decisions = 64 * 1000
	for range decisions {
		a.time(time.Now().Add(-time.Millisecond))
	}
	var m dto.Metric
	if err := a.DecisionTime().Write(&m); err != nil {
		t.Fatal(err)
	}
	// Five standard deviations of a binomial count are 157.
	if n := m.Histogram.GetSampleCount(); n < 840 || n > 1160 {
		t.Errorf("%d of %d decisions were timed, want about 1000", n, decisions)
	}
	for _, b := range m.Histogram.Bucket {
		if b.GetUpperBound() < 1e-3 && b.GetCumulativeCount() > 0 {
			t.Errorf("%d decisions of a millisecond took less than %gs", b.GetCumulativeCount(), b.GetUpperBound())
		}
	}
}

// BenchmarkTiming is what the histogram adds to a decision.
func BenchmarkTiming(b *testing.B) {
	a := New(route.NewRouter(meter.New(time.Now())), zerolog.Nop())
	now := time.Now()
	for b.Loop() {
		a.time(now)
	}
}

package agent

import (
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// timed is which part of the decisions is timed: one of so many, drawn at random. To
// look at the clock again, and to share the counters of a histogram among all cores,
// would cost about a tenth of a decision.
const timed = 64

func newTiming() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "dfaas_spoa_decision_seconds",
		Help: "Time from a decoded question to its answer, of one decision in 64, drawn at random.",
		// 250 ns to 16 ms, by four: HAProxy waits for 20 ms.
		Buckets: prometheus.ExponentialBuckets(250e-9, 4, 9),
	})
}

// DecisionTime is the histogram of the time that decisions take, in seconds.
func (a *Agent) DecisionTime() prometheus.Histogram { return a.timing }

// time notes how long one decision in 64 took that began then.
func (a *Agent) time(begun time.Time) {
	if rand.Uint32()%timed == 0 {
		a.timing.Observe(time.Since(begun).Seconds())
	}
}

package bench

import (
	"context"
	"fmt"
	"time"
)

// pacedRate is the constant rate, requests/s, at which latencies are measured.
const pacedRate = 2000

// throughput is what was measured under as much load as there can be, by side
// and round.
type throughput struct {
	perSecond  [sides][]float64
	proxyCPU   [sides][]float64 // of HAProxy, us per request
	spoaCPU    []float64        // of dfaas-spoa, us per request
	spoaMemory int64            // bytes, resident, at the end
}

// latency is what was measured at pacedRate, by side and round, in us.
type latency struct {
	p50, p99 [sides][]float64
}

// inTurn calls measure for every side, rounds times, with a break before each
// for the side before to come to rest. The order is reversed from round to
// round, so that neither going first nor going last is anybody's advantage.
func inTurn(ctx context.Context, rounds int, measure func(side) error) error {
	for round := range rounds {
		for i := range sides {
			if round%2 == 1 {
				i = sides - 1 - i
			}
			if !sleep(ctx, 200*time.Millisecond) {
				return ctx.Err()
			}
			if err := measure(i); err != nil {
				return fmt.Errorf("%s: %w", i, err)
			}
		}
	}
	return nil
}

// throughput measures with wrk.
func (b *bed) throughput(ctx context.Context, rounds int, each time.Duration, progress func(string, ...any)) (throughput, error) {
	var t throughput
	err := inTurn(ctx, rounds, func(s side) error {
		before, err := b.cpu(s)
		if err != nil {
			return err
		}
		result, err := runWrk(ctx, "http://"+b.address[s]+functionPath, each)
		if err != nil {
			return err
		}
		after, err := b.cpu(s)
		if err != nil {
			return err
		}
		t.perSecond[s] = append(t.perSecond[s], result.perSecond)
		t.proxyCPU[s] = append(t.proxyCPU[s], microseconds(after.proxy-before.proxy)/result.requests)
		if s == dfaas {
			t.spoaCPU = append(t.spoaCPU, microseconds(after.spoa-before.spoa)/result.requests)
		}
		progress("  %-22s %7.0f req/s", s, result.perSecond)
		return nil
	})
	if err != nil {
		return throughput{}, fmt.Errorf("throughput: %w", err)
	}
	t.spoaMemory, err = residentMemory(b.spoa.pid)
	return t, err
}

// latency measures at a constant rate.
func (b *bed) latency(ctx context.Context, rounds int, each time.Duration, progress func(string, ...any)) (latency, error) {
	var l latency
	err := inTurn(ctx, rounds, func(s side) error {
		took, err := paced(ctx, b.address[s], functionPath, pacedRate, each)
		if err != nil {
			return err
		}
		p50, p99 := quantile(took, 0.5), quantile(took, 0.99)
		l.p50[s], l.p99[s] = append(l.p50[s], p50), append(l.p99[s], p99)
		progress("  %-22s p50 %4.0f us, p99 %5.0f us", s, p50, p99)
		return nil
	})
	if err != nil {
		return latency{}, fmt.Errorf("latency at %d req/s: %w", pacedRate, err)
	}
	return l, nil
}

// used is CPU time.
type used struct{ proxy, spoa time.Duration }

func (b *bed) cpu(s side) (used, error) {
	proxy, err := cpuTime(b.proxies[s].pid)
	if err != nil {
		return used{}, err
	}
	spoa, err := cpuTime(b.spoa.pid)
	return used{proxy, spoa}, err
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

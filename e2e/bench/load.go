package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dfaas/dfaas/internal/machine"
)

// pacedRate is the constant rate, requests/s, at which latencies are measured.
const pacedRate = 2000

// flood is what was measured under as much load as there can be.
type flood struct {
	perSecond float64
	proxyCPU  float64 // of HAProxy, us per request
	spoaCPU   float64 // of dfaas-spoa, us per request
}

// latency is what was measured at pacedRate, in us.
type latency struct {
	p50, p99 float64
}

// flood measures with wrk.
func (b *testbed) flood(ctx context.Context, rounds int, each time.Duration, progress func(string, ...any)) ([]round[flood], error) {
	measured, err := inTurn(ctx, rounds, b.usage, func(s side) (flood, error) {
		before, err := b.cpu(s)
		if err != nil {
			return flood{}, err
		}
		result, err := runWrk(ctx, "http://"+b.address[s]+functionPath, each)
		if err != nil {
			return flood{}, err
		}
		after, err := b.cpu(s)
		progress("  %-22s %7.0f req/s", s, result.perSecond)
		return flood{
			perSecond: result.perSecond,
			proxyCPU:  microseconds(after.proxy-before.proxy) / result.requests,
			spoaCPU:   microseconds(after.spoa-before.spoa) / result.requests,
		}, err
	}, progress)
	if err != nil {
		return nil, fmt.Errorf("throughput: %w", err)
	}
	return measured, nil
}

// latency measures at a constant rate.
func (b *testbed) latency(ctx context.Context, rounds int, each time.Duration, progress func(string, ...any)) ([]round[latency], error) {
	measured, err := inTurn(ctx, rounds, b.usage, func(s side) (latency, error) {
		took, err := paced(ctx, b.address[s], functionPath, pacedRate, each)
		if err != nil {
			return latency{}, err
		}
		l := latency{quantile(took, 0.5), quantile(took, 0.99)}
		progress("  %-22s p50 %4.0f us, p99 %5.0f us", s, l.p50, l.p99)
		return l, nil
	}, progress)
	if err != nil {
		return nil, fmt.Errorf("latency at %d req/s: %w", pacedRate, err)
	}
	return measured, nil
}

// used is CPU time of what one side consists of.
type used struct{ proxy, spoa time.Duration }

func (b *testbed) cpu(s side) (used, error) {
	proxy, err := machine.ProcessCPU(b.proxies[s].pid)
	if err != nil {
		return used{}, err
	}
	spoa, err := machine.ProcessCPU(b.spoa.pid)
	return used{proxy, spoa}, err
}

// usage tells the CPU time of the machine, and of this process, what it waited
// for (wrk) and what is on the testbed.
func (b *testbed) usage() (usage, error) {
	var u usage
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			return usage{}, fmt.Errorf("own CPU time: %w", err)
		}
		u.ours += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	for _, p := range b.processes {
		cpu, err := machine.ProcessCPU(p.pid)
		if err != nil {
			return usage{}, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		u.ours += cpu
	}
	var err error
	u.machine, err = machine.ReadCPU()
	return u, err
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

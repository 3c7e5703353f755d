package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dfaas/dfaas/internal/machine"
)

// pacedRates are the constant rates, requests/s, at which latencies are measured, the
// one that has aims first. Of HAProxies other than the installed one it is the only one.
var pacedRates = [...]int{2000, 1000}

// flood is what was measured under as much load as there can be.
type flood struct {
	perSecond float64
	proxyCPU  float64 // of the proxy, us per request
	spoaCPU   float64 // of dfaas-spoa, us per request
}

// latency is what was measured at a constant rate: times in us, and CPU time as above.
type latency struct {
	p50, p99          float64
	proxyCPU, spoaCPU float64
}

// flood measures with wrk.
func (b *testbed) flood(ctx context.Context, g group, n int, each time.Duration, progress func(string, ...any)) (rounds[flood], error) {
	measured, err := inTurn(ctx, g.sides, n, b.usage, func(s side) (flood, float64, error) {
		var result wrkResult
		used, asked, err := b.spent(ctx, s, func() (float64, error) {
			var err error
			result, err = runWrk(ctx, "http://"+b.proxies[s].address+functionPath, each)
			return result.requests, err
		})
		progress("  %-30s %7.0f req/s, CPU %5.1f + %4.1f us, %5.1f %% asked", s.name(), result.perSecond, used.proxy, used.spoa, 100*asked)
		return flood{result.perSecond, used.proxy, used.spoa}, asked, err
	}, progress)
	if err != nil {
		return measured, fmt.Errorf("throughput, HAProxy %s: %w", g.version, err)
	}
	return measured, nil
}

// latency measures at a constant rate.
func (b *testbed) latency(
	ctx context.Context, g group, rate, n int, each time.Duration, progress func(string, ...any),
) (rounds[latency], error) {
	measured, err := inTurn(ctx, g.sides, n, b.usage, func(s side) (latency, float64, error) {
		var l latency
		used, asked, err := b.spent(ctx, s, func() (float64, error) {
			took, err := paced(ctx, b.proxies[s].address, functionPath, rate, each)
			l.p50, l.p99 = quantile(took, 0.5), quantile(took, 0.99)
			return float64(len(took)), err
		})
		l.proxyCPU, l.spoaCPU = used.proxy, used.spoa
		progress("  %-30s p50 %4.0f us, p99 %5.0f us, CPU %5.1f + %4.1f us, %5.1f %% asked", s.name(), l.p50, l.p99, l.proxyCPU, l.spoaCPU, 100*asked)
		return l, asked, err
	}, progress)
	if err != nil {
		return measured, fmt.Errorf("latency at %d req/s, HAProxy %s: %w", rate, g.version, err)
	}
	return measured, nil
}

// used is CPU time of what one side consists of, us per request.
type used struct{ proxy, spoa float64 }

// spent measures what requests cost, and which share of them dfaas-spoa was asked
// about, or on the fast path was not: 1 on sides that never ask.
func (b *testbed) spent(ctx context.Context, s side, load func() (requests float64, err error)) (used, float64, error) {
	if s.kind == fast {
		stop, err := b.carry(ctx, s)
		if err != nil {
			return used{}, 0, err
		}
		defer stop()
	}
	decisionsBefore, err := b.decisions(ctx, s)
	if err != nil {
		return used{}, 0, err
	}
	proxyBefore, spoaBefore, err := b.cpu(s)
	if err != nil {
		return used{}, 0, err
	}
	requests, err := load()
	if err != nil {
		return used{}, 0, err
	}
	proxyAfter, spoaAfter, err := b.cpu(s)
	if err != nil {
		return used{}, 0, err
	}
	decisionsAfter, err := b.decisions(ctx, s)
	if err != nil {
		return used{}, 0, err
	}
	u := used{microseconds(proxyAfter-proxyBefore) / requests, microseconds(spoaAfter-spoaBefore) / requests}
	if s.kind != dfaas && s.kind != fast {
		return u, 1, nil
	}
	return u, min(1, float64(decisionsAfter-decisionsBefore)/requests), nil
}

// decisions is how many of users' calls of the measured function dfaas-spoa has decided
// on, or on the fast path has not.
func (b *testbed) decisions(ctx context.Context, s side) (uint32, error) {
	switch s.kind {
	case fast:
		return b.unasked(ctx, s)
	case dfaas:
	default:
		return 0, nil
	}
	report, err := b.control.Meter(ctx)
	if err != nil {
		return 0, err
	}
	for _, f := range report.Functions {
		if f.Name == benchFunction {
			return uint32(f.User.Total()), nil // a difference is all that counts
		}
	}
	return 0, nil
}

func (b *testbed) cpu(s side) (proxy, spoa time.Duration, err error) {
	if proxy, err = machine.ProcessCPU(b.proxies[s].pid); err != nil {
		return 0, 0, err
	}
	spoa, err = machine.ProcessCPU(b.spoa.pid)
	return proxy, spoa, err
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

package bench

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/courier"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// carryEvery is how often dfaas-controller looks where functions are called.
const carryEvery = 100 * time.Millisecond

// carry does for a side what dfaas-controller does, until it is stopped, and returns when
// the measured function is served there without a question. dfaas-spoa knows one HAProxy
// at a time, so it is for the side that is measured only.
func (b *testbed) carry(ctx context.Context, s side) (stop func(), err error) {
	proxy := haproxy.New(testvalue.Path(b.runtime(s)))
	carrier := courier.New(proxy, b.control, zerolog.Nop())
	ctx, cancel := context.WithCancel(ctx)
	var carrying sync.WaitGroup
	stop = func() {
		cancel()
		carrying.Wait()
	}
	carrying.Go(func() {
		tick := time.NewTicker(carryEvery)
		defer tick.Stop()
		for {
			carrier.Carry(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	err = b.proxies[s].await(ctx, func(ctx context.Context) error {
		before, err := b.unasked(ctx, s)
		if err != nil {
			return err
		}
		if _, _, err := ask(ctx, http.DefaultClient, "http://"+b.proxies[s].address+functionPath); err != nil {
			return err
		}
		after, err := b.unasked(ctx, s)
		if err == nil && after == before {
			err = errors.New("every call is asked about")
		}
		return err
	})
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// unasked is how many calls of the measured function a side has served without a
// question, modulo 2^32.
func (b *testbed) unasked(ctx context.Context, s side) (uint32, error) {
	counted, err := haproxy.New(testvalue.Path(b.runtime(s))).Unasked(ctx)
	return counted.Functions[benchFunction].Count, err
}

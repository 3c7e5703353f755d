package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/courier"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// SPOA is the control interface of dfaas-spoa. Calls end with their context.
type SPOA interface {
	// Meter reads the counters.
	Meter(ctx context.Context) (meter.Report, error)
	// Table returns the table in use, nil if there is none.
	Table(ctx context.Context) (*table.Table, error)
	// PutTable replaces the table. The error wraps control.ErrRefused if the
	// SPOA is there and does not want it.
	PutTable(ctx context.Context, t *table.Table) error
	courier.SPOA
}

const (
	meterTimeout = 500 * time.Millisecond
	putTimeout   = 2 * time.Second
)

// spoaKeeper reads the SPOA's meter and gives it tables, when it is asked to and
// one after the other. It has a goroutine of its own, so that a SPOA that hangs
// holds up nobody; and so has what it carries from and to HAProxy before each look,
// so that an HAProxy that hangs holds up no table.
type spoaKeeper struct {
	spoa    SPOA
	courier *courier.Courier
	looks   mailbox[struct{}]
	carried mailbox[struct{}] // looks for which all is carried
	tables  mailbox[*table.Table]
	events  chan core.Event
	metrics *metrics

	looked bool // for a table of an earlier run
}

func newSPOAKeeper(spoa SPOA, courier *courier.Courier, m *metrics) *spoaKeeper {
	return &spoaKeeper{
		spoa: spoa, courier: courier, looks: newMailbox[struct{}](), carried: newMailbox[struct{}](), tables: newMailbox[*table.Table](),
		events: make(chan core.Event), metrics: m,
	}
}

func (k *spoaKeeper) run(ctx context.Context) {
	for {
		var e core.Event
		select {
		case <-ctx.Done():
			return
		case t := <-k.tables:
			e = k.put(ctx, t)
		case <-k.carried:
			e = k.look(ctx)
		}
		select {
		case k.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// carry has what HAProxy served without a question known to the SPOA before each look.
func (k *spoaKeeper) carry(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.looks:
			k.courier.Carry(ctx)
			k.carried.put(struct{}{})
		}
	}
}

// look reads the meter.
func (k *spoaKeeper) look(ctx context.Context) core.Metered {
	ctx, cancel := context.WithTimeout(ctx, meterTimeout)
	defer cancel()
	report, err := k.spoa.Meter(ctx)
	if err != nil {
		return core.Metered{Err: fmt.Errorf("reading the SPOA's counters: %w", err)}
	}
	return core.Metered{Report: &report, Earlier: k.lookBack(ctx, report.TableFresh)}
}

// lookBack returns, once, the peers that the SPOA still serves by the table of an
// earlier run.
func (k *spoaKeeper) lookBack(ctx context.Context, fresh bool) []peerid.ID {
	if k.looked {
		return nil
	}
	k.looked = true
	if !fresh {
		return nil
	}
	t, err := k.spoa.Table(ctx)
	if err != nil || t == nil {
		return nil // it answered a moment ago; without it, less is known, that is all
	}
	var peers []peerid.ID
	for _, p := range t.Peers {
		if p.Token != "" {
			peers = append(peers, p.ID)
		}
	}
	return peers
}

// put gives the SPOA a table.
func (k *spoaKeeper) put(ctx context.Context, t *table.Table) core.TablePut {
	k.looked = true // whatever there is from now on is no earlier run's
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := k.spoa.PutTable(ctx, t); err != nil {
		k.metrics.putsFailed.Inc()
		return core.TablePut{Refused: errors.Is(err, control.ErrRefused), Err: fmt.Errorf("giving the SPOA its table: %w", err)}
	}
	return core.TablePut{}
}

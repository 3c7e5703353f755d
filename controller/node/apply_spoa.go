package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
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
}

const (
	maxTick      = 500 * time.Millisecond
	meterTimeout = 500 * time.Millisecond
	putTimeout   = 2 * time.Second
)

// tickOf is the time between two looks at the meter: at most half a second,
// such that a period is a whole number of ticks.
func tickOf(period time.Duration) time.Duration {
	return period / time.Duration((period+maxTick-1)/maxTick)
}

// spoaEvent is what the loop hears of the SPOA.
type spoaEvent struct {
	report  *meter.Report // nil when it was not read
	version uint64        // of the last table accepted
	earlier []string      // peers in the table that was there before the first
	err     error
}

// spoaKeeper reads the meter every tick and sees to it that the SPOA has the
// newest table: it is put as soon as it comes, and again whenever the meter
// shows that the SPOA has another one or none, as after a restart. It has a
// goroutine of its own, so that a SPOA that hangs holds up nobody.
type spoaKeeper struct {
	spoa    SPOA
	tick    time.Duration
	tables  mailbox[table.Table]
	events  chan spoaEvent
	metrics *metrics

	table    *table.Table // newest, nil before the first
	looked   bool         // for a table of an earlier run
	refusal  error        // why the SPOA does not want that table
	spoaRun  int64        // of the SPOA, by its start; another may be of another release
	answers  bool         // it did at the last look; else the table waits for the next
	versions uint64       // given to tables so far
	accepted uint64       // version of the last that was accepted
}

func (k *spoaKeeper) run(ctx context.Context) {
	ticker := time.NewTicker(k.tick)
	defer ticker.Stop()
	for {
		k.send(ctx, k.poll(ctx))
		for polled := false; !polled; {
			select {
			case <-ctx.Done():
				return
			case t := <-k.tables:
				k.table, k.refusal = &t, nil
				if k.answers {
					err := k.put(ctx)
					k.send(ctx, spoaEvent{version: k.accepted, err: err})
				}
			case <-ticker.C:
				polled = true
			}
		}
	}
}

func (k *spoaKeeper) send(ctx context.Context, e spoaEvent) {
	select {
	case k.events <- e:
	case <-ctx.Done():
	}
}

// poll reads the meter and restores the table.
func (k *spoaKeeper) poll(ctx context.Context) spoaEvent {
	limited, cancel := context.WithTimeout(ctx, meterTimeout)
	defer cancel()
	report, err := k.spoa.Meter(limited)
	if ctx.Err() == nil { // or else it was this node that broke it off
		k.answers = err == nil
	}
	if err != nil {
		return spoaEvent{version: k.accepted, err: fmt.Errorf("reading the SPOA's counters: %w", err)}
	}
	if report.StartMillis != k.spoaRun {
		k.spoaRun, k.refusal = report.StartMillis, nil
	}
	err = k.refusal
	if k.table != nil && err == nil && (!report.TableFresh || report.TableVersion != k.accepted) {
		err = k.put(ctx)
	}
	return spoaEvent{report: &report, version: k.accepted, earlier: k.lookBack(limited, report.TableFresh), err: err}
}

// lookBack returns, once, the peers that the SPOA still serves by the table of an
// earlier run.
func (k *spoaKeeper) lookBack(ctx context.Context, fresh bool) []string {
	if k.looked || k.accepted != 0 {
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
	var peers []string
	for _, p := range t.Peers {
		if p.Token != "" {
			peers = append(peers, p.ID)
		}
	}
	return peers
}

// put gives the SPOA the newest table under a version of its own.
func (k *spoaKeeper) put(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	k.versions++
	k.table.Version = k.versions
	if err := k.spoa.PutTable(ctx, k.table); err != nil {
		k.metrics.putsFailed.Inc()
		err = fmt.Errorf("giving the SPOA its table: %w", err)
		if errors.Is(err, control.ErrRefused) {
			k.refusal = err
		}
		return err
	}
	k.accepted = k.versions
	return nil
}

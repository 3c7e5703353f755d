package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/table"
)

// aside is for how long questions are watched after a table is in use, since what it left
// behind is collected then; and how long the next one waits.
const aside = 300 * time.Millisecond

// longest is how long the slowest question took while tables came, in ms, one for each, by
// how they came.
type longest struct{ none, whole, change []float64 }

// longestQuestions asks the SPOA at a steady rate while it is sent tables, of which one
// function is another than in the last: none and whole ones in turn, then changes.
func (b *testbed) longestQuestions(ctx context.Context, t *table.Table, repeats int) (l longest, err error) {
	client, err := b.newControl(ctx)
	if err != nil {
		return l, err
	}
	defer client.Close()
	if err := client.PutTable(ctx, variant(t, 1, false)); err != nil {
		return l, err
	}
	q, err := askSPOA(ctx, b.spoaSocket(), functionPath)
	if err != nil {
		return l, err
	}
	defer func() {
		if closed := q.close(); err == nil {
			err = closed
		}
	}()
	away := func(i int) bool { return i%2 == 0 }
	for i := range repeats {
		if err := q.watch(ctx, &l.none, !away(i) && i > 0, func() error { return nil }); err != nil {
			return l, err
		}
		whole, err := b.sendWhole(ctx, variant(t, uint64(i)+2, away(i)))
		if err != nil {
			return l, err
		}
		if err := q.watch(ctx, &l.whole, away(i), whole); err != nil {
			return l, err
		}
	}
	if err := client.PutTable(ctx, variant(t, uint64(repeats)+2, false)); err != nil { // what changes are of
		return l, err
	}
	for i := range repeats {
		next := variant(t, uint64(i+repeats)+3, away(i))
		if err := q.watch(ctx, &l.change, away(i), func() error { return client.PutTable(ctx, next) }); err != nil {
			return l, err
		}
	}
	return l, nil
}

// sendWhole returns what sends a table. It has been written already: this process asks the
// questions, too, and is not to be busy meanwhile.
func (b *testbed) sendWhole(ctx context.Context, t *table.Table) (send func() error, err error) {
	body, err := table.Encode(t, table.Newest())
	if err != nil {
		return nil, err
	}
	client := unixsock.Client(testvalue.Path(b.controlSocket()), patience)
	return func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://spoa/v1/table", bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("sending a table: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("sending a table: %s", resp.Status)
		}
		return nil
	}, nil
}

// watch adds how long the slowest question took from when something is sent to aside after
// the first answer that obeys it.
func (q *questioner) watch(ctx context.Context, into *[]float64, away bool, send func() error) error {
	if err := pause.For(ctx, aside); err != nil {
		return err
	}
	first := q.count()
	if err := send(); err != nil {
		return err
	}
	if err := q.obeyed(ctx, first, away); err != nil {
		return err
	}
	if err := pause.For(ctx, aside); err != nil {
		return err
	}
	slowest := time.Duration(0)
	for _, a := range q.since(first) {
		slowest = max(slowest, a.answered.Sub(a.asked))
	}
	*into = append(*into, milliseconds(slowest))
	return nil
}

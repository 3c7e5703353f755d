package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/spoa/table"
)

// patience is how long a change may take before the measurement gives up.
const patience = 30 * time.Second

// reaction is how long changes took to be obeyed, in ms.
type reaction []float64

// tableReaction measures the last step of a change: from the moment that the
// controller has planned and puts the table to the SPOA until a request through
// HAProxy has been answered as it says. Local and away take turns. Requests follow one
// another without a pause, so the answer that shows the change is late by one
// request at most. Tables are sent whole, or as what has changed since the last.
func (b *testbed) tableReaction(ctx context.Context, t *table.Table, whole bool, repeats int) (reaction, error) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	spoa, err := b.newControl(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { spoa.Close() }()
	if err := spoa.PutTable(ctx, variant(t, 1, false)); err != nil {
		return nil, err
	}
	var took reaction
	for i := range repeats {
		away, node := i%2 == 0, nodeID()
		if away {
			node = peerID()
		}
		if whole { // by a client that has put none yet
			spoa.Close()
			if spoa, err = b.newControl(ctx); err != nil {
				return nil, err
			}
		}
		next := variant(t, uint64(i)+2, away)
		start, done := time.Now(), make(chan error, 1)
		go func() { done <- spoa.PutTable(ctx, next) }()
		obeyed, err := firstAnswer(ctx, client, "http://"+b.proxies[side{kind: dfaas}].address+functionPath, 0, func(status int, by string) bool {
			return status == http.StatusOK && by == node
		})
		if putErr := <-done; putErr != nil {
			return nil, putErr
		}
		if err != nil {
			return nil, err
		}
		took = append(took, milliseconds(obeyed.Sub(start)))
	}
	return took, nil
}

// firstAnswer asks again and again, with a pause between, and tells when the
// first answer came that is accepted.
func firstAnswer(
	ctx context.Context, client *http.Client, url string, every time.Duration, accept func(status int, node string) bool,
) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no request obeyed a change within %s", patience))
	defer cancel()
	for {
		status, node, err := ask(ctx, client, url)
		if err == nil && accept(status, node) {
			return time.Now(), nil
		}
		if ctx.Err() != nil {
			return time.Time{}, context.Cause(ctx)
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("waiting for a change: %w", err)
		}
		if every > 0 {
			if err := pause.For(ctx, every); err != nil {
				return time.Time{}, err
			}
		}
	}
}

// askEvery is the pause between the requests while a change travels through a
// federation, and so the resolution.
const askEvery = 10 * time.Millisecond

// labelReaction measures a whole change: from the moment that a function's
// capacity label is changed at one node until a request at another node, which
// does not have the function, is answered as the label says. The label takes
// turns between no capacity (the other node refuses) and ample capacity (it
// forwards). Each change comes at a random moment of the planning period.
func labelReaction(
	ctx context.Context, f *federation.Federation, period time.Duration, repeats int, progress func(string, ...any),
) (reaction, error) {
	user, owner := f.Node(userNode), f.Node(ownerNode)
	gateway, err := faasd.New(faasd.Options{URL: owner.Gateway})
	if err != nil {
		return nil, err
	}
	defer gateway.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var took reaction
	for i := range repeats {
		rate, want := "1000", http.StatusOK
		if i%2 == 1 {
			rate, want = "0", http.StatusServiceUnavailable
		}
		if err := pause.For(ctx, period+rand.N(period)); err != nil {
			return nil, err
		}
		start := time.Now()
		err := gateway.Update(ctx, types.FunctionDeployment{
			Service: sharedFunction, Image: "process/cat", EnvProcess: "cat", Labels: &map[string]string{faasd.LabelMaxRate: rate},
		})
		if err != nil {
			return nil, err
		}
		obeyed, err := firstAnswer(ctx, client, user.URL+"/function/"+sharedFunction, askEvery, func(status int, _ string) bool {
			return status == want
		})
		if err != nil {
			return nil, fmt.Errorf("the label %s=%s at %s: %w", faasd.LabelMaxRate, rate, owner.Name, err)
		}
		took = append(took, milliseconds(obeyed.Sub(start)))
		progress("  %s=%-4s obeyed after %4.0f ms", faasd.LabelMaxRate, rate, took[i])
	}
	return took, nil
}

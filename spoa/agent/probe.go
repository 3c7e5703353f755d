package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/negasus/haproxy-spoe-go/client"

	"github.com/dfaas/dfaas/internal/unixsock"
)

// Probe takes the way of HAProxy's questions to the agent that listens at the
// socket: a connection, a greeting, a question. It fails if the agent does not
// answer before the context ends; an agent that refuses answers, too.
func Probe(ctx context.Context, socket unixsock.Path) error {
	conn, err := socket.Dial(ctx)
	if err != nil {
		return fmt.Errorf("probe the agent: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only if it is closed
	defer stop()
	// What it says is for HAProxy to judge; that the library tells not all errors
	// of reading is no matter, since the context has ended then.
	c := client.NewClient(conn)
	if c.Init() == nil && c.Notify() == nil {
		_ = c.Stop()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("probe the agent: no answer: %w", err)
	}
	return nil
}

package federation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/unixsock"
)

const (
	masterTimeout = 10 * time.Second // on a busy machine it is slow to answer
	masterRetry   = 20 * time.Millisecond
)

// masterReloads asks an HAProxy master, over its own socket, how often it has
// reloaded since it was started.
func masterReloads(ctx context.Context, socket string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, masterTimeout)
	defer cancel()
	path, err := unixsock.ParseSetting("the socket of HAProxy's master", socket)
	if err != nil {
		return 0, err
	}
	conn, err := dialMaster(ctx, path)
	if err != nil {
		return 0, fmt.Errorf("asking HAProxy's master: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := io.WriteString(conn, "show proc\n"); err != nil {
		return 0, fmt.Errorf("asking HAProxy's master: %w", err)
	}
	// The master would wait for further commands.
	if half, ok := conn.(*net.UnixConn); ok {
		_ = half.CloseWrite()
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<16))
	if err != nil {
		return 0, fmt.Errorf("asking HAProxy's master: %w", err)
	}
	return parseReloads(string(answer))
}

// dialMaster tries for as long as the socket refuses connections: once its worker
// runs, a master executes itself anew, and nobody listens until it has.
func dialMaster(ctx context.Context, socket unixsock.Path) (net.Conn, error) {
	for {
		conn, err := socket.Dial(ctx)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		if pause.For(ctx, masterRetry) != nil {
			return nil, err
		}
	}
}

// parseReloads reads the answer to `show proc`, whose lines are: pid, type,
// reloads, ...
func parseReloads(answer string) (int, error) {
	for line := range strings.Lines(answer) {
		columns := strings.Fields(line)
		if len(columns) < 3 || columns[1] != "master" {
			continue
		}
		reloads, err := strconv.Atoi(columns[2])
		if err != nil || reloads < 0 {
			return 0, fmt.Errorf("`show proc`: %q is no number of reloads", columns[2])
		}
		return reloads, nil
	}
	return 0, fmt.Errorf("`show proc` names no master: %.80q", answer)
}

// reloads counts the reloads of a node's HAProxy over all runs of its master.
type reloads struct {
	asked int // by faults
	seen  int // by masters that are gone
}

// unwanted is the number of reloads that nobody asked for, given those that the
// present master counts.
func (r reloads) unwanted(present int) int { return max(0, r.seen+present-r.asked) }

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/meter"
	"github.com/dfaas/dfaas/spoa/table"
)

const (
	// clientTimeout bounds a whole exchange over the local socket.
	clientTimeout = 5 * time.Second
	// maxAnswer bounds what the client reads, in bytes.
	maxAnswer = 256 << 20
)

// ErrRefused is what PutTable returns, wrapped with the SPOA's reason, when the
// SPOA is there but does not accept the table. Sending it again is of no use.
var ErrRefused = errors.New("the SPOA refused the table")

// Client talks to one SPOA's control socket. It is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
	newest atomic.Int64 // version of tables that the SPOA understood when it was asked last
}

// New returns a client of the SPOA whose control socket has that path. Nothing
// is opened before the first call.
func New(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Timeout: clientTimeout, Transport: unixsock.Transport(socket)}}
}

// Close closes idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// PutTable replaces the SPOA's table, in the version that the SPOA named when its
// meter was read last. The error is ErrRefused if the table is
// invalid, and something else if the SPOA could not be reached.
func (c *Client) PutTable(ctx context.Context, t *table.Table) error {
	body, err := table.Encode(t, int(c.newest.Load()))
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPut, pathTable, body, nil)
}

// Table returns the SPOA's table without its tokens, nil if it has none.
func (c *Client) Table(ctx context.Context) (*table.Table, error) {
	var t *table.Table
	err := c.do(ctx, http.MethodGet, pathTable, nil, &t)
	return t, err
}

// Meter returns the SPOA's counters.
func (c *Client) Meter(ctx context.Context) (meter.Report, error) {
	var r meter.Report
	err := c.do(ctx, http.MethodGet, pathMeter, nil, &r)
	if err == nil {
		c.newest.Store(int64(r.TableNewest))
	}
	return r, err
}

// Health returns how the SPOA is doing.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	err := c.do(ctx, http.MethodGet, pathHealth, nil, &h)
	return h, err
}

// do makes one exchange; answer is where to decode the body to, nil for none.
func (c *Client) do(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://spoa"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("SPOA at %s: %w (is dfaas-spoa running?)", c.socket, err)
	}
	defer resp.Body.Close()
	limited := io.LimitReader(resp.Body, maxAnswer)
	if resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(limited, 4096)) // the status says enough without
		return refusal(path, resp.StatusCode, strings.TrimSpace(string(text)))
	}
	if answer == nil {
		_, _ = io.Copy(io.Discard, limited) // so that the connection can be used again
		return nil
	}
	if err := json.NewDecoder(limited).Decode(answer); err != nil {
		return fmt.Errorf("SPOA at %s: decode the answer to %s %s: %w", c.socket, method, path, err)
	}
	return nil
}

func refusal(path string, status int, text string) error {
	if path == pathTable && (status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge) {
		return fmt.Errorf("%w: %s", ErrRefused, text)
	}
	return fmt.Errorf("SPOA answered %s with %d: %s", path, status, text)
}

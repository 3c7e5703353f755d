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

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/internal/protocol"
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
	// Log hears of patches that the SPOA refused, whose tables are then sent
	// whole. It is set before the first use, if at all.
	Log zerolog.Logger

	socket unixsock.Path
	http   *http.Client
	newest atomic.Int64 // version of tables that the SPOA understood when it was asked last
	// last is the table that patches are for; nil where only a whole one will do. Of two
	// that are put at once, one finds that it is not the SPOA's.
	last atomic.Pointer[accepted]
}

// New returns a client of the SPOA that has that control socket. Nothing
// is opened before the first call.
func New(socket unixsock.Path) *Client {
	return &Client{socket: socket, http: &http.Client{Timeout: clientTimeout, Transport: unixsock.Transport(socket)}}
}

// Close closes idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// PutTable replaces the SPOA's table. Of one that has most in common with the last that
// was put it sends what is other, if the SPOA understands that and still has that one,
// and else the whole, in the version that the SPOA named when its meter was read last.
// Tables must not be changed afterwards. The error is ErrRefused if the table is invalid,
// and something else if the SPOA could not be reached.
func (c *Client) PutTable(ctx context.Context, t *table.Table) error {
	base := c.last.Swap(nil)
	if base != nil {
		if patch := table.Diff(base.table, t); patch != nil {
			done, err := c.patchTable(ctx, base, patch, t)
			if done || err != nil {
				return err
			}
		}
	}
	version := int(c.newest.Load())
	body, err := table.Encode(t, version)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPut, pathTable, "", body)
	if err != nil {
		return err
	}
	defer drain(resp)
	if err := refusal(pathTable, resp); err != nil {
		return err
	}
	if version >= table.Newest() { // else something may have been left out
		c.note(t, resp)
	}
	return nil
}

// patchTable sends what is other than in the base, and reports whether that was accepted.
// If not, there is no error: a whole table says all that a patch does.
func (c *Client) patchTable(ctx context.Context, base *accepted, patch *table.Patch, t *table.Table) (done bool, err error) {
	body, err := table.EncodePatch(patch)
	if err != nil {
		return false, err
	}
	resp, err := c.do(ctx, http.MethodPatch, pathTable, base.tag, body)
	if err != nil {
		return false, err
	}
	defer drain(resp)
	switch resp.StatusCode {
	case http.StatusNoContent:
		c.note(t, resp)
		return true, nil
	case http.StatusMethodNotAllowed, http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		// An older SPOA, or another run of it, or somebody else put a table meanwhile.
	default:
		c.Log.Warn().Err(refusal(pathTable, resp)).Int("status", resp.StatusCode).Uint64("version", t.Version).
			Msg("the SPOA refused what has changed in its table, which is sent whole")
	}
	return false, nil
}

// accepted is a table that the SPOA has.
type accepted struct {
	table *table.Table
	tag   string // by which the SPOA knows it
}

// note notes that a table was accepted. An older SPOA has no tag for it, and knows no
// patches.
func (c *Client) note(t *table.Table, resp *http.Response) {
	if tag := resp.Header.Get(headerTag); tag != "" && !protocol.Previous {
		c.last.Store(&accepted{t, tag})
	}
}

// Table returns the SPOA's table without its tokens, nil if it has none.
func (c *Client) Table(ctx context.Context) (*table.Table, error) {
	var t *table.Table
	err := c.get(ctx, pathTable, &t)
	return t, err
}

// Meter returns the SPOA's counters.
func (c *Client) Meter(ctx context.Context) (meter.Report, error) {
	var r meter.Report
	err := c.get(ctx, pathMeter, &r)
	if err == nil {
		c.newest.Store(int64(r.TableNewest))
	}
	return r, err
}

// Health returns how the SPOA is doing.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	err := c.get(ctx, pathHealth, &h)
	return h, err
}

// get asks for a document.
func (c *Client) get(ctx context.Context, path string, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer drain(resp)
	if err := refusal(path, resp); err != nil {
		return err
	}
	return c.decode(path, resp, into)
}

// decode reads the document that an answer has.
func (c *Client) decode(path string, resp *http.Response, into any) error {
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("SPOA at %s: decode the answer to %s: %w", c.socket, path, err)
	}
	return nil
}

// do makes one exchange; base is the tag of the table that it is about, "" for any.
func (c *Client) do(ctx context.Context, method, path, base string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://spoa"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if base != "" {
		req.Header.Set(headerBase, base)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("SPOA at %s: %w (is dfaas-spoa running?)", c.socket, err)
	}
	return resp, nil
}

// drain reads an answer to its end, so that the connection can be used again.
func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
}

// refusal is what an answer says is wrong, or nil.
func refusal(path string, resp *http.Response) error {
	if resp.StatusCode < http.StatusBadRequest {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // the status says enough without
	text := strings.TrimSpace(string(said))
	if path == pathTable && (resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusRequestEntityTooLarge) {
		return fmt.Errorf("%w: %s", ErrRefused, text)
	}
	if path == pathUnasked && resp.StatusCode == http.StatusNotFound {
		return ErrOlder
	}
	return fmt.Errorf("SPOA answered %s with %d: %s", path, resp.StatusCode, text)
}

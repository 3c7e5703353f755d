package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/dfaas/dfaas/internal/unixsock"
)

// Client talks to the supervisor of a directory. It is safe for concurrent use.
type Client struct {
	dir  string
	http *http.Client
}

// ErrDown says that no federation is up in the directory.
var ErrDown = errors.New("no federation is up")

// requestTimeout bounds a request; restarting a whole node takes longest.
const requestTimeout = 30 * time.Second

// NewClient returns a client for the supervisor in dir.
func NewClient(dir string) *Client {
	path, _ := socketIn(dir) // where there can be none, none is up: see Running
	return &Client{dir, unixsock.Client(path, requestTimeout)}
}

// State asks how the federation is doing.
func (c *Client) State(ctx context.Context) (State, error) {
	var state State
	body, err := c.do(ctx, http.MethodGet, "/v1/federation", nil)
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(body, &state); err != nil {
		return state, fmt.Errorf("decoding the supervisor's answer: %w", err)
	}
	return state, nil
}

// Do does something to a part of a node.
func (c *Client) Do(ctx context.Context, fault Fault) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/faults", fault)
	return err
}

// Link changes a link.
func (c *Client) Link(ctx context.Context, change Change) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/links", change)
	return err
}

// Stop stops the federation and returns when its processes are gone.
func (c *Client) Stop(ctx context.Context) error {
	if _, err := c.do(ctx, http.MethodPost, "/v1/stop", nil); err != nil {
		return err
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for Running(c.dir) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the end of the federation: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	if !Running(c.dir) {
		return nil, fmt.Errorf("%w in %s: `dfaas-emulator up --dir %s` starts one", ErrDown, c.dir, c.dir)
	}
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("asking the supervisor: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the supervisor in %s: %w", c.dir, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<22))
	if err != nil {
		return nil, fmt.Errorf("reading the supervisor's answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return nil, errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

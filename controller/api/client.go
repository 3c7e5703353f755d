package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/dfaas/dfaas/internal/unixsock"
)

// DefaultSocket is where the controller listens unless configured otherwise.
const DefaultSocket = "/run/dfaas/admin.sock"

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 64 << 20 // bytes: the largest table has a quarter of a million routes
)

// Client talks to the controller of this machine. It is safe for concurrent
// use. Errors say what to do; those that the controller answered are *Problem.
type Client struct {
	socket unixsock.Path
	http   *http.Client
}

// ParseSocket returns the path of an admin socket, for those who ask there.
func ParseSocket(text string) (unixsock.Path, error) {
	return unixsock.ParseSetting("admin socket", text)
}

// NewClient returns a client for the admin socket. It connects only when used.
func NewClient(socket unixsock.Path) *Client {
	return &Client{socket: socket, http: unixsock.Client(socket, 0)}
}

// Status returns the node's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Peers returns every known peer, sorted by id.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	return get[[]Peer](ctx, c, "/v1/peers")
}

// Functions returns those deployed here or at a peer, sorted by name.
func (c *Client) Functions(ctx context.Context) ([]Function, error) {
	return get[[]Function](ctx, c, "/v1/functions")
}

// Routes returns the plan of one function, or of all for "": sorted by
// function, local before out before in, then by peer. An unknown function has
// no routes.
func (c *Client) Routes(ctx context.Context, function string) ([]Route, error) {
	path := "/v1/routes"
	if function != "" {
		path += "?" + url.Values{"function": {function}}.Encode()
	}
	return get[[]Route](ctx, c, path)
}

// Join makes the controller connect to a member of the federation, given as a
// multiaddr with /p2p/ID. It waits up to half a minute for the connection.
func (c *Client) Join(ctx context.Context, address string) error {
	body, err := json.Marshal(JoinRequest{Address: address})
	if err != nil {
		return fmt.Errorf("encoding the join request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.do(ctx, http.MethodPost, "/v1/join", bytes.NewReader(body), nil)
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer T
	err := c.do(ctx, http.MethodGet, path, nil, &answer)
	return answer, err
}

// do sends one request and decodes the answer unless answer is nil.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://dfaas-controller"+path, body)
	if err != nil {
		return fmt.Errorf("asking dfaas-controller: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer response.Body.Close()
	encoded, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("reading dfaas-controller's answer: %w", err)
	}
	if len(encoded) > maxAnswer {
		return fmt.Errorf("dfaas-controller's answer has more than %d bytes", maxAnswer)
	}
	if response.StatusCode/100 != 2 {
		return problemOf(response.StatusCode, encoded)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(encoded, answer); err != nil {
		return fmt.Errorf("decoding the answer: is %s dfaas-controller's admin socket? %w", c.socket, err)
	}
	return nil
}

// problemOf reads an error answer. One that is no JSON keeps its status.
func problemOf(status int, body []byte) *Problem {
	problem := &Problem{}
	if json.Unmarshal(body, problem) != nil {
		problem.Message = ""
	}
	problem.Status = status
	return problem
}

// explain turns what the system says of the socket into what to do about it.
func (c *Client) explain(err error) error {
	// The URL in it is made up: it would only mislead.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "no such socket: is dfaas-controller running? If its admin_socket is elsewhere, name it (dfaasctl --socket)"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nobody listens: dfaas-controller has stopped. Start it: systemctl start dfaas-controller"
	case errors.Is(err, fs.ErrPermission):
		hint = "permission denied: add yourself to group dfaas (usermod -aG dfaas USER, then log in again), or use sudo"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "no answer in time: dfaas-controller hangs or the machine is overloaded"
	default:
		return fmt.Errorf("talking to dfaas-controller at %s: %w", c.socket, err)
	}
	return &socketError{message: fmt.Sprintf("admin socket %s: %s", c.socket, hint), cause: err}
}

// socketError reads as the hint alone; the cause stays for errors.Is.
type socketError struct {
	message string
	cause   error
}

func (e *socketError) Error() string { return e.message }
func (e *socketError) Unwrap() error { return e.cause }

package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/haproxytech/client-native/v5/runtime"
	"github.com/haproxytech/client-native/v5/runtime/options"

	"github.com/dfaas/dfaas/internal/unixsock"
)

// What can be wrong with the runtime API. The errors that Client returns wrap
// one of these where it applies, and say what to do about it.
var (
	ErrNoSocket   = errors.New("no runtime socket")
	ErrNotRunning = errors.New("HAProxy is not running")
	ErrPermission = errors.New("no permission")
	ErrTimeout    = errors.New("HAProxy does not answer")
	ErrNotLoaded  = errors.New("the drop-in is not loaded")
)

const (
	commandTimeout = 2 * time.Second // of one command, unless the context ends earlier
	maxCommands    = 8               // waiting for answers at the same time
	maxAnswer      = 4 << 20         // bytes
)

// Client speaks to one HAProxy over its runtime socket (`stats socket`, level
// admin). Every command dials anew, so restarts and reloads need no care. Safe
// for concurrent use.
type Client struct {
	socket unixsock.Path
	tlsDir string
	// running bounds the commands under way. A command given up by its caller
	// keeps its place until client-native lets go of it, after 30 seconds.
	running chan struct{}
}

// New returns a client for the runtime socket. It does not connect.
func New(socket unixsock.Path) *Client {
	return &Client{socket: socket, running: make(chan struct{}, maxCommands)}
}

// NewTLS returns a client that can also add peers with an anchor, and Secure
// the TLS port. The directory is what HAProxy knows as EnvTLSDir, in the same
// words: they are the names of what it has read from there.
func NewTLS(socket unixsock.Path, tlsDir string) (*Client, error) {
	if !validDir.MatchString(tlsDir) {
		return nil, fmt.Errorf("%q: use a path from / that consists of letters, digits and . _ - / only", tlsDir)
	}
	c := New(socket)
	c.tlsDir = tlsDir
	return c, nil
}

// Info tells which process answers.
func (c *Client) Info(ctx context.Context) (Info, error) {
	answer, err := c.run(ctx, "show info")
	if err != nil {
		return Info{}, err
	}
	return parseInfo(answer)
}

// Setting reads an environment variable of the drop-in as HAProxy has it, be it
// from the environment or by default. It is empty if HAProxy has none of that name.
func (c *Client) Setting(ctx context.Context, name string) (string, error) {
	answer, err := c.run(ctx, "show env "+name)
	if err != nil && strings.Contains(err.Error(), "Variable not found") {
		return "", nil
	}
	return strings.TrimPrefix(answer, name+"="), err
}

// peerMaxConn returns how many calls may be under way to one peer.
func (c *Client) peerMaxConn(ctx context.Context) (int, error) {
	text, err := c.Setting(ctx, EnvPeerMaxConn)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("HAProxy at %s: %s is %.40q, not the number of calls that may be under way to one peer", c.socket, EnvPeerMaxConn, text)
	}
	return int(n), nil
}

// Bound sees to it that the drop-in's frontends leave a third of the connections
// that HAProxy accepts to others, unless the operator has set EnvMaxConn. HAProxy
// forgets it with every reload.
func (c *Client) Bound(ctx context.Context) error {
	setting, err := c.Setting(ctx, EnvMaxConn)
	if err != nil || strings.TrimSpace(setting) != "auto" {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	for _, frontend := range []string{FrontendUsers, FrontendFallback} {
		// Each call whose peer is lost passes the second one, too.
		set := fmt.Sprintf("set maxconn frontend %s %d", frontend, max(1, info.MaxConn/3))
		if err := c.do(ctx, command{text: set}); err != nil {
			return fmt.Errorf("bounding the connections of %s: %w", frontend, err)
		}
	}
	return nil
}

// Servers reads the servers of one backend of the drop-in, in HAProxy's order.
// Those of BackendPeers are what Reconcile starts from.
func (c *Client) Servers(ctx context.Context, backend string) ([]Server, error) {
	answer, err := c.run(ctx, aboutServers(backend)...)
	if err != nil {
		return nil, err
	}
	servers, _, err := c.parseBackend(backend, answer)
	return servers, err
}

// Look reads the servers of BackendPeers, and what became of calls at this node's
// gateway. This is asked several times a second, so it takes one connection only.
func (c *Client) Look(ctx context.Context) (Look, error) {
	answer, err := c.run(ctx, append(aboutServers(BackendPeers), aboutCalls)...)
	if err != nil {
		return Look{}, err
	}
	servers, rest, err := c.parseBackend(BackendPeers, answer)
	if err != nil {
		return Look{}, err
	}
	look := Look{Servers: servers}
	look.Calls, look.CallsErr = c.parseCalls(rest)
	return look, nil
}

// Look is what HAProxy says at one moment.
type Look struct {
	Servers  []Server         // of BackendPeers
	Calls    map[string]Calls // by the function's name as it was called
	CallsErr error            // why they could not be read
}

// aboutServers are the commands whose answers parseBackend reads. `show stat` says
// everything but what is spoken to in TLS.
func aboutServers(backend string) []string {
	commands := []string{"show stat " + backend + " 4 -1", "show servers state " + backend}
	if backend == BackendPeers {
		commands = append(commands, "show table "+backend)
	}
	return commands
}

// parseBackend reads the servers of a backend, and returns what follows.
func (c *Client) parseBackend(backend, answer string) (servers []Server, rest string, err error) {
	statistics, answer, _ := strings.Cut(answer, "\n\n")
	state, answer, _ := strings.Cut(answer, "\n\n")
	if servers, err = parseServers(statistics); err != nil {
		return nil, "", fmt.Errorf("HAProxy at %s, %s: %w", c.socket, backend, err)
	}
	speaks, err := parseTLS(state)
	if err != nil {
		return nil, "", fmt.Errorf("HAProxy at %s, %s: %w", c.socket, backend, err)
	}
	for i := range servers {
		servers[i].TLS = speaks[servers[i].Name]
	}
	if backend != BackendPeers {
		return servers, answer, nil
	}
	table, rest, _ := strings.Cut(answer, "\n\n")
	rows, err := parseAnswers(table)
	if err != nil {
		return nil, "", fmt.Errorf("HAProxy at %s, %s: %w", c.socket, backend, err)
	}
	counted := answersOf(rows)
	for i := range servers {
		servers[i].Answers = counted[servers[i].Name]
	}
	return servers, rest, nil
}

// Apply makes the changes, in their order. A step that fails keeps the further
// steps for the same peer from being tried, not those for others; when HAProxy
// does not answer at all, nothing more is tried.
//
// It returns the ids of the servers that could not be deleted yet because they
// still have connections; they are disabled, take no new requests, and the next
// Reconcile tries again. That is not an error.
func (c *Client) Apply(ctx context.Context, steps []Step) (busy []string, err error) {
	var errs []error
	stuck := make(map[string]bool)
	for _, step := range steps {
		if stuck[step.Peer.ID] {
			continue
		}
		switch err := c.apply(ctx, step); {
		case err == nil:
		case errors.Is(err, errBusy):
			stuck[step.Peer.ID] = true
			busy = append(busy, step.Peer.ID)
		case unreachable(err):
			return busy, errors.Join(append(errs, err)...)
		default:
			stuck[step.Peer.ID] = true
			errs = append(errs, err)
		}
	}
	return busy, errors.Join(errs...)
}

// errBusy is HAProxy's refusal to delete a server that has connections.
var errBusy = errors.New("server still has connections")

func unreachable(err error) bool {
	return errors.Is(err, ErrNoSocket) || errors.Is(err, ErrNotRunning) || errors.Is(err, ErrPermission) ||
		errors.Is(err, ErrTimeout) || errors.Is(err, ErrNotLoaded) || errors.Is(err, context.Canceled)
}

func (c *Client) apply(ctx context.Context, step Step) error {
	commands, err := c.commands(ctx, step)
	if err != nil {
		return err
	}
	for _, command := range commands {
		if err := c.do(ctx, command); err != nil {
			return fmt.Errorf("%s server of peer %s: %w", step.Op, step.Peer.ID, err)
		}
	}
	return nil
}

// commands returns what to tell HAProxy. Nothing gets into a command that was
// not checked first: peers' ids and addresses come from the network. What a new
// server needs to be there before it has been brought there.
func (c *Client) commands(ctx context.Context, s Step) ([]command, error) {
	if !ValidPeerID(s.Peer.ID) {
		return nil, fmt.Errorf("%s server: %.80q is not a peer id", s.Op, s.Peer.ID)
	}
	server := BackendPeers + "/" + s.Peer.ID
	switch s.Op {
	case Add:
		if err := s.Peer.Validate(); err != nil {
			return nil, fmt.Errorf("add server: %w", err)
		}
		limit, err := c.peerMaxConn(ctx)
		if err != nil {
			return nil, fmt.Errorf("add server of peer %s: %w", s.Peer.ID, err)
		}
		// Weight 0 keeps it out of the balancing. Without the two pool words a
		// dynamic server never uses a connection twice. What does not fit into the
		// queue, the shortest there is, goes elsewhere at once.
		add := "add server " + server + " " + s.Peer.Address.String() +
			" weight 0 check inter 1s fall 2 rise 1 pool-max-conn 128 pool-purge-delay 1s" +
			" maxconn " + strconv.Itoa(limit) + " maxqueue 1"
		if s.Peer.Anchor == "" {
			return []command{{text: add}}, nil
		}
		words, err := c.addAnchor(ctx, s.Peer)
		if err != nil {
			return nil, fmt.Errorf("add server of peer %s: %w", s.Peer.ID, err)
		}
		return []command{{text: add + words}}, nil
	case Move:
		if err := s.Peer.Validate(); err != nil {
			return nil, fmt.Errorf("move server: %w", err)
		}
		address := s.Peer.Address
		return []command{{
			text: fmt.Sprintf("set server %s addr %s port %d", server, address.Addr(), address.Port()),
			want: "changed from",
		}}, nil
	case Enable:
		return []command{{text: "enable health " + server}, {text: "enable server " + server}}, nil
	case Disable:
		return []command{{text: "disable server " + server}}, nil
	case Shutdown:
		return []command{{text: "shutdown sessions server " + server}}, nil
	case Delete:
		forget, err := c.forget(ctx, s.Peer.ID)
		if err != nil {
			return nil, err
		}
		return slices.Concat([]command{{text: "del server " + server}}, forget, c.unsecured(s.Peer)), nil
	default:
		return nil, fmt.Errorf("unknown operation %q on a server", s.Op)
	}
}

// command is one for HAProxy.
type command struct {
	text string
	// unless is part of an error that means that there is nothing to do.
	unless string
	// want is part of every answer that says that it was done; empty: HAProxy
	// marks its errors as such.
	want string
}

// do executes a command of which only success matters.
//
// What was written to the socket of an HAProxy that hangs is executed when it goes
// on, however long ago it was given up. So an HAProxy is told of no change that has
// not answered just before.
func (c *Client) do(ctx context.Context, cmd command) error {
	if _, err := c.run(ctx, "show cli level"); err != nil {
		return err
	}
	answer, err := c.run(ctx, cmd.text)
	switch {
	case err != nil && cmd.unless != "" && strings.Contains(err.Error(), cmd.unless):
		return nil
	case err == nil && !strings.Contains(answer, cmd.want):
		return fmt.Errorf("HAProxy at %s: %.200q", c.socket, answer)
	}
	return err
}

// run executes commands over one connection; their answers follow each other, with
// an empty line between them, and the error is that of the first. It returns when
// the answers are there, when ctx ends or after commandTimeout, whichever is
// first, even if HAProxy hangs.
func (c *Client) run(ctx context.Context, commands ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	select {
	case c.running <- struct{}{}:
	case <-ctx.Done():
		return "", c.explain(ctx.Err())
	}
	type result struct {
		answer string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-c.running }()
		answer, err := execute(c.socket.String(), commands)
		done <- result{answer, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return "", c.explain(r.err)
		}
		return r.answer, c.check(r.answer)
	case <-ctx.Done():
		return "", c.explain(ctx.Err())
	}
}

// execute lets client-native do the talking. A new SingleRuntime each time costs
// nothing, and the lock inside it never makes a command wait for another one that
// hangs.
func execute(socket string, commands []string) (string, error) {
	for _, command := range commands {
		if strings.Contains(command, ";") {
			return "", fmt.Errorf("%.200q is more than one command", command)
		}
	}
	var r runtime.SingleRuntime
	if err := r.Init(socket, 0, 0, options.RuntimeOptions{DoNotCheckRuntimeOnInit: true}); err != nil {
		return "", err
	}
	answer, err := r.ExecuteRaw(strings.Join(commands, ";"))
	if err != nil {
		return "", err
	}
	if len(answer) > 4 && answer[0] == '[' && '0' <= answer[1] && answer[1] <= '3' && answer[2:4] == "]:" { // syslog's levels, up to err
		return "", fmt.Errorf("%s [%.200s]", strings.TrimSpace(answer[4:]), commands[0])
	}
	return answer, nil
}

// check finds the refusals that client-native takes for answers.
func (c *Client) check(answer string) error {
	if len(answer) > maxAnswer {
		return fmt.Errorf("HAProxy at %s: an answer of more than %d bytes", c.socket, maxAnswer)
	}
	if strings.HasPrefix(answer, "[6]: Unknown command") {
		return fmt.Errorf("HAProxy at %s does not know the command; version 2.6 or later is needed", c.socket)
	}
	return nil
}

// explain turns a failure into one of the errors above, with a hint.
func (c *Client) explain(err error) error {
	text := err.Error()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w at %s: start HAProxy, or name the path of its `stats socket` line as haproxy_socket", ErrNoSocket, c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens at %s; start it", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w to open %s: add this user to the socket's group (`adduser dfaas haproxy` on Debian)", ErrPermission, c.socket)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w at %s in time; look at its log, restart it if it hangs", ErrTimeout, c.socket)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("HAProxy at %s: %w", c.socket, err)
	case strings.Contains(text, "Permission denied"):
		return fmt.Errorf("%w for changes over %s: its `stats socket` line needs `level admin`", ErrPermission, c.socket)
	case strings.Contains(text, "No such proxy"), strings.Contains(text, "No such backend"):
		return fmt.Errorf("%w: HAProxy at %s has no backend %s; start it with `-f dfaas.cfg`", ErrNotLoaded, c.socket, BackendPeers)
	case strings.Contains(text, "still has connections"):
		return errBusy
	default:
		return fmt.Errorf("HAProxy at %s: %w", c.socket, err)
	}
}

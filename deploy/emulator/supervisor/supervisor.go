// Package supervisor keeps a federation running in the background: a process
// that answers on a unix socket, and the client that looks and acts there.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// SocketFile and LogFile are in the federation's directory.
const (
	SocketFile = "emulator.sock"
	LogFile    = "emulator.log"
)

const socketMode = 0o600

// State is the answer to GET /v1/federation.
type State struct {
	Ready bool   `json:"ready"` // it has formed once
	PID   int    `json:"pid"`   // of the supervisor
	Nodes []Node `json:"nodes"`
}

// Node is one row of State.
type Node struct {
	Name        string            `json:"name"`
	PeerID      string            `json:"peer_id"`
	URL         string            `json:"url"`
	Stats       string            `json:"stats"`
	Gateway     string            `json:"gateway"`
	AdminSocket string            `json:"admin_socket"`
	Healthy     bool              `json:"healthy"`
	Problem     string            `json:"problem,omitempty"` // why it is not healthy
	Parts       []federation.Part `json:"parts"`
}

// Fault is the body of POST /v1/faults.
type Fault struct {
	Do   scenario.Action `json:"do"`
	Node string          `json:"node"`
	Part scenario.Part   `json:"part"`
}

// Listen opens the socket in dir; of two supervisors for one directory the
// second fails.
func Listen(dir string) (net.Listener, error) {
	if Running(dir) {
		return nil, fmt.Errorf("a federation is up in %s already: `dfaas-emulator down --dir %s` stops it", dir, Quote(dir))
	}
	listener, err := unixsock.Listen(filepath.Join(dir, SocketFile), socketMode, "")
	if err != nil {
		return nil, fmt.Errorf("the supervisor's socket: %w", err)
	}
	return listener, nil
}

// Running reports whether a supervisor answers in dir.
func Running(dir string) bool {
	conn, err := net.DialTimeout("unix", filepath.Join(dir, SocketFile), time.Second)
	if err != nil {
		return errors.Is(err, syscall.EAGAIN) // its backlog is full: it hangs, but it is there
	}
	return conn.Close() == nil
}

// Serve starts a federation and answers on the socket until ctx ends or
// somebody asks it to stop; then the federation is stopped.
func Serve(ctx context.Context, listener net.Listener, o federation.Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &server{stop: stop}
	httpServer := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() {
		failed <- httpServer.Serve(listener)
		stop()
	}()
	f, err := federation.Start(ctx, o)
	if err == nil {
		s.federation.Store(f)
		o.Log.Info().Msg("the federation has formed")
		<-ctx.Done()
		o.Log.Info().Msg("stopping")
		f.Stop()
	} else if ctx.Err() != nil {
		err = nil // asked to stop while starting
	}
	// Last, so that whoever asked to stop knows by the closed socket.
	if closeErr := httpServer.Close(); err == nil {
		err = closeErr
	}
	if serveErr := <-failed; err == nil && !errors.Is(serveErr, http.ErrServerClosed) {
		err = serveErr
	}
	return err
}

type server struct {
	federation atomic.Pointer[federation.Federation] // nil until it has formed
	stop       context.CancelFunc
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/federation", s.state)
	mux.HandleFunc("POST /v1/faults", s.fault)
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, _ *http.Request) {
		s.stop()
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func (s *server) state(w http.ResponseWriter, r *http.Request) {
	state := State{PID: os.Getpid(), Nodes: []Node{}}
	if f := s.federation.Load(); f != nil {
		state.Ready = true
		for _, n := range f.Nodes() {
			state.Nodes = append(state.Nodes, describe(r.Context(), f, n))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	// The client is gone if this fails.
	_ = json.NewEncoder(w).Encode(state)
}

func describe(ctx context.Context, f *federation.Federation, n *federation.Node) Node {
	node := Node{
		Name: n.Name, PeerID: n.PeerID, URL: n.URL, Stats: n.Stats, Gateway: n.Gateway, AdminSocket: n.AdminSocket,
		Healthy: true, Parts: n.Parts(),
	}
	for _, part := range node.Parts {
		if part.State != federation.Running {
			node.Healthy = false
			node.Problem = fmt.Sprintf("%s is %s, see %s", part.Part, part.State, part.Log)
			return node
		}
	}
	if err := f.Ready(ctx, n); err != nil {
		node.Healthy, node.Problem = false, err.Error()
	}
	return node
}

func (s *server) fault(w http.ResponseWriter, r *http.Request) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	var fault Fault
	if err := decoder.Decode(&fault); err != nil {
		http.Error(w, "not a fault: "+err.Error(), http.StatusBadRequest)
		return
	}
	f := s.federation.Load()
	if f == nil {
		http.Error(w, "the federation is still starting", http.StatusServiceUnavailable)
		return
	}
	if err := do(r.Context(), f, fault); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func do(ctx context.Context, f *federation.Federation, fault Fault) error {
	action, err := scenario.ParseAction(string(fault.Do))
	if err != nil {
		return err
	}
	part, err := scenario.ParsePart(string(fault.Part))
	if err != nil {
		return err
	}
	node := f.Node(fault.Node)
	if node == nil {
		return fmt.Errorf("there is no node %q", fault.Node)
	}
	return node.Do(ctx, action, part)
}

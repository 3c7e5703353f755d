// Package supervisor keeps a federation running in the background: a process
// that answers on a unix socket, and the client that looks and acts there.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
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
	Links []Link `json:"links,omitempty"`
}

// Link is a link between two nodes.
type Link struct {
	Between [2]string `json:"between"`
	Link    string    `json:"link"` // as it is written: delay=20ms rate=100mbit
	Down    bool      `json:"down"`
}

// Change is the body of POST /v1/links.
type Change struct {
	Between [2]string         `json:"between"`
	Set     map[string]string `json:"set,omitempty"` // properties of a link, as they are written
	Down    *bool             `json:"down,omitempty"`
}

// Node is one row of State. URL, Stats and Gateway are those by which this machine reaches
// it.
type Node struct {
	Name        string `json:"name"`
	PeerID      string `json:"peer_id"`
	URL         string `json:"url"`
	Stats       string `json:"stats"`
	Gateway     string `json:"gateway"`
	AdminSocket string `json:"admin_socket"`
	// Namespace is the path of its network namespace, Address where it serves there; ""
	// if it has none of its own.
	Namespace string            `json:"namespace,omitempty"`
	Address   string            `json:"address,omitempty"`
	Healthy   bool              `json:"healthy"`
	Problem   string            `json:"problem,omitempty"` // why it is not healthy
	Parts     []federation.Part `json:"parts"`
}

// Fault is the body of POST /v1/faults.
type Fault struct {
	Do   scenario.Action `json:"do"`
	Node string          `json:"node,omitempty"`
	Part scenario.Part   `json:"part,omitempty"`
	// Nodes are those that are parted or healed.
	Nodes []string `json:"nodes,omitempty"`
}

// Listen opens the socket in dir; of two supervisors for one directory the
// second fails.
func Listen(dir string) (net.Listener, error) {
	if Running(dir) {
		return nil, fmt.Errorf("a federation is up in %s already: `dfaas-emulator down --dir %s` stops it", dir, Quote(dir))
	}
	path, err := socketIn(dir)
	if err != nil {
		return nil, err
	}
	listener, err := unixsock.Listen(path, socketMode, "")
	if err != nil {
		return nil, fmt.Errorf("the supervisor's socket: %w", err)
	}
	return listener, nil
}

func socketIn(dir string) (unixsock.Path, error) {
	return unixsock.ParseSetting("the supervisor's socket", filepath.Join(dir, SocketFile))
}

// Running reports whether a supervisor answers in dir.
func Running(dir string) bool {
	path, err := socketIn(dir)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := path.Dial(ctx)
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
		err = s.open(f, o.Ports)
		defer s.close()
	}
	if err == nil {
		s.federation.Store(f)
		o.Log.Info().Msg("the federation has formed")
		<-ctx.Done()
		o.Log.Info().Msg("stopping")
		f.Stop()
	} else if f != nil {
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
	ways       map[string]ways // into the networks of nodes, by their names
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/federation", s.state)
	mux.HandleFunc("POST /v1/faults", s.fault)
	mux.HandleFunc("POST /v1/links", s.link)
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
			state.Nodes = append(state.Nodes, s.describe(r.Context(), f, n))
		}
		for _, l := range f.Links() {
			state.Links = append(state.Links, Link{l.Between, l.Link.String(), l.Down})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	// The client is gone if this fails.
	_ = json.NewEncoder(w).Encode(state)
}

func (s *server) describe(ctx context.Context, f *federation.Federation, n *federation.Node) Node {
	node := Node{
		Name: n.Name, PeerID: n.PeerID, URL: n.URL, Stats: n.Stats, Gateway: n.Gateway, AdminSocket: n.AdminSocket.String(),
		Namespace: n.Namespace, Healthy: true, Parts: n.Parts(),
	}
	if w, ok := s.ways[n.Name]; ok {
		node.URL, node.Stats, node.Gateway, node.Address = w.url(), w.stats(), w.gateway(), n.URL
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
	var fault Fault
	s.act(w, r, &fault, func(f *federation.Federation) error { return do(r.Context(), f, fault) })
}

func (s *server) link(w http.ResponseWriter, r *http.Request) {
	var change Change
	s.act(w, r, &change, func(f *federation.Federation) error { return relink(f, change) })
}

// act decodes what is to be done, and does it.
func (s *server) act(w http.ResponseWriter, r *http.Request, what any, do func(*federation.Federation) error) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(what); err != nil {
		http.Error(w, "not understood: "+err.Error(), http.StatusBadRequest)
		return
	}
	f := s.federation.Load()
	if f == nil {
		http.Error(w, "the federation is still starting", http.StatusServiceUnavailable)
		return
	}
	if err := do(f); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// relink changes a link.
func relink(f *federation.Federation, c Change) error {
	if len(c.Set) > 0 {
		err := f.ChangeLink(c.Between[0], c.Between[1], func(l *topology.Link) error {
			for _, name := range slices.Sorted(maps.Keys(c.Set)) {
				if err := l.Set(name, c.Set[name]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if c.Down != nil {
		return f.SetLinkDown(c.Between[0], c.Between[1], *c.Down)
	}
	return nil
}

func do(ctx context.Context, f *federation.Federation, fault Fault) error {
	action, err := scenario.ParseAction(string(fault.Do))
	if err != nil {
		return err
	}
	if action == scenario.Partition || action == scenario.Heal {
		return f.Do(ctx, scenario.Fault{Do: action, Nodes: fault.Nodes})
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

package federation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// Node is one running node. What is exported does not change while the
// federation lives.
type Node struct {
	Name   string
	PeerID string
	// URL is where users call functions, without a slash at the end.
	URL string
	// PeerURL is where peers do: with TLS not the same.
	PeerURL string
	// Stats is the URL of HAProxy's statistics page and, with /metrics, of its metrics.
	Stats string
	// Gateway is the URL of the node's provider or gateway, as the node sees it.
	Gateway string
	// AdminSocket is the controller's, for dfaasctl --socket; HAProxySocket is
	// HAProxy's runtime socket, ControlSocket the SPOA's control socket.
	AdminSocket, HAProxySocket, ControlSocket unixsock.Path
	// Namespace is the path of the node's network namespace, while this program runs; "":
	// it has none of its own.
	Namespace string
	// Logs is the directory with one log file for each part.
	Logs string

	spec      scenario.Node
	place     place
	files     files
	parts     []*process
	turn      chan struct{} // held by the goroutine that acts on the node
	reloads   reloads       // guarded by turn
	restarted atomic.Int64
}

// newNode makes the node's directories and its identity.
func newNode(spec scenario.Node, p place, runDir, logDir string) (*Node, error) {
	n := &Node{
		Name: spec.Name, URL: "http://" + p.address(p.ports.HTTP), Stats: "http://" + p.address(p.ports.Stats),
		Gateway: spec.Gateway, Logs: filepath.Join(logDir, spec.Name),
		spec: spec, place: p, files: files{filepath.Join(runDir, spec.Name)}, turn: make(chan struct{}, 1),
	}
	if n.Gateway == "" {
		n.Gateway = "http://" + p.gateway()
	}
	n.PeerURL = n.URL
	if p.ports.TLS != 0 {
		n.PeerURL = "https://" + p.address(p.ports.TLS)
	}
	n.Namespace = p.space
	for path, text := range map[*unixsock.Path]string{&n.AdminSocket: n.files.admin(), &n.HAProxySocket: n.files.runtime(), &n.ControlSocket: n.files.control()} {
		var err error
		if *path, err = unixsock.ParseSetting("a socket", text); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", n.Name, err)
		}
	}
	for _, dir := range []string{n.files.provider(), n.Logs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", n.Name, err)
		}
	}
	id, err := identity.LoadOrCreate(n.files.identity())
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", n.Name, err)
	}
	n.PeerID = id.ID().String()
	if p.ports.TLS != 0 {
		// HAProxy starts first, and needs them.
		if err := identity.NewCertificates(id, n.files.tls()).Prepare(time.Now()); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", n.Name, err)
		}
	}
	return n, nil
}

// Dial connects to an address as a program on the node does.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.place.dial(ctx, network, address)
}

// Admin returns a client for the node's controller.
func (n *Node) Admin() *api.Client { return api.NewClient(n.AdminSocket) }

// Part is how one part of a node is doing.
type Part struct {
	Part  scenario.Part `json:"part"`
	State State         `json:"state"`
	PID   int           `json:"pid,omitempty"`
	Log   string        `json:"log"`
}

// Parts tells how the node's parts are doing.
func (n *Node) Parts() []Part {
	parts := make([]Part, len(n.parts))
	for i, p := range n.parts {
		state, pid := p.state()
		parts[i] = Part{Part: p.part, State: state, PID: pid, Log: p.log}
	}
	return parts
}

// Restarts counts the parts that Do restarted.
func (n *Node) Restarts() int { return int(n.restarted.Load()) }

// HAProxyReloads counts the reloads of HAProxy that Do did not make, as
// HAProxy's master counts them. While the master is dead or hangs, those of it
// that nobody read before are missing.
func (n *Node) HAProxyReloads(ctx context.Context) (int, error) {
	if err := n.take(ctx); err != nil {
		return 0, err
	}
	defer n.release()
	present := 0
	if state, _ := n.process(scenario.HAProxy).state(); state == Running {
		var err error
		if present, err = masterReloads(ctx, n.files.master()); err != nil {
			return 0, fmt.Errorf("counting the reloads of %s: %w", n.Name, err)
		}
	}
	return n.reloads.unwanted(present), nil
}

func (n *Node) take(ctx context.Context) error {
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) release() { <-n.turn }

// process returns the part's process; nil if the node does not have it.
func (n *Node) process(part scenario.Part) *process {
	for _, p := range n.parts {
		if p.part == part {
			return p
		}
	}
	return nil
}

// Do does something to a part of the node, or to all parts. Kill waits for the
// death, Restart for the start, Reload until the new worker has taken over; that
// the node is well again, WaitReady tells. Actions on one node happen one after
// the other.
func (n *Node) Do(ctx context.Context, action scenario.Action, part scenario.Part) error {
	if err := scenario.CheckFault(action, part); err != nil {
		return err
	}
	targets := n.parts
	if part != scenario.All {
		p := n.process(part)
		if p == nil {
			return fmt.Errorf("%s has no %s: its gateway runs elsewhere", n.Name, part)
		}
		targets = []*process{p}
	}
	if err := n.take(ctx); err != nil {
		return err
	}
	defer n.release()
	switch action {
	case scenario.Kill:
		return n.each(targets, func(p *process) error { n.remember(ctx, p); return p.kill() })
	case scenario.Stop:
		return n.each(targets, (*process).suspend)
	case scenario.Continue:
		return n.each(targets, (*process).resume)
	case scenario.Restart:
		return n.restart(ctx, targets)
	default:
		return n.reload(ctx, targets[0])
	}
}

func (n *Node) each(targets []*process, act func(*process) error) error {
	var errs []error
	for _, p := range targets {
		errs = append(errs, act(p))
	}
	return errors.Join(errs...)
}

// remember keeps the count of an HAProxy that is about to end.
func (n *Node) remember(ctx context.Context, p *process) {
	if state, _ := p.state(); p.part != scenario.HAProxy || state != Running {
		return
	}
	if count, err := masterReloads(ctx, n.files.master()); err == nil {
		n.reloads.seen += count
	}
}

func (n *Node) restart(ctx context.Context, targets []*process) error {
	for _, p := range targets {
		n.remember(ctx, p)
		p.terminate()
	}
	deadline, cancel := context.WithTimeout(context.Background(), EndTimeout)
	defer cancel()
	for _, p := range targets {
		p.await(deadline.Done())
	}
	return n.each(targets, func(p *process) error {
		n.restarted.Add(1)
		return p.start()
	})
}

func (n *Node) reload(ctx context.Context, p *process) error {
	l, err := p.running()
	if err != nil {
		return err
	}
	before, err := masterReloads(ctx, n.files.master())
	if err != nil {
		return fmt.Errorf("reloading haproxy of %s: %w", n.Name, err)
	}
	if err := p.reload(l); err != nil {
		return err
	}
	n.reloads.asked++
	return until(ctx, EndTimeout, func(ctx context.Context) error {
		count, err := masterReloads(ctx, n.files.master())
		if err == nil && count <= before {
			err = fmt.Errorf("haproxy of %s has not reloaded yet", n.Name)
		}
		return err
	})
}

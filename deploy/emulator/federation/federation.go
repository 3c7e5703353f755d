// Package federation runs a whole DFaaS federation on one machine: per node a
// provider, a SPOA, an HAProxy and a controller, each a process of its own, all
// on the loopback interface or each node in a network namespace.
//
//	f, err := federation.Start(ctx, federation.Options{
//		Binaries: binaries, Logs: dir, Strategy: "headroom", Period: time.Second, DefaultMaxrate: 100,
//		Nodes: []scenario.Node{...},
//	})
//	defer f.Stop()
//	node := f.Node("node-1")
//	err = node.Do(ctx, scenario.Kill, scenario.SPOA)
//
// Nothing outlives the program that called Start, even if that is killed.
package federation

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/identity"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/deploy/emulator/quota"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// Options say what federation to start.
type Options struct {
	Binaries Binaries // from FindBinaries
	// Nodes in the order of their start; the others find the federation through
	// the first.
	Nodes          []scenario.Node
	Strategy       string // of the nodes that do not name one
	Period         time.Duration
	DefaultMaxrate float64 // requests/s
	TLS            bool    // between the nodes' HAProxies
	FastPath       bool    // HAProxies need not ask about everything
	// Neighbours are to whom each node may forward, by their names; nil: everybody.
	Neighbours map[string][]string
	// Dir is for configuration, identities, state and sockets. Empty: a temporary
	// directory, removed by Stop. One whose path sockets or HAProxy cannot have is
	// reached by a symbolic link, removed by Stop.
	Dir string
	// Logs is for NODE/PART.log; empty: Dir.
	Logs string
	// Ports of the nodes; those that are 0 or left out are free ones.
	Ports []Ports
	// Namespaces gives each node a network namespace and an address of its own,
	// so that nodes can be parted. It needs root, and Ports does not apply.
	Namespaces bool
	// Topology, with Namespaces, is how the nodes are linked, by their indexes; nil: by a
	// bridge. What links lose follows from Seed.
	Topology *topology.Topology
	Seed     uint64
	// MDNS, with Namespaces, has the nodes find each other on their network, instead of
	// through the first.
	MDNS bool
	// IgnoreLimits starts nodes that are to have so many CPUs and so much memory with all
	// that the machine has.
	IgnoreLimits bool
	// Special are programs that some nodes run instead, by the node's name.
	Special map[string]Binaries
	Log     zerolog.Logger
}

// Of are the options that a scenario says.
func Of(s *scenario.Scenario) Options {
	o := Options{
		Nodes: s.Nodes, Strategy: s.Strategy, Period: s.Period, DefaultMaxrate: s.DefaultMaxrate, TLS: s.TLS, FastPath: s.FastPath,
		Namespaces: s.Namespaces, Topology: s.Topology, Seed: s.Seed, MDNS: s.MDNS,
	}
	if s.Neighbours {
		o.Neighbours = make(map[string][]string)
		for i := range s.Nodes {
			o.Neighbours[s.Nodes[i].Name] = s.NeighboursOf(i)
		}
	}
	return o
}

// Federation is a running federation. It is safe for concurrent use.
type Federation struct {
	nodes    []*Node
	byID     map[string]string
	key      string // path of the federation key
	id       string // tells this federation from others on the machine
	dir      string
	temp     string           // what Stop removes; "": nothing
	network  *network.Network // nil: the loopback interface
	groups   *quota.Groups    // nil: no node has limits
	taken    allocator        // ports of the loopback interface
	spawners []*spawner
	client   *http.Client // to the nodes
	log      zerolog.Logger
	stop     sync.Once
}

// Start starts the federation and returns when it has formed: everything runs,
// every node serves, knows its functions and those of all others. On failure
// everything is stopped, and the error has the end of the log that explains it.
func Start(ctx context.Context, o Options) (*Federation, error) {
	f, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := f.start(ctx); err != nil {
		f.Stop()
		if ctx.Err() != nil {
			// What was not ready when it was cut short explains nothing.
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return f, nil
}

// prepare makes the directories and writes the configuration.
func prepare(o Options) (_ *Federation, err error) {
	f := &Federation{byID: make(map[string]string), id: newID(), taken: make(allocator), log: o.Log}
	if err := f.chooseDir(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.release()
		}
	}()
	if o.Namespaces {
		if o.Topology != nil {
			f.network, err = network.NewLinked(o.Topology, o.Seed)
		} else {
			f.network, err = network.New()
		}
		if err != nil {
			return nil, err
		}
	}
	if err := f.limit(o); err != nil {
		return nil, err
	}
	f.client = &http.Client{Transport: &http.Transport{DialContext: f.Dial}}
	f.key = filepath.Join(f.dir, "federation.key")
	if _, err := os.Stat(f.key); errors.Is(err, os.ErrNotExist) {
		if err := identity.CreateFederationKey(f.key); err != nil {
			return nil, err
		}
	}
	if o.Logs == "" {
		o.Logs = cmp.Or(o.Dir, f.dir)
	}
	places, err := f.places(o)
	if err != nil {
		return nil, err
	}
	for i, spec := range o.Nodes {
		node, err := newNode(spec, places[i], f.dir, o.Logs)
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, node)
		f.byID[node.PeerID] = node.Name
	}
	for _, node := range f.nodes {
		if err := f.writeConfig(node, o); err != nil {
			return nil, err
		}
		node.parts = f.processes(node, o)
	}
	return f, nil
}

func newID() string {
	id := make([]byte, 6)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func (f *Federation) chooseDir(dir string) error {
	if dir != "" {
		path, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("the federation's directory: %w", err)
		}
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("the federation's directory: %w", err)
		}
		f.dir = path
		if len(path) > maxDir || !plainPath.MatchString(path) {
			f.dir = shortWay + f.id
			f.temp = f.dir
			if err := os.Symlink(path, f.dir); err != nil {
				return fmt.Errorf("a short way to the federation's directory: %w", err)
			}
		}
		return nil
	}
	// Not in TMPDIR, which may be long.
	path, err := os.MkdirTemp("/tmp", "dfaas-")
	if err != nil {
		return fmt.Errorf("the federation's directory: %w", err)
	}
	f.dir, f.temp = path, path
	return nil
}

// shortWay is where the link to a directory with a path that will not do is.
const shortWay = "/tmp/dfaas-"

// RemoveShortWays removes the links to a federation's directory that a program which was
// killed has left.
func RemoveShortWays(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("the federation's directory: %w", err)
	}
	links, err := filepath.Glob(shortWay + "*")
	if err != nil {
		return err
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && to == dir {
			if err := os.Remove(l); err != nil {
				return fmt.Errorf("removing what is left: %w", err)
			}
		}
	}
	return nil
}

// plainPath has nothing that means something in HAProxy's configuration, its
// options or its runtime commands, such as blanks and commas.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// release lets go of all that is not a process.
func (f *Federation) release() {
	f.taken.close()
	for _, s := range f.spawners {
		s.close()
	}
	if f.network != nil {
		if len(f.network.Links()) > 0 {
			f.log.Debug().Interface("frames", f.network.Counts()).Msg("closing the network")
		}
		if err := f.network.Close(); err != nil {
			f.log.Warn().Err(err).Msg("network namespaces not closed")
		}
	}
	if f.groups != nil {
		if err := errors.Join(f.groups.Remove(), os.Remove(groupsFile(f.dir))); err != nil {
			f.log.Warn().Err(err).Msg("control groups not removed")
		}
	}
	if f.temp == "" {
		return
	}
	// Of a link, what it leads to stays.
	if err := os.RemoveAll(f.temp); err != nil {
		f.log.Warn().Err(err).Str("dir", f.temp).Msg("temporary directory not removed")
	}
}

// Dir is where the configuration and the sockets are.
func (f *Federation) Dir() string { return f.dir }

// Nodes lists the nodes in the order of their start.
func (f *Federation) Nodes() []*Node { return f.nodes }

// Node returns the node of that name; nil if there is none.
func (f *Federation) Node(name string) *Node {
	for _, n := range f.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// NameOf returns the name of the node with that peer id, or the id itself.
func (f *Federation) NameOf(peerID string) string {
	if name, ok := f.byID[peerID]; ok {
		return name
	}
	return peerID
}

// Crashed returns an error for every part that ended by itself, with the end of
// its log; nil if there is none.
func (f *Federation) Crashed() error {
	var errs []error
	for _, n := range f.nodes {
		for _, p := range n.parts {
			errs = append(errs, p.crash())
		}
	}
	return errors.Join(errs...)
}

// Stop ends all processes, politely first, and returns when they are gone.
// Nothing may be done to the nodes after.
func (f *Federation) Stop() {
	f.stop.Do(func() {
		var parts []*process
		for _, n := range f.nodes {
			n.turn <- struct{}{} // kept: nobody restarts anything any more
			parts = append(parts, n.parts...)
		}
		for _, p := range parts {
			p.terminate()
		}
		deadline, cancel := context.WithTimeout(context.Background(), EndTimeout)
		defer cancel()
		for _, p := range parts {
			p.await(deadline.Done())
		}
		f.client.CloseIdleConnections()
		f.release()
	})
}

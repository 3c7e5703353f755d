package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/topology"
)

// kind is a way to set up the federation.
type kind int

const (
	plain   kind = iota
	gated        // the faulty node's gateway is one that can be made to fail
	onDisk       // the faulty node's files are on a disk that can be filled
	spread       // each node has a network of its own, so that it can be cut off
	clocked      // the faulty node's clock can be set
	linked       // each node has a link to each other, and there is a fourth node
	fast         // HAProxies need not ask about everything, and the faulty node has room for its users
)

var kindNames = [...]string{plain: "plain", gated: "gated", onDisk: "disk", spread: "spread", clocked: "clocked", linked: "linked", fast: "fast"}

// The nodes, by their part in the play.
const (
	faulty    = "faulty"
	healthy   = "healthy"
	bystander = "bystander"
	partner   = "partner" // of kind linked: has room for everybody, and no users
)

// The functions: that of the faulty node's users, that of the healthy node's.
// Each is more wanted there than the node can serve, and the others have room.
const (
	here   = "here"
	others = "others"
)

const (
	userRate  = 60.0 // requests/s of the users of the faulty and of the healthy node
	quietRate = 30.0 // of the bystander's
	scarce    = 30.0 // requests/s that a node can serve of its users' function
	plenty    = 150.0
)

// testbed is a running federation to do faults to.
type testbed struct {
	f    *federation.Federation
	gate *gate  // of kind gated
	disk string // of kind onDisk: where it is mounted
	own  string // of kind clocked: where the programs are that have their own clock
	undo []func()
}

func newTestbed(ctx context.Context, k kind, o Options) (_ *testbed, err error) {
	b := &testbed{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	dir, err := os.MkdirTemp("/tmp", "dfaas-f-")
	if err != nil {
		return nil, fmt.Errorf("the federation's directory: %w", err)
	}
	b.undo = append(b.undo, func() { os.RemoveAll(dir) })
	var special map[string]federation.Binaries
	var links *topology.Topology
	nodes := []scenario.Node{
		{Name: faulty, Functions: functions(scarce, plenty)},
		{Name: healthy, Functions: functions(plenty, scarce)},
		{Name: bystander, Functions: functions(plenty, plenty)},
	}
	switch k {
	case gated:
		if b.gate, err = newGate(ctx, filepath.Join(dir, "gateway"), nodes[0].Functions, o.Log); err != nil {
			return nil, err
		}
		b.undo = append(b.undo, b.gate.close)
		nodes[0].Gateway = b.gate.url
	case onDisk:
		b.disk = filepath.Join(dir, faulty)
		unmount, err := smallDisk(b.disk)
		if err != nil {
			return nil, err
		}
		b.undo = append(b.undo, unmount)
	case clocked:
		b.own = filepath.Join(dir, "own-clock")
		programs, err := ownClock(ctx, b.own)
		if err != nil {
			return nil, err
		}
		special = map[string]federation.Binaries{faulty: programs}
	case fast:
		nodes[0].Functions = functions(plenty, plenty)
	case linked:
		nodes = append(nodes, scenario.Node{Name: partner, Functions: functions(plenty, plenty)})
		if links, err = (topology.Shape{Kind: topology.Mesh, Link: topology.Link{Delay: linkDelay}}).Topology(len(nodes)); err != nil {
			return nil, err
		}
	}
	b.f, err = federation.Start(ctx, federation.Options{
		Binaries: o.Binaries, Nodes: nodes, Strategy: scenario.DefaultStrategy, Period: scenario.DefaultPeriod,
		DefaultMaxrate: scenario.DefaultMaxrate, Dir: dir, Logs: o.logs(k), Namespaces: k == spread || k == linked, Topology: links, Special: special, Log: o.Log,
		FastPath: k == fast,
	})
	if errors.Is(err, network.ErrUnavailable) {
		return nil, notPossible{err}
	}
	if err != nil {
		return nil, fmt.Errorf("starting the federation: %w", err)
	}
	b.undo = append(b.undo, b.f.Stop)
	return b, nil
}

// close stops everything and removes it.
func (b *testbed) close() {
	for _, undo := range slices.Backward(b.undo) {
		undo()
	}
}

func functions(rateHere, rateOthers float64) []scenario.Function {
	return []scenario.Function{
		{Name: here, Image: "http-echo", Maxrate: &rateHere},
		{Name: others, Image: "http-echo", Maxrate: &rateOthers},
	}
}

func (b *testbed) node(name string) *federation.Node { return b.f.Node(name) }

// lookTimeout bounds one look at a node, which may hang.
const lookTimeout = 500 * time.Millisecond

// normal tells what is not as it should be: every node sees all others, and has
// the routes.
func (b *testbed) normal(ctx context.Context, want routes) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := b.f.Crashed(); err != nil {
		return err
	}
	// Every node is asked even when another has failed: its hanging must not
	// hide behind the first one's error.
	var group errgroup.Group
	for _, n := range b.f.Nodes() {
		group.Go(func() error {
			if err := b.f.Ready(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	has, err := b.routes(ctx)
	if err != nil {
		return err
	}
	if want != "" && has != want {
		return fmt.Errorf("routes are %s, not %s", has, want)
	}
	return nil
}

// routes says where the surplus of the overloaded nodes may go.
type routes string

func (b *testbed) routes(ctx context.Context) (routes, error) {
	var all []string
	for name, function := range map[string]string{faulty: here, healthy: others} {
		list, err := b.node(name).Admin().Routes(ctx, function)
		if err != nil {
			return "", fmt.Errorf("routes of %s: %w", name, err)
		}
		for _, r := range list {
			if r.Kind == "out" && r.Rate > 0 {
				all = append(all, name+">"+b.f.NameOf(r.Peer))
			}
		}
	}
	slices.Sort(all)
	return routes(strings.Join(all, " ")), nil
}

// peersUp reports whether the faulty node's HAProxy has the servers of all peers.
func (b *testbed) peersUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	servers, err := haproxy.New(b.node(faulty).HAProxySocket).Servers(ctx, haproxy.BackendPeers)
	if err != nil {
		return err
	}
	for _, n := range b.f.Nodes() {
		if n.Name != faulty && !slices.ContainsFunc(servers, func(s haproxy.Server) bool { return s.Name == n.PeerID && s.State == haproxy.Up }) {
			return fmt.Errorf("no server for %s", n.Name)
		}
	}
	return nil
}

// unasked waits so long, and returns how many calls a second of the faulty node's users its
// HAProxy has served meanwhile without asking the agent; 0 where that cannot be read.
func (b *testbed) unasked(ctx context.Context, lasting time.Duration) (perSecond float64, err error) {
	count := func() uint32 {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		counted, err := haproxy.New(b.node(faulty).HAProxySocket).Unasked(ctx)
		if err != nil {
			return 0
		}
		return counted.Functions[here].Count
	}
	begun, first := time.Now(), count()
	if err := pause.For(ctx, lasting); err != nil {
		return 0, err
	}
	last := count()
	return float64(max(first, last)-first) / time.Since(begun).Seconds(), nil
}

// watch looks at a condition until ctx ends.
func watch(ctx context.Context, zero time.Time, every time.Duration, condition func(context.Context) error) []look {
	var looks []look
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := condition(ctx)
		if ctx.Err() != nil {
			return looks
		}
		looks = append(looks, look{at: time.Since(zero), err: err})
		select {
		case <-ctx.Done():
			return looks
		case <-ticker.C:
		}
	}
}

// until waits for the condition, for at most limit.
func until(ctx context.Context, limit time.Duration, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if pause.For(ctx, 100*time.Millisecond) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// Options of a run of the matrix.
type Options struct {
	Binaries federation.Binaries
	// Keep is a directory for the logs of the nodes and every response; empty:
	// they are not kept.
	Keep string
	Log  zerolog.Logger
	// Progress, if given, is told what happens, a line at a time.
	Progress func(line string)
}

func (o Options) logs(k kind) string {
	if o.Keep == "" {
		return ""
	}
	return filepath.Join(o.Keep, "logs", kindNames[k])
}

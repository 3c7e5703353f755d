// Package soak keeps a federation under random load for a long time while its
// nodes leave, die, hang, restart and come back, and other members come and go.
// In the end it gives its verdict: was every request answered, did anything
// leak, race or panic.
//
// The federation has three nodes, each with a network namespace of its own where
// this program may make them, and one of the nodes a clock of its own where it can
// be built. Nothing is done to the anchor, whose processes
// so live as long as the soak does: theirs are the trends that tell most. Each of
// the others goes through a script of faults; about 60 % of the faults are
// such that no request may break off because of them. What happens, though not the
// moment at which it does, follows from the seed.
package soak

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/churn"
	"github.com/dfaas/dfaas/deploy/emulator/clock"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/network"
	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/experiment/load"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
	"github.com/dfaas/dfaas/internal/unixsock"
)

// Bounds of how long a soak may last.
const (
	MinDuration = 10 * time.Second
	MaxDuration = 24 * time.Hour
)

// Options of a soak.
type Options struct {
	Binaries federation.Binaries
	// Emulator is the path of dfaas-emulator, which the members that come and go run.
	Emulator string
	Duration time.Duration
	Seed     uint64
	// PeerTLS is that of the nodes.
	PeerTLS bool
	// Clocks: one node's clock is set wrong at times, for which some of its programs
	// are built once more, in minutes the first time.
	Clocks bool
	// Logs is the directory for the logs of the nodes.
	Logs string
	Log  zerolog.Logger
	// Progress, if given, is told how it goes, a line every few seconds.
	Progress func(line string)
}

// The nodes.
const (
	anchor = "anchor"
	// clocked is the only one whose clock is ever wrong: most others' are right.
	clocked = "edge-1"
)

var nodeNames = []string{anchor, clocked, "edge-2"}

// The functions: two with a limit that start a process for each call, and one
// without that is a server. Every node has all of them.
var functionNames = []string{"echo", "digest", "free"}

func functions() []scenario.Function {
	limit := 20.0
	return []scenario.Function{
		{Name: functionNames[0], Process: "cat", Maxrate: &limit},
		{Name: functionNames[1], Process: "sha256sum", Maxrate: &limit},
		{Name: functionNames[2], Image: "http-echo"},
	}
}

const (
	// wellWithin is how long a node may take to be well again after a fault. It is
	// generous: programs under the race detector on a busy machine are slow.
	wellWithin = 60 * time.Second
	// calmEnd is how long before the end the last fault may begin.
	calmEnd = 15 * time.Second
	// actTimeout bounds one action on a node, and the undoing of one.
	actTimeout    = 20 * time.Second
	progressEvery = 5 * time.Second
)

// Run soaks until the duration is over or ctx ends, and returns what came of it.
// An error means that there is no verdict.
func Run(ctx context.Context, o Options) (Report, error) {
	r := Report{Seed: o.Seed, Wanted: o.Duration, Race: withRaceDetector(o.Binaries)}
	s := &soak{o: o, uses: make(readings)}
	defer s.close()
	if err := s.open(ctx, &r); err != nil {
		return r, err
	}
	if err := s.run(ctx); err != nil {
		return r, err
	}
	s.examine(ctx, &r)
	s.close()
	r.Leftovers = leftovers(s.f.Dir())
	r.judge()
	return r, nil
}

// open starts what this machine allows.
func (s *soak) open(ctx context.Context, r *Report) error {
	r.PeerTLS = s.o.PeerTLS
	special, err := s.ownClock(ctx, r)
	if err != nil {
		return err
	}
	nodes := make([]scenario.Node, len(nodeNames))
	for i, name := range nodeNames {
		nodes[i] = scenario.Node{Name: name, Functions: functions()}
	}
	o := federation.Options{
		Binaries: s.o.Binaries, Nodes: nodes, Strategy: scenario.DefaultStrategy, Period: scenario.DefaultPeriod,
		DefaultMaxrate: scenario.DefaultMaxrate, TLS: s.o.PeerTLS, Logs: s.o.Logs, Namespaces: true, Special: special, Log: s.o.Log,
	}
	s.f, err = federation.Start(ctx, o)
	if errors.Is(err, network.ErrUnavailable) {
		r.Missing = append(r.Missing, fmt.Sprintf("partitions: %v", err))
		o.Namespaces = false
		s.f, err = federation.Start(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("starting the federation: %w", err)
	}
	s.undo = append(s.undo, s.f.Stop)
	s.apart = o.Namespaces
	s.guestLog = filepath.Join(s.o.Logs, "visitors.log")
	log, err := os.OpenFile(s.guestLog, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("the log of the members that come and go: %w", err)
	}
	defer log.Close()
	if s.inn, err = churn.OpenInn(ctx, s.f, s.o.Emulator, s.o.PeerTLS, log); err != nil {
		return err
	}
	s.undo = append(s.undo, func() { _ = s.inn.Close() })
	s.zero = time.Now()
	return nil
}

// ownClock builds the programs of the node with a clock of its own, if that is
// possible here.
func (s *soak) ownClock(ctx context.Context, r *Report) (map[string]federation.Binaries, error) {
	if !s.o.Clocks {
		r.Missing = append(r.Missing, "wrong clocks: not asked for")
		return nil, nil
	}
	dir, err := os.MkdirTemp("/tmp", "dfaas-s-")
	if err != nil {
		return nil, fmt.Errorf("programs with a clock of their own: %w", err)
	}
	s.undo = append(s.undo, func() { os.RemoveAll(dir) })
	if s.o.Progress != nil {
		s.o.Progress("building programs with a clock of their own, which takes minutes the first time")
	}
	own := filepath.Join(dir, "own-clock")
	programs, err := clock.Programs(ctx, own, r.Race)
	if errors.Is(err, clock.ErrUnavailable) {
		r.Missing = append(r.Missing, fmt.Sprintf("wrong clocks: %.200s", strings.ReplaceAll(err.Error(), "\n", " ")))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.own = own
	return map[string]federation.Binaries{clocked: programs}, nil
}

// close stops everything and removes it.
func (s *soak) close() {
	for _, undo := range slices.Backward(s.undo) {
		undo()
	}
	s.undo = nil
}

// soak is a soak that runs.
type soak struct {
	o     Options
	f     *federation.Federation
	inn   *churn.Inn // of the goroutine that receives
	zero  time.Time
	tally tally
	undo  []func()

	own      string // where the programs are that have their own clock; "": there are none
	apart    bool   // nodes can be cut off
	guestLog string // path

	// Of the goroutine that watches.
	uses readings
	logs logbook

	giveUp context.CancelCauseFunc // of the soak

	mu       sync.Mutex
	visitors int // that have left
}

func (s *soak) now() time.Duration { return time.Since(s.zero) }

// fail ends the soak, which cannot do what it should.
func (s *soak) fail(err error) { s.giveUp(&failure{err}) }

// failure is the cause of an end that nobody outside asked for.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// run does everything at once: first the faults end, then the load, then the
// watching.
func (s *soak) run(ctx context.Context) error {
	ctx, s.giveUp = context.WithCancelCause(ctx)
	defer s.giveUp(nil)
	acting, stopActing := context.WithDeadline(ctx, s.zero.Add(s.o.Duration-min(calmEnd, s.o.Duration/4)))
	defer stopActing()
	loading, stopLoading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoading()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()

	var actors, loads, watchers sync.WaitGroup
	for _, name := range nodeNames {
		if name != anchor {
			actors.Go(func() { s.afflict(acting, s.f.Node(name)) })
		}
		for _, function := range functionNames {
			loads.Go(func() { s.send(loading, s.f.Node(name), function) })
		}
	}
	actors.Go(func() { s.receive(acting) })
	watchers.Go(func() { s.watch(watching) })

	_ = pause.For(ctx, s.o.Duration) // that it was cut short is in the report
	actors.Wait()
	stopLoading()
	loads.Wait()
	stopWatching()
	watchers.Wait()
	var f *failure
	if errors.As(context.Cause(ctx), &f) {
		return f.error
	}
	return nil
}

// afflict goes through a node's script until ctx ends. A fault that has begun is
// undone even then.
func (s *soak) afflict(ctx context.Context, n *federation.Node) {
	script := random(s.o.Seed, n.Name)
	for {
		f := nextFault(script)
		if !s.possible(n, f) {
			continue
		}
		if pause.For(ctx, f.pause) != nil {
			return
		}
		i := s.tally.begin(n.Name, f, s.now())
		err := s.inflict(ctx, n, f)
		undone := s.now()
		s.tally.change(i, func(i *incident) { i.undone = undone })
		if err == nil {
			well, cancel := context.WithTimeout(context.WithoutCancel(ctx), wellWithin)
			if err = s.well(well, n); err != nil {
				err = fmt.Errorf("not well again within %v: %w", wellWithin, err)
			}
			cancel()
		}
		normal := s.now()
		s.tally.change(i, func(i *incident) { i.normal, i.err = normal, err })
		if err != nil {
			return // the rest would only repeat it
		}
	}
}

// possible reports whether the fault can be done to the node here.
func (s *soak) possible(n *federation.Node, f fault) bool {
	switch f.do {
	case scenario.Partition:
		return s.apart
	case jump:
		return s.own != "" && n.Name == clocked
	}
	return true
}

// inflict does a fault to a node and undoes it.
func (s *soak) inflict(ctx context.Context, n *federation.Node, f fault) error {
	act := func(action scenario.Action) func() error {
		return func() error {
			acting, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout)
			defer cancel()
			return n.Do(acting, action, f.part)
		}
	}
	do, undo := act(f.do), func() error { return nil }
	switch f.do {
	case scenario.Kill:
		undo = act(scenario.Restart)
	case scenario.Stop:
		undo = act(scenario.Continue)
	case scenario.Partition:
		do, undo = func() error { return s.f.Partition(n.Name) }, func() error { return s.f.Heal(n.Name) }
	case jump:
		do, undo = func() error { return clock.Set(s.own, f.by) }, func() error { return clock.Set(s.own, 0) }
	}
	if err := do(); err != nil {
		return err
	}
	if f.lasting > 0 {
		_ = pause.For(ctx, f.lasting)
	}
	return undo()
}

// well waits until a node serves, and knows its functions and all other nodes.
func (s *soak) well(ctx context.Context, n *federation.Node) error {
	for {
		err := s.f.Ready(ctx, n)
		if err == nil {
			return nil
		}
		if pause.For(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// receive goes through the visitors' script until ctx ends.
func (s *soak) receive(ctx context.Context) {
	script := random(s.o.Seed, "visitors")
	for {
		next := nextStay(script)
		if pause.For(ctx, next.pause) != nil {
			return
		}
		err := s.inn.Receive(churn.Visit{
			Function: next.function, Capacity: next.capacity, Life: next.life, Polite: next.polite,
		})
		if err != nil {
			s.fail(err)
			return
		}
		s.mu.Lock()
		s.visitors++
		s.mu.Unlock()
	}
}

// send goes through the script of one load until ctx ends.
func (s *soak) send(ctx context.Context, n *federation.Node, function string) {
	name := function + " at " + n.Name
	script := random(s.o.Seed, name)
	for {
		next := nextPhase(script)
		if pause.For(ctx, next.pause) != nil {
			return
		}
		_, err := load.Send(ctx, load.Attack{
			Load: scenario.Load{
				Target: n.Name, Function: function, Rate: next.rate, Start: s.now(), Duration: next.duration,
				Method: http.MethodPost, Body: next.text(),
			},
			URL: n.URL, Zero: s.zero, Dial: s.f.Dial, Results: io.Discard,
			Node:    func(http.Header) string { return "" },
			Observe: func(sample summary.Sample) { s.tally.answered(name, sample) },
		})
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// watch reads what the processes use and what they log until ctx ends.
func (s *soak) watch(ctx context.Context) {
	every := min(max(s.o.Duration/120, time.Second), progressEvery)
	told := time.Duration(0)
	for pause.For(ctx, every) == nil {
		s.uses.read(ctx, s.f, s.now())
		if err := s.logs.read(s.f, s.guestLog); err != nil {
			s.fail(err)
			return
		}
		if now := s.now(); s.o.Progress != nil && now-told >= progressEvery {
			told = now
			s.o.Progress(progress(now, s.o.Duration, s.tally.outcome(), s.logs))
		}
	}
}

// progress is one line on how it goes.
func progress(now, end time.Duration, o outcome, l logbook) string {
	return fmt.Sprintf("%s of %s: %s; %d faults, %s; %d races, %d panics", now.Round(time.Second), end.Round(time.Second),
		requestsText(o), len(o.incidents), o.now(), l.races, l.panics)
}

// examine completes the report with what is to be seen of the federation while
// it runs.
func (s *soak) examine(ctx context.Context, r *Report) {
	r.Lasted, r.Interrupted = s.now(), ctx.Err() != nil
	r.outcome, r.visitors, r.usages = s.tally.outcome(), s.visitors, s.uses.usages()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wellWithin)
	defer cancel()
	for _, n := range s.f.Nodes() {
		if err := s.well(ctx, n); err != nil {
			r.unwell = append(r.unwell, fmt.Sprintf("%s at the end: %v", n.Name, err))
		}
		reloads, err := n.HAProxyReloads(ctx)
		if err != nil {
			r.unwell = append(r.unwell, err.Error())
		}
		r.Reloads += reloads
		// Those that the agent recovered from may be left out of its log.
		if count, err := metric(ctx, unixsock.Client(n.ControlSocket, 0), "http://local/metrics", "dfaas_spoa_panics_total"); err == nil {
			s.logs.panics += int(count)
		}
	}
	if err := s.f.Crashed(); err != nil {
		r.crashed = err.Error()
	}
	if err := s.logs.read(s.f, s.guestLog); err != nil {
		r.unwell = append(r.unwell, err.Error())
	}
	r.logs = s.logs
}

// withRaceDetector reports whether all programs of ours were built with it.
func withRaceDetector(binaries federation.Binaries) bool {
	for part, path := range binaries {
		if part == scenario.HAProxy {
			continue
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil || !slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" }) {
			return false
		}
	}
	return true
}

// leftovers lists the processes that still have to do with the federation.
func leftovers(dir string) []string {
	processes, err := procfs.AllProcs()
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, p := range processes {
		if p.PID == os.Getpid() {
			continue
		}
		// What has ended meanwhile, or is another user's, cannot be read.
		command, _ := p.CmdLine()
		environ, _ := p.Environ()
		if strings.Contains(strings.Join(append(environ, command...), "\n"), dir+"/") {
			left = append(left, fmt.Sprintf("%d %s", p.PID, strings.Join(command, " ")))
		}
	}
	return left
}

package provider

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sys/unix"
)

// function is one deployed function as it runs: replaced, never changed, by
// every deployment. It is safe for concurrent use.
type function struct {
	name   string // as faasd.Name has it: the key it is found by
	key    string // NAME.NAMESPACE, always: in metrics and messages
	record record
	// spec is nil while problem says why the function cannot be run here.
	spec     *spec
	problem  error
	book     *logBook  // shared by all deployments of this name
	runner   *runner   // nil without spec
	upstream *upstream // in HTTP mode, unless scaled to zero
	calls    *atomic.Uint64

	uploads  uploads // bodies that calls under way still wait for
	inflight atomic.Int64
	retired  atomic.Bool
	drained  chan struct{} // gets a value when a retired function loses a call
}

// enter begins a call. It fails when enough are under way, and when the function
// was replaced: retired then tells which.
func (f *function) enter() (ok, retired bool) {
	n := f.inflight.Add(1)
	if f.retired.Load() {
		f.leave()
		return false, true
	}
	if n > f.spec.maxInflight {
		f.leave()
		return false, false
	}
	return true, false
}

// full reports whether enter would refuse a call now, and no other call could
// give way to it.
func (f *function) full() bool {
	return f.inflight.Load() >= f.spec.maxInflight && !f.uploads.anySlow()
}

// leave ends a call, also one that enter refused.
func (f *function) leave() {
	f.inflight.Add(-1)
	if f.retired.Load() {
		select {
		case f.drained <- struct{}{}:
		default:
		}
	}
}

// retire lets the calls under way end, for as long as one may take or until stop
// is closed, and then ends what runs for the function. No call can enter any more.
func (f *function) retire(stop <-chan struct{}) {
	f.retired.Store(true)
	if f.spec != nil {
		f.awaitCalls(stop)
	}
	f.end()
}

// awaitCalls waits until no call is under way, for as long as one may take or
// until stop is closed.
func (f *function) awaitCalls(stop <-chan struct{}) {
	enough := time.After(f.spec.timeout + killGrace)
	for f.inflight.Load() > 0 {
		select {
		case <-f.drained:
		case <-stop:
			return
		case <-enough:
			return
		}
	}
}

// end ends what runs for the function, and its shares of the secrets and the log.
func (f *function) end() {
	if f.upstream != nil {
		f.upstream.close()
	}
	if f.runner != nil {
		f.runner.close()
		_ = os.RemoveAll(f.runner.mount)
		f.runner.users.leave(f.runner.user)
	}
	f.book.leave()
}

// newFunction makes a function that can be called. It starts the process of one
// in HTTP mode. Only the owner of the state directory calls it.
func (g *registry) newFunction(rec record, s *spec, problem error, old *function, name string) (*function, error) {
	d := rec.Deployment
	f := &function{
		name: name, key: d.Service + "." + d.Namespace, record: rec,
		spec: s, problem: problem, calls: new(atomic.Uint64), drained: make(chan struct{}, 1),
	}
	var err error
	if old != nil {
		f.book, f.calls = old.book.share(), old.calls
	} else if f.book, err = newLogBook(d.Service, d.Namespace); err != nil {
		return nil, err
	}
	if s == nil {
		return f, nil
	}
	user, err := g.dir.users.take(f.key)
	if err != nil {
		f.end()
		return nil, err
	}
	mount, err := g.dir.mountSecrets(d.Namespace, d.Secrets, user)
	if err == nil {
		err = hand(user, f.book.writer)
	}
	if err != nil {
		g.dir.users.leave(user)
		f.end()
		return nil, err
	}
	f.runner = newRunner(s, f.book, mount, g.confinement, g.dir.spoolDir())
	f.runner.user, f.runner.users = user, g.dir.users
	if s.mode == modeHTTP && rec.Replicas > 0 {
		if f.upstream, err = startUpstream(f.runner, g.maxOutput, g.logger); err != nil {
			f.end()
			return nil, err
		}
	}
	return f, nil
}

// available is the number of replicas that take calls: 0 or 1.
func (f *function) available() uint64 {
	switch {
	case f.record.Replicas == 0 || f.spec == nil:
		return 0
	case f.upstream != nil && !f.upstream.ready():
		return 0
	case unix.Access(f.spec.argv[0], unix.X_OK) != nil: // it was there when the function was deployed
		return 0
	}
	return 1
}

// status is what the REST API says of the function.
func (f *function) status() types.FunctionStatus {
	d := f.record.Deployment
	status := types.FunctionStatus{
		Name: d.Service, Namespace: d.Namespace, Image: d.Image, EnvProcess: d.EnvProcess, EnvVars: d.EnvVars,
		Constraints: d.Constraints, Secrets: d.Secrets, Labels: d.Labels, Annotations: d.Annotations,
		Limits: d.Limits, Requests: d.Requests, ReadOnlyRootFilesystem: d.ReadOnlyRootFilesystem,
		InvocationCount: float64(f.calls.Load()), CreatedAt: f.record.CreatedAt.UTC().Truncate(time.Second),
		Replicas: f.record.Replicas, AvailableReplicas: f.available(),
	}
	return status
}

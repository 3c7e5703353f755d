package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/clip"
)

// maxFunctions is the most functions that one provider deploys.
const maxFunctions = 1000

// registry knows the deployed functions. One goroutine, run, makes all changes,
// to the state directory first and then to what calls see, which is an immutable
// map behind a pointer.
type registry struct {
	dir       *stateDir
	resolver  *resolver
	metrics   *metrics
	maxOutput int64
	logger    zerolog.Logger

	confinement *confinement // of all functions' processes; nil: none

	functions atomic.Pointer[map[string]*function] // by function.name
	changes   chan func()
	stopped   chan struct{}
	retiring  sync.WaitGroup
}

func newRegistry(dir *stateDir, r *resolver, m *metrics, maxOutput int64, c *confinement, logger zerolog.Logger) *registry {
	g := &registry{
		dir: dir, resolver: r, metrics: m, maxOutput: maxOutput, confinement: c, logger: logger,
		changes: make(chan func()), stopped: make(chan struct{}),
	}
	g.functions.Store(&map[string]*function{})
	return g
}

// all returns the deployed functions, which the caller must not change.
func (g *registry) all() map[string]*function { return *g.functions.Load() }

// find returns the function called NAME or NAME.NAMESPACE, nil if there is none.
func (g *registry) find(name string) *function {
	return g.all()[strings.TrimSuffix(name, "."+faasd.DefaultNamespace)]
}

// restore deploys what was deployed when the provider last ran. A function that
// cannot be run any more stays deployed and says why when it is called.
func (g *registry) restore() error {
	records, err := g.dir.load()
	if err != nil {
		return err
	}
	if len(records) > maxFunctions {
		return fmt.Errorf("%s holds %d functions: %d at most", g.dir.functionsFile(), len(records), maxFunctions)
	}
	functions := make(map[string]*function, len(records))
	g.functions.Store(&functions) // so that stop ends what was started, should a later one fail
	for _, rec := range records {
		d := &rec.Deployment
		if err := g.resolver.checkDeployment(d); err != nil {
			return fmt.Errorf("%s: %w (correct or remove the file)", g.dir.functionsFile(), err)
		}
		s, problem := g.resolver.resolve(*d)
		name := faasd.Name(d.Service, d.Namespace)
		if problem != nil {
			g.logger.Warn().Str("function", name).Err(problem).Msg("a deployed function cannot be run")
		}
		if functions[name] != nil {
			return fmt.Errorf("%s: %s is there twice (correct or remove the file)", g.dir.functionsFile(), name)
		}
		f, err := g.newFunction(rec, s, problem, nil, name)
		if err != nil {
			return fmt.Errorf("restore %s: %w", name, err)
		}
		functions[name] = f
		g.metrics.replicas(f.key, rec.Replicas)
	}
	return nil
}

// run makes the changes until ctx ends.
func (g *registry) run(ctx context.Context) {
	defer close(g.stopped)
	for {
		select {
		case change := <-g.changes:
			change()
		case <-ctx.Done():
			return
		}
	}
}

// stop ends all processes in HTTP mode. It is called when run and all calls have
// ended.
func (g *registry) stop() {
	for _, f := range *g.functions.Swap(&map[string]*function{}) {
		g.retire(f)
	}
	g.retiring.Wait()
}

// do runs change in the goroutine that owns the state directory. When ctx ends
// first, the change may still happen.
func (g *registry) do(ctx context.Context, change func() error) error {
	done := make(chan error, 1)
	select {
	case g.changes <- func() { done <- change() }:
	case <-g.stopped:
		return errStopping
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deploy deploys a new function or, with update, replaces one.
func (g *registry) deploy(ctx context.Context, d types.FunctionDeployment, update bool) error {
	if err := g.resolver.checkDeployment(&d); err != nil {
		return err
	}
	s, err := g.resolver.resolve(d)
	if err != nil {
		return err
	}
	return g.do(ctx, func() error {
		name := faasd.Name(d.Service, d.Namespace)
		old := g.all()[name]
		switch {
		case old == nil && update:
			return notFound("function %s is not deployed: deploy it with POST", name)
		case old != nil && !update:
			return conflict("function %s is deployed already: replace it with PUT", name)
		case old == nil && len(g.all()) >= maxFunctions:
			return conflict("%d functions are deployed, which is the most there can be", maxFunctions)
		}
		for _, secret := range d.Secrets {
			if err := g.checkSecret(d.Namespace, secret); err != nil {
				return err
			}
		}
		return g.replace(name, record{Deployment: d, CreatedAt: time.Now().UTC(), Replicas: 1}, s, nil)
	})
}

func (g *registry) checkSecret(namespace, name string) error {
	if err := checkSecretName(name); err != nil {
		return err
	}
	_, err := os.Stat(filepath.Join(g.dir.secretsDir(namespace), name))
	if errors.Is(err, os.ErrNotExist) {
		return badRequest("secret %s is not there in namespace %s: create it first with POST /system/secrets", name, namespace)
	}
	return err
}

// scale sets the number of replicas, 0 or 1, of a deployed function.
func (g *registry) scale(ctx context.Context, name string, replicas uint64) error {
	return g.do(ctx, func() error {
		f := g.find(name)
		if f == nil {
			return notFound("function %s is not deployed", clip.Text(name))
		}
		if replicas > 1 {
			return badRequest("%d replicas: there is at most one here; raise max_inflight to let it serve more calls at once", replicas)
		}
		if f.record.Replicas == replicas {
			return nil
		}
		rec := f.record
		rec.Replicas = replicas
		return g.replace(f.name, rec, f.spec, f.problem)
	})
}

// remove removes a deployed function.
func (g *registry) remove(ctx context.Context, name string) error {
	return g.do(ctx, func() error {
		f := g.find(name)
		if f == nil {
			return notFound("function %s is not deployed", clip.Text(name))
		}
		next := maps.Clone(g.all())
		delete(next, f.name)
		if err := g.dir.save(records(next)); err != nil {
			return err
		}
		g.functions.Store(&next)
		g.metrics.forget(f.key)
		g.logger.Info().Str("function", f.name).Msg("function removed")
		g.retire(f)
		return nil
	})
}

// replace saves and publishes one function anew. Only the owner calls it.
func (g *registry) replace(name string, rec record, s *spec, problem error) error {
	old := g.all()[name]
	f, err := g.newFunction(rec, s, problem, old, name)
	if err != nil {
		return fmt.Errorf("start function %s: %w", name, err)
	}
	next := maps.Clone(g.all())
	next[name] = f
	if err := g.dir.save(records(next)); err != nil {
		f.end()
		return err
	}
	g.functions.Store(&next)
	g.metrics.replicas(f.key, rec.Replicas)
	event := g.logger.Info().Str("function", name).Str("image", rec.Deployment.Image).Uint64("replicas", rec.Replicas)
	if s != nil {
		event = event.Strs("command", s.argv).Str("mode", string(s.mode))
	}
	event.Msg("function deployed")
	if old != nil {
		g.retire(old)
	}
	return nil
}

// retire ends f in the background, once its calls have ended.
func (g *registry) retire(f *function) {
	g.retiring.Go(func() { f.retire(g.stopped) })
}

// namespaces returns the default namespace and those that hold functions, sorted.
func (g *registry) namespaces() []string {
	names := []string{faasd.DefaultNamespace}
	for _, f := range g.all() {
		names = append(names, f.record.Deployment.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// in returns the functions of one namespace, sorted by name.
func (g *registry) in(namespace string) []*function {
	var found []*function
	for _, f := range g.all() {
		if f.record.Deployment.Namespace == namespace {
			found = append(found, f)
		}
	}
	slices.SortFunc(found, func(a, b *function) int { return cmp.Compare(a.name, b.name) })
	return found
}

func records(functions map[string]*function) []record {
	list := make([]record, 0, len(functions))
	for _, f := range functions {
		list = append(list, f.record)
	}
	slices.SortFunc(list, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Deployment.Namespace, b.Deployment.Namespace), cmp.Compare(a.Deployment.Service, b.Deployment.Service))
	})
	return list
}

package rollout

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openfaas/faas-provider/types"

	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// gateway answers each try with the next of its errors, nil for success, and the last
// one from then on. Its functions are ready a time after it was made.
type gateway struct {
	errs  []error
	tries int // of one goroutine: that of its gateway
	ready time.Time
}

func (g *gateway) Update(context.Context, types.FunctionDeployment) error {
	g.tries++
	return g.errs[min(g.tries, len(g.errs))-1]
}

func (g *gateway) Deploy(context.Context, types.FunctionDeployment) error { return nil }

func (g *gateway) List(context.Context) (faasd.List, error) {
	f := faasd.Function{Name: testvalue.Name("cat"), ReadyKnown: true}
	if !time.Now().Before(g.ready) {
		f.Ready = 1
	}
	return faasd.List{Functions: []faasd.Function{f}}, nil
}

func TestRun(t *testing.T) {
	gone := errors.New("connection refused")
	status := func(code int) error { return &faasd.StatusError{Code: code} }
	patience := Patience{Tries: 20, Every: 10 * time.Second}
	for name, test := range map[string]struct {
		gateway  gateway
		patience Patience
		want     Result
		took     time.Duration
	}{
		"there":               {gateway{errs: []error{nil}}, patience, Result{Result: Updated, Tries: 1}, 0},
		"not there":           {gateway{errs: []error{status(http.StatusNotFound)}}, patience, Result{Result: Deployed, Tries: 1}, 0},
		"starts":              {gateway{errs: []error{gone, gone, status(503), nil}}, patience, Result{Result: Updated, Tries: 4}, 30 * time.Second},
		"never comes":         {gateway{errs: []error{gone}}, patience, Result{Result: Failed, Tries: 20, Error: gone.Error()}, 190 * time.Second},
		"a mistake":           {gateway{errs: []error{status(400)}}, patience, Result{Result: Failed, Tries: 1, Error: status(400).Error()}, 0},
		"the wrong password":  {gateway{errs: []error{status(401)}}, patience, Result{Result: Failed, Tries: 1, Error: status(401).Error()}, 0},
		"ready after a while": {gateway{errs: []error{nil}, ready: time.Unix(946684803, 0)}, Patience{Tries: 1, Ready: time.Minute}, Result{Result: Updated, Tries: 1}, 3 * time.Second},
		"never ready": {gateway{errs: []error{nil}, ready: time.Unix(1<<40, 0)}, Patience{Tries: 1, Ready: time.Minute},
			Result{Result: Failed, Tries: 1, Error: "deployed, and not ready after 1m0s: no replica takes calls"}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now() // 2000-01-01, as synctest has it
				var again atomic.Int32
				got := Run(t.Context(), []Gateway{{"n1", &test.gateway}}, []types.FunctionDeployment{{Service: "cat"}}, test.patience,
					func(Result) { again.Add(1) })
				test.want.Node, test.want.Function = "n1", "cat"
				if diff := cmp.Diff([]Result{test.want}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if int(again.Load()) != test.want.Tries-1 {
					t.Errorf("%d tries were said to be repeated, of %d", again.Load(), test.want.Tries)
				}
			})
		})
	}
}

// A context that ends ends the waiting for replicas, and is what the error says.
func TestRunEndsBeforeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		g := &gateway{errs: []error{nil}, ready: time.Unix(1<<40, 0)}
		got := Run(ctx, []Gateway{{"n1", g}}, []types.FunctionDeployment{{Service: "cat"}}, Patience{Tries: 1, Ready: time.Minute}, func(Result) {})
		if want := "deployed, and interrupted before it was ready: context deadline exceeded"; got[0].Error != want {
			t.Errorf("%q, want %q", got[0].Error, want)
		}
	})
}

// A context that ends ends the waiting for a gateway.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		g := &gateway{errs: []error{errors.New("connection refused")}}
		got := Run(ctx, []Gateway{{"n1", g}}, []types.FunctionDeployment{{Service: "cat"}}, Patience{Tries: 20, Every: 10 * time.Second},
			func(Result) {})
		if got[0].Result != Failed || got[0].Tries != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func FuzzReadStack(f *testing.F) {
	f.Add("functions:\n  a: {image: cat, labels: {dfaas.maxrate: 20}}\n")
	f.Add("provider: &x {name: openfaas}\nfunctions:\n  a: {image: cat, environment: *x, secrets: [b], limits: {cpu: 1}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "stack.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		functions, err := ReadStack(path)
		if err != nil {
			return
		}
		for _, fn := range functions {
			if !faasd.ValidLabel(fn.Service) || fn.Namespace != "" && !faasd.ValidLabel(fn.Namespace) {
				t.Errorf("function %q in namespace %q", fn.Service, fn.Namespace)
			}
		}
	})
}

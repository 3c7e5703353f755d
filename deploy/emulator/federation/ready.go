package federation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sync/errgroup"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// readyTimeout is how long a federation may take to form, on a busy machine.
const readyTimeout = 60 * time.Second

// pollInterval is the time between two looks at a condition.
const pollInterval = 50 * time.Millisecond

// until asks for the condition until it holds (nil). At the deadline its error
// is the condition's last one.
func until(ctx context.Context, timeout time.Duration, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil || errors.As(err, new(*final)) {
			return err
		}
		// A call cut off by the deadline says less than the one before it.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-ticker.C:
		}
	}
}

// final is the error of a condition that will never hold.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// start starts the nodes and waits. As many begin at the same time as there are
// processors for: hundreds of programs that are all loaded at once hold each other up for
// so long that each takes the others for dead.
func (f *Federation) start(ctx context.Context) error {
	group, starting := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for _, n := range f.nodes {
		group.Go(func() error { return f.startNode(starting, n) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	f.log.Debug().Int("nodes", len(f.nodes)).Msg("functions deployed, all parts started")
	return f.WaitReady(ctx)
}

// startNode starts the node's parts, the provider first: once the functions are
// deployed, the controller reads the right ones at its first look. It waits until the
// controller answers.
func (f *Federation) startNode(ctx context.Context, n *Node) error {
	deployed := false
	for _, p := range n.parts {
		if p.part != scenario.Provider && !deployed {
			if err := f.deploy(ctx, n); err != nil {
				return err
			}
			deployed = true
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	return f.awaits(ctx, n, func(ctx context.Context) error {
		if _, err := n.Admin().Status(ctx); err != nil {
			return &lacking{scenario.Controller, err}
		}
		return nil
	})
}

// awaits waits until the node is as the condition says, or something crashes.
func (f *Federation) awaits(ctx context.Context, n *Node, condition func(context.Context) error) error {
	err := until(ctx, readyTimeout, func(ctx context.Context) error {
		if err := f.Crashed(); err != nil {
			return &final{err}
		}
		return condition(ctx)
	})
	if err != nil {
		return explain(n, err)
	}
	return nil
}

// WaitReady waits until all nodes serve, know the functions deployed on them
// and see each other with theirs; those of which a part was killed or stopped
// are left out. It fails after a minute.
func (f *Federation) WaitReady(ctx context.Context) error {
	for _, n := range f.whole() {
		if err := f.awaits(ctx, n, func(ctx context.Context) error { return f.Ready(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

// explain adds the log of the part that a condition waited for.
func explain(n *Node, err error) error {
	var lacking *lacking
	if !errors.As(err, &lacking) {
		return err
	}
	text := fmt.Sprintf("%s is not ready: %v", n.Name, err)
	if p := n.process(lacking.part); p != nil {
		text += fmt.Sprintf("; the end of its log, %s:\n%s", p.log, tail(p.log))
	}
	return errors.New(text)
}

// lacking is the error of a condition that waits for a part.
type lacking struct {
	part scenario.Part
	err  error
}

func (l *lacking) Error() string { return string(l.part) + ": " + l.err.Error() }
func (l *lacking) Unwrap() error { return l.err }

// whole lists the nodes of which every part runs, or has crashed.
func (f *Federation) whole() []*Node {
	var whole []*Node
	for _, n := range f.nodes {
		if !slices.ContainsFunc(n.Parts(), func(p Part) bool { return p.State == Dead || p.State == Suspended }) {
			whole = append(whole, n)
		}
	}
	return whole
}

// Ready tells what the node still lacks; nil when it is ready. See WaitReady.
func (f *Federation) Ready(ctx context.Context, n *Node) error {
	if err := f.serves(ctx, n.URL+"/healthz"); err != nil {
		return &lacking{scenario.HAProxy, err}
	}
	return f.planned(ctx, n)
}

func (f *Federation) serves(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// planned tells what the node's controller lacks to plan as it should.
func (f *Federation) planned(ctx context.Context, n *Node) error {
	status, err := n.Admin().Status(ctx)
	if err != nil {
		return &lacking{scenario.Controller, err}
	}
	for _, c := range status.Components {
		if !c.OK {
			return &lacking{partOf(c), fmt.Errorf("the controller cannot use %s: %s", c.Name, c.Error)}
		}
	}
	if err := f.informed(ctx, n); err != nil {
		return &lacking{scenario.Controller, err}
	}
	return nil
}

// partOf is the part whose log may tell why the controller cannot use a
// component.
func partOf(c api.Component) scenario.Part {
	switch c.Name {
	case "spoa":
		return scenario.SPOA
	case "haproxy":
		return scenario.HAProxy
	case "gateway":
		return scenario.Provider
	default:
		return scenario.Controller
	}
}

// informed tells what the node's controller does not know yet.
func (f *Federation) informed(ctx context.Context, n *Node) error {
	admin := n.Admin()
	functions, err := admin.Functions(ctx)
	if err != nil {
		return err
	}
	for _, wanted := range n.spec.Functions {
		if !slices.ContainsFunc(functions, func(f api.Function) bool { return f.Name == wanted.Name && f.Local }) {
			return fmt.Errorf("function %s is not listed", wanted.Name)
		}
	}
	peers, err := admin.Peers(ctx)
	if err != nil {
		return err
	}
	for _, other := range f.whole() {
		if other == n {
			continue
		}
		if err := knows(peers, other); err != nil {
			return err
		}
	}
	return nil
}

// knows tells what is missing in a node's view of another one.
func knows(peers []api.Peer, other *Node) error {
	i := slices.IndexFunc(peers, func(p api.Peer) bool { return p.ID == other.PeerID })
	if i < 0 {
		return fmt.Errorf("it does not know %s", other.Name)
	}
	peer := peers[i]
	if peer.State != "alive" || peer.Server != "up" && !peer.Apart {
		return fmt.Errorf("%s is %s %s, its server in HAProxy is %s", other.Name, peer.State, peer.Reason, peer.Server)
	}
	for _, wanted := range other.spec.Functions {
		if !slices.Contains(peer.Functions, wanted.Name) {
			return fmt.Errorf("%s has not announced %s", other.Name, wanted.Name)
		}
	}
	return nil
}

// deploy deploys the node's functions, once its provider answers. A foreign
// gateway is only expected to answer.
func (f *Federation) deploy(ctx context.Context, n *Node) error {
	client, err := faasd.New(faasd.Options{URL: n.Gateway, User: n.spec.GatewayUser, PasswordFile: n.spec.GatewayPasswordFile, DialContext: n.place.dial})
	if err != nil {
		return fmt.Errorf("gateway of %s: %w", n.Name, err)
	}
	defer client.Close()
	err = f.awaits(ctx, n, func(ctx context.Context) error {
		if err := client.Healthy(ctx); err != nil {
			return &lacking{scenario.Provider, err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n.spec.Gateway != "" {
		return nil
	}
	return f.deployAll(ctx, n, client)
}

// deployAll deploys what is missing and updates what is there: a directory
// that was used before has functions of another time.
func (f *Federation) deployAll(ctx context.Context, n *Node, client *faasd.Client) error {
	list, err := client.List(ctx)
	if err != nil {
		return fmt.Errorf("functions of %s: %w", n.Name, err)
	}
	old := make(map[string]bool)
	for _, function := range list.Functions {
		old[function.Name.String()] = true
	}
	for _, function := range n.spec.Functions {
		change := client.Deploy
		if old[function.Name] {
			change = client.Update
		}
		if err := change(ctx, deployment(function)); err != nil {
			return fmt.Errorf("functions of %s: %w", n.Name, err)
		}
		delete(old, function.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if err := client.Remove(ctx, name); err != nil {
			return fmt.Errorf("functions of %s: %w", n.Name, err)
		}
	}
	return nil
}

// deployment is what the provider is told about a function.
func deployment(f scenario.Function) types.FunctionDeployment {
	labels := maps.Clone(f.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	if f.Maxrate != nil {
		labels[faasd.LabelMaxRate] = strconv.FormatFloat(*f.Maxrate, 'f', -1, 64)
	}
	if f.TimeoutMillis != 0 {
		labels[faasd.LabelTimeoutMS] = strconv.FormatInt(f.TimeoutMillis, 10)
	}
	env := maps.Clone(f.Env)
	if f.Mode != "" {
		if env == nil {
			env = make(map[string]string)
		}
		env["mode"] = f.Mode
	}
	image := f.Image
	if image == "" {
		// The image is for the record: the process says what runs.
		image = "process/" + strings.Fields(f.Process + " none")[0]
	}
	return types.FunctionDeployment{Service: f.Name, Image: image, EnvProcess: f.Process, EnvVars: env, Labels: &labels}
}

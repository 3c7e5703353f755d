package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"
	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/faasd"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
)

// patience is how long a test waits for what nobody promised a time for.
const patience = 20 * time.Second

// cluster is a running federation with what tests need of it.
type cluster struct {
	*federation.Federation
	one, two, three *federation.Node // three is nil in a federation of two
}

// start runs a federation until the test ends, and returns when every node would
// forward calls of every function to every other node that has it. What the
// options leave out is filled in.
func start(t *testing.T, o federation.Options) *cluster {
	t.Helper()
	o.Binaries, o.Logs = built.binaries, t.TempDir()
	if o.Strategy == "" {
		o.Strategy = scenario.DefaultStrategy
	}
	if o.Period == 0 {
		o.Period = scenario.DefaultPeriod
	}
	if o.DefaultMaxrate == 0 {
		o.DefaultMaxrate = scenario.DefaultMaxrate
	}
	f, err := startOne(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, f) })
	showLogs(t, o.Logs)
	c := &cluster{Federation: f, one: f.Node("node-1"), two: f.Node("node-2"), three: f.Node("node-3")}
	for _, n := range c.Nodes() {
		for _, other := range o.Nodes {
			for _, function := range other.Functions {
				if other.Name != n.Name {
					c.awaitTable(t, n, function.Name, c.Node(other.Name))
				}
			}
		}
	}
	return c
}

// startOne starts a federation while no other starts.
func startOne(ctx context.Context, o federation.Options) (*federation.Federation, error) {
	starting.Lock()
	defer starting.Unlock()
	return federation.Start(ctx, o)
}

// stop ends the federation and asserts that nothing of it is left.
func stop(t *testing.T, f *federation.Federation) {
	t.Helper()
	var pids []int
	for _, n := range f.Nodes() {
		for _, part := range n.Parts() {
			if part.PID != 0 {
				pids = append(pids, part.PID)
			}
		}
	}
	f.Stop()
	for _, pid := range pids {
		if err := syscall.Kill(-pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process group %d still runs: %v", pid, err)
		}
	}
	if _, err := os.Stat(f.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", f.Dir(), err)
	}
}

// awaitTable waits until the node may forward calls of the function to the peer.
func (c *cluster) awaitTable(t *testing.T, n *federation.Node, function string, to *federation.Node) {
	t.Helper()
	spoa := control.New(n.ControlSocket)
	defer spoa.Close()
	eventually(t, patience, n.Name+" may forward "+function+" to "+to.Name, func() error {
		current, err := spoa.Table(t.Context())
		if err != nil || current == nil {
			return fmt.Errorf("no table: %w", err)
		}
		for _, row := range current.Functions {
			for _, forward := range row.Forward {
				if row.Name.String() == function && forward.Peer.String() == to.PeerID && forward.Rate.PerSecond() > 0 {
					return nil
				}
			}
		}
		return fmt.Errorf("functions %+v", current.Functions)
	})
}

// nodes are the nodes node-1 to node-n, with their functions.
func nodes(functions ...[]scenario.Function) []scenario.Node {
	var all []scenario.Node
	for i, f := range functions {
		all = append(all, scenario.Node{Name: fmt.Sprintf("node-%d", i+1), Functions: f})
	}
	return all
}

// process is a function that runs a command, with a label for its capacity in
// requests/s.
func process(name, command string, maxrate float64) scenario.Function {
	return scenario.Function{Name: name, Process: command, Maxrate: &maxrate}
}

// echo is a function that costs next to nothing to call, with a label for its
// capacity in requests/s: where rates are judged, starting a process for each
// call would load the machine more than all else.
func echo(name string, maxrate float64) scenario.Function {
	return scenario.Function{Name: name, Image: "http-echo", Maxrate: &maxrate}
}

// eventually waits until the condition holds, which it does when it returns nil.
func eventually(t *testing.T, within time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
		<-poll.C
	}
}

// client calls functions. Every request has a connection of its own: a test that
// ends an HAProxy must not meet an idle connection to it.
var client = &http.Client{
	Timeout:       30 * time.Second,
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// request is a request for a node. The zero value gets "/".
type request struct {
	path    string // with its query
	body    []byte // nil: none
	chunked bool   // the length of the body is not known beforehand
	header  http.Header
}

// reply is the response.
type reply struct {
	status int
	body   []byte
	header http.Header
}

// node is the peer id of the node that executed, or refused, the request.
func (r reply) node() string { return r.header.Get(haproxy.HeaderNodeID) }

func (r reply) String() string {
	return fmt.Sprintf("%d %.200q by %s at %s", r.status, r.body, r.node(), r.header.Get(haproxy.HeaderServer))
}

// send sends a request to a node: GET without a body, POST with one.
func send(ctx context.Context, n *federation.Node, r request) (reply, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.body)
	}
	if r.chunked {
		body = struct{ io.Reader }{body}
	}
	out, err := http.NewRequestWithContext(ctx, method, n.URL+r.path, body)
	if err != nil {
		return reply{}, err
	}
	for name, values := range r.header {
		out.Header[name] = values
	}
	in, err := client.Do(out)
	if err != nil {
		return reply{}, err
	}
	defer in.Body.Close()
	text, err := io.ReadAll(in.Body)
	return reply{in.StatusCode, text, in.Header}, err
}

// callOnce is send for requests that are answered.
func callOnce(t *testing.T, n *federation.Node, r request) reply {
	t.Helper()
	answer, err := send(t.Context(), n, r)
	if err != nil {
		t.Fatalf("calling %s%s: %v", n.Name, r.path, err)
	}
	return answer
}

// call is callOnce where the agent decides. Where a busy machine's agent was late, users are
// told to try again, and so it does for a while.
func call(t *testing.T, n *federation.Node, r request) reply {
	t.Helper()
	for try := 1; ; try++ {
		begun := time.Now()
		answer := callOnce(t, n, r)
		if try == 20 || !answer.undecided(time.Since(begun)) {
			return answer
		}
		time.Sleep(100 * time.Millisecond) // one that is silent is asked that often
	}
}

// undecided reports whether an answer that took so long is HAProxy's own, for want of the
// agent's.
func (r reply) undecided(took time.Duration) bool {
	return strings.HasPrefix(string(r.body), "not at this node, and where else is not known now") ||
		took >= agentPatience && (strings.HasPrefix(string(r.body), "nobody can serve this function now") ||
			strings.HasPrefix(string(r.body), "every node that has it is full or gone")) // the latter of a call that has come back
}

// get calls a path of a node.
func get(t *testing.T, n *federation.Node, path string) reply {
	t.Helper()
	return call(t, n, request{path: path})
}

// served reports whether the reply is a 200 of that node.
func served(r reply, by *federation.Node) error {
	switch {
	case r.status != http.StatusOK:
		return fmt.Errorf("answered %v", r)
	case r.node() != by.PeerID || r.header.Get(haproxy.HeaderServer) != strings.TrimPrefix(by.URL, "http://"):
		return fmt.Errorf("served by %s at %s, expected %s at %s", r.node(), r.header.Get(haproxy.HeaderServer), by.PeerID, by.URL)
	}
	return nil
}

// awaitServed waits until calls of the path at one node are served by another.
func awaitServed(t *testing.T, at *federation.Node, path string, by *federation.Node) {
	t.Helper()
	eventually(t, patience, path+" at "+at.Name+" is served by "+by.Name, func() error {
		r, err := send(t.Context(), at, request{path: path})
		return errors.Join(err, served(r, by))
	})
}

// awaitStatus waits until calls of the path at the node are answered so.
func awaitStatus(t *testing.T, within time.Duration, n *federation.Node, path string, status int) reply {
	t.Helper()
	var r reply
	eventually(t, within, fmt.Sprintf("%s at %s is answered %d", path, n.Name, status), func() (err error) {
		if r, err = send(t.Context(), n, request{path: path}); err == nil && r.status != status {
			err = fmt.Errorf("answered %v", r)
		}
		return err
	})
	return r
}

// gateway returns a client for the node's gateway.
func gateway(t *testing.T, n *federation.Node) *faasd.Client {
	t.Helper()
	g, err := faasd.New(faasd.Options{URL: n.Gateway})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// function is a function to deploy: a command and its labels.
func function(name, command string, labels map[string]string) types.FunctionDeployment {
	return types.FunctionDeployment{Service: name, Image: "process/" + name, EnvProcess: command, Labels: &labels}
}

// echoFunction is echo, to deploy.
func echoFunction(name string, labels map[string]string) types.FunctionDeployment {
	return types.FunctionDeployment{Service: name, Image: "http-echo", Labels: &labels}
}

// maxrate is the label for a capacity in requests/s.
func maxrate(rate string) map[string]string { return map[string]string{faasd.LabelMaxRate: rate} }

// deploy deploys a function until the test ends.
func deploy(t *testing.T, n *federation.Node, d types.FunctionDeployment) {
	t.Helper()
	g := gateway(t, n)
	if err := g.Deploy(t.Context(), d); err != nil {
		t.Fatalf("on %s: %v", n.Name, err)
	}
	t.Cleanup(func() {
		if err := g.Remove(context.Background(), faasd.Name(d.Service, d.Namespace)); err != nil {
			var status *faasd.StatusError
			if !errors.As(err, &status) || status.Code != http.StatusNotFound { // the test may have removed it
				t.Errorf("on %s: %v", n.Name, err)
			}
		}
	})
}

// configuration reads the configuration of the node's controller.
func (c *cluster) configuration(t *testing.T, n *federation.Node) config.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Dir(), n.Name, "controller.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var conf config.Config
	if err := yaml.Unmarshal(text, &conf); err != nil {
		t.Fatal(err)
	}
	return conf
}

// reconfigure changes the configuration of the node's controller and restarts it.
func (c *cluster) reconfigure(t *testing.T, n *federation.Node, change func(*config.Config)) {
	t.Helper()
	conf := c.configuration(t, n)
	change(&conf)
	text, err := yaml.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir(), n.Name, "controller.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	act(t, n, scenario.Restart, scenario.Controller)
}

// quiet asserts that nothing ended by itself and nobody reloaded HAProxy.
func (c *cluster) quiet(t *testing.T) {
	t.Helper()
	if err := c.Crashed(); err != nil {
		t.Error(err)
	}
	for _, n := range c.Nodes() {
		reloads, err := n.HAProxyReloads(context.Background())
		if err != nil || reloads != 0 {
			t.Errorf("%s: HAProxy was reloaded %d times, error %v", n.Name, reloads, err)
		}
	}
}

// oneLine reports whether a refusal has the form that all have.
func oneLine(r reply) error {
	text := string(r.body)
	switch {
	case strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || len(text) < 5 || len(text) > 120:
		return fmt.Errorf("the body is not one line of text: %q", text)
	case !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain"):
		return fmt.Errorf("Content-Type %q", r.header.Get("Content-Type"))
	}
	return nil
}

// refused reports whether the reply is a refusal with that status by the node.
func refused(r reply, status int, by *federation.Node) error {
	var errs []error
	if r.status != status {
		errs = append(errs, fmt.Errorf("answered %v, expected %d", r, status))
	}
	if r.node() != by.PeerID || r.header.Get(haproxy.HeaderServer) != strings.TrimPrefix(by.URL, "http://") {
		errs = append(errs, fmt.Errorf("refused by %s at %s, expected %s", r.node(), r.header.Get(haproxy.HeaderServer), by.Name))
	}
	retry := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if after := r.header.Get("Retry-After"); (after == "1") != retry {
		errs = append(errs, fmt.Errorf("Retry-After %q", after))
	}
	return errors.Join(append(errs, oneLine(r))...)
}

// payload is a body of n bytes that compresses badly and repeats late.
func payload(n int) []byte {
	text := make([]byte, 0, n+8)
	for x := uint64(1); len(text) < n; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		text = append(text, byte(x), byte(x>>8), byte(x>>16), byte(x>>24))
	}
	return text[:n]
}

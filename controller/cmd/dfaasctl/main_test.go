package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/config"
	"github.com/dfaas/dfaas/faasd/provider"
	"github.com/dfaas/dfaas/internal/cli"
	"github.com/dfaas/dfaas/internal/testvalue"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dfaas-controller": runController,
		"dfaasctl":         main,
	})
}

// TestScripts runs the program itself against real sockets, as the files in
// testdata/script say.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("DFAAS_ADMIN_SOCKET", env.WorkDir+"/admin.sock")
			env.Setenv("DFAAS_IDENTITY", env.WorkDir+"/identity.key")
			repository, err := filepath.Abs("../../..")
			env.Setenv("REPOSITORY", repository)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"controller": startController,
			"mode":       checkMode,
			"provider":   startProvider,
			"waitfor":    waitFor,
		},
	})
}

// startController is the script command `controller FILE`: the admin interface
// of a controller whose state is in FILE, at $DFAAS_ADMIN_SOCKET.
func startController(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: controller FILE")
	}
	var src state
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &src))
	ln, err := api.Listen(testvalue.Path(ts.Getenv("DFAAS_ADMIN_SOCKET")))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, ln, src, nil, zerolog.Nop()) }()
	ts.Defer(func() {
		cancel()
		ts.Check(<-done)
	})
}

// startProvider is the script command `provider NAME`: a provider, whose URL is in
// $NAME.
func startProvider(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: provider NAME")
	}
	o := provider.DefaultOptions()
	o.Listen, o.StateDir, o.NoConfinement = "127.0.0.1:0", ts.MkAbs("state-"+args[0]), true
	listening := make(chan string, 1)
	o.OnListen = func(a net.Addr) { listening <- "http://" + a.String() }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- provider.Run(ctx, o, zerolog.Nop()) }()
	select {
	case url := <-listening:
		ts.Setenv(args[0], url)
	case err := <-done:
		cancel()
		ts.Fatalf("%v", err)
	}
	ts.Defer(func() {
		cancel()
		ts.Check(<-done)
	})
}

// runController is a program with the name and the flags of dfaas-controller, and
// its admin socket.
func runController() {
	flags := pflag.NewFlagSet("dfaas-controller", pflag.ExitOnError)
	config.AddFlags(flags)
	_ = flags.Parse(os.Args[1:])
	ln, err := api.Listen(testvalue.Path(flags.Lookup("admin-socket").Value.String()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	src := state{Node: api.Status{NodeID: "12D3KooWself", Version: "from the test"}}
	_ = api.Serve(context.Background(), ln, src, nil, zerolog.Nop())
}

// waitFor is the script command `waitfor SOCKET`.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor SOCKET")
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.Dial("unix", ts.MkAbs(args[0]))
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// checkMode is the script command `mode OCTAL FILE`.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, not %s", args[1], got, args[0])
	}
}

// state is a controller's state as a file holds it.
type state struct {
	Node  api.Status     `json:"status"`
	Nodes []api.Peer     `json:"peers"`
	Fns   []api.Function `json:"functions"`
	Plan  []api.Route    `json:"routes"`
	// JoinError, when set, is what every join fails with.
	JoinError string `json:"join_error"`
}

func (s state) Status() api.Status        { return s.Node }
func (s state) Peers() []api.Peer         { return s.Nodes }
func (s state) Functions() []api.Function { return s.Fns }

func (s state) Routes(function string) []api.Route {
	var routes []api.Route
	for _, r := range s.Plan {
		if function == "" || r.Function == function {
			routes = append(routes, r)
		}
	}
	return routes
}

func (s state) Join(context.Context, string) error {
	if s.JoinError != "" {
		return &api.Problem{Status: http.StatusBadGateway, Message: s.JoinError}
	}
	return nil
}

// appWith is a program that writes to out, on the day that the golden files
// were made for.
func appWith(out io.Writer) *app {
	return &app{format: formatTable, System: System{System: cli.System{Out: out, Err: out}, Now: func() time.Time { return time.UnixMilli(1_800_000_000_000) }}}
}

// Package demo shows DFaaS at work: three nodes, one of them overloaded, and a
// caller that is not who it claims to be.
package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/deploy/emulator/emulate"
	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/deploy/emulator/live"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment"
	"github.com/dfaas/dfaas/internal/experiment/report"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

//go:embed demo.yaml
var text []byte

//go:embed ocr.png
var picture []byte

const pictureText = "DFaaS at the edge"

// maxAnswer bounds what is read of a function's answer, in bytes.
const maxAnswer = 1 << 16

// Scenario is what the demo runs, and the federation that `up` starts.
func Scenario() (*scenario.Scenario, error) {
	return scenario.Parse("demo.yaml", text, scenario.Limits{})
}

// Options say how to show the demo.
type Options struct {
	Out      string // directory for the results
	Binaries federation.Binaries
	Dfaasctl string // path of the program
	Screen   io.Writer
	Color    bool
	Log      zerolog.Logger
}

// show is one performance.
type show struct {
	Options
	scenario *scenario.Scenario
	board    *live.Board
	drawn    chan struct{} // closed when the board is done
	views    chan views
}

// views is what the tools say while the load is on.
type views struct {
	call, refusal, peers, routes string
	err                          error
}

// Run shows the demo. It is an error when anything did not hold.
func Run(ctx context.Context, o Options) error {
	s, err := Scenario()
	if err != nil {
		return err
	}
	if err := experiment.PrepareOut(o.Out, text); err != nil {
		return err
	}
	style := live.Style{Full: s.Loads[0].Rate, Color: o.Color}
	for _, n := range s.Nodes {
		style.Nodes = append(style.Nodes, n.Name)
	}
	d := &show{o, s, live.NewBoard(o.Screen, style), make(chan struct{}), make(chan views, 1)}
	return d.run(ctx)
}

func (d *show) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.say("Three nodes, each with its own HAProxy, SPOA, controller and functions (logs in %s) ...",
		filepath.Join(d.Out, experiment.LogsDir))
	var running *federation.Federation
	world := &emulate.World{
		Binaries: d.Binaries, Log: d.Log,
		Ready: func(ctx context.Context, f *federation.Federation) error {
			running = f
			return d.callAll(ctx, f)
		},
		Began: func(zero time.Time) {
			l := d.scenario.Loads[0]
			d.say("\n%.0f requests/s of %s for %s on %s, which can serve 30; from second %.0f to %.0f a caller with DFaaS-Node-ID: malicious-id",
				l.Rate, l.Function, l.Duration, l.Target, d.scenario.Loads[1].Start.Seconds(), d.scenario.Loads[1].End().Seconds())
			go func() {
				d.board.Run(ctx, zero, l.Duration)
				close(d.drawn)
			}()
			go func() { d.views <- d.look(ctx, running, zero.Add(d.scenario.Loads[1].Start+5*time.Second)) }()
		},
		Observe: func(i int, s summary.Sample) {
			if i == 0 {
				d.board.Observe(s)
			}
		},
	}
	sum, err := experiment.Run(ctx, world, d.scenario, d.Out)
	if err != nil {
		return err
	}
	<-d.drawn
	return d.conclude(sum, <-d.views)
}

func (d *show) say(format string, args ...any) { fmt.Fprintf(d.Screen, format+"\n", args...) }

// callAll calls each function once through the first node.
func (d *show) callAll(ctx context.Context, f *federation.Federation) error {
	d.say("A federation that found itself:")
	for _, n := range f.Nodes() {
		d.say("  %s  %s  functions at %s  HAProxy's statistics at %s", n.Name, n.PeerID, n.URL, n.Stats)
	}
	first := f.Nodes()[0]
	for _, c := range []struct {
		function, shown string
		body            []byte
		want            string
	}{
		{"figlet", "DFaaS", []byte("DFaaS"), "|"},
		{"shasum", "hello", []byte("hello"), "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"},
		{"ocr", fmt.Sprintf("a picture of %d bytes", len(picture)), picture, pictureText},
	} {
		answer, err := call(ctx, first.URL, c.function, c.body, nil)
		if err != nil {
			return fmt.Errorf("calling %s: %w", c.function, err)
		}
		d.say("\n%s, given %s, answers through %s (executed by %s):\n%s", c.function, c.shown, first.Name,
			f.NameOf(answer.node), strings.TrimRight(answer.body, "\n "))
		if answer.status != http.StatusOK || !strings.Contains(answer.body, c.want) {
			return fmt.Errorf("%s answered %d and not what was expected (%q)", c.function, answer.status, c.want)
		}
	}
	return nil
}

type answer struct {
	status     int
	body, node string
}

func call(ctx context.Context, url, function string, body []byte, headers http.Header) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/function/"+function, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return answer{response.StatusCode, string(text), response.Header.Get(haproxy.HeaderNodeID)}, err
}

// look asks, at the given time, what an operator would.
func (d *show) look(ctx context.Context, f *federation.Federation, when time.Time) (v views) {
	timer := time.NewTimer(time.Until(when))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		v.err = ctx.Err()
		return v
	case <-timer.C:
	}
	first := f.Nodes()[0]
	refused, err := call(ctx, first.URL, "figlet", []byte("hello"), http.Header{haproxy.HeaderNodeID: {"malicious-id"}})
	if err == nil && refused.status != http.StatusForbidden {
		err = fmt.Errorf("the forged node id was answered %d, not 403", refused.status)
	}
	v.call = fmt.Sprintf("curl -d hello -H '%s: malicious-id' %s/function/figlet", haproxy.HeaderNodeID, first.URL)
	v.refusal = fmt.Sprintf("%d %s", refused.status, strings.TrimSpace(refused.body))
	var peersErr, routesErr error
	v.peers, peersErr = d.dfaasctl(ctx, first, "peers")
	v.routes, routesErr = d.dfaasctl(ctx, first, "routes")
	v.err = errors.Join(err, peersErr, routesErr)
	return v
}

func (d *show) dfaasctl(ctx context.Context, n *federation.Node, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, d.Dfaasctl, "--socket", n.AdminSocket.String(), command).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("dfaasctl %s: %w\n%s", command, err, output)
	}
	return strings.TrimRight(string(output), "\n"), nil
}

// conclude prints what was seen and tells what did not hold.
func (d *show) conclude(sum summary.Summary, v views) error {
	if v.err != nil {
		return v.err
	}
	d.say("\n$ %s\n%s", v.call, v.refusal)
	d.say("\nWhile the load was on, on node-1:\n\n$ dfaasctl peers\n%s\n\n$ dfaasctl routes\n%s\n", v.peers, v.routes)
	if err := report.Table(d.Screen, sum); err != nil {
		return err
	}
	reloads := 0
	for _, n := range sum.Nodes {
		reloads += n.HAProxyReloads
	}
	d.say("\nHAProxy was reloaded %d times. The plot: %s", reloads, filepath.Join(d.Out, experiment.PlotFile))
	violations := summary.Check(d.scenario.Expect, sum)
	if len(violations) == 0 {
		d.say("All nodes are stopped. Everything held.")
		return nil
	}
	errs := make([]error, len(violations))
	for i, violation := range violations {
		errs[i] = errors.New(violation.Reason)
	}
	return fmt.Errorf("not everything held:\n%w", errors.Join(errs...))
}

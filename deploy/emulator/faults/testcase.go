package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/pause"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// Case is one test case of the matrix.
type Case struct {
	Name  string // for the command line
	About string // one line

	kind    kind
	targets []target
	// inflict does the fault to the federation, undoes it and returns when that
	// is done. What it notes is for the reader of the report.
	inflict func(context.Context, *testbed) (notes []string, err error)
}

// hang is how long something hangs.
const hang = 5 * time.Second

// away is how long a part that was killed stays dead: what its systemd unit
// says (RestartSec), for a node the time of a quick boot.
var away = map[scenario.Part]time.Duration{
	scenario.SPOA:       250 * time.Millisecond,
	scenario.Controller: 2 * time.Second,
	scenario.HAProxy:    100 * time.Millisecond,
	scenario.Provider:   time.Second,
	scenario.All:        5 * time.Second,
}

var partNames = map[scenario.Part]string{
	scenario.SPOA: "dfaas-spoa", scenario.Controller: "dfaas-controller", scenario.HAProxy: "HAProxy",
	scenario.Provider: "dfaas-provider", scenario.All: "whole node",
}

// Cases lists the matrix.
func Cases() []Case {
	var cases []Case
	for _, part := range []scenario.Part{scenario.SPOA, scenario.Controller, scenario.HAProxy, scenario.Provider, scenario.All} {
		cases = append(cases, partCases(part)...)
	}
	cases = append(cases,
		Case{Name: "haproxy-reload", About: "HAProxy: reload", targets: []target{unnoticed, peersBack, back, noReload}, inflict: reload},
		Case{
			Name: "haproxy-reloads", About: fmt.Sprintf("HAProxy: %d reloads, one a second", manyReloads),
			targets: []target{unnoticed, back, noReload}, inflict: reloadOften,
		},
		Case{
			Name: "gateway-500", About: "gateway: answers everything with 500 for 5 s", kind: gated,
			targets: []target{back, noReload}, inflict: gatewayFault(failing),
		},
		Case{
			Name: "gateway-hang", About: "gateway: takes requests and does not answer for 5 s", kind: gated,
			targets: []target{back, noReload}, inflict: gatewayFault(hanging),
		},
		Case{
			Name: "disk-full", About: "disk of the node's state, identity and sockets full for 5 s, controller restarted meanwhile",
			kind: onDisk, targets: []target{unnoticed, back, noReload}, inflict: fillDisk,
		},
		Case{
			Name: "churn", About: "200 members join and leave within a minute, every other one without a word",
			targets: []target{unnoticed, back, noReload}, inflict: comeAndGo,
		},
		Case{
			Name: "partition", About: fmt.Sprintf("partition: the node is cut off from all others for %v", hang), kind: spread,
			targets: []target{othersUnharmed, back, noReload}, inflict: partition(hang),
		},
		Case{
			Name: "partition-long", About: fmt.Sprintf("partition: the node is cut off from all others for %v", longCut), kind: spread,
			targets: []target{othersUnharmed, back, noReload}, inflict: partition(longCut),
		},
		Case{
			Name: "partition-halves", About: fmt.Sprintf("partition: two nodes are cut off from the two others for %v", hang), kind: linked,
			targets: []target{hardlyHarmed, back, noReload}, inflict: halve(hang),
		},
		Case{
			Name: "link-down", About: fmt.Sprintf("link: that to one of three peers is down for %v", hang), kind: linked,
			targets: []target{unharmed, fallsBack, back, noReload}, inflict: linkDown(hang),
		},
		Case{
			Name: "link-bad", About: fmt.Sprintf("link: that to one of three peers is slow (%v more each way) and loses %.0f %% for %v", badDelay, 100*badLoss, longCut),
			kind: linked, targets: []target{unharmed, fallsBack, back, noReload}, inflict: linkBad(longCut),
		},
		Case{
			Name: "clock-ahead", About: fmt.Sprintf("clock: 1 h ahead for %v", hang), kind: clocked,
			targets: []target{unnoticed, back, noReload}, inflict: jump(time.Hour),
		},
		Case{
			Name: "clock-behind", About: fmt.Sprintf("clock: 1 h behind for %v", hang), kind: clocked,
			targets: []target{unnoticed, back, noReload}, inflict: jump(-time.Hour),
		},
		Case{
			Name: "clock-start", About: fmt.Sprintf("clock: controller and SPOA started 1 h ahead, after %v anew by the right time", hang),
			kind: clocked, targets: []target{unnoticed, back, noReload}, inflict: wrongAtStart(time.Hour),
		},
	)
	return append(cases, onFastPath(cases, "spoa-kill", "spoa-stop", "controller-kill", "haproxy-reload")...)
}

// onFastPath are the cases of these names once more, with calls served without asking the agent.
func onFastPath(cases []Case, names ...string) []Case {
	var again []Case
	for _, c := range cases {
		if slices.Contains(names, c.Name) {
			c.Name, c.About, c.kind = "fast-"+c.Name, "fast path, "+c.About, fast
			c.targets = append(slices.Clone(c.targets), unasked)
			again = append(again, c)
		}
	}
	return again
}

// partCases are the three things that happen to every part.
func partCases(part scenario.Part) []Case {
	targets := []target{back, noReload}
	switch part {
	case scenario.SPOA, scenario.Controller:
		targets = []target{unnoticed, undelayed, back, noReload}
	case scenario.HAProxy, scenario.All:
		targets = []target{othersUnharmed, back, noReload}
	}
	name := string(part)
	if part == scenario.All {
		name = "node"
	}
	label := partNames[part] + ": "
	return []Case{
		{Name: name + "-kill", About: fmt.Sprintf("%skill -9, back after %v", label, away[part]), targets: targets, inflict: kill(part)},
		{Name: name + "-stop", About: fmt.Sprintf("%sSIGSTOP, SIGCONT after %v", label, hang), targets: targets, inflict: stop(part)},
		{Name: name + "-restart", About: label + "restart", targets: targets, inflict: restart(part)},
	}
}

func kill(part scenario.Part) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		return nil, steps(
			func() error { return b.node(faulty).Do(ctx, scenario.Kill, part) },
			func() error { return pause.For(ctx, away[part]) },
			func() error { return b.node(faulty).Do(ctx, scenario.Restart, part) },
		)
	}
}

func stop(part scenario.Part) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		return nil, steps(
			func() error { return b.node(faulty).Do(ctx, scenario.Stop, part) },
			func() error { return pause.For(ctx, hang) },
			func() error { return b.node(faulty).Do(ctx, scenario.Continue, part) },
		)
	}
}

func restart(part scenario.Part) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		return nil, b.node(faulty).Do(ctx, scenario.Restart, part)
	}
}

func reload(ctx context.Context, b *testbed) ([]string, error) {
	return nil, b.node(faulty).Do(ctx, scenario.Reload, scenario.HAProxy)
}

// manyReloads is enough of them for a rare race to show.
const manyReloads = 10

func reloadOften(ctx context.Context, b *testbed) ([]string, error) {
	for range manyReloads {
		if err := steps(
			func() error { return b.node(faulty).Do(ctx, scenario.Reload, scenario.HAProxy) },
			func() error { return pause.For(ctx, time.Second) },
		); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func gatewayFault(m mode) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		b.gate.set(m)
		defer b.gate.set(sound)
		return nil, pause.For(ctx, hang)
	}
}

// longCut is long enough for every connection to have been given up.
const longCut = 20 * time.Second

func partition(lasting time.Duration) func(context.Context, *testbed) ([]string, error) {
	return func(ctx context.Context, b *testbed) ([]string, error) {
		err := steps(
			func() error { return b.f.Partition(faulty) },
			func() error { return pause.For(ctx, lasting) },
		)
		return nil, errors.Join(err, b.f.Heal())
	}
}

// steps does one step after the other until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Select returns the cases of these names, all for none.
func Select(names []string) ([]Case, error) {
	all := Cases()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Case
	var errs []error
names:
	for _, name := range names {
		for _, c := range all {
			if c.Name == name {
				chosen = append(chosen, c)
				continue names
			}
		}
		errs = append(errs, fmt.Errorf("there is no test case %q: --list shows them", name))
	}
	return chosen, errors.Join(errs...)
}

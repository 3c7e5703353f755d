package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dfaas/dfaas/deploy/emulator/federation"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/spoa/control"
	"github.com/dfaas/dfaas/spoa/meter"
)

// unaskedCount is how many calls of the function the node's HAProxy has served without
// a question.
func unaskedCount(t *testing.T, n *federation.Node, function string) uint32 {
	t.Helper()
	counted, err := haproxy.New(n.HAProxySocket).Unasked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return counted.Functions[function].Count
}

// metered is what the node's agent has counted of its users' calls of the function.
func metered(t *testing.T, n *federation.Node, function string) meter.User {
	t.Helper()
	spoa := control.New(n.ControlSocket)
	defer spoa.Close()
	report, err := spoa.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Functions {
		if f.Name == function {
			return f.User
		}
	}
	return meter.User{}
}

// wantCounted checks that the agent has counted each call once, of so many that were
// sent: all that HAProxy has served by its word or without a question, and none twice. It
// cannot count what it was not asked about since it did not answer in time.
func wantCounted(t *testing.T, n *federation.Node, function string, sent int) {
	t.Helper()
	eventually(t, patience, "each call is counted once", func() error {
		look, err := haproxy.New(n.HAProxySocket).Look(t.Context())
		if err != nil {
			return err
		}
		got, known := metered(t, n, function), look.Calls[function].Begun
		if int64(got.Local) < known || got.Total() > uint64(sent) {
			return fmt.Errorf("%+v, HAProxy has counted %d, and %d were sent", got, known, sent)
		}
		t.Logf("%s: %d sent, %+v, by HAProxy %d, of which %d without a question", function, sent, got, known, unaskedCount(t, n, function))
		return nil
	})
}

// awaitUnasked waits until the function's calls are served without a question.
func awaitUnasked(t *testing.T, s *stream, n *federation.Node, function string) {
	t.Helper()
	eventually(t, patience, "calls are served without a question", func() error {
		before := unaskedCount(t, n, function)
		s.progress(t, 20)
		if after := unaskedCount(t, n, function); after < before+15 {
			return fmt.Errorf("counted %d, then %d", before, after)
		}
		return nil
	})
}

// TestFastPath: a node whose HAProxy need not ask about everything counts every call once
// and shows it as ever, whichever of its parts dies, and asks again when nobody says
// that it need not.
func TestFastPath(t *testing.T) {
	t.Parallel()
	const rate = 100
	c := start(t, federation.Of(&scenario.Scenario{
		Nodes:    nodes([]scenario.Function{echo("funca", 2000), echo("funcb", 40)}, []scenario.Function{echo("funca", 2000)}),
		FastPath: true,
	}))
	t.Run("CountsAll", func(t *testing.T) {
		s := c.stream(t, c.one, "funca", rate)
		awaitUnasked(t, s, c.one, "funca")
		s.progress(t, 3*rate)
		eventually(t, patience, "dfaasctl shows the calls", func() error {
			functions, err := c.one.Admin().Functions(t.Context())
			for _, f := range functions {
				if f.Name == "funca" && (f.UserRate < rate/2 || f.UserRate > 2*rate) {
					err = errors.Join(err, fmt.Errorf("dfaasctl functions shows %.1f calls/s, of %d", f.UserRate, rate))
				}
			}
			status, statusErr := c.one.Admin().Status(t.Context())
			if statusErr != nil || status.FastPath == nil || status.FastPath.Functions != 1 || status.FastPath.Error != "" {
				err = errors.Join(err, statusErr, fmt.Errorf("dfaasctl status shows %+v", status.FastPath))
			}
			return err
		})
		// While nobody grants anything, nothing is served without a question; what was is
		// counted when somebody does again.
		act(t, c.one, scenario.Kill, scenario.Controller)
		eventually(t, patience, "every call is asked about", func() error {
			before := unaskedCount(t, c.one, "funca")
			s.progress(t, 20)
			if after := unaskedCount(t, c.one, "funca"); after != before {
				return fmt.Errorf("counted %d, then %d", before, after)
			}
			return nil
		})
		act(t, c.one, scenario.Restart, scenario.Controller)
		awaitUnasked(t, s, c.one, "funca")
		samples := s.stop(t)
		if by := flawless(t, s, samples); by["node-1"] == 0 || len(by) > 1 {
			t.Errorf("served by %v, want all of %d by node-1", by, len(samples))
		}
		wantCounted(t, c.one, "funca", len(samples))
	})
	t.Run("Bounded", func(t *testing.T) {
		// Far above the limit, after a while in which hardly anybody called.
		const limit, grant = 40, 5
		slow := c.stream(t, c.one, "funcb", limit/2)
		awaitUnasked(t, slow, c.one, "funcb")
		samples := slow.stop(t)
		wantCounted(t, c.one, "funcb", len(samples))
		begin, before := time.Now(), metered(t, c.one, "funcb").Local
		fast := c.stream(t, c.one, "funcb", 10*limit)
		fast.progress(t, 40*limit)
		flood := fast.stop(t)
		wantCounted(t, c.one, "funcb", len(samples)+len(flood))
		// What was not decided in time is served, and nobody's doing.
		served, most := metered(t, c.one, "funcb").Local-before, limit*(time.Since(begin).Seconds()+0.5)+grant
		t.Logf("%d of %d calls were admitted, and %.0f may be", served, len(flood), most)
		if float64(served) > most || metered(t, c.one, "funcb").Limited == 0 {
			t.Errorf("%d of %d calls were admitted, and %.0f may be", served, len(flood), most)
		}
	})
	for _, fault := range []struct {
		name   string
		action scenario.Action
		part   scenario.Part
	}{
		{"SPOAKilled", scenario.Kill, scenario.SPOA},
		{"HAProxyReloaded", scenario.Reload, scenario.HAProxy},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s := c.stream(t, c.one, "funca", rate)
			awaitUnasked(t, s, c.one, "funca")
			act(t, c.one, fault.action, fault.part)
			s.progress(t, 3*rate)
			if fault.action == scenario.Kill {
				act(t, c.one, scenario.Restart, fault.part)
			}
			awaitUnasked(t, s, c.one, "funca")
			flawless(t, s, s.stop(t))
		})
	}
	c.quiet(t)
}

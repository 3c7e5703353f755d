package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dfaas/dfaas/controller/api"
	"github.com/dfaas/dfaas/controller/core"
	"github.com/dfaas/dfaas/controller/courier"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/testtable"
	"github.com/dfaas/dfaas/spoa/grant"
)

// carried is what has been carried last, to the SPOA and to HAProxy.
func (n *testNode) carried() (report grant.Report, grants []haproxy.Grant) {
	n.spoa.mu.Lock()
	if i := len(n.spoa.reports); i > 0 {
		report = n.spoa.reports[i-1]
	}
	n.spoa.mu.Unlock()
	n.haproxy.mu.Lock()
	defer n.haproxy.mu.Unlock()
	if i := len(n.haproxy.granted); i > 0 {
		grants = n.haproxy.granted[i-1]
	}
	return report, grants
}

// count has HAProxy count calls of cat that it has served without a question.
func (h *fakeHAProxy) count(calls uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unasked = haproxy.Unasked{On: true, Run: "7-1", Functions: map[string]haproxy.UnaskedFunction{"cat": {Count: calls}}}
}

// TestFastPath: HAProxy's counters and the SPOA's grants are carried before each look at
// the meter, and status says how it is.
func TestFastPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1, func(_ *Options, n *testNode) {
			n.haproxy.count(5)
			n.spoa.grants = map[string]grant.Grant{"cat": {Calls: 10, TimeoutMillis: 1500}}
		})
		n.gateway.set(nil, fn("cat", "100"))
		within(t, maxSettle, "calls are granted", func() bool {
			_, grants := n.carried()
			return cmp.Equal([]haproxy.Grant{{Function: "cat", UpTo: 15, TimeoutMillis: 1500}}, grants)
		})
		n.haproxy.count(15)
		within(t, time.Second, "what was served is reported, and more is granted", func() bool {
			report, grants := n.carried()
			return report.Run == "7-1" && report.Counted["cat"] == 15 && len(grants) == 1 && grants[0].UpTo == 25
		})
		if diff := cmp.Diff(&api.FastPath{Functions: 1}, n.Status().FastPath); diff != "" {
			t.Errorf("status differs (-want +got):\n%s", diff)
		}
		n.spoa.mu.Lock()
		n.spoa.older = true
		n.spoa.mu.Unlock()
		within(t, time.Second, "status says why every call is asked about", func() bool {
			s := n.Status().FastPath
			return s != nil && s.Error != ""
		})
		for _, name := range []string{"spoa", "haproxy"} {
			if c := n.component(name); !c.OK {
				t.Errorf("component %+v", c)
			}
		}
	})
}

// TestNoFastPath: nothing is carried that nobody wants.
func TestNoFastPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newFakeNet(), 1)
		n.gateway.set(nil, fn("cat", "100"))
		within(t, maxSettle+time.Second, "a table", func() bool { return n.serves("cat") })
		report, grants := n.carried()
		if report.Run != "" || grants != nil || n.Status().FastPath != nil {
			t.Errorf("carried %+v and %+v, status %+v", report, grants, n.Status().FastPath)
		}
	})
}

// TestHAProxyHoldsUpNoTable: while HAProxy hangs, tables go to the SPOA at once; its meter
// is read when carrying was given up, and not before.
func TestHAProxyHoldsUpNoTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := &fakeHAProxy{hung: true}, newFakeSPOA()
		k := newSPOAKeeper(s, courier.New(h, s, zerolog.Nop()), nil) // nothing fails that is counted
		go k.run(t.Context())
		go k.carry(t.Context())
		begun := time.Now()
		k.looks.put(struct{}{})
		synctest.Wait()
		k.tables.put(testtable.New(1, 0))
		if put, ok := (<-k.events).(core.TablePut); !ok || put.Err != nil || time.Since(begun) > 0 {
			t.Errorf("after %v: %+v, want a table that was put at once", time.Since(begun), put)
		}
		if metered, ok := (<-k.events).(core.Metered); !ok || metered.Err != nil || time.Since(begun) == 0 || time.Since(begun) > time.Second {
			t.Errorf("after %v: %+v, want the meter once carrying was given up", time.Since(begun), metered)
		}
	})
}

package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dfaas/dfaas/haproxy"
)

// What HAProxy counts of a function is shown within two seconds, and peers hear of it.
func TestFailingFunctionIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		net := newFakeNet()
		a := startNode(t, net, 1, func(o *Options, _ *testNode) { o.Registerer = reg })
		b := startNode(t, net, 2)
		a.gateway.set(nil, fn("cat", "10"))
		b.gateway.set(nil, fn("cat", "20"))
		a.spoa.load("cat", 6)
		state := func() string {
			for _, f := range a.Functions() {
				if f.Name == "cat" {
					return f.State
				}
			}
			return ""
		}
		within(t, 3*formed, "the function is ready", func() bool { return state() == "ready" && len(a.Peers()) == 1 })
		pass(time.Second)
		a.haproxy.set(func(h *fakeHAProxy) {
			h.calls = map[string]haproxy.Calls{"cat": {Begun: 12, UnderWay: 2, Failed: 5}}
		})
		within(t, 2*time.Second, "the function is failing", func() bool {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			shown, _ := sample(families, "dfaas_function_backup", "cat", "failing")
			return state() == "failing" && shown == 1
		})
		within(t, 2*time.Second, "the peer hears of it", func() bool {
			for _, m := range b.snapshot.Load().Alive {
				for _, o := range m.Offers {
					if o.Name.String() == "cat" && o.Backup && o.Capacity.PerSecond() == 0 {
						return true
					}
				}
			}
			return false
		})
	})
}

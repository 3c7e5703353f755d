package core

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dfaas/dfaas/controller/membership"
	"github.com/dfaas/dfaas/controller/strategy"
	"github.com/dfaas/dfaas/controller/wire"
	"github.com/dfaas/dfaas/haproxy"
	"github.com/dfaas/dfaas/internal/testvalue"
)

// FuzzAnnouncement follows what comes from the network all the way: whatever two
// peers announce, the table made of it is one that the SPOA accepts, and the
// servers are ones that HAProxy can be told of.
func FuzzAnnouncement(f *testing.F) {
	const honest = `{"v":1,"epoch":1,"seq":1,"t":1,"http":"127.0.0.1:8081","strategy":"headroom","period_ms":1000,` +
		`"f":[{"n":"cat","c":10,"u":5,"l":1},{"n":"dog","c":10,"u":300,"l":0},{"n":"only-there","c":30,"u":0,"l":0,"t":300000}]}`
	f.Add([]byte(honest), []byte(honest))
	f.Add([]byte(`{"v":1,"epoch":1,"seq":1,"t":1,"http":"127.0.0.1:8081","strategy":"headroom","period_ms":1000,`+
		`"f":[{"n":"cat","c":1e6,"u":0,"l":1e6},{"n":"dog","a":true,"c":0,"u":1e6,"l":0},{"n":"cat.ns","a":true,"c":0,"u":1e6,"l":0}]}`),
		[]byte(`{"v":1,"epoch":9,"seq":1,"http":"10.0.0.1:1","strategy":"x","period_ms":50,"leaving":true,"f":null}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		now := time.Now()
		members := membership.New(membership.Options{Self: peerID(0), Allowed: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
		for n, data := range [][]byte{one, two} {
			if a, err := wire.Decode(data); err == nil {
				_, _ = members.Apply(now, peerID(1+n), a, membership.Via{}) // refusing it is fine
			}
		}
		o := strategy.Observation{Self: peerID(0).String(), Functions: []strategy.Function{
			{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(10), UserRate: testvalue.Rate(50)}, {Name: testvalue.Name("dog"), Capacity: testvalue.Bound(100), UserRate: testvalue.Rate(5)},
		}}
		in := tableInput{self: peerID(0), defaultNamespace: "openfaas-fn", limits: Limits{}.orDefaults()}
		for _, m := range members.Alive() {
			if err := (haproxy.Peer{ID: m.ID.String(), Address: m.HTTP}).Validate(); err != nil {
				t.Fatal(err)
			}
			o.Peers = append(o.Peers, strategy.Peer{ID: m.ID.String(), Offers: m.Offers})
			in.peers = append(in.peers, tablePeer{id: m.ID, token: "a.b.c", usable: true})
		}
		for _, name := range strategy.Names() {
			s, err := strategy.New(name)
			if err != nil {
				t.Fatal(err)
			}
			in.plan = s.Plan(o)
			accepted(t, built(in))
		}
	})
}

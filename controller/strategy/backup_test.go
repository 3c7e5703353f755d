package strategy

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
)

func TestBackupOnlyWhileNobodyElseHasIt(t *testing.T) {
	ready := Offer{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(20)}
	backup := Offer{Name: testvalue.Name("cat"), Capacity: testvalue.Rate(20), Backup: true}
	tests := []struct {
		name     string
		own      Function
		peers    []Peer
		last     bool // this node's own function comes after the peers'
		sendsTo  []string
		admits   bool
		capacity float64 // announced
	}{
		{"alone", Function{Capacity: testvalue.Bound(10), Backup: true}, nil, false, nil, false, 10},
		{"a peer has it", Function{Capacity: testvalue.Bound(10), Backup: true}, []Peer{{ID: "b", Offers: []Offer{ready}}}, true, []string{"b"}, false, 0},
		{"without limit here", Function{Capacity: limit.Unlimited(), Backup: true}, []Peer{{ID: "b", Offers: []Offer{ready}}}, true, []string{"b"}, false, 0},
		{"all are backups", Function{Capacity: testvalue.Bound(10), Backup: true}, []Peer{{ID: "b", Offers: []Offer{backup}}}, false, []string{"b"}, true, 10},
		{"a peer is a backup", Function{Capacity: testvalue.Bound(10)}, []Peer{{ID: "b", Offers: []Offer{backup}}}, false, nil, true, 10},
		{"of two peers one", Function{Absent: true}, []Peer{{ID: "b", Offers: []Offer{backup}}, {ID: "c", Offers: []Offer{ready}}}, false, []string{"c"}, false, 0},
		{"only peers, all backups", Function{Absent: true}, []Peer{{ID: "b", Offers: []Offer{backup}}}, false, []string{"b"}, false, 0},
		{"the peer is down", Function{Capacity: testvalue.Bound(10), Backup: true}, []Peer{{ID: "b", Down: true, Offers: []Offer{ready}}}, false, []string{"b"}, true, 10},
		{"the peer is not believed", Function{Capacity: testvalue.Bound(10), Backup: true}, []Peer{{ID: "b", Distrust: 0.9, Offers: []Offer{ready}}}, false, []string{"b"}, true, 10},
		{"the peer serves nothing", Function{Capacity: testvalue.Bound(10), Backup: true}, []Peer{{ID: "b", Offers: []Offer{{Name: testvalue.Name("cat")}}}}, false, []string{"b"}, true, 10},
	}
	for _, s := range all() {
		for _, test := range tests {
			t.Run(s.Name()+", "+test.name, func(t *testing.T) {
				test.own.Name, test.own.UserRate = testvalue.Name("cat"), testvalue.Rate(3)
				p := s.Plan(Observation{Self: "a", Functions: []Function{test.own}, Peers: test.peers})
				var f FunctionPlan
				if len(p.Functions) > 0 {
					f = p.Functions[0]
				}
				if f.Local != nil && (f.Local.Share == 0) != test.last {
					t.Errorf("share %g", f.Local.Share)
				}
				if f.Local != nil && f.Local.Rate != test.own.Capacity {
					t.Errorf("here %v/s", f.Local.Rate)
				}
				var to []string
				for _, flow := range f.Out {
					to = append(to, flow.Peer)
				}
				if s.Name() != "alllocal" && !slices.Equal(to, test.sendsTo) {
					t.Errorf("sends to %v", to)
				}
				if (len(f.In) > 0) != test.admits {
					t.Errorf("admits %v", f.In)
				}
				o := p.Offers[0]
				if o.Capacity.PerSecond() != test.capacity || o.Backup != test.own.Backup || o.UserRate.PerSecond() != 3 {
					t.Errorf("announces %+v", o)
				}
			})
		}
	}
}

// Where all that have a function are backups, plans are as if none was.
func TestAllBackupsAreNone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		with := Observation{Self: "a", Functions: []Function{{Name: testvalue.Name("cat"), Capacity: testvalue.Bound(20 * rng.Float64()), UserRate: testvalue.Rate(30 * rng.Float64()), Backup: true}}}
		without := Observation{Self: "a", Functions: slices.Clone(with.Functions)}
		without.Functions[0].Backup = false
		for i := range rng.IntN(6) {
			o := Offer{Name: testvalue.Name("cat"), Absent: rng.IntN(3) == 0, Capacity: testvalue.Rate(20 * rng.Float64()), UserRate: testvalue.Rate(30 * rng.Float64())}
			id := string(rune('b' + i))
			without.Peers = append(without.Peers, Peer{ID: id, Offers: []Offer{o}})
			o.Backup = !o.Absent
			with.Peers = append(with.Peers, Peer{ID: id, Offers: []Offer{o}})
		}
		for _, s := range all() {
			a, b := s.Plan(with), s.Plan(without)
			a.Offers[0].Backup = false
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%s: %+v\nwith backups %+v\nwithout      %+v", s.Name(), with, a, b)
			}
		}
	}
}

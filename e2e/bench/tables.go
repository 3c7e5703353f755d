package bench

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
	"github.com/dfaas/dfaas/spoa/token"
)

// Size of the large table: a federation well beyond those that exist.
const (
	manyFunctions = 1000
	manyPeers     = 100
)

// benchFunction is the function that all measurements ask for.
const benchFunction = "function-0"

func functionName(i int) string { return fmt.Sprintf("function-%d", i) }

// functionPath is its path.
const functionPath = "/function/" + benchFunction

// tableTTL is longer than any measurement: nothing renews the table.
const tableTTL = time.Hour

// member returns a key and the peer id in it, always the same for the same i.
func member(i int) (ed25519.PrivateKey, peerid.ID) {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, fmt.Sprintf("bench member %d", i))
	key := ed25519.NewKeyFromSeed(seed)
	return key, peerid.FromKey(key.Public().(ed25519.PublicKey))
}

// nodeID is the peer id of the node that is measured.
func nodeID() string { _, id := member(0); return id.String() }

// peerID is the peer id of the stub that plays a peer.
func peerID() string { _, id := member(1); return id.String() }

// newTable returns a table in which this node and all peers have all functions,
// and everything is at home here. The local rate is one that is never reached,
// but is counted like any other.
func newTable(functions, peers int) (*table.Table, error) {
	key, node := member(0)
	ids := make([]peerid.ID, peers)
	for p := range ids {
		_, ids[p] = member(p + 1)
	}
	slices.SortFunc(ids, peerid.ID.Compare)
	t := &table.Table{NodeID: node, TTLMillis: tableTTL.Milliseconds()}
	for i := range functions {
		f := table.Function{Name: testvalue.Name(functionName(i)), Local: &table.Local{Rate: testvalue.Bound(limit.MaxRate), Share: 1}}
		for _, id := range ids {
			f.Forward = append(f.Forward, table.Forward{Peer: id, Weight: 1, Rate: testvalue.Bound(10)})
			f.Admit = append(f.Admit, table.Admission{Peer: id, Rate: testvalue.Bound(10)})
		}
		t.Functions = append(t.Functions, f)
	}
	for _, id := range ids {
		shown, err := token.Mint(key, node, id, time.Now(), token.MaxLifetime)
		if err != nil {
			return nil, err
		}
		t.Peers = append(t.Peers, table.Peer{ID: id, Token: shown})
	}
	slices.SortFunc(t.Functions, func(a, b table.Function) int { return a.Name.Compare(b.Name) })
	return t, nil
}

// variant returns the table under that version. With away, the measured function
// is not served here but by the stub of a peer. The rest is shared with t.
func variant(t *table.Table, version uint64, away bool) *table.Table {
	v := *t
	v.Version = version
	if away {
		_, peer := member(1)
		v.Functions = append([]table.Function{{
			Name: testvalue.Name(benchFunction), Forward: []table.Forward{{Peer: peer, Weight: 1, Rate: limit.Unlimited()}},
		}}, t.Functions[1:]...)
	}
	return &v
}

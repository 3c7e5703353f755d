// Package testtable makes tables and identities for tests.
package testtable

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/dfaas/dfaas/internal/testvalue"
	"github.com/dfaas/dfaas/spoa/peerid"
	"github.com/dfaas/dfaas/spoa/table"
)

// Identity returns the n-th identity, always the same one: its key and its peer id.
func Identity(n int) (ed25519.PrivateKey, peerid.ID) {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(n)+1)
	key := ed25519.NewKeyFromSeed(seed)
	return key, peerid.FromKey(key.Public().(ed25519.PublicKey))
}

// ID returns the peer id of the n-th identity.
func ID(n int) peerid.ID {
	_, id := Identity(n)
	return id
}

// Valid returns a table that should be valid as one that is.
func Valid(tb testing.TB, t *table.Table) table.Valid {
	tb.Helper()
	v, err := t.Validate(table.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// New returns a table of identity 0 that lives for a minute, with the
// identities 1 to peers as its peers, and functions f0, f1, ... served here at
// rate 10, forwarded to all peers at rate 10 with weight 1, and admitted from them at
// rate 10.
func New(functions, peers int) *table.Table {
	t := &table.Table{Version: 1, NodeID: ID(0), TTLMillis: 60_000}
	for p := range peers {
		t.Peers = append(t.Peers, table.Peer{ID: ID(p + 1), Token: fmt.Sprintf("token-for-%d", p+1)})
	}
	for f := range functions {
		fn := table.Function{Name: testvalue.Name(fmt.Sprintf("f%d", f)), Local: &table.Local{Rate: testvalue.Bound(10), Share: 1}}
		for p := range t.Peers {
			fn.Forward = append(fn.Forward, table.Forward{Peer: t.Peers[p].ID, Weight: 1, Rate: testvalue.Bound(10)})
			fn.Admit = append(fn.Admit, table.Admission{Peer: t.Peers[p].ID, Rate: testvalue.Bound(10)})
		}
		t.Functions = append(t.Functions, fn)
	}
	return t
}

// Admit sets at which rate a function of the table is admitted from a peer, requests/s, -1
// for without limit; below that: not named any more. The table's rows are changed in place.
func Admit(t *table.Table, function string, peer peerid.ID, rate float64) {
	for i := range t.Functions {
		f := &t.Functions[i]
		if f.Name.String() != function {
			continue
		}
		f.Admit = slices.DeleteFunc(f.Admit, func(a table.Admission) bool { return a.Peer == peer })
		if rate >= -1 {
			f.Admit = append(f.Admit, table.Admission{Peer: peer, Rate: testvalue.Bound(rate)})
		}
	}
}

// Admitted is at which rate it is, 0 if it is not named.
func Admitted(t *table.Table, function string, peer peerid.ID) float64 {
	for i := range t.Functions {
		for _, a := range t.Functions[i].Admit {
			if t.Functions[i].Name.String() == function && a.Peer == peer {
				return a.Rate.PerSecond()
			}
		}
	}
	return 0
}

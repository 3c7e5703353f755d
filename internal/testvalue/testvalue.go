// Package testvalue makes checked values of what tests write, and panics where they are
// none. It says which tests the previous version cannot pass.
package testvalue

import (
	"crypto/ed25519"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dfaas/dfaas/internal/funcname"
	"github.com/dfaas/dfaas/internal/limit"
	"github.com/dfaas/dfaas/internal/protocol"
	"github.com/dfaas/dfaas/internal/unixsock"
	"github.com/dfaas/dfaas/spoa/peerid"
)

// Name returns the name of a function.
func Name(text string) funcname.Name { return must(funcname.Parse(text)) }

// Peer returns the peer id that is written like that, or that of a peer which a test
// calls so, in at most 32 bytes: those are in the order of what they are called, and
// nobody has their private keys.
func Peer(text string) peerid.ID {
	if id, err := peerid.Parse(text); err == nil {
		return id
	}
	key := make(ed25519.PublicKey, ed25519.PublicKeySize)
	if copy(key, text) < len(text) {
		panic("testvalue: a peer called " + text)
	}
	return peerid.FromKey(key)
}

// Rate returns the rate of so many requests/s.
func Rate(perSecond float64) limit.Rate { return must(limit.NewRate(perSecond)) }

// Bound returns the bound that is written as so many requests/s, -1 for none.
func Bound(perSecond float64) limit.Bound { return must(limit.NewBound(perSecond)) }

// Path returns the path of a socket.
func Path(text string) unixsock.Path { return must(unixsock.ParsePath(text)) }

// SkipPrevious skips a test that cannot apply where a program is built that speaks one
// version less (protocol.Previous), and why.
func SkipPrevious(tb testing.TB, why string) {
	tb.Helper()
	if protocol.Previous {
		tb.Skip("the previous version: " + why)
	}
}

// Comparable has cmp compare the types of which only their packages see the inside.
func Comparable() cmp.Option {
	return cmpopts.EquateComparable(funcname.Name{}, peerid.ID{}, limit.Rate{}, limit.Bound{})
}

func must[T any](value T, err error) T {
	if err != nil {
		panic("testvalue: " + err.Error())
	}
	return value
}

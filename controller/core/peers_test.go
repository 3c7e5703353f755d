package core

import (
	"maps"
	"testing"

	"github.com/dfaas/dfaas/controller/estimate"
)

// TestTwoNamesAreOneFunction: what was counted of a function by its name with the
// default namespace counts for the one without.
func TestTwoNamesAreOneFunction(t *testing.T) {
	of := func(function string, async bool) estimate.Offered {
		return estimate.Offered{Peer: peerID(1), Function: function, Async: async}
	}
	got := newWorld(t, nil).c.ofFunctions(map[estimate.Offered]estimate.Answers{
		of("cat", false): {Served: 1, Lost: 2, Left: 3}, of("cat.openfaas-fn", false): {Served: 10, Lost: 20, Left: 30},
		of("cat.other", false): {Lost: 4}, of("cat.openfaas-fn", true): {Lost: 5},
	})
	want := map[estimate.Offered]estimate.Answers{
		of("cat", false): {Served: 11, Lost: 22, Left: 33}, of("cat.other", false): {Lost: 4}, of("cat", true): {Lost: 5},
	}
	if !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

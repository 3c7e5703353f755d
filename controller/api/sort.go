package api

import (
	"cmp"
	"slices"
)

// The sorted functions order a copy, by what an operator looks for first; a
// nil slice becomes an empty one, which is [] and not null in JSON.

func sortedPeers(peers []Peer) []Peer {
	return sortedCopy(peers, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
}

func sortedFunctions(functions []Function) []Function {
	return sortedCopy(functions, func(a, b Function) int { return cmp.Compare(a.Name, b.Name) })
}

func sortedRoutes(routes []Route) []Route {
	return sortedCopy(routes, func(a, b Route) int {
		return cmp.Or(
			cmp.Compare(a.Function, b.Function),
			cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)),
			cmp.Compare(a.Peer, b.Peer),
		)
	})
}

// kindOrder puts what happens here first, then what leaves, then what comes.
func kindOrder(kind string) int { return slices.Index([]string{"local", "out", "in"}, kind) }

func sortedCopy[T any](rows []T, order func(a, b T) int) []T {
	sorted := append([]T{}, rows...)
	slices.SortStableFunc(sorted, order)
	return sorted
}

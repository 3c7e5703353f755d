package simulator

import (
	"maps"
	"slices"
	"strings"

	"github.com/dfaas/dfaas/controller/strategy"
)

// maker makes the decider of one node.
type maker func(w *world, self int) (node, error)

// makers lists what can be simulated: the strategies of the controller, run by
// its own code, and baselines that exist in the simulator only.
func makers() map[string]maker {
	all := map[string]maker{
		"omniscient":  func(w *world, self int) (node, error) { return &omniscient{newPassive(w, self)}, nil },
		"two-choices": func(w *world, self int) (node, error) { return newTwoChoices(w, self), nil },
		"hot-cold":    func(w *world, self int) (node, error) { return newHotCold(w, self), nil },
	}
	for _, name := range strategy.Names() {
		all[name] = newProduction
	}
	return all
}

// Strategies lists what can be simulated, sorted.
func Strategies() []string { return slices.Sorted(maps.Keys(makers())) }

func joined(names []string) string { return strings.Join(names, ", ") }

package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dfaas/dfaas/controller/strategy"
)

// maker makes the decider of one node.
type maker func(w *world, self int) (node, error)

// makers lists what can be simulated: the strategies of the controller, run by
// its own code, and baselines that exist in the simulator only.
func makers() map[string]maker {
	all := map[string]maker{
		"omniscient":  func(w *world, self int) (node, error) { return newOmniscient(w, self), nil },
		"late-news":   func(w *world, self int) (node, error) { return newLateNews(w, self), nil },
		"two-choices": func(w *world, self int) (node, error) { return newTwoChoices(w, self), nil },
		"hot-cold":    func(w *world, self int) (node, error) { return newHotCold(w, self), nil },
		"empirical":   func(w *world, self int) (node, error) { return newEmpirical(w, self), nil },
		"node-margin": func(w *world, self int) (node, error) { return newNodeMargin(w, self), nil },
	}
	for _, name := range strategy.Names() {
		all[name] = newProduction
	}
	return all
}

// Strategies lists what can be simulated, sorted.
func Strategies() []string { return slices.Sorted(maps.Keys(makers())) }

// Originals is the period of the original DFaaS, in which its strategies plan.
const Originals = time.Minute

// spec is a strategy as a node runs it.
type spec struct {
	name   string
	period time.Duration // of planning
	make   maker
}

// parseSpec reads a strategy's name, which may have a period of its own behind an
// @: recalc@60s. Otherwise it has that of the run.
func parseSpec(text string, period time.Duration) (spec, error) {
	name, own, has := strings.Cut(text, "@")
	make, ok := makers()[name]
	if !ok {
		return spec{}, fmt.Errorf("unknown strategy %q: use one of %s", name, joined(Strategies()))
	}
	if has {
		var err error
		if period, err = time.ParseDuration(own); err != nil || period < minPeriod || period > maxPeriod {
			return spec{}, fmt.Errorf("strategy %q: behind the @, a period of %v to %v is expected", text, minPeriod, maxPeriod)
		}
	}
	return spec{name, period, make}, nil
}

// CheckStrategy reports whether a strategy can be simulated, by name or as NAME@PERIOD.
func CheckStrategy(text string) error {
	_, err := parseSpec(text, time.Second)
	return err
}

// specOf is the strategy of a node.
func (w *world) specOf(n int) (spec, error) {
	text := w.config.Instance.Nodes[n].Strategy
	if text == "" {
		text = w.config.Strategy
	}
	return parseSpec(text, w.config.Period)
}

func joined(names []string) string { return strings.Join(names, ", ") }

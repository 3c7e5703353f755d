package paper

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dfaas/dfaas/controller/simulator"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
)

// published is what the authors of the original DFaaS reported of their three tests,
// fractions served.
var published = map[string][3]string{
	"node-margin@60s": {"97.63", "99.54", "93.82"},
	"static":          {"", "95.11", "95.44"},
}

// originals are the strategies in the three tests.
func originals() []string {
	return []string{Judged, "node-margin@60s", "static", "recalc@60s", "recalc", "empirical@60s"}
}

// readScenario reads a scenario's file.
func readScenario(path string) (*scenario.Scenario, []byte, error) {
	text, err := scenario.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	s, err := scenario.Parse(path, text, scenario.Limits{})
	return s, text, err
}

// simulateScenario simulates a scenario with a strategy as dfaasctl simulate does.
func simulateScenario(ctx context.Context, s *scenario.Scenario, strategy string) (simulator.Result, error) {
	c := simulator.Defaults()
	c.Links.Delay = simulator.LocalDelay
	c, _ = simulator.FromScenario(s, c)
	c.Strategy = strategy
	return simulator.Run(ctx, c, nil)
}

// originalsBlock is the block with the three tests.
func originalsBlock(ctx context.Context, scenarios string) (string, error) {
	cells := make(map[string][]string)
	for test := range 3 {
		s, _, err := readScenario(filepath.Join(scenarios, fmt.Sprintf("original/test-%d.yaml", test+1)))
		if err != nil {
			return "", err
		}
		for _, strategy := range originals() {
			r, err := simulateScenario(ctx, s, strategy)
			if err != nil {
				return "", fmt.Errorf("test %d, %s: %w", test+1, strategy, err)
			}
			text := fmt.Sprintf("%.2f", 100*float64(r.Served)/max(1, float64(r.Sent)))
			if p := published[strategy][test]; p != "" {
				text += fmt.Sprintf(" (%s)", p)
			}
			cells[strategy] = append(cells[strategy], text)
		}
	}
	var b strings.Builder
	header(&b, "served, %; in brackets what was published", "test 1", "test 2", "test 3")
	for _, strategy := range originals() {
		row(&b, append([]string{"`" + strategy + "`"}, cells[strategy]...)...)
	}
	return b.String(), nil
}

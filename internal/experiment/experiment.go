// Package experiment runs a scenario in a world and keeps what comes of it: one
// file, one form of results, whether the world is real processes on this machine
// or the same code in virtual time.
//
// Neither it nor the packages below know HAProxy, libp2p or a network: those are
// the world's.
package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dfaas/dfaas/internal/experiment/compare"
	"github.com/dfaas/dfaas/internal/experiment/plot"
	"github.com/dfaas/dfaas/internal/experiment/scenario"
	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// Files in the directory of an experiment.
const (
	ScenarioFile = "scenario.yaml"
	SummaryFile  = "summary.json"
	PlotFile     = "plot.svg"
	LogsDir      = "logs"
	// RunsDir holds the experiments that are compared.
	RunsDir = "runs"
)

// LoadFile is the name of the file with the responses to load i, counted from 0,
// in vegeta's JSON encoding.
func LoadFile(i int) string { return fmt.Sprintf("load-%d.json", i+1) }

// World is where scenarios take place.
type World interface {
	// Run forms the scenario's federation, applies its load and faults, and ends
	// it. What the world has to keep besides the summary (LoadFile, LogsDir) goes
	// into the directory out. When something went wrong that does not make the
	// results useless, such as a part that ended by itself, it returns both them
	// and the error; else, or when ctx ends, a summary without loads.
	Run(ctx context.Context, s *scenario.Scenario, out string) (summary.Summary, error)
}

// Run runs a scenario in a world and writes the summary and its plot to out, a
// directory from PrepareOut. Results that come with an error are written, too.
func Run(ctx context.Context, w World, s *scenario.Scenario, out string) (summary.Summary, error) {
	sum, err := w.Run(ctx, s, out)
	if len(sum.Loads) == 0 {
		return sum, err
	}
	return sum, errors.Join(err, write(out, sum))
}

func write(out string, sum summary.Summary) error {
	text, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the summary: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, SummaryFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return plot.Save(filepath.Join(out, PlotFile), sum)
}

// PrepareOut makes the directory for an experiment and keeps the text of the
// scenario there, by which it is known as one. What an earlier experiment left
// is removed; a directory that holds anything else is refused.
func PrepareOut(out string, text []byte) error {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("directory for the results: %w", err)
	}
	if _, err := os.Stat(filepath.Join(out, ScenarioFile)); err != nil && len(entries) > 0 {
		return fmt.Errorf("directory for the results: %s holds other things than an experiment: give another one", out)
	}
	for _, entry := range entries {
		if !ours(entry.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(out, entry.Name())); err != nil {
			return fmt.Errorf("removing earlier results: %w", err)
		}
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("directory for the results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, ScenarioFile), text, 0o600); err != nil {
		return fmt.Errorf("directory for the results: %w", err)
	}
	return nil
}

func ours(name string) bool {
	switch name {
	case ScenarioFile, SummaryFile, PlotFile, LogsDir, RunsDir:
		return true
	}
	return compare.Ours(name) || strings.HasPrefix(name, "load-") && strings.HasSuffix(name, ".json")
}

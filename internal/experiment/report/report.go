// Package report writes what came of experiments for people to read.
package report

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dfaas/dfaas/internal/experiment/summary"
)

// Table writes what became of the loads.
func Table(w io.Writer, s summary.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LOAD\tTARGET\tFUNCTION\tSENT\tSTATUS\tSERVED BY\tP50 MS\tP99 MS")
	for i, l := range s.Loads {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%.1f\t%.1f\n",
			i+1, l.Target, l.Function, l.Sent, counts(l.Status), counts(l.ByNode), l.Latency.P50, l.Latency.P99)
	}
	return t.Flush()
}

func counts(m map[string]int) string {
	if len(m) == 0 {
		return "-"
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		words = append(words, fmt.Sprintf("%s: %d", key, m[key]))
	}
	return strings.Join(words, ", ")
}

// Unmet is the error of an experiment that did not go as its scenario, the file
// at path, expects; nil if it did.
func Unmet(path string, violations []summary.Violation) error {
	if len(violations) == 0 {
		return nil
	}
	errs := make([]error, len(violations))
	for i, v := range violations {
		errs[i] = errors.New(v.Reason)
		if v.Line != 0 {
			errs[i] = fmt.Errorf("%s:%d: %s", path, v.Line, v.Reason)
		}
	}
	return fmt.Errorf("not as expected:\n%w", errors.Join(errs...))
}

package scenario

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dfaas/dfaas/internal/yamlfile"
)

// reader reads a scenario.
type reader struct {
	yamlfile.Reader
	limits    Limits
	directory string // of the file
	network   string // what the file says of it
	mdnsLine  int    // where it says mdns: true
	lines     lines
}

// interval reads 5, 5..7, 5.. or ..7, bounds of requests/s.
func (r *reader) interval(n *yaml.Node, what string) Range {
	low, high, two := strings.Cut(n.Value, "..")
	if !two {
		high = low
	}
	span := Range{0, math.Inf(1)}
	err := bound(low, two, &span.Min)
	if err == nil {
		err = bound(high, two, &span.Max)
	}
	if n.Kind != yaml.ScalarNode || err != nil || low+high == "" || span.Min > span.Max {
		r.Refuse(n.Line, "%s: requests per second as 5, 5..7, 5.. or ..7 are expected, not %s", what, yamlfile.Kind(n))
	}
	return span
}

// bound reads one end of an interval; it keeps *v when the end is open.
func bound(text string, mayBeOpen bool, v *float64) error {
	if text == "" && mayBeOpen {
		return nil
	}
	parsed, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(parsed) || parsed < 0 || parsed > mostRate {
		return fmt.Errorf("not a rate: %q", text)
	}
	*v = parsed
	return nil
}

func joined[T ~string](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

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
	// fastPathLine is where it says fast_path.
	fastPathLine int
	lines        lines
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

// A node's parts together need some 100 MB.
const minMemory, maxMemory = 16 << 20, 1 << 42

// parseMemory reads 256MB or 256MiB.
func parseMemory(text string) (int64, error) {
	for unit, size := range map[string]float64{"MB": 1e6, "GB": 1e9, "MiB": 1 << 20, "GiB": 1 << 30} {
		number, is := strings.CutSuffix(text, unit)
		if x, err := strconv.ParseFloat(number, 64); is && err == nil {
			if !(x*size >= minMemory && x*size <= maxMemory) {
				return 0, fmt.Errorf("%q is outside of 16MiB to 4096GiB", yamlfile.Clip(text))
			}
			return int64(x * size), nil
		}
	}
	return 0, fmt.Errorf("an amount like 256MB is expected (MB, GB, MiB or GiB), not %q", yamlfile.Clip(text))
}

func joined[T ~string](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

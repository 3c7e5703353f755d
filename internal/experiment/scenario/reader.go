package scenario

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Problem is one reason why a file is refused.
type Problem struct {
	File   string
	Line   int
	Reason string
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason) }

// Problems is the error of Parse: all that is wrong with a file, by line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is after how many a reader stops complaining.
const maxProblems = 50

// reader turns YAML nodes into values and collects what is wrong with them.
type reader struct {
	file     string
	network  string // what the file says of it
	problems Problems
}

func (r *reader) refuse(line int, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{r.file, line, fmt.Sprintf(format, args...)})
	}
}

// err is nil when nothing was refused.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return r.problems
}

// resolve follows an alias. The nesting of a scenario is fixed and its lists
// are bounded, so aliases cannot blow a small file up.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// fields are the keys that a mapping may have, and what to do with each value.
type fields map[string]func(*yaml.Node)

// mapping calls the handler of every key of n; what names n in complaints.
// The keys in required must be there.
func (r *reader) mapping(n *yaml.Node, what string, known fields, required ...string) {
	seen := r.pairs(n, what, func(key string, k, v *yaml.Node) {
		if handle, ok := known[key]; ok {
			handle(v)
			return
		}
		r.refuse(k.Line, "unknown key %q in %s: known are %s", clip(key), what, strings.Join(sortedKeys(known), ", "))
	})
	for _, key := range required {
		if seen != nil && !seen[key] {
			r.refuse(n.Line, "%s has no %s", what, key)
		}
	}
}

// pairs calls f for every entry of the mapping n and returns the keys; nil if
// n is none.
func (r *reader) pairs(n *yaml.Node, what string, f func(key string, k, v *yaml.Node)) map[string]bool {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.refuse(n.Line, "%s: a mapping (key: value) is expected, not %s", what, kind(n))
		return nil
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), resolve(n.Content[i+1])
		switch {
		case k.Kind != yaml.ScalarNode:
			r.refuse(k.Line, "%s: a key must be a word, not %s", what, kind(k))
		case seen[k.Value]:
			r.refuse(k.Line, "%s: key %q is there twice", what, clip(k.Value))
		default:
			seen[k.Value] = true
			f(k.Value, k, v)
		}
	}
	return seen
}

// list calls f for every item of n, of which there may be up to limit.
func (r *reader) list(n *yaml.Node, what string, limit int, f func(*yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		r.refuse(n.Line, "%s: a list is expected, not %s", what, kind(n))
		return
	}
	if len(n.Content) > limit {
		r.refuse(n.Line, "%s: %d are too many, at most %d", what, len(n.Content), limit)
		return
	}
	for _, item := range n.Content {
		f(resolve(item))
	}
}

// text reads a scalar as it is written.
func (r *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.refuse(n.Line, "%s: a text is expected, not %s", what, kind(n))
		return ""
	}
	if strings.ContainsRune(n.Value, 0) {
		r.refuse(n.Line, "%s: must not contain a NUL byte", what)
		return ""
	}
	return n.Value
}

// name reads a text that must match the pattern.
func (r *reader) name(n *yaml.Node, what string, pattern *regexp.Regexp, allowed string) string {
	value := r.text(n, what)
	if value != "" && !pattern.MatchString(value) || value == "" && n.Kind == yaml.ScalarNode {
		r.refuse(n.Line, "%s %q: %s", what, clip(value), allowed)
	}
	return value
}

// number reads a finite number within [low, high].
func (r *reader) number(n *yaml.Node, what string, low, high float64) float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || (n.Tag != "!!int" && n.Tag != "!!float") || err != nil || math.IsNaN(v) {
		r.refuse(n.Line, "%s: a number is expected, not %s", what, kind(n))
		return 0
	}
	if v < low || v > high {
		r.refuse(n.Line, "%s: %s is outside of %s to %s", what, clip(n.Value), number(low), number(high))
		return 0
	}
	return v
}

// boolean reads true or false.
func (r *reader) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.refuse(n.Line, "%s: true or false is expected, not %s", what, kind(n))
	}
	return strings.EqualFold(n.Value, "true")
}

// whole reads an integer within [low, high].
func (r *reader) whole(n *yaml.Node, what string, low, high float64) int64 {
	v := r.number(n, what, low, high)
	if v != math.Trunc(v) {
		r.refuse(n.Line, "%s: a whole number is expected, not %s", what, kind(n))
	}
	return int64(v)
}

// duration reads a duration with its unit, within [low, high].
func (r *reader) duration(n *yaml.Node, what string, low, high time.Duration) time.Duration {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.refuse(n.Line, "%s: a duration like 1500ms, 20s or 5m is expected, not %s", what, kind(n))
		return 0
	}
	if d < low || d > high {
		r.refuse(n.Line, "%s: %s is outside of %s to %s", what, d, low, high)
		return 0
	}
	return d
}

// texts reads a mapping of texts, of which there may be up to 64.
func (r *reader) texts(n *yaml.Node, what string, check func(key string) bool) map[string]string {
	values := make(map[string]string)
	r.pairs(n, what, func(key string, k, v *yaml.Node) {
		if !check(key) || len(values) == 64 {
			r.refuse(k.Line, "%s: %q is not allowed here", what, clip(key))
			return
		}
		values[key] = r.text(v, what+" "+clip(key))
	})
	return values
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
		r.refuse(n.Line, "%s: requests per second as 5, 5..7, 5.. or ..7 are expected, not %s", what, kind(n))
	}
	return span
}

// bound reads one end of an interval; it keeps *v when the end is open.
func bound(text string, mayBeOpen bool, v *float64) error {
	if text == "" && mayBeOpen {
		return nil
	}
	parsed, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(parsed) || parsed < 0 || parsed > MaxRate*MaxLoads {
		return fmt.Errorf("not a rate: %q", text)
	}
	*v = parsed
	return nil
}

func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.ScalarNode && n.Value != "":
		return strconv.Quote(clip(n.Value))
	default:
		return "nothing"
	}
}

// clip shortens what a file says, for complaints.
func clip(text string) string {
	if len(text) <= 60 {
		return text
	}
	return strings.ToValidUTF8(text[:60], "") + "..."
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func joined[T ~string](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

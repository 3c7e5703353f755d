// Package yamlfile reads YAML files strictly: every problem with its line, all
// at once, no unknown or double keys, bounds on everything.
package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
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

// Problems is all that is wrong with a file, by line.
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

// Reader turns YAML nodes into values and collects what is wrong with them. What
// a method cannot read it refuses, and returns a zero value for it.
type Reader struct {
	file     string
	problems Problems
}

// New returns a reader for the file of that name.
func New(file string) Reader { return Reader{file: file} }

// Read returns the text of the file at path; of one that is larger than limit
// bytes only as much as Document needs to refuse it.
func Read(path string, limit int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// Document returns the root of the only document in data, nil if there is none.
func (r *Reader) Document(data []byte, limit int) *yaml.Node {
	if len(data) > limit {
		r.Refuse(1, "the file is larger than %d bytes", limit)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		r.refuseYAML(err)
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		r.Refuse(max(second.Line, 1), "more than one document: keep one, and remove the --- lines")
		return nil
	}
	if len(document.Content) == 0 {
		return nil
	}
	return Resolve(document.Content[0])
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (r *Reader) refuseYAML(err error) {
	line, reason := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(reason); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits
		reason = strings.TrimPrefix(reason, m[0])
	}
	r.Refuse(line, "not valid YAML: %s", strings.TrimPrefix(reason, "yaml: "))
}

// Refuse notes that something in that line is wrong.
func (r *Reader) Refuse(line int, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{r.file, line, fmt.Sprintf(format, args...)})
	}
}

// Err returns Problems, or nil when nothing was refused.
func (r *Reader) Err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return r.problems
}

// Resolve follows an alias. The nesting of a scenario is fixed and its lists
// are bounded, so aliases cannot blow a small file up.
func Resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// Fields are the keys that a mapping may have, and what to do with each value.
type Fields map[string]func(*yaml.Node)

// Mapping calls the handler of every key of n; what names n in complaints.
// The keys in required must be there.
func (r *Reader) Mapping(n *yaml.Node, what string, known Fields, required ...string) {
	seen := r.Pairs(n, what, func(key string, k, v *yaml.Node) {
		if handle, ok := known[key]; ok {
			handle(v)
			return
		}
		r.Refuse(k.Line, "unknown key %q in %s: known are %s", Clip(key), what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	})
	for _, key := range required {
		if seen != nil && !seen[key] {
			r.Refuse(n.Line, "%s has no %s", what, key)
		}
	}
}

// Pairs calls f for every entry of the mapping n and returns the keys; nil if
// n is none.
func (r *Reader) Pairs(n *yaml.Node, what string, f func(key string, k, v *yaml.Node)) map[string]bool {
	n = Resolve(n)
	if n.Kind != yaml.MappingNode {
		r.Refuse(n.Line, "%s: a mapping (key: value) is expected, not %s", what, Kind(n))
		return nil
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := Resolve(n.Content[i]), Resolve(n.Content[i+1])
		switch {
		case k.Kind != yaml.ScalarNode:
			r.Refuse(k.Line, "%s: a key must be a word, not %s", what, Kind(k))
		case seen[k.Value]:
			r.Refuse(k.Line, "%s: key %q is there twice", what, Clip(k.Value))
		default:
			seen[k.Value] = true
			f(k.Value, k, v)
		}
	}
	return seen
}

// List calls f for every item of n, of which there may be up to limit.
func (r *Reader) List(n *yaml.Node, what string, limit int, f func(*yaml.Node)) {
	n = Resolve(n)
	if n.Kind != yaml.SequenceNode {
		r.Refuse(n.Line, "%s: a list is expected, not %s", what, Kind(n))
		return
	}
	if len(n.Content) > limit {
		r.Refuse(n.Line, "%s: %d are too many, at most %d", what, len(n.Content), limit)
		return
	}
	for _, item := range n.Content {
		f(Resolve(item))
	}
}

// Text reads a scalar as it is written.
func (r *Reader) Text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.Refuse(n.Line, "%s: a text is expected, not %s", what, Kind(n))
		return ""
	}
	if strings.ContainsRune(n.Value, 0) {
		r.Refuse(n.Line, "%s: must not contain a NUL byte", what)
		return ""
	}
	return n.Value
}

// Name reads a text that must match the pattern.
func (r *Reader) Name(n *yaml.Node, what string, pattern *regexp.Regexp, allowed string) string {
	value := r.Text(n, what)
	if value != "" && !pattern.MatchString(value) || value == "" && n.Kind == yaml.ScalarNode {
		r.Refuse(n.Line, "%s %q: %s", what, Clip(value), allowed)
	}
	return value
}

// Number reads a finite number within [low, high].
func (r *Reader) Number(n *yaml.Node, what string, low, high float64) float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || (n.Tag != "!!int" && n.Tag != "!!float") || err != nil || math.IsNaN(v) {
		r.Refuse(n.Line, "%s: a number is expected, not %s", what, Kind(n))
		return 0
	}
	if v < low || v > high {
		r.Refuse(n.Line, "%s: %s is outside of %s to %s", what, Clip(n.Value), Number(low), Number(high))
		return 0
	}
	return v
}

// Boolean reads true or false.
func (r *Reader) Boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.Refuse(n.Line, "%s: true or false is expected, not %s", what, Kind(n))
	}
	return strings.EqualFold(n.Value, "true")
}

// Whole reads an integer within [low, high].
func (r *Reader) Whole(n *yaml.Node, what string, low, high float64) int64 {
	v := r.Number(n, what, low, high)
	if v != math.Trunc(v) {
		r.Refuse(n.Line, "%s: a whole number is expected, not %s", what, Kind(n))
	}
	return int64(v)
}

// Duration reads a duration with its unit, within [low, high].
func (r *Reader) Duration(n *yaml.Node, what string, low, high time.Duration) time.Duration {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.Refuse(n.Line, "%s: a duration like 1500ms, 20s or 5m is expected, not %s", what, Kind(n))
		return 0
	}
	if d < low || d > high {
		r.Refuse(n.Line, "%s: %s is outside of %s to %s", what, d, low, high)
		return 0
	}
	return d
}

// Texts reads a mapping of texts, of which there may be up to 64.
func (r *Reader) Texts(n *yaml.Node, what string, check func(key string) bool) map[string]string {
	values := make(map[string]string)
	r.Pairs(n, what, func(key string, k, v *yaml.Node) {
		if !check(key) || len(values) == 64 {
			r.Refuse(k.Line, "%s: %q is not allowed here", what, Clip(key))
			return
		}
		values[key] = r.Text(v, what+" "+Clip(key))
	})
	return values
}

// Kind says what a file has where something else is expected, for complaints.
func Kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.ScalarNode && n.Value != "":
		return strconv.Quote(Clip(n.Value))
	default:
		return "nothing"
	}
}

// Clip shortens what a file says, for complaints.
func Clip(text string) string {
	if len(text) <= 60 {
		return text
	}
	return strings.ToValidUTF8(text[:60], "") + "..."
}

// Number writes a number as files do.
func Number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

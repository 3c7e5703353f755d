package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, bytes.
const maxFile = 1 << 20

// readFile applies the file at path to c.
func readFile(path string, c *Config) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	return parseFile(path, data, c)
}

// parseFile applies a YAML document to c. It reports every fault it finds,
// each as name:line: key: what is wrong.
func parseFile(name string, data []byte, c *Config) error {
	if len(data) > maxFile {
		return fmt.Errorf("%s: larger than %d bytes, so it is no configuration of this program", name, maxFile)
	}
	entries, err := document(name, data)
	if err != nil {
		return err
	}
	known := map[string]option{}
	for _, o := range options() {
		known[o.key] = o
	}
	var faults []error
	seen := map[string]int{}
	for i := 0; i+1 < len(entries); i += 2 {
		key, value := entries[i], entries[i+1]
		fault := func(err error) {
			faults = append(faults, fmt.Errorf("%s:%d: %s: %w", name, key.Line, key.Value, err))
		}
		o, ok := known[key.Value]
		if !ok {
			fault(unknown(key.Value))
			continue
		}
		if line := seen[o.key]; line != 0 {
			fault(fmt.Errorf("written twice, first in line %d: remove one", line))
			continue
		}
		seen[o.key] = key.Line
		values, err := scalars(value)
		if err == nil && value.Kind == yaml.SequenceNode && !o.isList() {
			err = errors.New("takes one value, not a list")
		}
		if err == nil {
			err = o.set(c, values)
		}
		if err != nil {
			fault(err)
		}
	}
	return errors.Join(faults...)
}

// document returns keys and values, by turns, of the one mapping that a file
// holds; none for an empty file.
func document(name string, data []byte) ([]*yaml.Node, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: not valid YAML: %w", name, err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: not valid YAML: more than one document: keep one and remove the --- lines", name)
	}
	if len(doc.Content) != 1 {
		return nil, nil
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		return nil, nil
	case root.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: not a list of options: write one \"key: value\" a line", name, root.Line)
	}
	return root.Content, nil
}

// scalars returns the values that a YAML node holds.
func scalars(n *yaml.Node) ([]string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return nil, errors.New("has no value: give one, or remove the line to have the default")
		}
		return []string{n.Value}, nil
	case yaml.SequenceNode:
		values := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, fmt.Errorf("the item in line %d is not a plain value", item.Line)
			}
			values = append(values, item.Value)
		}
		return values, nil
	default:
		return nil, errors.New("takes a plain value or a list of them")
	}
}

// unknown says that there is no such key, and which one was probably meant.
func unknown(key string) error {
	if near := closest(strings.ToLower(strings.ReplaceAll(key, "-", "_"))); near != "" {
		return fmt.Errorf("no such option: did you mean %s?", near)
	}
	return errors.New("no such option: see dfaas-controller --help")
}

// closest returns the key most like s, or "" when none is.
func closest(s string) string {
	best, distance := "", 1+min(4, len(s)/2)
	if len(s) > 64 {
		return ""
	}
	for _, o := range options() {
		if d := editDistance(s, o.key); d < distance {
			best, distance = o.key, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements of bytes that
// make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
